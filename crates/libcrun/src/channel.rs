//! The conversation between the runtime and the process it makes: both sides of it, in one place.
//!
//! ```text
//! runtime                                init
//!    │  (clone)                           │
//!    ├── Pid ───────────────────────────► │  only where a seccomp agent is told of it
//!    ├── Mapped ────────────────────────► │  only where it has id maps, and its cgroup comes later
//!    ├── Placed ────────────────────────► │  only where it has to wait for its cgroup or its id maps
//!    ├── Network (a descriptor) ────────► │  only where the runtime makes the network namespace for it
//!    │ ◄────────── Mount (a descriptor) ──┤  only where init may not mount a filesystem that it can make
//!    ├── Mounted (a descriptor), or not ► │
//!    │ ◄─────── Terminal (a descriptor) ──┤  only where it has a terminal
//!    │ ◄──────────────────────── AtHooks ─┤  only where the runtime runs hooks while init waits
//!    ├── HooksRun ──────────────────────► │
//!    ├── Attended ──────────────────────► │  everything around it is done: state, cgroup, devices
//!    │ ◄──────────────────── Listening ───┤  only where a seccomp agent answers from here on
//!    │ ◄───────────── Ready or Failed ────┤  set up, program found, rights given up; before Failed comes what the
//!    │                                    │  hook has written whose failure it is
//!    ├── Go ────────────────────────────► │  nothing more can go wrong here
//!    │ ◄──── Failed, or end of file ──────┤  the exec failed, or it happened and closed the channel
//! ```
//!
//! `run` and `exec` say Go as soon as they are done themselves, without listening for Ready first, so that init need
//! not wait for it; it may be under way while init still asks for something. `create` listens first: its caller is to
//! hear of every failure, and the pid file is only written for a container that is complete. Init then waits on
//! exec.fifo, and the channel has no other end any more. What it has to say from then on, if somebody has to hear it, goes
//! through another FIFO in the same form ([`crate::following`]).
//!
//! End of file on either side means that the other is gone or gives up: before Go init ends itself then, so that a
//! runtime that was killed leaves no half-made container behind; before Attended, which it waits for while it still has
//! the rights to, it also takes back what it has made in the root filesystem. The runtime looks at how init ended. A
//! failure travels as what was being done, to which entry of the plan, and the kernel's reason; words are made of it by
//! the runtime ([`crate::report`]).

mod failure;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, Shutdown, SocketFlags,
    SocketType, recv, recvmsg, send, shutdown, socketpair,
};
use rustix::process::Pid;
use sys::mount::MountAttr;

pub(crate) use failure::{At, Failure, Step};

use crate::hooks::KEPT;
use crate::timeline::marks;
use crate::unix_socket::send_descriptor;

/// What the runtime says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToInit {
    /// The process is in its cgroup and its ids are mapped.
    Placed,
    /// This is its pid.
    Pid,
    /// Its ids are mapped.
    Mapped,
    /// Here is the network namespace.
    Network,
    /// Here is the mount that init has asked for.
    Mounted,
    /// It cannot be had.
    NotMounted,
    /// The hooks that init waits for are done.
    HooksRun,
    /// Everything around the process is done.
    Attended,
    /// Execute the program, or wait for the start of a created container.
    Go,
}

impl ToInit {
    /// The one of that number.
    pub(crate) fn numbered(number: u8) -> Option<Self> {
        let all = [
            Self::Placed,
            Self::Pid,
            Self::Mapped,
            Self::Network,
            Self::Mounted,
            Self::NotMounted,
            Self::HooksRun,
            Self::Attended,
            Self::Go,
        ];
        all.into_iter().find(|message| *message as u8 == number)
    }
}

