//! The mounts of the plan, one after the other, each by descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, fstat, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use sys::mount::{MountAttr, MountChange, Reach, set_attributes};

use super::{Init, inner};
use crate::channel::{At, Failure, Step};
use crate::plan::{CgroupTree, MountOperation, MountSource, Parameter};
use crate::prepare::PreparedMount;

impl Init<'_> {
    /// Makes every mount of the plan below `root`.
    pub(super) fn make_mounts(&mut self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        let prepared = self.prepared;
        for (mount, ready) in prepared.plan.rootfs.mounts.iter().zip(&prepared.mounts) {
            // A sysfs shows the devices of the network namespace it is made in.
            if matches!(&mount.source, MountSource::Filesystem { kind, .. } if kind.as_c_str() == c"sysfs") {
                self.enter_network()?;
            }
            let made = make_mount(root, mount, ready)?;
            if let Some(made) = made
                && !mount.deferred.is_empty()
                && self.deferred.len() < self.deferred.capacity()
            {
                self.deferred.push((made, mount.deferred));
            }
        }
        Ok(())
    }

    /// Makes those mounts read-only that had to wait for what is below them.
    pub(super) fn finish_mounts(&self) -> Result<(), Failure> {
        for (mount, change) in &self.deferred {
            set_attributes(mount.as_fd(), *change, Reach::Mount).at(Step::MountAttributes)?;
        }
        Ok(())
    }
}

/// Makes one mount; returns it when it is a new filesystem.
fn make_mount(
    root: BorrowedFd<'_>,
    mount: &MountOperation,
    ready: &PreparedMount,
) -> Result<Option<OwnedFd>, Failure> {
    let index = mount.index;
    match (&mount.source, ready) {
        (MountSource::Filesystem { .. }, _) => make_filesystem(root, mount).map(Some),
        (MountSource::Remount { changes }, _) => {
            let target = inner::open(root, &mount.destination).at_entry(Step::MountTarget, index)?;
            change(target.as_fd(), changes, index)?;
            Ok(None)
        }
        (MountSource::CgroupTree(tree), PreparedMount::CgroupTrees(hierarchies)) => {
            make_cgroup_tree(root, mount, tree, hierarchies).map(|()| None)
        }
        (_, PreparedMount::Tree { tree, is_directory }) => {
            let target = if *is_directory {
                inner::open_or_make_directory(root, &mount.destination)
            } else {
                inner::open_or_make_file(root, &mount.destination)
            };
            let target = target.at_entry(Step::MountTarget, index)?;
            attach(tree.as_fd(), target.as_fd()).at_entry(Step::MountAttach, index)?;
            Ok(None)
        }
        // The plan and its preparation are made side by side.
        _ => Err(Errno::INVAL).at_entry(Step::MountCreate, index),
    }
}

fn change(mount: BorrowedFd<'_>, changes: &[(MountChange, Reach)], index: usize) -> Result<(), Failure> {
    changes.iter().try_for_each(|(change, reach)| {
        set_attributes(mount, *change, *reach).at_entry(Step::MountAttributes, index)
    })
}

fn make_filesystem(root: BorrowedFd<'_>, mount: &MountOperation) -> Result<OwnedFd, Failure> {
    let index = mount.index;
    let MountSource::Filesystem { kind, parameters, attributes, changes, inherit_mode, only_at_root } =
        &mount.source
    else {
        return Err(Errno::INVAL).at_entry(Step::MountCreate, index);
    };
    let target = if *only_at_root {
        directory_at_root(root, mount.destination.as_c_str()).at_entry(Step::MountTargetLink, index)?
    } else {
        inner::open_or_make_directory(root, &mount.destination).at_entry(Step::MountTarget, index)?
    };
    let context = fsopen(kind.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC).at_entry(Step::MountCreate, index)?;
    set_parameters(context.as_fd(), parameters).at_entry(Step::MountOption, index)?;
    if *inherit_mode {
        inherit_directory_mode(context.as_fd(), target.as_fd()).at_entry(Step::MountOption, index)?;
    }
    fsconfig_create(&context).at_entry(Step::MountCreate, index)?;
    let made = instance(context.as_fd(), *attributes).at_entry(Step::MountCreate, index)?;
    change(made.as_fd(), changes, index)?;
    attach(made.as_fd(), target.as_fd()).at_entry(Step::MountAttach, index)?;
    Ok(made)
}

