//! `unshare(2)`, restricted to namespaces.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::clone::Namespaces;
use crate::{Result, checked};

/// Moves the calling thread into new `namespaces` (pid and time: its future children).
///
/// # Errors
/// Those of `unshare(2)`.
pub fn unshare(namespaces: Namespaces) -> Result<()> {
    // SAFETY: only namespace bits can be passed; the descriptor table, whose unsharing could break the promises
    // of owned descriptors in other threads, is not among them.
    checked(unsafe { libc::syscall(libc::SYS_unshare, libc::c_ulong::from(namespaces.bits())) }).map(drop)
}

/// Moves the calling thread into an existing namespace (`setns(2)`). With a namespace descriptor, `kind` is
/// checked against it; with a pidfd, `kind` says which of the process' namespaces are joined, all or none of them.
///
/// # Errors
/// Those of `setns(2)`.
pub fn join(target: BorrowedFd<'_>, kind: Namespaces) -> Result<()> {
    // SAFETY: setns takes a descriptor and flags; it touches no memory of the caller.
    checked(unsafe { libc::syscall(libc::SYS_setns, target.as_raw_fd(), libc::c_ulong::from(kind.bits())) })
        .map(drop)
}

/// Whether the calling process is in the user namespace the system came up with. That has an inode of its own
/// (`PROC_USER_INIT_INO`); its maps are no sign, because any namespace can have the same ones. Without a `/proc` to ask,
/// it is taken to be.
#[must_use]
pub fn is_in_initial_user_namespace() -> bool {
    const INITIAL: u64 = 0xefff_fffd;
    rustix::fs::stat(c"/proc/self/ns/user").map_or(true, |stat| stat.st_ino == INITIAL)
}
