//! Resolving paths inside the container's root: the only place where an [`InnerPath`] meets the kernel.
//!
//! What exists is found by `openat2(2)` with RESOLVE_IN_ROOT, for which the root directory is the end of every `..`
//! and of every absolute symbolic link, also while another process changes the tree. What has to be made, and
//! everything where the kernel has no `openat2` or a filter takes it away, is left to [`walk`], which gives the same
//! answers step by step.

mod made;
mod walk;

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};
use rustix::io::Errno;

pub(crate) use made::{Made, detach, detach_from};
pub(crate) use walk::{Found, Last};
use walk::{LONGEST_PATH, Walk};

use crate::plan::InnerPath;

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const WITHOUT_LINKS: ResolveFlags = IN_ROOT.union(ResolveFlags::NO_SYMLINKS);
const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const MODE: Mode = Mode::from_raw_mode(0o755);

/// How often a resolution that a rename has disturbed is tried again before it is done step by step.
const ATTEMPTS: u32 = 32;

/// What is made where a path leads to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A directory.
    Directory,
    /// An empty regular file, the mount point for everything that is no directory.
    File,
}

/// Opens what is at `path`, only to name it. A link that leads to the root itself is refused: what would be mounted there
/// would cover the root for some and not for others.
pub(crate) fn open(root: BorrowedFd<'_>, path: &InnerPath) -> Result<OwnedFd, Errno> {
    match resolve(root, path.as_c_str(), OFlags::empty(), WITHOUT_LINKS) {
        Some(Err(Errno::LOOP)) | None => walk_below(root, path, Last::Follow, &mut Made::none()),
        Some(other) => other,
    }
}

/// Opens what is at `path`; a symbolic link at its end is opened itself.
pub(crate) fn open_no_follow(root: BorrowedFd<'_>, path: &InnerPath) -> Result<OwnedFd, Errno> {
    resolve(root, path.as_c_str(), OFlags::NOFOLLOW, IN_ROOT)
        .unwrap_or_else(|| walk_below(root, path, Last::NoFollow, &mut Made::none()))
}

/// Opens the regular file at `path` for reading. A device of the image is not even opened, for which some are enough to do
/// something: nothing restricts this process to the container's.
pub(crate) fn open_to_read(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let found = match resolve(root, path, OFlags::empty(), IN_ROOT) {
        Some(found) => found?,
        None => Walk::new(root).run(path, Last::Follow, &mut Made::none())?.file,
    };
    match FileType::from_raw_mode(fstat(&found)?.st_mode) {
        FileType::RegularFile => {}
        _ => return Err(Errno::INVAL),
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat(CWD, format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty())
}

/// Opens the place at `path` for something to be mounted on, as [`open`] does; it and the directories above it are made
/// where they are missing. Where a dangling symbolic link is in the way, what it names is made.
pub(crate) fn open_or_make_place(
    root: BorrowedFd<'_>,
    path: &InnerPath,
    missing: Missing,
    made: &mut Made,
) -> Result<OwnedFd, Errno> {
    match resolve(root, path.as_c_str(), flags_for(missing), WITHOUT_LINKS) {
        Some(Err(Errno::LOOP | Errno::NOENT)) | None => walk_below(root, path, Last::Make(missing), made),
        Some(other) => other,
    }
}

/// Opens what is at `path`, or makes it in the same way; this may be the root.
pub(crate) fn open_or_make(
    root: BorrowedFd<'_>,
    path: &InnerPath,
    missing: Missing,
    made: &mut Made,
) -> Result<OwnedFd, Errno> {
    find_or_make(root, path.as_c_str(), missing, made)
}

fn find_or_make(
    root: BorrowedFd<'_>,
    path: &CStr,
    missing: Missing,
    made: &mut Made,
) -> Result<OwnedFd, Errno> {
    match resolve(root, path, flags_for(missing), IN_ROOT) {
        Some(Err(Errno::NOENT)) | None => {
            Walk::new(root).run(path, Last::Make(missing), made).map(|found| found.file)
        }
        Some(other) => other,
    }
}

fn flags_for(missing: Missing) -> OFlags {
    match missing {
        Missing::Directory => OFlags::DIRECTORY,
        Missing::File => OFlags::empty(),
    }
}

/// A place as [`open`] and [`open_or_make_place`] find it, always step by step: what is found knows where it lies, so that
/// what is mounted over it can be opened.
pub(crate) fn find_or_make_entry(
    root: BorrowedFd<'_>,
    path: &InnerPath,
    last: Last,
    made: &mut Made,
) -> Result<Found, Errno> {
    let found = Walk::new(root).run(path.as_c_str(), last, made)?;
    if found.place(root).is_none() && !path.is_root() { Err(Errno::BUSY) } else { Ok(found) }
}

/// Makes the directories above the last component of `path` and lets `last` make or open that.
pub(crate) fn in_parent<T>(
    root: BorrowedFd<'_>,
    path: &InnerPath,
    made: &mut Made,
    last: impl FnOnce(BorrowedFd<'_>, &CStr, &mut Made) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let (parent, name) = path.split();
    if parent.is_empty() {
        return last(root, name, made);
    }
    let mut buffer = [0_u8; LONGEST_PATH];
    buffer.get_mut(..parent.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(parent);
    let path = CStr::from_bytes_until_nul(&buffer).map_err(|_| Errno::NAMETOOLONG)?;
    let parent = find_or_make(root, path, Missing::Directory, made)?;
    last(parent.as_fd(), name, made)
}

/// Makes one directory below an open one and opens it; a link that turns up in its place is refused.
pub(crate) fn make_directory(parent: BorrowedFd<'_>, name: &CStr, made: &mut Made) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, name, MODE) {
        Ok(()) => made.note(parent, name)?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    openat(parent, name, PATH_ONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// Makes an empty file below an open directory and opens it; a link that turns up in its place is refused.
pub(crate) fn make_file(parent: BorrowedFd<'_>, name: &CStr, made: &mut Made) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    match openat(parent, name, flags, MODE) {
        Ok(_) => made.note(parent, name)?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    openat(parent, name, PATH_ONLY | OFlags::NOFOLLOW, Mode::empty())
}

/// What the kernel finds at `path`; nothing when it cannot be asked this way.
pub(crate) fn resolve(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    how: ResolveFlags,
) -> Option<Result<OwnedFd, Errno>> {
    for _ in 0..ATTEMPTS {
        match openat2(root, path, PATH_ONLY | flags, Mode::empty(), how) {
            // A rename somewhere kept the kernel from being sure that no `..` left the root.
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Linux before 5.6, or a filter that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return None,
            other => return Some(other),
        }
    }
    None
}

fn walk_below(root: BorrowedFd<'_>, path: &InnerPath, last: Last, made: &mut Made) -> Result<OwnedFd, Errno> {
    find_or_make_entry(root, path, last, made).map(|found| found.file)
}

#[cfg(test)]
mod tests;