/// A mount of a configured filesystem, detached.
fn instance(context: BorrowedFd<'_>, attributes: MountAttr) -> Result<OwnedFd, Errno> {
    // The attributes that exist for new mounts are the low 32 bits of those for mount_setattr(2).
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes.bits()).unwrap_or(0));
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn set_parameters(context: BorrowedFd<'_>, parameters: &[Parameter]) -> Result<(), Errno> {
    parameters.iter().try_for_each(|parameter| match parameter {
        Parameter::Flag(name) => fsconfig_set_flag(context, name.as_c_str()),
        Parameter::Value(name, value) => fsconfig_set_string(context, name.as_c_str(), value.as_c_str()),
    })
}

/// Gives a tmpfs the permissions of the directory it is about to cover.
fn inherit_directory_mode(context: BorrowedFd<'_>, directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let mode = fstat(directory)?.st_mode & 0o7777;
    let mut text = [0_u8; 5];
    for (place, digit) in text[..4].iter_mut().enumerate() {
        let value = (mode >> (9 - 3 * place)) & 7;
        *digit = b'0' + u8::try_from(value).unwrap_or(0);
    }
    let text = CStr::from_bytes_with_nul(&text).map_err(|_| Errno::INVAL)?;
    fsconfig_set_string(context, c"mode", text)
}

/// A real directory directly below the root, never a link to one (CVE-2019-19921, CVE-2023-27561).
fn directory_at_root(root: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::DIRECTORY;
    match openat(root, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => inner::make_directory(root, name),
        other => other,
    }
}

/// Attaches a detached mount at an open place.
pub(super) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", place, c"", flags)
}

/// Attaches a detached mount at the root of the calling process' mount namespace, over what is there.
pub(super) fn attach_over_root(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount(mount, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// What a container sees as `/sys/fs/cgroup` on a host with v1 hierarchies: a tmpfs with its own cgroup of each.
fn make_cgroup_tree(
    root: BorrowedFd<'_>,
    mount: &MountOperation,
    tree: &CgroupTree,
    hierarchies: &[(CString, OwnedFd)],
) -> Result<(), Failure> {
    let index = mount.index;
    let target =
        inner::open_or_make_directory(root, &mount.destination).at_entry(Step::MountTarget, index)?;
    let made = cgroup_tmpfs(tree.attributes - MountAttr::RDONLY).at_entry(Step::MountCreate, index)?;
    attach(made.as_fd(), target.as_fd()).at_entry(Step::MountAttach, index)?;
    for (name, hierarchy) in hierarchies {
        let place = inner::make_directory(made.as_fd(), name).at_entry(Step::MountTarget, index)?;
        attach(hierarchy.as_fd(), place.as_fd()).at_entry(Step::MountAttach, index)?;
    }
    for (link, directory) in &tree.links {
        symlinkat(directory.as_c_str(), &made, link.as_c_str()).at_entry(Step::MountTarget, index)?;
    }
    if tree.attributes.contains(MountAttr::RDONLY) {
        let change = MountChange { set: MountAttr::RDONLY, ..MountChange::default() };
        set_attributes(made.as_fd(), change, Reach::Mount).at_entry(Step::MountAttributes, index)?;
    }
    Ok(())
}

fn cgroup_tmpfs(attributes: MountAttr) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", c"tmpfs")?;
    fsconfig_set_string(&context, c"mode", c"755")?;
    fsconfig_create(&context)?;
    instance(context.as_fd(), attributes)
}

/// Makes a directory where none is, for callers that do not care whether it was there.
pub(super) fn ensure_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}
