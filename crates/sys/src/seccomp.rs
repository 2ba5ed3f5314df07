//! `seccomp(2)`: filters of system calls, in classic BPF.

use crate::{Result, checked};

/// One instruction of classic BPF, as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation code.
    pub code: u16,
    /// How many instructions to skip where a comparison holds.
    pub jump_true: u8,
    /// How many where it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// The kernel's `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const Instruction,
}

/// Filters the system calls of the calling thread, and of everything it becomes and makes, by `program`. Takes
/// CAP_SYS_ADMIN or no_new_privs.
///
/// # Errors
/// Those of `seccomp(2)`; `EINVAL` for a program that is too long or no valid filter.
pub fn filter(program: &[Instruction]) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| crate::Errno::INVAL)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: the structure and the instructions it points at outlive the call, which copies them.
    checked(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
        .map(drop)
}
