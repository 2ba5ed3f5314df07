//! Messages to a service of this machine, by datagrams.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use libcrun::Error;

use crate::failed;

/// How long a service may take to take a message: one that has stopped is not to keep a container from being made.
const PATIENCE: Duration = Duration::from_secs(1);

/// A socket that is not connected, so that a service may be restarted between two messages. Whether there is one shows
/// with the first.
pub(super) fn socket() -> Result<UnixDatagram, Error> {
    let socket = UnixDatagram::unbound();
    let socket = socket.and_then(|socket| socket.set_write_timeout(Some(PATIENCE)).map(|()| socket));
    socket.map_err(|error| failed("make a socket for the log", &error))
}

/// Tries again as long as it is signals that interrupt it.
pub(super) fn uninterrupted<T>(mut send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match send() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}
