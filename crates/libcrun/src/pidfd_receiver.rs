//! Who wants a descriptor of a process (`pidfd_open(2)`): it is sent to his socket.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg};

use crate::error::{Code, Context, Error, Result};
use crate::unix_socket::connect_to;

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
            let descriptors = [pidfd];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            sendmsg(socket, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL).map(drop).map_err(
                |errno| Error::os(Code::System, format!("send the pidfd to `{}`", path.display()), errno),
            )
        })
    }
}

/// What the C crun sends along, and what runc does: it says what kind of process it is.
pub(crate) const ANNOTATED: &[u8] = b" ";
pub(crate) const FIRST: &[u8] = b"standard";
pub(crate) const LATER: &[u8] = b"setns";
