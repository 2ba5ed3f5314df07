//! The socket on which an engine waits for a container's terminal.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, connect, sendmsg, socket_with,
};

use crate::error::{Code, Context, Error, Result};

/// How long the other side may take to make room for a connection or a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// What comes with the terminal: a message has to have something in it. Nobody reads this.
const PAYLOAD: &[u8] = b" ";

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
        let failed = || format!("connect to the console socket `{}`", path.display());
        let file =
            openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).context(Code::System, failed)?;
        let mode = fstat(&file).context(Code::System, failed)?.st_mode;
        match FileType::from_raw_mode(mode) {
            FileType::Socket => Ok(Self { path: path.to_owned(), file }),
            _ => Err(Error::new(Code::System, failed() + ": it is not a socket")),
        }
    }

    /// Sends `master`, in one message.
    pub(crate) fn send(&self, master: BorrowedFd<'_>) -> Result<()> {
        let path = self.path.display();
        let connection = self.connect().map_err(|errno| match errno {
            Errno::AGAIN => {
                let message =
                    format!("connect to the console socket `{path}`: nobody accepts the connections there");
                Error::new(Code::System, message)
            }
            errno => Error::os(Code::System, format!("connect to the console socket `{path}`"), errno),
        })?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [master];
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(connection, &[IoSlice::new(PAYLOAD)], &mut control, SendFlags::NOSIGNAL)
            .map(drop)
            .context(Code::System, || format!("send the terminal to the console socket `{path}`"))
    }

    /// By the name of the descriptor, which fits into an address however long the path is.
    fn connect(&self) -> core::result::Result<OwnedFd, Errno> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // It holds for connecting, too.
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()))?;
        connect(&socket, &address).map(|()| socket)
    }
}
