//! `unshare(2)` and `setns(2)`, restricted to namespaces, and what a namespace tells about itself.

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

/// Which namespace a file is (`ioctl_nsfs(2)`, NS_GET_NSTYPE).
///
/// # Errors
/// `ENOTTY` for a file that is none.
pub fn kind(file: BorrowedFd<'_>) -> Result<Namespaces> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the request takes no argument; the kernel reads and writes no memory of the caller.
    let kind = checked(unsafe { libc::syscall(libc::SYS_ioctl, file.as_raw_fd(), NS_GET_NSTYPE, 0) })?;
    u32::try_from(kind).map(Namespaces::from_bits_retain).map_err(|_| crate::Errno::RANGE)
}

/// Whether the calling process is in the user namespace the system came up with. That has an inode of its own
/// (`PROC_USER_INIT_INO`); its maps are no sign, because any namespace can have the same ones. Without a `/proc` to ask,
/// it is taken to be.
#[must_use]
pub fn is_in_initial_user_namespace() -> bool {
    const INITIAL: u64 = 0xefff_fffd;
    rustix::fs::stat(c"/proc/self/ns/user").map_or(true, |stat| stat.st_ino == INITIAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_namespace_says_which_it_is() {
        let kind_of = |path| kind(std::fs::File::open(path).unwrap().as_fd());
        assert_eq!(kind_of("/proc/self/ns/net"), Ok(Namespaces::NETWORK));
        assert_eq!(kind_of("/proc/self/ns/user"), Ok(Namespaces::USER));
        assert_eq!(kind_of("/proc/self/status"), Err(crate::Errno::NOTTY));
    }
}
