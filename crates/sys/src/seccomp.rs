//! `seccomp(2)`: filters of system calls, in classic BPF.

mod listener;
mod notification;

use bitflags::bitflags;

use crate::{Errno, Result, checked};
pub use listener::{Stack, filter_with_listener};
pub use notification::{Notification, let_go_on, receive, respond};

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

impl Instruction {
    /// Its size in a file.
    pub const SIZE: usize = 8;

    /// As the kernel has it in memory, which is also how programs are kept in files.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let ([c0, c1], [o0, o1, o2, o3]) = (self.code.to_ne_bytes(), self.operand.to_ne_bytes());
        [c0, c1, self.jump_true, self.jump_false, o0, o1, o2, o3]
    }

    /// The reverse of [`Self::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [c0, c1, jump_true, jump_false, operand @ ..] = bytes;
        let (code, operand) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes(operand));
        Self { code, jump_true, jump_false, operand }
    }
}

/// How many instructions the kernel takes in one program (`BPF_MAXINSNS`).
pub const MOST_INSTRUCTIONS: usize = 4096;

bitflags! {
    /// How a filter is put in force (`SECCOMP_FILTER_FLAG_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Flags: u32 {
        /// For all threads of the process.
        const TSYNC = 1 << 0;
        /// What is not allowed is logged.
        const LOG = 1 << 1;
        /// Without the mitigation of speculative store bypass.
        const SPEC_ALLOW = 1 << 2;
        /// Only what is fatal interrupts a call whose notification has been received.
        const WAIT_KILLABLE_RECV = 1 << 5;
    }
}

const NEW_LISTENER: u32 = 1 << 3;

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
    filter_with(program, Flags::empty())
}

/// As [`filter`], with flags.
///
/// # Errors
/// As [`filter`]; `EINVAL` also for a flag that this kernel does not know.
pub fn filter_with(program: &[Instruction], flags: Flags) -> Result<()> {
    load(program, flags.bits()).map(drop)
}

/// Whether this kernel knows all of `flags`.
#[must_use]
pub fn knows(flags: Flags) -> bool {
    // That one has to come with a listener.
    let listener = if flags.contains(Flags::WAIT_KILLABLE_RECV) { NEW_LISTENER } else { 0 };
    let flags = flags.bits() | listener;
    let nothing = std::ptr::null::<Program>();
    // SAFETY: without a program there is nothing to be read; the kernel looks at the flags first.
    checked(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, nothing) })
        == Err(Errno::FAULT)
}

fn load(program: &[Instruction], flags: u32) -> Result<libc::c_long> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: the structure and the instructions it points at outlive the call, which copies them.
    checked(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_which_flags_it_knows() {
        assert!(knows(Flags::empty()));
        assert!(!knows(Flags::from_bits_retain(1 << 30)));
    }

    #[test]
    fn an_instruction_in_a_file_is_that_of_the_kernel() {
        let instruction = Instruction { code: 0x0102, jump_true: 3, jump_false: 4, operand: 0x0506_0708 };
        assert_eq!(Instruction::from_bytes(instruction.to_bytes()), instruction);
        assert_eq!(Instruction::SIZE, std::mem::size_of::<Instruction>());
        assert_eq!(instruction.to_bytes()[..2], 0x0102_u16.to_ne_bytes());
    }
}