/// What init says.
#[derive(Debug)]
pub(crate) enum FromInit {
    /// Nothing is left to do but to execute the program.
    Ready,
    /// The container's process exists; said by the process that made it in the runtime's place ([`crate::relay`]).
    Born(Pid),
    /// Here is a filesystem to be mounted with these attributes (`fsmount(2)`), because the runtime may.
    Mount(OwnedFd, MountAttr),
    /// Here is the runtime's end of the terminal.
    Terminal(OwnedFd),
    /// The container is as complete as hooks outside want it.
    AtHooks,
    /// As many bytes of what a hook has written come next ([`RuntimeEnd::hear_text`]).
    Text(usize),
    /// From now on it may be that it waits for a seccomp agent.
    Listening,
    /// Something could not be done; init has ended.
    Failed(Failure),
}

/// Length of a message from init: kind, step, index, detail, and an errno, a pid, attributes or a length.
pub(crate) const REPORT: usize = 10;

/// Both ends, close-on-exec: the runtime's and init's.
pub(crate) fn pair() -> Result<(RuntimeEnd, InitEnd), Errno> {
    let (runtime, init) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((
        RuntimeEnd(runtime),
        InitEnd { socket: init, has_heard_go: Cell::new(false), has_parted: Cell::new(false) },
    ))
}

/// The runtime's end.
#[derive(Debug)]
pub(crate) struct RuntimeEnd(OwnedFd);

impl RuntimeEnd {
    /// Says something to init. That init is gone is not an error here: its last words are still to be read.
    pub(crate) fn tell(&self, message: ToInit) {
        let _ = send(&self.0, &[message as u8], SendFlags::NOSIGNAL);
    }

    /// Says which pid init has here.
    pub(crate) fn tell_pid(&self, pid: Pid) {
        let [a, b, c, d] = pid.as_raw_nonzero().get().to_ne_bytes();
        let _ = send(&self.0, &[ToInit::Pid as u8, a, b, c, d], SendFlags::NOSIGNAL);
    }

    /// Says something to init and hands over a descriptor with it.
    pub(crate) fn hand_over(&self, message: ToInit, descriptor: BorrowedFd<'_>) {
        let _ = send_descriptor(&self.0, &[IoSlice::new(&[message as u8])], descriptor);
    }

    /// Says nothing more. What init says can still be heard.
    pub(crate) fn give_up(&self) {
        let _ = shutdown(&self.0, Shutdown::Write);
    }

    /// Whether init has something to say, or has closed its end, before `deadline`.
    pub(crate) fn has_word_by(&self, deadline: Instant) -> bool {
        let mut awaited = [PollFd::new(&self.0, PollFlags::IN)];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut awaited, Some(&left)) {
                Err(Errno::INTR) => {}
                ready => return ready != Ok(0),
            }
        }
    }

    /// Whether init has something to say, or has closed its end, before there is something to be read from `other`.
    pub(crate) fn has_word_before(&self, other: BorrowedFd<'_>) -> bool {
        let mut awaited =
            [PollFd::new(&self.0, PollFlags::IN), PollFd::from_borrowed_fd(other, PollFlags::IN)];
        while let Err(Errno::INTR) = poll(&mut awaited, None) {}
        !awaited[0].revents().is_empty() || awaited[1].revents().is_empty()
    }

    /// Waits for init's next message; `None` when it has closed its end.
    pub(crate) fn hear(&self) -> Result<Option<FromInit>, Errno> {
        let mut buffer = [0_u8; REPORT];
        let (length, descriptor) = receive_with_descriptor(self.0.as_fd(), &mut buffer)?;
        if length == 0 {
            return Ok(None);
        }
        understand(buffer, descriptor)
    }

    /// What a hook has written, after its length has been said.
    pub(crate) fn hear_text(&self, length: usize) -> Result<Vec<u8>, Errno> {
        let mut text = vec![0; length.min(KEPT)];
        let received = receive(self.0.as_fd(), &mut text)?;
        text.truncate(received);
        Ok(text)
    }
}

