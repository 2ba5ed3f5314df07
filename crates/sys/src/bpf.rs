//! `bpf(2)`: loading a device program and attaching it to a cgroup.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Result, checked};

/// One eBPF instruction, in the kernel's layout (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation code.
    pub code: u8,
    /// Destination register in the low half, source register in the high half.
    pub registers: u8,
    /// Offset of a jump or a memory access.
    pub offset: i16,
    /// Immediate operand.
    pub immediate: i32,
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that BPF_PROG_ATTACH reads.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
///
/// # Errors
/// Those of `bpf(2)`: `EPERM` without the privilege, `EINVAL` or `EACCES` when the verifier refuses the program.
pub fn load_cgroup_device(program: &[Instruction]) -> Result<OwnedFd> {
    let attributes = Load {
        program_type: PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(|_| crate::Errno::TOOBIG)?,
        instructions: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: the attributes point at `program` and a static string, which outlive the call; the size is theirs.
    let fd = checked(unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, std::mem::size_of::<Load>())
    })?;
    let fd = i32::try_from(fd).map_err(|_| crate::Errno::BADF)?;
    // SAFETY: the kernel just made this descriptor (close-on-exec, as all of bpf(2)'s); nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a cgroup v2 directory, beside any that are there (`BPF_F_ALLOW_MULTI`). The
/// kernel keeps it for as long as the cgroup lives.
///
/// # Errors
/// Those of `bpf(2)`.
pub fn attach_cgroup_device(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let attributes = Attach {
        target: cgroup.as_raw_fd().unsigned_abs(),
        program: program.as_raw_fd().unsigned_abs(),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
        ..Attach::default()
    };
    // SAFETY: the attributes outlive the call and their size is passed.
    checked(unsafe {
        libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attributes, std::mem::size_of::<Attach>())
    })
    .map(drop)
}
