//! `clone3(2)`: how a container's first process comes to be, already in its namespaces and its cgroup.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use bitflags::bitflags;
use rustix::process::Pid;

use crate::{Result, checked};

bitflags! {
    /// The namespaces a process can be created in, as the kernel's `CLONE_NEW*` bits (`namespaces(7)`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Namespaces: u32 {
        /// `CLONE_NEWTIME`
        const TIME = 0x0000_0080;
        /// `CLONE_NEWNS`
        const MOUNT = 0x0002_0000;
        /// `CLONE_NEWCGROUP`
        const CGROUP = 0x0200_0000;
        /// `CLONE_NEWUTS`
        const UTS = 0x0400_0000;
        /// `CLONE_NEWIPC`
        const IPC = 0x0800_0000;
        /// `CLONE_NEWUSER`
        const USER = 0x1000_0000;
        /// `CLONE_NEWPID`
        const PID = 0x2000_0000;
        /// `CLONE_NEWNET`
        const NETWORK = 0x4000_0000;
    }
}

/// A process made by [`spawn`].
#[derive(Debug)]
pub struct Child {
    /// Its pid in the caller's pid namespace.
    pub pid: Pid,
    /// A descriptor that names the process even after its pid is reused (`pidfd_open(2)`).
    pub pidfd: OwnedFd,
}

/// Ends the process if the child's closure unwinds, so that a panic cannot run the parent's code a second time.
struct NeverReturn;

impl Drop for NeverReturn {
    fn drop(&mut self) {
        exit_now(70);
    }
}

/// Creates a process in new `namespaces` and, if given, directly in `cgroup` (a directory of a cgroup v2 tree),
/// and runs `child` in it, which executes another program or returns an exit status. The memory is a copy, as after
/// `fork(2)`; signals handled by the caller are back to their defaults in the child, ignored ones stay ignored.
///
/// # Errors
/// Those of `clone3(2)`; `EBUSY`, `EOPNOTSUPP` and `EINVAL` may mean that the kernel refuses this cgroup.
///
/// # Safety
/// In the new process everything is there twice but the threads: of those only the calling one is. As for
/// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec), until it executes a program or ends, `child`
/// - must only do what may be done in a signal handler (`signal-safety(7)`) unless the caller has no other thread:
///   not allocate or free memory, not take a lock. Another thread may have held it, or may have been in the middle of
///   what it protects, at the moment of the clone;
/// - must not use what it still shares with the caller, such as memory mapped as shared, as if it were its only owner.
///
/// What `child` owns is dropped when it returns, under the same conditions.
pub unsafe fn spawn<F>(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>, child: F) -> Result<Child>
where
    F: FnOnce() -> i32,
{
    // CLONE_CLEAR_SIGHAND and CLONE_INTO_CGROUP lie above the 32 bits libc gives a c_int for.
    const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    const PIDFD: u64 = 0x1000;

    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain data, for which all zeroes is the documented "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(namespaces.bits()) | PIDFD | CLEAR_SIGHAND;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if let Some(directory) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = u64::from(directory.as_raw_fd().unsigned_abs());
    }
    // SAFETY: `args` asks for a copy of the memory; for `child` the caller answers.
    let pid = unsafe { fork(&mut args, child) }?;
    // SAFETY: on success the kernel has stored a new descriptor, owned by nobody else, in `pidfd`.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd })
}

/// Creates a process as [`spawn`] does, in the caller's namespaces and cgroup, by the older `clone(2)`: a filter cannot look
/// into what `clone3(2)` is given, so that many take it away. Signals handled by the caller stay so until the child resets
/// them.
///
/// # Errors
/// Those of `clone(2)`.
///
/// # Safety
/// That of [`spawn`].
pub unsafe fn spawn_by_clone<F: FnOnce() -> i32>(child: F) -> Result<Child> {
    let mut pidfd: RawFd = -1;
    let flags = libc::c_long::from(libc::CLONE_PIDFD | libc::SIGCHLD);
    let (same_stack, unused) = (std::ptr::null_mut::<u8>(), 0_usize);
    // SAFETY: without CLONE_VM and with no stack given this has the semantics of fork(2): the child continues here on a
    // private copy of the stack. With CLONE_PIDFD the third argument is where the descriptor is stored, and it outlives
    // the call; the others mean nothing without flags for them.
    let pid = checked(unsafe {
        libc::syscall(libc::SYS_clone, flags, same_stack, &raw mut pidfd, unused, unused)
    })?;
    if pid == 0 {
        let _guard = NeverReturn;
        exit_now(child());
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(crate::Errno::RANGE)?;
    // SAFETY: on success the kernel has stored a new descriptor, owned by nobody else, in `pidfd`.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd })
}

/// Creates a process as [`spawn`] does, but as a child of the caller's parent (`CLONE_PARENT`), in new `namespaces` and
/// those the caller has for its children. Returns its pid.
///
/// # Errors
/// Those of `clone3(2)`.
///
/// # Safety
/// That of [`spawn`].
pub unsafe fn spawn_sibling<F: FnOnce() -> i32>(namespaces: Namespaces, child: F) -> Result<Pid> {
    const PARENT: u64 = 0x8000;
    // SAFETY: clone_args is plain data, for which all zeroes is the documented "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    // The signal sent to the parent is that of the caller; one may not be given.
    args.flags = u64::from(namespaces.bits()) | PARENT;
    // SAFETY: `args` asks for a copy of the memory; for `child` the caller answers.
    unsafe { fork(&mut args, child) }
}

/// Calls `clone3(2)`; the child runs `child` and ends with the status that returns.
///
/// # Safety
/// `args` asks neither for shared memory nor for a stack, and `child` is fit for [`spawn`].
unsafe fn fork<F: FnOnce() -> i32>(args: &mut libc::clone_args, child: F) -> Result<Pid> {
    // SAFETY: without CLONE_VM and with no stack given this has the semantics of fork(2): the child continues
    // here on a private copy of the stack. `args` and what it points at outlive the call.
    let pid = checked(unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_mut(args), std::mem::size_of::<libc::clone_args>())
    })?;
    if pid == 0 {
        let _guard = NeverReturn;
        exit_now(child());
    }
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(crate::Errno::RANGE)
}

/// Ends the process at once: no destructors, no `atexit` handlers, no flushed buffers (`_exit(2)`).
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}
