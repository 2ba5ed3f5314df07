//! Telling a service manager that a container is ready, when its program says so (`sd_notify(3)`).
//!
//! The program cannot: its messages would come from a process the manager does not know, with a pid that means nothing
//! outside. So it talks to a socket of the runtime's, which passes on that it is ready, and nothing else.

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, chmodat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::error::{Code, Context, Error, Result};
use crate::unix_socket::{address_in, connect_to, send_descriptor};

/// What the socket is called, in its directory.
pub(crate) const NAME: &str = "notify";

/// How long the manager may take to take notice.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket for the program, and who is told what it says.
#[derive(Debug)]
pub(crate) struct Proxy {
    socket: OwnedFd,
    manager: PathBuf,
    is_told: Cell<bool>,
    failure: RefCell<Option<Error>>,
}

impl AsFd for Proxy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Proxy {
    /// Makes the socket in `directory`, for messages to `manager`.
    pub(crate) fn new(directory: BorrowedFd<'_>, manager: &Path) -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let made = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).and_then(|socket| {
            bind(&socket, &address_in(directory, NAME)?)?;
            // Whoever the program is run as.
            chmodat(directory, NAME, Mode::from_raw_mode(0o777), AtFlags::empty())?;
            Ok(socket)
        });
        let socket = made.context(Code::State, || "make the socket for messages of the container")?;
        let manager = manager.to_path_buf();
        Ok(Self { socket, manager, is_told: Cell::new(false), failure: RefCell::new(None) })
    }

    /// Whether nothing has been passed on yet.
    pub(crate) fn is_listening(&self) -> bool {
        !self.is_told.get()
    }

    /// For a runtime that stays the process its manager looks at: passes it on if the program says that it is ready.
    pub(crate) fn pass_on(&self) {
        if self.is_listening() && self.is_ready() {
            self.is_told.set(true);
            *self.failure.borrow_mut() = self.tell_ready(None).err();
        }
    }

    /// What has kept it from passing something on.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.take()
    }

    /// Whether one of the messages that have come says that the program is ready.
    fn is_ready(&self) -> bool {
        let mut buffer = [0_u8; 4096];
        loop {
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let message = buffer.get(..length).unwrap_or_default();
                    if message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                        return true;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Waits until the program is ready or has ended, which takes as long as it takes. Whether it is; `ends` is what makes
    /// it end early.
    pub(crate) fn wait(&self, process: &OwnedFd, ends: Option<BorrowedFd<'_>>) -> Result<Waited> {
        loop {
            // The process takes the place of what there is nothing to wait for.
            let nothing = PollFd::new(process, PollFlags::empty());
            let mut awaited = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::new(process, PollFlags::IN),
                ends.as_ref().map_or(nothing, |ends| PollFd::new(ends, PollFlags::IN)),
            ];
            match poll(&mut awaited, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::os(Code::System, "wait for the container to be ready", errno));
                }
            }
            let [_, process, ends] = awaited.map(|polled| !polled.revents().is_empty());
            match (self.is_ready(), process, ends) {
                (true, ..) => return Ok(Waited::Ready),
                (_, true, _) => return Ok(Waited::Ended),
                (.., true) => return Ok(Waited::Interrupted),
                _ => {}
            }
        }
    }

    /// Passes it on. `main` is the process that the manager is to look at from now on, for a runtime that is about to end;
    /// then it is made sure of that the manager has taken notice.
    pub(crate) fn tell_ready(&self, main: Option<Pid>) -> Result<()> {
        let failed = || format!("tell `{}` that the container is ready", self.manager.display());
        let manager = connect_to(&self.manager, SocketType::DGRAM).context(Code::System, failed)?;
        let message = match main {
            None => "READY=1".to_owned(),
            Some(pid) => format!("MAINPID={pid}\nREADY=1"),
        };
        send(&manager, message.as_bytes(), SendFlags::NOSIGNAL).context(Code::System, failed)?;
        if main.is_some() {
            // That it takes long does not make it untold.
            let _ = wait_for_notice(manager.as_fd());
        }
        Ok(())
    }
}

/// What came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Ready,
    Ended,
    Interrupted,
}

/// Waits until the manager has closed a descriptor that it gets, which it does when it has seen to all before it
/// (`sd_notify_barrier(3)`). Who does not know that closes it all the same.
fn wait_for_notice(manager: BorrowedFd<'_>) -> core::result::Result<(), Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    send_descriptor(manager, &[IoSlice::new(b"BARRIER=1")], writer.as_fd())?;
    drop(writer);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: rest.as_secs().cast_signed(), tv_nsec: rest.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&limit)) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}
