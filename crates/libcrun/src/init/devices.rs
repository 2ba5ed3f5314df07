//! Device nodes and the usual links in `/dev`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chownat, mknodat, openat, statat, symlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::{Init, inner, mounts};
use crate::channel::{At, Failure, Step};
use crate::plan::{DevicePlan, SYMLINKS};

impl Init<'_> {
    /// Makes the devices and links of the plan below `root`.
    pub(super) fn make_devices(&self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        let rootfs = &self.prepared.plan.rootfs;
        if rootfs.devices.is_empty() && !rootfs.links {
            return Ok(());
        }
        let dev = open_dev(root).at(Step::DevDirectory)?;
        for (index, device) in rootfs.devices.iter().enumerate() {
            let node = self.prepared.device_nodes.get(index);
            let make = |parent: BorrowedFd<'_>, name: &CStr| match node {
                None => make_node(parent, name, device),
                Some(host) => bind_node(parent, name, host.as_fd()),
            };
            match device.path.name_below("dev") {
                Some(name) => make(dev.as_fd(), name),
                None => inner::make_parents(root, &device.path, make),
            }
            .at_entry(Step::Device, index)?;
        }
        if rootfs.links {
            for (name, target) in SYMLINKS {
                make_link(dev.as_fd(), name, target).at(Step::DeviceLink)?;
            }
        }
        Ok(())
    }
}

/// The container's `/dev`, which must not be a link: the devices would go somewhere else (CVE-2026-47766).
fn open_dev(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match openat(root, c"dev", flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            mounts::ensure_directory(root, c"dev")?;
            openat(root, c"dev", flags, Mode::empty())
        }
        other => other,
    }
}

fn make_node(parent: BorrowedFd<'_>, name: &CStr, device: &DevicePlan) -> Result<(), Errno> {
    let (kind, number) = (device.kind.file_type(), device.kind.device());
    // The mask is empty here, so that the mode is exactly the one asked for.
    match mknodat(parent, name, kind, Mode::from_raw_mode(device.mode), number) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let same_device = kind == FileType::Fifo || stat.st_rdev == number;
            return if FileType::from_raw_mode(stat.st_mode) == kind && same_device {
                Ok(())
            } else {
                Err(Errno::EXIST)
            };
        }
        Err(errno) => return Err(errno),
    }
    if (device.uid, device.gid) == (0, 0) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

/// Shows the host's node, where a user namespace keeps one from being made.
fn bind_node(parent: BorrowedFd<'_>, name: &CStr, node: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let place = openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
    mounts::attach(node, place.as_fd())
}

fn make_link(dev: BorrowedFd<'_>, name: &CStr, target: &CStr) -> Result<(), Errno> {
    match symlinkat(target, dev, name) {
        // An image brings its own, or a device of that name was asked for.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}
