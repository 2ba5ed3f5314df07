//! `/proc/self/exe`: making it useless to a container that wants to overwrite the runtime (CVE-2019-5736).
//!
//! A container can make the runtime execute `/proc/self/exe` (as a `#!` line, say), keep a descriptor of it and
//! reopen that for writing once no process runs the file any more. What decides is the *mount* through which the
//! process' executable was opened: through a read-only one the reopening fails with `EROFS`, whoever asks.
//!
//! Executing the runtime a second time through a read-only clone of its mount is one way to get there
//! ([`read_only_view`] and then [`crate::exec::exec_descriptor`]); it costs a whole process start. [`replace`]
//! gets there within the running process: it maps the same bytes again through the read-only view, over the
//! old mappings, and then tells the kernel (`PR_SET_MM_MAP`, as CRIU does) that this is the executable.
//!
//! An executable that is on no mount of this namespace, as one in anonymous memory (`memfd_create(2)`), is copied to such
//! memory that nobody can write to any more ([`sealed_copy`]).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create, openat,
    sendfile,
};
use rustix::mount::OpenTreeFlags;
use rustix::process::PrctlMmMap;

use crate::mount::{MountAttr, MountChange, Reach, set_attributes};
use crate::{Errno, Result, last_errno};

/// The running executable, seen through a private read-only clone of its mount, or a copy of it.
#[derive(Debug)]
pub struct ReadOnlyView {
    /// The file, opened for reading.
    pub file: OwnedFd,
    /// The mount. Closing its last descriptor dissolves it, for which the kernel waits until no processor can be
    /// looking at it any more; better done when nobody waits for this process. The file does not need it.
    pub mount: Option<OwnedFd>,
    /// Where the program lies in memory; found here because finding it takes a lock of the C library's.
    image: Image,
}

/// Makes a read-only view of the running executable.
///
/// # Errors
/// Those of `open_tree(2)` and `mount_setattr(2)`; `EPERM` without CAP_SYS_ADMIN, `EINVAL` for an executable that is on
/// no mount of this namespace.
pub fn read_only_view() -> Result<ReadOnlyView> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, c"/proc/self/exe", flags)?;
    let change = MountChange { set: MountAttr::RDONLY, ..MountChange::default() };
    set_attributes(mount.as_fd(), change, Reach::Mount)?;
    let file = reopen(mount.as_fd())?;
    let image = Image::of_this_process().ok_or(Errno::NOEXEC)?;
    Ok(ReadOnlyView { file, mount: Some(mount), image })
}

/// What makes a file in memory unchangeable (`F_ADD_SEALS`).
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

/// Copies the running executable to memory that nobody can write to.
///
/// # Errors
/// Those of `memfd_create(2)`, `sendfile(2)` and `fcntl(2)`.
pub fn sealed_copy() -> Result<ReadOnlyView> {
    let source = openat(CWD, c"/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match memfd_create(c"executable", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 everything in memory can be executed.
        Err(Errno::INVAL) => memfd_create(c"executable", flags)?,
        other => other?,
    };
    while sendfile(&copy, &source, None, 1 << 30)? > 0 {}
    fcntl_add_seals(&copy, SEALS | SealFlags::SEAL)?;
    // Opened once more, because what somebody can write to is no executable for the kernel.
    let file = reopen(copy.as_fd())?;
    let image = Image::of_this_process().ok_or(Errno::NOEXEC)?;
    Ok(ReadOnlyView { file, mount: None, image })
}

