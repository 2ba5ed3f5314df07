//! What masked paths are covered with.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, fstat, makedev};
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::mount::{MountAttr, MountChange, Propagation, Reach, set_attributes};

use super::{CLONE, clone_tree};
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
        let file = clone_tree(Path::new("/dev/null"), Reach::Mount)
            .context(Code::Rootfs, || "clone `/dev/null` for masked paths")?;
        let stat = fstat(&file).context(Code::Rootfs, || "look at `/dev/null`")?;
        // CVE-2025-31133: whatever stands in for a secret must be the real thing.
        if stat.st_rdev != makedev(1, 3) || FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
        {
            return Err(Error::new(Code::Rootfs, "`/dev/null` of this host is not the null device"));
        }
        Ok(Self { directory: seal(directory, "the empty directory")?, file: seal(file, "`/dev/null`")? })
    }
}

fn seal(tree: OwnedFd, name: &str) -> Result<OwnedFd> {
    let read_only = MountChange {
        set: MountAttr::RDONLY,
        propagation: Some(Propagation::Private),
        ..MountChange::default()
    };
    set_attributes(tree.as_fd(), read_only, Reach::Mount)
        .context(Code::Rootfs, || format!("make {name} read-only"))?;
    Ok(tree)
}
