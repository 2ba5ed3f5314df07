//! Where a mount goes: its destination, found or made below the root in the way the plan says.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat, readlinkat_raw, symlinkat};
use rustix::io::Errno;

use super::inner::{self, Found, Last, Made, Missing};
use crate::channel::{At, Failure, Step};
use crate::plan::{InnerPath, MountOperation, Target};

/// Who resolves a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The kernel where it can, because it is faster; where the destination lies stays unknown.
    Kernel,
    /// The walk: for those who have to come back to the place.
    Walk,
}

/// The destination of a mount, made if it is missing.
pub(super) fn open(
    root: BorrowedFd<'_>,
    mount: &MountOperation,
    missing: Missing,
    by: By,
    made: &mut Made,
) -> Result<Found, Failure> {
    let destination = &mount.destination;
    let make = Last::Make(missing);
    match mount.target {
        Target::Follow => look(root, destination, make, by, made).at_entry(Step::MountTarget, mount.index),
        Target::AtRoot => {
            let name = destination.as_c_str();
            let found = directory_at_root(root, name, made).and_then(|file| Found::at_root(file, name));
            found.at_entry(Step::MountTargetLink, mount.index)
        }
        Target::NoFollow => {
            let found = match look(root, destination, Last::NoFollow, by, made) {
                Err(Errno::NOENT) => look(root, destination, make, by, made),
                other => other,
            };
            let found = found.at_entry(Step::MountTarget, mount.index)?;
            refuse_kernel_filesystem(found.file.as_fd()).at_entry(Step::MountTargetKernel, mount.index)?;
            Ok(found)
        }
    }
}

/// What a path leads to below the root.
pub(super) fn look(
    root: BorrowedFd<'_>,
    path: &InnerPath,
    last: Last,
    by: By,
    made: &mut Made,
) -> Result<Found, Errno> {
    let file = match (by, last) {
        (By::Walk, _) => return inner::find_or_make_entry(root, path, last, made),
        (By::Kernel, Last::Follow) => inner::open(root, path),
        (By::Kernel, Last::NoFollow) => inner::open_no_follow(root, path),
        (By::Kernel, Last::Make(missing)) => inner::open_or_make_place(root, path, missing, made),
    };
    file.map(Found::without_place)
}

/// Makes a symbolic link in the place of a mount, or finds it made.
pub(super) fn make_link(
    root: BorrowedFd<'_>,
    mount: &MountOperation,
    text: &CStr,
    made: &mut Made,
) -> Result<(), Failure> {
    let linked = inner::in_parent(root, &mount.destination, made, |parent, name, made| {
        match symlinkat(text, parent, name) {
            Err(Errno::EXIST) => Ok(has_link(parent, name, text)),
            Ok(()) => made.note(parent, name).map(|()| true),
            Err(errno) => Err(errno),
        }
    });
    match linked.at_entry(Step::MountTarget, mount.index)? {
        true => Ok(()),
        false => Err(Errno::EXIST).at_entry(Step::MountLinkDiffers, mount.index),
    }
}

/// Whether there is a symbolic link of that text.
fn has_link(parent: BorrowedFd<'_>, name: &CStr, text: &CStr) -> bool {
    let mut buffer = [0_u8; 4096];
    readlinkat_raw(parent, name, &mut buffer[..]).is_ok_and(|length| buffer[..length] == *text.to_bytes())
}

/// What lies on a filesystem of the kernel's is not covered without following its links: they are not the image's.
fn refuse_kernel_filesystem(target: BorrowedFd<'_>) -> Result<(), Errno> {
    const SYSFS_MAGIC: rustix::fs::FsWord = 0x6265_6572;
    const DEVPTS_MAGIC: rustix::fs::FsWord = 0x1cd1;
    match fstatfs(target)?.f_type {
        PROC_SUPER_MAGIC | SYSFS_MAGIC | DEVPTS_MAGIC => Err(Errno::PERM),
        _ => Ok(()),
    }
}

/// A real directory directly below the root, never a link to one (CVE-2019-19921, CVE-2023-27561).
fn directory_at_root(root: BorrowedFd<'_>, name: &CStr, made: &mut Made) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::DIRECTORY;
    match openat(root, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => inner::make_directory(root, name, made),
        other => other,
    }
}