/// What a message from init says.
pub(crate) fn understand(
    message: [u8; REPORT],
    descriptor: Option<OwnedFd>,
) -> Result<Option<FromInit>, Errno> {
    let [kind, step, i0, i1, d0, d1, number @ ..] = message;
    let number = i32::from_ne_bytes(number);
    Ok(match kind {
        FAILED => Some(FromInit::Failed(Failure {
            step: Step::numbered(step),
            index: u16::from_ne_bytes([i0, i1]),
            detail: u16::from_ne_bytes([d0, d1]),
            errno: Errno::from_raw_os_error(number),
        })),
        BORN => Pid::from_raw(number).map(FromInit::Born),
        MOUNT => {
            let attributes = MountAttr::from_bits_retain(u64::from(number.cast_unsigned()));
            Some(FromInit::Mount(descriptor.ok_or(Errno::PROTO)?, attributes))
        }
        TERMINAL => Some(FromInit::Terminal(descriptor.ok_or(Errno::PROTO)?)),
        AT_HOOKS => Some(FromInit::AtHooks),
        LISTENING => Some(FromInit::Listening),
        TEXT => Some(FromInit::Text(usize::try_from(number).unwrap_or(0))),
        _ => Some(FromInit::Ready),
    })
}

/// Init's end.
#[derive(Debug)]
pub(crate) struct InitEnd {
    socket: OwnedFd,
    /// Go came while init was waiting for the answer to a request: the runtime had nothing else left to do.
    has_heard_go: Cell<bool>,
    has_parted: Cell<bool>,
}

impl AsFd for InitEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl InitEnd {
    /// Notes that the runtime has gone its way.
    pub(crate) fn part(&self) {
        self.has_parted.set(true);
    }

    pub(crate) fn has_parted(&self) -> bool {
        self.has_parted.get()
    }

    /// Says that init is ready.
    pub(crate) fn tell_ready(&self) -> Result<(), Errno> {
        self.tell(message(READY, None, 0))
    }

    /// Says that calls of this process may wait for a seccomp agent from now on.
    pub(crate) fn tell_listening(&self) -> Result<(), Errno> {
        self.tell(message(LISTENING, None, 0))
    }

    /// Says that the container's process exists.
    pub(crate) fn tell_born(&self, pid: Pid) -> Result<(), Errno> {
        self.tell(message(BORN, None, pid.as_raw_nonzero().get()))
    }

    /// Says that the container is as complete as hooks outside want it.
    pub(crate) fn tell_at_hooks(&self) -> Result<(), Errno> {
        self.tell(message(AT_HOOKS, None, 0))
    }

    /// Says what a hook has written.
    pub(crate) fn tell_text(&self, text: &[u8]) -> Result<(), Errno> {
        self.tell(text_message(text))?;
        send(&self.socket, text, SendFlags::NOSIGNAL).map(drop)
    }

    /// Says what could not be done.
    pub(crate) fn tell_failed(&self, failure: Failure) -> Result<(), Errno> {
        marks::failed(failure);
        self.tell(failure_message(failure))
    }

    fn tell(&self, message: [u8; REPORT]) -> Result<(), Errno> {
        send(&self.socket, &message, SendFlags::NOSIGNAL).map(drop)
    }

    /// Has the runtime mount a filesystem, detached. Nothing else may be under way from there: see
    /// [`crate::init::Init::mount_by_runtime`].
    ///
    /// # Errors
    /// `EPERM` when the runtime may not either, `EPIPE` when it is gone.
    pub(crate) fn ask_for_mount(
        &self,
        context: BorrowedFd<'_>,
        attributes: MountAttr,
    ) -> Result<OwnedFd, Errno> {
        let attributes = u32::try_from(attributes.bits()).unwrap_or(0);
        let request = message(MOUNT, None, attributes.cast_signed());
        send_descriptor(&self.socket, &[IoSlice::new(&request)], context)?;
        self.expect_descriptor(ToInit::Mounted)
    }

    /// Hands over the runtime's end of the terminal.
    pub(crate) fn hand_over_terminal(&self, master: BorrowedFd<'_>) -> Result<(), Errno> {
        send_descriptor(&self.socket, &[IoSlice::new(&message(TERMINAL, None, 0))], master).map(drop)
    }

