//! `bpf(2)`: loading device programs, attaching them to cgroups, and finding those that are attached.

use std::ffi::{CStr, c_int};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Errno, Result, checked};

/// One eBPF instruction, in the kernel's layout (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    name: [u8; NAME_LENGTH],
}

/// The part that BPF_PROG_ATTACH reads.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
}

/// The part that BPF_PROG_QUERY reads and writes.
#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// The part that BPF_OBJ_PIN reads.
#[repr(C)]
#[derive(Default)]
struct Pin {
    path: u64,
    program: u32,
    flags: u32,
}

/// The part that BPF_PROG_GET_FD_BY_ID reads.
#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next: u32,
    open_flags: u32,
}

/// The part that BPF_OBJ_GET_INFO_BY_FD reads and writes.
#[repr(C)]
#[derive(Default)]
struct AskInfo {
    program: u32,
    length: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    program_type: u32,
    id: u32,
    tag: [u8; 8],
    machine_code_length: u32,
    code_length: u32,
    machine_code: u64,
    code: u64,
    load_time: u64,
    owner: u32,
    map_count: u32,
    maps: u64,
    name: [u8; NAME_LENGTH],
}

const PROG_LOAD: c_int = 5;
const OBJ_PIN: c_int = 6;
const PROG_ATTACH: c_int = 8;
const PROG_DETACH: c_int = 9;
const PROG_GET_FD_BY_ID: c_int = 13;
const OBJ_GET_INFO_BY_FD: c_int = 15;
const PROG_QUERY: c_int = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;
const NAME_LENGTH: usize = 16;
/// How many programs the kernel lets be attached to a cgroup.
const MOST_ATTACHED: usize = 64;

/// Calls `bpf(2)`.
///
/// # Safety
/// `attributes` is what the kernel expects of this command, and what its addresses lead to is of the size that it says
/// beside them, and writable where the kernel writes.
unsafe fn bpf<T>(command: c_int, attributes: &mut T) -> Result<libc::c_long> {
    // SAFETY: the caller answers for what is in them; they outlive the call, and their size is passed.
    checked(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) })
}

/// Takes on a descriptor that the kernel has just made.
fn own(fd: libc::c_long) -> Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: only called with what a command has returned that makes a descriptor (close-on-exec, as all of bpf(2)'s);
    // nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

fn length<T>(list: &[T]) -> Result<u32> {
    u32::try_from(list.len()).map_err(|_| Errno::TOOBIG)
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE` with a name (the first 15 letters of it).
///
/// # Errors
/// Those of `bpf(2)`: `EPERM` without the privilege, `EINVAL` or `EACCES` when the verifier refuses the program.
pub fn load_cgroup_device(name: &CStr, program: &[Instruction]) -> Result<OwnedFd> {
    let mut attributes = Load {
        program_type: PROG_TYPE_CGROUP_DEVICE,
        instruction_count: length(program)?,
        instructions: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..Load::default()
    };
    for (to, from) in attributes.name.iter_mut().take(NAME_LENGTH - 1).zip(name.to_bytes()) {
        *to = *from;
    }
    // SAFETY: the attributes point at `program` and a static string, which outlive the call and are only read.
    own(unsafe { bpf(PROG_LOAD, &mut attributes) }?)
}

/// Attaches a device program to a cgroup v2 directory, beside any that are there (`BPF_F_ALLOW_MULTI`), or in one step
/// in the place of the one that is `replaced` (Linux 5.6). The kernel keeps it for as long as the cgroup lives.
///
/// # Errors
/// Those of `bpf(2)`; `ENOENT` when the one to be replaced is not attached.
pub fn attach_cgroup_device(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut attributes = Attach {
        target: number(cgroup),
        program: number(program),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        flags: if replaced.is_some() { ALLOW_MULTI | REPLACE } else { ALLOW_MULTI },
        replaced: replaced.map_or(0, number),
    };
    // SAFETY: there is no address in the attributes.
    unsafe { bpf(PROG_ATTACH, &mut attributes) }.map(drop)
}

/// Detaches a device program from a cgroup.
///
/// # Errors
/// Those of `bpf(2)`.
pub fn detach_cgroup_device(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attributes = Attach {
        target: number(cgroup),
        program: number(program),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: there is no address in the attributes.
    unsafe { bpf(PROG_DETACH, &mut attributes) }.map(drop)
}

/// The device programs that are attached to a cgroup itself, in the order in which they were.
///
/// # Errors
/// Those of `bpf(2)`.
pub fn attached_cgroup_devices(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MOST_ATTACHED];
    let mut attributes = Query {
        target: number(cgroup),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        count: length(&ids)?,
        ..Query::default()
    };
    // SAFETY: the attributes point at `ids`, with how many there is room for.
    unsafe { bpf(PROG_QUERY, &mut attributes) }?;
    let count = usize::try_from(attributes.count).map_err(|_| Errno::TOOBIG)?;
    let open = |id: &u32| {
        let mut attributes = ById { id: *id, ..ById::default() };
        // SAFETY: there is no address in the attributes.
        own(unsafe { bpf(PROG_GET_FD_BY_ID, &mut attributes) }?)
    };
    let opened = ids.iter().take(count).map(open);
    // One that was detached meanwhile is gone.
    opened.filter(|program| !matches!(program, Err(Errno::NOENT))).collect()
}

/// Gives a program a name in a bpf filesystem, under which others find it, and for as long as which it is kept.
///
/// # Errors
/// Those of `bpf(2)`; `EEXIST` when there is something of that name.
pub fn pin(program: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    let mut attributes = Pin { path: path.as_ptr() as u64, program: number(program), ..Pin::default() };
    // SAFETY: the attributes point at `path`, which outlives the call, ends with a NUL and is only read.
    unsafe { bpf(OBJ_PIN, &mut attributes) }.map(drop)
}

/// The name a program was loaded with.
///
/// # Errors
/// Those of `bpf(2)`.
pub fn program_name(program: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let info = ask(program, &mut [])?;
    let end = info.name.iter().position(|letter| *letter == 0).unwrap_or(NAME_LENGTH);
    Ok(info.name.get(..end).unwrap_or_default().to_vec())
}

/// The instructions of a program, as the verifier has left them. Empty where the kernel does not show them.
///
/// # Errors
/// Those of `bpf(2)`.
pub fn program_code(program: BorrowedFd<'_>) -> Result<Vec<Instruction>> {
    let size = usize::try_from(ask(program, &mut [])?.code_length).map_err(|_| Errno::TOOBIG)?;
    let mut code = vec![Instruction::default(); size / size_of::<Instruction>()];
    let shown = ask(program, &mut code)?;
    // The kernel leaves out the address of what it does not show.
    if shown.code == 0 {
        code.clear();
    }
    Ok(code)
}

fn ask(program: BorrowedFd<'_>, code: &mut [Instruction]) -> Result<Info> {
    let mut info = Info {
        code_length: u32::try_from(size_of_val(code)).map_err(|_| Errno::TOOBIG)?,
        code: if code.is_empty() { 0 } else { code.as_mut_ptr() as u64 },
        ..Info::default()
    };
    let mut attributes = AskInfo {
        program: number(program),
        length: u32::try_from(size_of::<Info>()).map_err(|_| Errno::TOOBIG)?,
        info: std::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: the attributes point at `info`, with its size, and that at `code`, with its size.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info)
}
