//! The other end of a listener: who answers for the calls of the filtered (`seccomp_unotify(2)`).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, Result, checked};

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Which it is, for the answer.
    pub id: u64,
    /// Who calls, as seen by the one who answers.
    pub pid: u32,
    /// The number of the call.
    pub number: i32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// `SECCOMP_IOCTL_NOTIF_RECV`, whose type differs between C libraries.
const RECEIVE: u64 = 0xc050_2100;
/// `SECCOMP_IOCTL_NOTIF_SEND`
const SEND: u64 = 0xc018_2101;

/// Waits for a call.
///
/// # Errors
/// `ENOENT` when the caller was killed in between; `EINTR`.
pub fn receive(listener: BorrowedFd<'_>) -> Result<Notification> {
    // SAFETY: seccomp_notif is plain data, which the kernel wants to be all zeroes.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the number says how large the structure is, which outlives the call.
    checked(unsafe { libc::syscall(libc::SYS_ioctl, listener.as_raw_fd(), RECEIVE, &raw mut notification) })?;
    let libc::seccomp_notif { id, pid, data, .. } = notification;
    Ok(Notification { id, pid, number: data.nr, arguments: data.args })
}

/// Answers a call with a value or an error.
///
/// # Errors
/// `ENOENT` when the caller is gone.
pub fn respond(listener: BorrowedFd<'_>, id: u64, answer: Result<i64>) -> Result<()> {
    let (val, error) = match answer {
        Ok(value) => (value, 0),
        Err(errno) => (0, -Errno::raw_os_error(errno)),
    };
    let response = libc::seccomp_notif_resp { id, val, error, flags: 0 };
    // SAFETY: as for `receive`; the kernel only reads it.
    checked(unsafe { libc::syscall(libc::SYS_ioctl, listener.as_raw_fd(), SEND, &raw const response) })
        .map(drop)
}

/// Lets the kernel do the call that the caller asked for (`SECCOMP_USER_NOTIF_FLAG_CONTINUE`).
///
/// # Errors
/// As [`respond`].
pub fn let_go_on(listener: BorrowedFd<'_>, id: u64) -> Result<()> {
    let response = libc::seccomp_notif_resp { id, val: 0, error: 0, flags: 1 };
    // SAFETY: as for `respond`.
    checked(unsafe { libc::syscall(libc::SYS_ioctl, listener.as_raw_fd(), SEND, &raw const response) })
        .map(drop)
}
