//! A seccomp agent: who answers for system calls that the profile of a container leaves to somebody.
//!
//! It listens on a socket, as engines have agents do, and keeps what it is told. What it then does is the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure of the kit is a failure of the test")]

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;
pub use sys::seccomp::Notification;
use tempfile::TempDir;

use crate::crun::PATIENCE;
use crate::lane::patience;

/// What an agent answers for a call.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// It fails.
    Fail(Errno),
    /// It returns this, without having been done.
    Return(i64),
    /// The kernel does it.
    GoOn,
    /// The caller waits for good.
    Nothing,
}

/// An agent that listens.
#[derive(Debug)]
pub struct Agent {
    dir: TempDir,
    told: Receiver<Value>,
    calls: Arc<Mutex<Vec<i32>>>,
}

impl Agent {
    /// Answers for calls by `answer`.
    #[must_use]
    pub fn new(answer: impl Fn(&Notification) -> Answer + Send + Sync + 'static) -> Self {
        let (told, calls) = (channel(), Arc::new(Mutex::new(Vec::new())));
        let (say, noted, answer) = (told.0, Arc::clone(&calls), Arc::new(answer));
        let dir = listen(move |stream| {
            let Some((state, listener)) = take_over(stream) else { return };
            say.send(state).unwrap();
            while answer_one(listener.as_fd(), &noted, &*answer).is_ok() {}
        });
        Self { dir, told: told.1, calls }
    }

    /// Lets the kernel do everything it is asked about.
    #[must_use]
    pub fn permissive() -> Self {
        Self::new(|_| Answer::GoOn)
    }

    /// Closes each connection at once.
    #[must_use]
    pub fn closing() -> Self {
        Self { dir: listen(drop), told: channel().1, calls: Arc::default() }
    }

    /// Takes each listener, and lets go of it.
    #[must_use]
    pub fn dropping() -> Self {
        Self { dir: listen(|stream| drop(take_over(stream))), told: channel().1, calls: Arc::default() }
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    /// The next state that it is told with a listener. That nothing follows has been seen then.
    #[must_use]
    pub fn told(&self) -> Value {
        self.told.recv_timeout(patience(PATIENCE)).expect("a listener")
    }

    /// Whether it has been told nothing more.
    #[must_use]
    pub fn knows_all(&self) -> bool {
        self.told.try_recv().is_err()
    }

    /// The numbers of the calls it has answered for so far.
    #[must_use]
    pub fn calls(&self) -> Vec<i32> {
        self.calls.lock().unwrap().clone()
    }
}

/// Serves each connection in a thread, which ends with the test's process.
fn listen(serve: impl Fn(UnixStream) + Send + Sync + 'static) -> TempDir {
    let dir = tempfile::Builder::new().prefix("crun-agent-").tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("agent")).unwrap();
    open_to_all(&dir);
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    dir
}

/// For runtimes of ordinary users.
fn open_to_all(dir: &TempDir) {
    use std::os::unix::fs::PermissionsExt;
    for path in [dir.path().to_owned(), dir.path().join("agent")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
}

/// What comes in one message, and that nothing comes after it.
fn take_over(mut stream: UnixStream) -> Option<(Value, OwnedFd)> {
    let mut text = vec![0; 1 << 20];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut text)];
    let received = recvmsg(&stream, into, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    let listeners: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
            _ => Vec::new(),
        })
        .collect();
    let state = serde_json::from_slice(&text[..received.bytes]).ok()?;
    let [listener] = listeners.try_into().expect("one descriptor");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "more was sent than the state");
    Some((state, listener))
}

fn answer_one(
    listener: BorrowedFd<'_>,
    noted: &Mutex<Vec<i32>>,
    answer: &dyn Fn(&Notification) -> Answer,
) -> Result<(), Errno> {
    let notification = match sys::seccomp::receive(listener) {
        // Killed in between.
        Err(Errno::NOENT | Errno::INTR) => return Ok(()),
        other => other?,
    };
    noted.lock().unwrap().push(notification.number);
    let answered = match answer(&notification) {
        Answer::Fail(errno) => sys::seccomp::respond(listener, notification.id, Err(errno)),
        Answer::Return(value) => sys::seccomp::respond(listener, notification.id, Ok(value)),
        Answer::GoOn => sys::seccomp::let_go_on(listener, notification.id),
        Answer::Nothing => Ok(()),
    };
    match answered {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// A socket on which nobody accepts, with as many waiting as there is room for.
#[derive(Debug)]
pub struct DeafAgent {
    dir: TempDir,
    _waiting: Vec<UnixStream>,
    _listener: OwnedFd,
}

impl Default for DeafAgent {
    fn default() -> Self {
        use rustix::net::{
            AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
        };
        let dir = tempfile::Builder::new().prefix("crun-agent-").tempdir().unwrap();
        let address = SocketAddrUnix::new(dir.path().join("agent")).unwrap();
        let new = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
        };
        let listener = new();
        bind(&listener, &address).unwrap();
        listen(&listener, 0).unwrap();
        let waiting = std::iter::repeat_with(new)
            .take_while(|socket| connect(socket, &address).is_ok())
            .map(UnixStream::from)
            .collect();
        Self { dir, _waiting: waiting, _listener: listener }
    }
}

impl DeafAgent {
    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("agent")
    }
}
