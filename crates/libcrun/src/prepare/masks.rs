//! What masked paths are covered with.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, fstat, makedev};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::mount::{MountAttr, MountChange, Propagation, Reach, set_attributes};

use super::CLONE;
use crate::error::{Code, Context, Error, Result};

/// An empty directory and a null device: detached, read-only.
#[derive(Debug)]
pub(crate) struct Masks {
    pub(crate) directory: OwnedFd,
    pub(crate) file: OwnedFd,
}

impl Masks {
    pub(super) fn new(empty_directory: BorrowedFd<'_>) -> Result<Self> {
        let directory = open_tree(empty_directory, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH)
            .context(Code::Rootfs, || "clone the empty directory for masked paths")?;
        let file = clone_null().context(Code::Rootfs, || "clone `/dev/null` for masked paths")?;
        if !is_null(&file).context(Code::Rootfs, || "look at `/dev/null`")? {
            return Err(Error::new(Code::Rootfs, "`/dev/null` of this host is not the null device"));
        }
        let sealed = |tree, name| {
            seal(tree).context(Code::Rootfs, || format!("make {name} for masked paths read-only"))
        };
        Ok(Self { directory: sealed(directory, "the empty directory")?, file: sealed(file, "`/dev/null`")? })
    }

    /// The same by init, which does not allocate.
    pub(crate) fn by_path(empty_directory: &CStr) -> core::result::Result<Self, Errno> {
        let (directory, file) = (open_tree(CWD, empty_directory, CLONE)?, clone_null()?);
        match is_null(&file)? {
            true => Ok(Self { directory: seal(directory)?, file: seal(file)? }),
            false => Err(Errno::NODEV),
        }
    }
}

fn clone_null() -> core::result::Result<OwnedFd, Errno> {
    open_tree(CWD, c"/dev/null", CLONE)
}

/// CVE-2025-31133: whatever stands in for a secret must be the real thing.
fn is_null(file: &OwnedFd) -> core::result::Result<bool, Errno> {
    let stat = fstat(file)?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    Ok(is_device && stat.st_rdev == makedev(1, 3))
}

fn seal(tree: OwnedFd) -> core::result::Result<OwnedFd, Errno> {
    let read_only = MountChange {
        set: MountAttr::RDONLY,
        propagation: Some(Propagation::Private),
        ..MountChange::default()
    };
    set_attributes(tree.as_fd(), read_only, Reach::Mount).map(|()| tree)
}
