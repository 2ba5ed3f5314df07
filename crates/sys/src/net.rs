//! The one thing a container's network namespace needs from the runtime: a loopback device that is up.

use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::{Result, checked};

/// Brings the loopback interface of the calling process' network namespace up (`netdevice(7)`).
///
/// # Errors
/// Those of `socket(2)` and `ioctl(2)`.
pub fn bring_loopback_up() -> Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: ifreq is plain data, for which all zeroes is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *target = libc::c_char::from_ne_bytes([byte]);
    }
    // IFF_UP is all a fresh loopback device lacks, so its other flags need not be read first.
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(1);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    checked(libc::c_long::from(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request)
    }))
    .map(drop)
}
