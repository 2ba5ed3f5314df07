//! Who wants a descriptor of a process (`pidfd_open(2)`): it is sent to his socket.

use std::io::IoSlice;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::SocketType;

use crate::error::{Code, Context, Result, doing};
use crate::unix_socket::{connect_to, send_descriptor};

/// Connections to those who want it, with what is sent along.
#[derive(Debug, Default)]
pub(crate) struct Receivers(Vec<Receiver>);

#[derive(Debug)]
struct Receiver {
    socket: OwnedFd,
    path: PathBuf,
    text: &'static [u8],
}

impl Receivers {
    /// Connects to all of them: that one is not there is to be found while there is no process yet.
    pub(crate) fn connect<'a>(
        wanted: impl IntoIterator<Item = (Option<&'a Path>, &'static [u8])>,
    ) -> Result<Self> {
        let wanted = wanted.into_iter().filter_map(|(path, text)| Some((path?, text)));
        let connect = |(path, text): (&Path, _)| -> Result<Receiver> {
            let socket = connect_to(path, SocketType::STREAM).context(Code::System, || {
                format!("connect to the receiver of the pidfd `{}`", path.display())
            })?;
            Ok(Receiver { socket, path: path.to_path_buf(), text })
        };
        wanted.map(connect).collect::<Result<_>>().map(Self)
    }

    /// Sends it.
    pub(crate) fn send(&self, pidfd: BorrowedFd<'_>) -> Result<()> {
        self.0.iter().try_for_each(|Receiver { socket, path, text }| {
            send_descriptor(socket, &[IoSlice::new(text)], pidfd)
                .map(drop)
                .context(Code::System, || doing("send the pidfd to", path))
        })
    }
}

/// What the C crun sends along, and what runc does: it says what kind of process it is.
pub(crate) const ANNOTATED: &[u8] = b" ";
pub(crate) const FIRST: &[u8] = b"standard";
pub(crate) const LATER: &[u8] = b"setns";
