//! Paths that are hidden, and paths that cannot be written to (runtime-spec config-linux.md#masked-paths).

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::mount::{MountAttr, MountChange, Reach, set_attributes};

use super::{Init, inner, mounts};
use crate::channel::{At, Failure, Step};
use crate::prepare::Masks;

const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::AT_EMPTY_PATH);

impl Init<'_> {
    /// Covers directories with an empty one and everything else with the null device.
    pub(super) fn mask_paths(&self, root: BorrowedFd<'_>, masks: Option<&Masks>) -> Result<(), Failure> {
        let Some(masks) = masks else { return Ok(()) };
        let mut directory = Mask { mount: masks.directory.as_fd(), attached: false };
        let mut file = Mask { mount: masks.file.as_fd(), attached: false };
        for (index, path) in self.prepared.plan.rootfs.masked.iter().enumerate() {
            let target = match inner::open(root, path) {
                // Nothing there to be hidden, or nothing that could be reached.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => continue,
                other => other.at_entry(Step::MaskedPath, index)?,
            };
            let kind = fstat(&target).at_entry(Step::MaskedPath, index)?.st_mode;
            let is_directory = FileType::from_raw_mode(kind) == FileType::Directory;
            let mask = if is_directory { &mut directory } else { &mut file };
            mask.cover(target.as_fd()).at_entry(Step::MaskedPath, index)?;
        }
        Ok(())
    }

    /// Binds each path onto itself, read-only.
    pub(super) fn protect_paths(&self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        for (index, path) in self.prepared.plan.rootfs.read_only_paths.iter().enumerate() {
            let target = match inner::open(root, path) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => continue,
                other => other.at_entry(Step::ReadOnlyPath, index)?,
            };
            protect(target.as_fd()).at_entry(Step::ReadOnlyPath, index)?;
        }
        Ok(())
    }
}

/// A detached mount that covers the first path; the others get clones of it.
struct Mask<'a> {
    mount: BorrowedFd<'a>,
    attached: bool,
}

impl Mask<'_> {
    fn cover(&mut self, target: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.attached {
            let copy = open_tree(self.mount, c"", CLONE)?;
            return mounts::attach(copy.as_fd(), target);
        }
        self.attached = true;
        mounts::attach(self.mount, target)
    }
}

fn protect(target: BorrowedFd<'_>) -> Result<(), Errno> {
    let tree = open_tree(target, c"", CLONE | OpenTreeFlags::AT_RECURSIVE)?;
    let change = MountChange { set: MountAttr::RDONLY, ..MountChange::default() };
    // The clone keeps what the mount below has: nosuid, nodev and noexec need not be known here.
    set_attributes(tree.as_fd(), change, Reach::Mount)?;
    mounts::attach(tree.as_fd(), target)
}
