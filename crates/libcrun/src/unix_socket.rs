//! Addresses of unix sockets as people write them: also paths that are too long for the kernel, and `@NAME` for one that has
//! no path (`unix(7)`, `sd_notify(3)`); and sending descriptors.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, connect, sendmsg, socket_with,
};

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// How long the other side may take to accept a connection, and to take what is sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// An address, and what it leads through.
#[derive(Debug)]
struct Address {
    address: SocketAddrUnix,
    _through: Option<OwnedFd>,
}

impl Address {
    /// That of a socket which exists.
    fn of(path: &Path) -> Result<Self, Errno> {
        if let Some(name) = path.as_os_str().as_bytes().strip_prefix(b"@") {
            let address = SocketAddrUnix::new_abstract_name(name)?;
            return Ok(Self { address, _through: None });
        }
        match SocketAddrUnix::new(path) {
            Err(Errno::NAMETOOLONG) => {
                let socket = openat(CWD, path, PATH_ONLY, Mode::empty())?;
                let address = address_of(socket.as_fd())?;
                Ok(Self { address, _through: Some(socket) })
            }
            address => Ok(Self { address: address?, _through: None }),
        }
    }
}

/// A socket that is connected to that at `path`, and on which sending does not wait for long.
pub(crate) fn connect_to(path: &Path, kind: SocketType) -> Result<OwnedFd, Errno> {
    connect_by(&Address::of(path)?.address, kind)
}

/// The same for a socket that has been opened, to be named.
pub(crate) fn connect_to_opened(socket: BorrowedFd<'_>, kind: SocketType) -> Result<OwnedFd, Errno> {
    connect_by(&address_of(socket)?, kind)
}

fn connect_by(address: &SocketAddrUnix, kind: SocketType) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    // It holds for connecting, too.
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    connect(&socket, address)?;
    Ok(socket)
}

/// By the name of the descriptor, which fits into an address however long the path is.
fn address_of(socket: BorrowedFd<'_>) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}", socket.as_raw_fd()))
}

/// Sends a descriptor with one message, which has to have something in it. Returns how much of that was sent. Does not
/// allocate.
pub(crate) fn send_descriptor(
    socket: impl AsFd,
    message: &[IoSlice<'_>],
    descriptor: BorrowedFd<'_>,
) -> Result<usize, Errno> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    loop {
        match sendmsg(&socket, message, &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return sent,
        }
    }
}

/// The address of a socket that is to be called `name` in a directory, wherever that lies.
pub(crate) fn address_in(directory: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_fd().as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendFlags, bind, recv, send};
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_socket_is_reached_by_a_short_path_a_long_one_and_a_name() {
        let base = std::env::temp_dir().join(format!("crun-address-{}", std::process::id()));
        let long = base.join("x".repeat(90)).join("y".repeat(90));
        std::fs::create_dir_all(&long).unwrap();
        let flags = OFlags::DIRECTORY | PATH_ONLY;
        for directory in [&base, &long] {
            let opened = openat(CWD, directory, flags, Mode::empty()).unwrap();
            let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
            let receiver = socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
            bind(&receiver, &address_in(opened.as_fd(), "s").unwrap()).unwrap();
            let sender = connect_to(&directory.join("s"), SocketType::DGRAM).unwrap();
            send(&sender, b"x", SendFlags::empty()).unwrap();
            assert_eq!(recv(&receiver, &mut [0; 4][..], rustix::net::RecvFlags::empty()).unwrap().0, 1);
        }
        std::fs::remove_dir_all(&base).unwrap();
        let name = format!("crun-address-{}", std::process::id());
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let receiver = UnixDatagram::bind_addr(&address).unwrap();
        let sender = connect_to(Path::new(&format!("@{name}")), SocketType::DGRAM).unwrap();
        send(&sender, b"x", SendFlags::empty()).unwrap();
        assert_eq!(receiver.recv(&mut [0; 4]).unwrap(), 1);
        assert_eq!(connect_to(&base, SocketType::DGRAM).unwrap_err(), Errno::NOENT);
    }
}
