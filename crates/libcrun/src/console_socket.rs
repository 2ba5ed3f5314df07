//! The socket on which an engine waits for a container's terminal.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::net::SocketType;

use crate::error::{Code, Context, Error, Result, doing};
use crate::unix_socket::{connect_to_opened, send_descriptor};

/// What comes with the terminal: a message has to have something in it. Nobody reads this.
const PAYLOAD: &[u8] = b" ";

const CONNECT: &str = "connect to the console socket";

/// The socket, open only to be named.
#[derive(Debug)]
pub(crate) struct ConsoleSocket {
    path: PathBuf,
    file: OwnedFd,
}

impl ConsoleSocket {
    /// Finds the socket at `path`, while there is no container yet.
    ///
    /// It is connected to when there is something to send: conmon takes a connection that ends without a terminal for a
    /// reason to end itself, and with it the words of why there is no container are lost.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        let failed = || doing(CONNECT, path);
        let file = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .context(Code::Terminal, failed)?;
        let mode = fstat(&file).context(Code::Terminal, failed)?.st_mode;
        match FileType::from_raw_mode(mode) {
            FileType::Socket => Ok(Self { path: path.to_owned(), file }),
            _ => Err(Error::of(Code::Terminal, failed().then(": it is not a socket"), None)),
        }
    }

    /// Sends `master`, in one message.
    pub(crate) fn send(&self, master: BorrowedFd<'_>) -> Result<()> {
        let failed = || doing(CONNECT, &self.path);
        let connection =
            connect_to_opened(self.file.as_fd(), SocketType::STREAM).map_err(|errno| match errno {
                Errno::AGAIN => {
                    let doing = failed().then(": nobody accepts the connections there");
                    Error::of(Code::Terminal, doing, None)
                }
                errno => Error::of(Code::Terminal, failed(), Some(errno)),
            })?;
        send_descriptor(connection, &[IoSlice::new(PAYLOAD)], master)
            .map(drop)
            .context(Code::Terminal, || doing("send the terminal to the console socket", &self.path))
    }
}
