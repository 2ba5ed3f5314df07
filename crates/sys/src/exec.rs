//! The last step of a process' set-up: closing what it must not inherit, and `execve(2)`.

use std::ffi::CStr;

use crate::{Errno, Result, checked, last_errno};

/// Strings in the form `execve(2)` wants them (`argv`, `envp`), laid out before the clone so that the child
/// neither allocates nor copies.
pub struct StringArray {
    bytes: Vec<u8>,
    pointers: Vec<*const libc::c_char>,
}

impl std::fmt::Debug for StringArray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl StringArray {
    /// Copies `strings` into one block.
    ///
    /// # Errors
    /// `EINVAL` when a string holds a NUL byte, which the kernel would take for its end.
    pub fn new<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut bytes = Vec::with_capacity(512);
        let mut starts = Vec::with_capacity(16);
        for string in strings {
            let string = string.as_ref();
            if string.contains(&0) {
                return Err(Errno::INVAL);
            }
            starts.push(bytes.len());
            bytes.extend_from_slice(string);
            bytes.push(0);
        }
        let base: *const libc::c_char = bytes.as_ptr().cast();
        let mut pointers: Vec<_> = starts.into_iter().map(|start| base.wrapping_add(start)).collect();
        pointers.push(std::ptr::null());
        Ok(Self { bytes, pointers })
    }

    /// The strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = &CStr> {
        self.bytes.split_inclusive(|byte| *byte == 0).filter_map(|s| CStr::from_bytes_with_nul(s).ok())
    }

    /// The first string, if there is one.
    #[must_use]
    pub fn first(&self) -> Option<&CStr> {
        self.iter().next()
    }
}

/// Replaces the process by the program at `path` (`execve(2)`). Returns only on failure, with the reason.
#[must_use]
pub fn exec(path: &CStr, argv: &StringArray, envp: &StringArray) -> Errno {
    // SAFETY: `path` and every string are NUL-terminated, both pointer arrays end in a null pointer, and all of
    // them point into memory owned by the arguments, which outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    last_errno()
}

/// Replaces the process by the file that `program` is open on (`execveat(2)` with `AT_EMPTY_PATH`).
/// Returns only on failure, with the reason.
#[must_use]
pub fn exec_descriptor(
    program: std::os::fd::BorrowedFd<'_>,
    argv: &StringArray,
    envp: &StringArray,
) -> Errno {
    use std::os::fd::AsRawFd;
    // SAFETY: as for `exec`; the empty path with AT_EMPTY_PATH names the descriptor itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}

/// Closes every descriptor but 0 to 2, those given, and those below `first` that were inherited.
///
/// The kernel resolves a program, its `#!` line and its loader before it closes what is close-on-exec, so a directory of
/// the host that is still open then can be walked out of through `/proc/self/fd` (CVE-2024-21626). What was inherited
/// is told from what this process opened by the flag: an inherited descriptor never is close-on-exec.
///
/// For a process that is about to execute or to end: whoever owns one of the closed descriptors must not use it again.
///
/// # Errors
/// Those of `close_range(2)`.
pub fn close_all_but<const N: usize>(
    keep: [Option<std::os::fd::BorrowedFd<'_>>; N],
    first: u32,
) -> Result<()> {
    use std::os::fd::AsRawFd;
    let kept = |fd: u32| keep.iter().flatten().any(|kept| kept.as_raw_fd().unsigned_abs() == fd);
    let open_limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let inherited_end = first.min(u32::try_from(open_limit.unwrap_or(1 << 20)).unwrap_or(1 << 20));
    for fd in (3..inherited_end).filter(|fd| !kept(*fd)) {
        // SAFETY: asking for the flags of a number that may not be open is harmless.
        let flags = unsafe { libc::fcntl(fd.cast_signed(), libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC != 0 {
            close_range(fd, fd)?;
        }
    }
    let mut ends = keep.map(|kept| kept.map_or(libc::c_uint::MAX, |kept| kept.as_raw_fd().unsigned_abs()));
    ends.sort_unstable();
    close_between(first.max(3), ends)
}

/// Closes every descriptor but those in `keep`, which are in the order of their numbers, and one more; the standard ones,
/// too.
///
/// For a process that enters a place where others might look into it, with the condition of [`close_all_but`].
///
/// # Errors
/// Those of `close_range(2)`.
pub fn close_everything_but(
    keep: &[std::os::fd::BorrowedFd<'_>],
    one_more: std::os::fd::BorrowedFd<'_>,
) -> Result<()> {
    use std::os::fd::AsRawFd;
    let number = |kept: &std::os::fd::BorrowedFd<'_>| kept.as_raw_fd().unsigned_abs();
    let (below, above) = keep.split_at(keep.partition_point(|kept| number(kept) < number(&one_more)));
    close_between(0, below.iter().chain([&one_more]).chain(above).map(number))
}

/// Closes what is open from `from` on, but not what has one of these numbers, which are sorted.
fn close_between(mut from: u32, kept: impl IntoIterator<Item = u32>) -> Result<()> {
    for end in kept {
        if end > from {
            close_range(from, end - 1)?;
        }
        from = from.max(end.saturating_add(1));
    }
    if from < libc::c_uint::MAX { close_range(from, libc::c_uint::MAX) } else { Ok(()) }
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: the caller promises that the owners of these descriptors do not use them again.
    match checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }) {
        // Linux before 5.9, or a filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            close_one_by_one(first, last);
            Ok(())
        }
        other => other.map(drop),
    }
}

fn close_one_by_one(first: u32, last: u32) {
    for fd in first..=last.min(END_OF_SEARCH) {
        // SAFETY: as in `close_range`; a number that is not open is no harm.
        unsafe { libc::close(fd.cast_signed()) };
    }
}

/// Where the search for open descriptors ends that is needed without `close_range(2)`: the kernel's own limit where
/// nobody has raised it.
const END_OF_SEARCH: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_kept_in_order_and_terminated() {
        let array = StringArray::new(["sleep", "", "10"]).unwrap();
        assert_eq!(array.iter().collect::<Vec<_>>(), [c"sleep", c"", c"10"]);
        assert_eq!(array.first(), Some(c"sleep"));
        assert!(array.pointers.last().unwrap().is_null());
        assert_eq!(array.pointers.len(), 4);
    }

    #[test]
    fn a_range_is_closed_with_both_its_ends() {
        use std::os::fd::{AsRawFd, IntoRawFd};
        let is_open = |fd: i32| {
            // SAFETY: asking for the flags of a number that may not be open is harmless.
            unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
        };
        // Numbers that no other test of this process uses.
        let duplicate = |at| rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), at).unwrap();
        let (first, last, kept) = (duplicate(700), duplicate(701), duplicate(702));
        let (first, last) = (first.into_raw_fd(), last.into_raw_fd());
        close_one_by_one(first.unsigned_abs(), last.unsigned_abs());
        assert_eq!((is_open(first), is_open(last), is_open(kept.as_raw_fd())), (false, false, true));
    }

    #[test]
    fn a_nul_byte_inside_a_string_is_refused() {
        assert_eq!(StringArray::new(["a\0b"]).unwrap_err(), Errno::INVAL);
    }
}