/// Whether the running executable is in memory that nobody can write to.
#[must_use]
pub fn is_sealed() -> bool {
    openat(CWD, c"/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(fcntl_get_seals)
        .is_ok_and(|seals| seals.contains(SEALS))
}

fn reopen(file: BorrowedFd<'_>) -> Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether this kernel lets a process change its executable ([`replace`]): it was built with
/// `CONFIG_CHECKPOINT_RESTORE`.
#[must_use]
pub fn can_replace() -> bool {
    rustix::process::virtual_memory_map_config_struct_size().is_ok()
}

/// Whether neither the user who started this program nor the one it was started as is root. The kernel has said so then
/// (`getauxval(3)`) and is not asked again.
#[must_use]
pub fn is_an_ordinary_users() -> bool {
    // SAFETY: getauxval only reads.
    let ids = unsafe { [libc::getauxval(libc::AT_UID), libc::getauxval(libc::AT_EUID)] };
    ids.iter().all(|id| *id != 0)
}

/// Makes what `view` shows this process' executable.
///
/// # Errors
/// `EBUSY` when the process has several threads; `EPERM` for a process without privileges in its user namespace; those of `mmap(2)`, `mremap(2)` and `prctl(2)` (`PR_SET_MM_MAP`). After
/// a failure the process is as sound as before.
pub fn replace(view: &ReadOnlyView) -> Result<()> {
    // A second thread could write to the data segment between its copy and the exchange.
    if rustix::fs::stat(c"/proc/self/task")?.st_nlink != 3 {
        return Err(Errno::BUSY);
    }
    let image = view.image;
    for segment in image.segments() {
        if segment.flags & libc::PF_W == 0 {
            map_again(&segment, view.file.as_fd())?;
        } else {
            make_anonymous(&segment)?;
        }
    }
    image.protect_relocated()?;
    set_executable(&image, view.file.as_fd())
}

/// The main program's load address and program headers, and the size of the pages it is mapped in: 4, 16 or 64 KiB,
/// as the kernel was built.
#[derive(Clone, Copy)]
struct Image {
    bias: usize,
    headers: &'static [libc::Elf64_Phdr],
    page: usize,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("bias", &self.bias).finish_non_exhaustive()
    }
}

/// One file-backed piece of the program in memory, on page boundaries.
struct Segment {
    start: usize,
    length: usize,
    offset: libc::off_t,
    flags: u32,
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

impl Image {
    fn of_this_process() -> Option<Self> {
        unsafe extern "C" fn take_first(
            info: *mut libc::dl_phdr_info,
            _size: usize,
            out: *mut libc::c_void,
        ) -> i32 {
            // SAFETY: dl_iterate_phdr passes a valid structure, first that of the main program, whose headers
            // stay mapped as long as the process lives; `out` is the Option passed below; getauxval only reads.
            unsafe {
                let info = &*info;
                let headers = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
                let (bias, page) = (to_usize(info.dlpi_addr), to_usize(libc::getauxval(libc::AT_PAGESZ)));
                *out.cast::<Option<Image>>() = Some(Image { bias, headers, page });
            }
            1
        }
        let mut found: Option<Self> = None;
        // SAFETY: the callback matches the expected signature and only uses its arguments during the call.
        unsafe { libc::dl_iterate_phdr(Some(take_first), (&raw mut found).cast()) };
        found.filter(|image| image.page.is_power_of_two())
    }

    fn page_floor(&self, address: usize) -> usize {
        address & !(self.page - 1)
    }

    fn page_ceiling(&self, address: usize) -> usize {
        self.page_floor(address + self.page - 1)
    }

    fn segments(&self) -> impl Iterator<Item = Segment> {
        self.headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_filesz > 0).map(
            |header| {
                let start = self.page_floor(self.bias + to_usize(header.p_vaddr));
                let end = self.page_ceiling(self.bias + to_usize(header.p_vaddr + header.p_filesz));
                let offset = libc::off_t::try_from(self.page_floor(to_usize(header.p_offset))).unwrap_or(0);
                Segment { start, length: end - start, offset, flags: header.p_flags }
            },
        )
    }

    /// Makes the part of the data that only relocation writes to read-only again, as the C start-up code had.
    fn protect_relocated(&self) -> Result<()> {
        for header in self.headers.iter().filter(|header| header.p_type == libc::PT_GNU_RELRO) {
            let start = self.page_floor(self.bias + to_usize(header.p_vaddr));
            let end = self.page_floor(self.bias + to_usize(header.p_vaddr + header.p_memsz));
            if end > start {
                // SAFETY: the range is inside the program's own data and nothing writes to it after start-up.
                let done = unsafe { libc::mprotect(start as *mut _, end - start, libc::PROT_READ) };
                if done != 0 {
                    return Err(last_errno());
                }
            }
        }
        Ok(())
    }
}

/// Maps a segment that is never written to from `view`, over itself.
fn map_again(segment: &Segment, view: BorrowedFd<'_>) -> Result<()> {
    let read = if segment.flags & libc::PF_R == 0 { 0 } else { libc::PROT_READ };
    let execute = if segment.flags & libc::PF_X == 0 { 0 } else { libc::PROT_EXEC };
    // SAFETY: the new mapping has the same bytes at the same addresses with the same protection as the one it
    // replaces in one step, so code that runs and data that is borrowed from it see no difference.
    let mapped = unsafe {
        libc::mmap(
            segment.start as *mut _,
            segment.length,
            read | execute,
            libc::MAP_PRIVATE | libc::MAP_FIXED,
            view.as_raw_fd(),
            segment.offset,
        )
    };
    if mapped == libc::MAP_FAILED { Err(last_errno()) } else { Ok(()) }
}

/// Moves a writable segment to anonymous memory, at the same addresses.
fn make_anonymous(segment: &Segment) -> Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let copy = unsafe { libc::mmap(std::ptr::null_mut(), segment.length, protection, flags, -1, 0) };
    if copy == libc::MAP_FAILED {
        return Err(last_errno());
    }
    // SAFETY: source and target are whole mapped pages of `length` bytes and do not overlap. There is only one
    // thread (checked by the caller) and between copy and exchange it runs nothing that writes to a static, so
    // the exchange, one step for the kernel, is not visible to the program.
    let moved = unsafe {
        std::ptr::copy_nonoverlapping(segment.start as *const u8, copy.cast::<u8>(), segment.length);
        libc::mremap(
            copy,
            segment.length,
            segment.length,
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
            segment.start as *mut libc::c_void,
        )
    };
    if moved == libc::MAP_FAILED { Err(last_errno()) } else { Ok(()) }
}