    /// Waits until the runtime says `expected`.
    ///
    /// # Errors
    /// `EPIPE` when the runtime is gone.
    pub(crate) fn expect(&self, expected: ToInit) -> Result<(), Errno> {
        if expected == ToInit::Go && self.has_heard_go.get() {
            return Ok(());
        }
        let mut buffer = [0_u8; 1];
        match marks::wait(expected, || receive(self.socket.as_fd(), &mut buffer))? {
            1 if buffer[0] == expected as u8 => Ok(()),
            1 => Err(Errno::PROTO),
            _ => Err(Errno::PIPE),
        }
    }

    /// Waits until the runtime says which pid this process has there.
    pub(crate) fn expect_pid(&self) -> Result<Pid, Errno> {
        let mut buffer = [0_u8; 5];
        let length = marks::wait(ToInit::Pid, || receive(self.socket.as_fd(), &mut buffer))?;
        let [kind, pid @ ..] = buffer;
        match (length, kind == ToInit::Pid as u8) {
            (5, true) => Pid::from_raw(i32::from_ne_bytes(pid)).ok_or(Errno::PROTO),
            (0, _) => Err(Errno::PIPE),
            _ => Err(Errno::PROTO),
        }
    }

    /// Waits until the runtime hands over a descriptor with `expected`.
    ///
    /// # Errors
    /// `EPERM` when it says that there is none, `EPIPE` when it is gone.
    pub(crate) fn expect_descriptor(&self, expected: ToInit) -> Result<OwnedFd, Errno> {
        loop {
            let mut buffer = [0_u8; 1];
            let received =
                marks::wait(expected, || receive_with_descriptor(self.socket.as_fd(), &mut buffer));
            return match received? {
                (0, _) => Err(Errno::PIPE),
                (_, Some(descriptor)) if buffer[0] == expected as u8 => Ok(descriptor),
                _ if buffer[0] == ToInit::NotMounted as u8 => Err(Errno::PERM),
                _ if buffer[0] == ToInit::Go as u8 => {
                    self.has_heard_go.set(true);
                    continue;
                }
                _ => Err(Errno::PROTO),
            };
        }
    }
}

/// The kinds of message from init.
const READY: u8 = 0;
const FAILED: u8 = 1;
const BORN: u8 = 2;
const MOUNT: u8 = 3;
const AT_HOOKS: u8 = 4;
const TEXT: u8 = 5;
const LISTENING: u8 = 6;
const TERMINAL: u8 = 7;

/// The message that something could not be done.
pub(crate) fn failure_message(failure: Failure) -> [u8; REPORT] {
    message(FAILED, Some(failure), failure.errno.raw_os_error())
}

/// The message that `text` comes next.
pub(crate) fn text_message(text: &[u8]) -> [u8; REPORT] {
    message(TEXT, None, i32::try_from(text.len()).unwrap_or(0))
}

/// A message from init; `number` is what its kind has a number for.
fn message(kind: u8, failure: Option<Failure>, number: i32) -> [u8; REPORT] {
    let mut buffer = [0_u8; REPORT];
    buffer[0] = kind;
    if let Some(failure) = failure {
        buffer[1] = failure.step as u8;
        buffer[2..4].copy_from_slice(&failure.index.to_ne_bytes());
        buffer[4..6].copy_from_slice(&failure.detail.to_ne_bytes());
    }
    buffer[6..].copy_from_slice(&number.to_ne_bytes());
    buffer
}

fn receive_with_descriptor(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let into = &mut [IoSliceMut::new(&mut *buffer)];
        match recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            // See `receive`.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => break other?,
        }
    };
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((received.bytes, descriptor))
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            // ECONNRESET says, once, that the other side ended with something unread. What it said before that is
            // still to be had.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => return other.map(|(length, _)| length),
        }
    }
}
