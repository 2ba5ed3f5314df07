//! Small reads and writes in a cgroup directory, by descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::{Errno, read, write};

/// Opens `path`, relative to and below `root`: no symbolic link and no other file system is followed.
pub(crate) fn open_below(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    if path.is_empty() {
        return rustix::io::dup(root);
    }
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(root, path, flags, Mode::empty(), resolve) {
        // Linux before 5.6, or a filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_below_by_steps(root, path),
        other => other,
    }
}

fn open_below_by_steps(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut here = rustix::io::dup(root)?;
    for name in path.split('/') {
        if name == ".." {
            return Err(Errno::XDEV);
        }
        let below = openat(&here, name, flags, Mode::empty())?;
        if fstat(&below)?.st_dev != fstat(&here)?.st_dev {
            return Err(Errno::XDEV);
        }
        here = below;
    }
    Ok(here)
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Reads the file `path`, relative to and below `root`, under the conditions of [`open_below`].
pub(crate) fn read_below(root: BorrowedFd<'_>, path: &str) -> Result<String, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(root, path, READ, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
            read_small(open_below_by_steps(root, directory)?.as_fd(), name)
        }
        other => read_all(&other?),
    }
}

/// Reads a file of at most one page, as nearly all cgroup files are.
pub(crate) fn read_small(directory: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    read_all(&openat(directory, name, READ, Mode::empty())?)
}

fn read_all(file: &OwnedFd) -> Result<String, Errno> {
    let mut text = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        match read(file, &mut buffer) {
            Ok(0) => return String::from_utf8(text).map_err(|_| Errno::ILSEQ),
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes `value` in one call, as cgroup files need it.
pub(crate) fn write_value(directory: BorrowedFd<'_>, name: &str, value: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(directory, name, flags, Mode::empty())?;
    loop {
        match write(&file, value) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}