unsafe extern "C" {
    /// glibc and musl: points at `argv[0]`.
    static program_invocation_name: *const libc::c_char;
    static environ: *const *const libc::c_char;
}

fn set_executable(image: &Image, view: BorrowedFd<'_>) -> Result<()> {
    let range = |flag: u32| {
        image
            .segments()
            .find(|segment| segment.flags & flag != 0)
            .map(|segment| (segment.start as u64, (segment.start + segment.length) as u64))
    };
    let (start_code, end_code) = range(libc::PF_X).ok_or(Errno::NOEXEC)?;
    let (start_data, end_data) = range(libc::PF_W).ok_or(Errno::NOEXEC)?;
    // SAFETY: sbrk(0) only reads; the two statics are set before main and not changed by this program.
    let (heap_end, arguments, environment) = unsafe {
        let environment = if environ.is_null() { std::ptr::null() } else { *environ };
        (libc::sbrk(0) as u64, program_invocation_name as u64, environment as u64)
    };
    // SAFETY: getauxval only reads.
    let strings_end = unsafe { libc::getauxval(libc::AT_EXECFN) };
    // argv, envp and the file name follow one another on the initial stack; where that does not hold (an
    // embedder that moved its environment) the ranges are left empty, which only blanks /proc/PID/cmdline.
    let in_order = arguments <= environment && environment <= strings_end;
    let (arg_end, env_start) = if in_order { (environment, environment) } else { (arguments, strings_end) };
    let map = PrctlMmMap {
        start_code,
        end_code,
        start_data,
        end_data,
        start_brk: heap_end,
        brk: heap_end,
        start_stack: arguments,
        arg_start: arguments,
        arg_end,
        env_start,
        env_end: strings_end,
        auxv: std::ptr::null_mut(),
        auxv_size: 0,
        exe_fd: view.as_raw_fd(),
    };
    // SAFETY: the addresses are those of the running program and only reported by the kernel, apart from the
    // heap's, where `start_brk` equal to `brk` merely stops the heap from shrinking below its present end.
    unsafe { rustix::process::configure_virtual_memory_map(&map) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text at 0x1000 to 0x2345 and data at 0x13000 to 0x14567, as a linker for pages of up to 64 KiB places them.
    const HEADERS: [libc::Elf64_Phdr; 2] = [
        header(libc::PF_R | libc::PF_X, 0x1000, 0x1000, 0x1345),
        header(libc::PF_R | libc::PF_W, 0x3000, 0x1_3000, 0x1567),
    ];

    const fn header(flags: u32, offset: u64, address: u64, size: u64) -> libc::Elf64_Phdr {
        libc::Elf64_Phdr {
            p_type: libc::PT_LOAD,
            p_flags: flags,
            p_offset: offset,
            p_vaddr: address,
            p_paddr: address,
            p_filesz: size,
            p_memsz: size,
            p_align: 0x1_0000,
        }
    }

    fn segments(page: usize) -> Vec<(usize, usize, libc::off_t)> {
        let image = Image { bias: 0x20_0000, headers: &HEADERS, page };
        image.segments().map(|segment| (segment.start, segment.length, segment.offset)).collect()
    }

    #[test]
    fn segments_lie_on_the_page_boundaries_of_this_kernel() {
        assert_eq!(segments(0x1000), [(0x20_1000, 0x2000, 0x1000), (0x21_3000, 0x2000, 0x3000)]);
        assert_eq!(segments(0x1_0000), [(0x20_0000, 0x1_0000, 0), (0x21_0000, 0x1_0000, 0)]);
    }

    #[test]
    fn the_page_size_is_that_of_this_kernel() {
        // SAFETY: sysconf only reads.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        assert_eq!(libc::c_long::try_from(Image::of_this_process().unwrap().page), Ok(page));
    }
}
