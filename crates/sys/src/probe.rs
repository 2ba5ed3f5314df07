//! Whether this kernel has a call, asked with arguments that it has to refuse: nothing is done, whatever the answer.

use crate::{Errno, Result, checked};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `clone3(2)`.
    Clone3,
    /// `clone3(2)` with `CLONE_INTO_CGROUP`.
    CloneIntoCgroup,
    /// `openat2(2)`.
    Openat2,
    /// `open_tree(2)`.
    OpenTree,
    /// `move_mount(2)`.
    MoveMount,
    /// `fsopen(2)`.
    Fsopen,
    /// `mount_setattr(2)`.
    MountSetattr,
    /// `close_range(2)`.
    CloseRange,
    /// `pidfd_open(2)`.
    PidfdOpen,
    /// `pidfd_send_signal(2)`.
    PidfdSendSignal,
    /// `seccomp(2)`.
    Seccomp,
}

/// Whether the kernel has it, and no filter around this process takes it away.
#[must_use]
pub fn has(call: Call) -> bool {
    match call {
        // A descriptor that is none is looked at only where the flag is known.
        Call::CloneIntoCgroup => clone_into_no_cgroup() == Err(Errno::BADF),
        Call::Seccomp => crate::seccomp::knows(crate::seccomp::Flags::empty()),
        call => ask(call) != Err(Errno::NOSYS),
    }
}

/// Arguments that no kernel takes: sizes of structures that are too small, flags that do not exist, ranges and ids that
/// are none.
fn ask(call: Call) -> Result<libc::c_long> {
    const WRONG: libc::c_long = -1;
    let (number, arguments) = match call {
        Call::Clone3 | Call::CloneIntoCgroup => (libc::SYS_clone3, [0; 5]),
        Call::Openat2 => (libc::SYS_openat2, [WRONG, 0, 0, 0, 0]),
        Call::OpenTree => (libc::SYS_open_tree, [WRONG, 0, WRONG, 0, 0]),
        Call::MoveMount => (libc::SYS_move_mount, [WRONG, 0, WRONG, 0, WRONG]),
        Call::Fsopen => (libc::SYS_fsopen, [0, WRONG, 0, 0, 0]),
        Call::MountSetattr => (libc::SYS_mount_setattr, [WRONG, 0, 0, 0, 0]),
        Call::CloseRange => (libc::SYS_close_range, [1, 0, 0, 0, 0]),
        Call::PidfdOpen => (libc::SYS_pidfd_open, [WRONG, 0, 0, 0, 0]),
        Call::PidfdSendSignal => (libc::SYS_pidfd_send_signal, [WRONG, 0, 0, WRONG, 0]),
        Call::Seccomp => (libc::SYS_seccomp, [WRONG, 0, 0, 0, 0]),
    };
    let [a, b, c, d, e] = arguments;
    // SAFETY: every pointer among the arguments is null, which the kernel answers with EFAULT if it gets that far.
    checked(unsafe { libc::syscall(number, a, b, c, d, e) })
}

fn clone_into_no_cgroup() -> Result<libc::c_long> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // No process has that many descriptors (`NR_OPEN`).
    const NONE: u64 = 0x7fff_ffff;
    // `struct clone_args`: flags first, the exit signal fifth, the cgroup last.
    let mut arguments = [0_u64; 11];
    arguments[0] = CLONE_INTO_CGROUP;
    arguments[10] = NONE;
    let size = std::mem::size_of_val(&arguments);
    // SAFETY: the structure outlives the call. There is no new process: with a descriptor that is none the kernel cannot
    // know where to put it.
    checked(unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recent_kernel_has_all_of_them() {
        let version = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let major: u32 = version.split('.').next().unwrap().parse().unwrap();
        if major < 6 {
            return;
        }
        for call in [
            Call::Clone3,
            Call::CloneIntoCgroup,
            Call::Openat2,
            Call::OpenTree,
            Call::MoveMount,
            Call::Fsopen,
            Call::MountSetattr,
            Call::CloseRange,
            Call::PidfdOpen,
            Call::PidfdSendSignal,
            Call::Seccomp,
        ] {
            assert!(has(call), "{call:?}: {:?}", ask(call));
        }
    }

    #[test]
    fn whoever_asks_is_told_no_and_nothing_else_happens() {
        let children = || std::fs::read_to_string("/proc/thread-self/children").unwrap();
        let before = children();
        for call in [Call::Clone3, Call::CloneIntoCgroup] {
            assert!(ask(call).is_err());
        }
        assert!(clone_into_no_cgroup().is_err());
        assert_eq!(children(), before);
    }
}
