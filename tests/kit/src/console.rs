//! Who listens on a console socket, as an engine does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of the kit is a failure of the test")]

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

use crate::crun::wait_for;
use crate::terminal::Terminal;

/// A socket that is listened on, in a directory of its own.
#[derive(Debug)]
pub struct ConsoleSocket {
    path: PathBuf,
    listener: UnixListener,
    _dir: TempDir,
}

impl Default for ConsoleSocket {
    fn default() -> Self {
        Self::new()
    }
}

impl ConsoleSocket {
    /// Listens.
    #[must_use]
    pub fn new() -> Self {
        Self::below("")
    }

    /// The same, in a directory below its own.
    ///
    /// # Panics
    /// When there can be no socket.
    #[must_use]
    pub fn below(directory: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join(directory);
        std::fs::create_dir_all(&deep).unwrap();
        // Made by a short path: an address holds no long one.
        let short = dir.path().join("s");
        let listener = UnixListener::bind(&short).unwrap();
        let path = deep.join("console.sock");
        std::fs::rename(short, &path).unwrap();
        Self { path, listener, _dir: dir }
    }

    /// Where.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path as an argument.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn arg(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The next connection.
    #[must_use]
    pub fn accept(&self) -> UnixStream {
        self.listener.set_nonblocking(true).unwrap();
        let connection = wait_for("a connection", || self.listener.accept().ok()).0;
        connection.set_nonblocking(false).unwrap();
        connection
    }

    /// Whether somebody has connected.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn has_connection(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        self.listener.accept().is_ok()
    }

    /// The terminal that is sent, which has to come with one message and nothing after it.
    ///
    /// # Panics
    /// When something else comes.
    #[must_use]
    pub fn receive(&self) -> Terminal {
        let connection = self.accept();
        let (length, mut descriptors) = receive(&connection);
        assert!(
            length > 0 && descriptors.len() == 1,
            "{length} bytes with {} descriptors",
            descriptors.len()
        );
        let (length, more) = receive(&connection);
        assert!(length == 0 && more.is_empty(), "a second message");
        Terminal::of_container(descriptors.remove(0))
    }
}

fn receive(connection: &UnixStream) -> (usize, Vec<OwnedFd>) {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(connection, into, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    (received.bytes, descriptors.flatten().collect())
}
