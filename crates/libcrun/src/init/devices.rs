//! Device nodes and the usual links in `/dev`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, chownat, fstat, mknodat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{Gid, Uid};
use sys::mount::{MountChange, Reach, set_attributes};

use super::inner::{self, Made};
use super::{Init, classic, mounts};
use crate::channel::{At, Failure, Step};
use crate::plan::{DevicePlan, SYMLINKS};
use crate::prepare::NODE_ATTRIBUTES;

impl Init<'_> {
    /// Makes the devices and links of the plan below `root`; `nodes` are those that are made already.
    pub(super) fn make_devices(
        &mut self,
        root: BorrowedFd<'_>,
        nodes: &[Option<OwnedFd>],
    ) -> Result<(), Failure> {
        let rootfs = &self.prepared.plan.rootfs;
        if rootfs.devices.is_empty() && !rootfs.links {
            return Ok(());
        }
        let mut nothing = Made::none();
        let made = if rootfs.own_dev { &mut nothing } else { &mut self.made };
        let dev = open_dev(root, made).at(Step::DevDirectory)?;
        for (index, device) in rootfs.devices.iter().enumerate() {
            let node = nodes.get(index).and_then(Option::as_ref);
            let make = |parent: BorrowedFd<'_>, name: &CStr, made: &mut Made| match node {
                None => make_node(parent, name, device, made),
                Some(node) => bind_node(parent, name, node.as_fd(), made),
            };
            match device.path.name_below("dev") {
                Some(name) => make(dev.as_fd(), name, made),
                None => inner::in_parent(root, &device.path, made, make),
            }
            .at_entry(Step::Device, index)?;
        }
        if rootfs.links {
            for (name, target) in SYMLINKS {
                make_link(dev.as_fd(), name, target, made).at(Step::DeviceLink)?;
            }
        }
        Ok(())
    }
}

/// The container's `/dev`, which must not be a link: the devices would go somewhere else (CVE-2026-47766).
pub(super) fn open_dev(root: BorrowedFd<'_>, made: &mut Made) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match openat(root, c"dev", flags, Mode::empty()) {
        Err(Errno::NOENT) => inner::make_directory(root, c"dev", made),
        other => other,
    }
}

fn make_node(parent: BorrowedFd<'_>, name: &CStr, device: &DevicePlan, made: &mut Made) -> Result<(), Errno> {
    let (kind, number) = (device.kind.file_type(), device.kind.device());
    // The mask is empty here, so that the mode is exactly the one asked for.
    match mknodat(parent, name, kind, Mode::from_raw_mode(device.mode), number) {
        Ok(()) => made.note(parent, name)?,
        // An engine names one twice, or an image brings it.
        Err(Errno::EXIST) => return find_node(parent, name, device).map(drop),
        // Not for this process to make: it lives in somebody's user namespace itself.
        Err(Errno::PERM) if kind != FileType::Fifo => return bind_host_node(parent, name, device, made),
        Err(errno) => return Err(errno),
    }
    if (device.uid, device.gid) == (0, 0) {
        return Ok(());
    }
    // Somebody else may have access to the directory: nothing but the node is to get the owner.
    let node = find_node(parent, name, device)?;
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    chownat(node, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
}

/// What is there, if it is the device asked for.
fn find_node(parent: BorrowedFd<'_>, name: &CStr, device: &DevicePlan) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(parent, name, flags, Mode::empty())?;
    if device.kind.is(&fstat(&found)?) { Ok(found) } else { Err(Errno::EXIST) }
}

/// Shows the host's node of that path; the host's root is still the root of this process.
fn bind_host_node(
    parent: BorrowedFd<'_>,
    name: &CStr,
    device: &DevicePlan,
    made: &mut Made,
) -> Result<(), Errno> {
    let path = device.path.as_c_str();
    let place = inner::make_file(parent, name, made)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let host = openat(CWD, c"/", flags, Mode::empty())?;
    match clone_node(host.as_fd(), path) {
        Err(Errno::NOSYS | Errno::PERM) => {
            classic::bind_host_node(host.as_fd(), device, place.as_fd(), (parent, name))
        }
        Err(errno) => Err(errno),
        Ok(node) if device.kind.is(&fstat(&node)?) => mounts::attach(node.as_fd(), place.as_fd()),
        Ok(_) => Err(Errno::NODEV),
    }
}

fn clone_node(host: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let node = open_tree(host, path, flags)?;
    let change = MountChange { set: NODE_ATTRIBUTES, ..MountChange::default() };
    set_attributes(node.as_fd(), change, Reach::Mount)?;
    Ok(node)
}

/// Shows a node that is made already, where a user namespace keeps one from being made.
fn bind_node(
    parent: BorrowedFd<'_>,
    name: &CStr,
    node: BorrowedFd<'_>,
    made: &mut Made,
) -> Result<(), Errno> {
    let place = inner::make_file(parent, name, made)?;
    mounts::attach(node, place.as_fd())
}

fn make_link(dev: BorrowedFd<'_>, name: &CStr, target: &CStr, made: &mut Made) -> Result<(), Errno> {
    match symlinkat(target, dev, name) {
        Ok(()) => made.note(dev, name)?,
        // An image brings its own, or a device of that name was asked for.
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    Ok(())
}
