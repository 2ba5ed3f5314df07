//! The root filesystem by `mount(2)`: the same plan, for kernels before 5.12 and for places where a filter takes the
//! newer calls away.
//!
//! `mount(2)` takes paths; those here are `/proc/self/fd/N` of what was opened by descriptor, so that a path of the
//! container is resolved once on this rung, too. What a mount lies on is known by its directory and name
//! ([`inner::Found`]), because only a look-up from there leads to the mount.

mod calls;
mod place;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, openat, statfs};
use rustix::io::Errno;
use rustix::mount::{mount_bind_recursive, mount_change};
use rustix::process::chdir;
use sys::mount::{MountAttr, MountChange, Propagation, Reach};

use super::inner::{self, Made};
use super::{Init, enter};
use crate::channel::{At, Failure, Step};
use crate::plan::DevicePlan;
use crate::prepare::NODE_ATTRIBUTES;
use crate::prepare::classic::{Classic, propagation_flags};
use calls::{
    Path, READ_ONLY, bind, cover_with_nothing, find, kind, make_private, null_device, open_path, open_root,
    remount, remount_at, reopen,
};
use place::Place;

impl Init<'_> {
    /// What [`Init::build_root`] does, by the older calls.
    pub(super) fn build_root_by_mount(&mut self, classic: &Classic) -> Result<(), Failure> {
        let rootfs = &self.prepared.plan.rootfs;
        // Every path here begins with it.
        if statfs(c"/proc/self/fd").at(Step::AttachRoot)?.f_type != PROC_SUPER_MAGIC {
            return Err(Errno::NODEV).at(Step::AttachRoot);
        }
        enter::leave_host_propagation_by_mount(classic.host).at(Step::HostPropagation)?;
        let path = rootfs.c_path.as_c_str();
        mount_bind_recursive(path, path).at(Step::AttachRoot)?;
        let mut root = open_root(path).at(Step::AttachRoot)?;
        let propagation = match rootfs.propagation.0 {
            Propagation::Slave => Propagation::Slave,
            _ => Propagation::Private,
        };
        let flags = propagation_flags(propagation, Reach::Tree);
        mount_change(Path::of(root.as_fd()).as_c_str(), flags).at(Step::AttachRoot)?;
        for (mount, by) in rootfs.mounts.iter().zip(&classic.mounts) {
            if mount.is_sysfs() {
                self.enter_network()?;
            }
            if mount.is_cgroup() {
                self.await_cgroup()?;
            }
            let mut nothing = Made::none();
            let made = if mount.leaves_traces { &mut self.made } else { &mut nothing };
            let place = Place { root: root.as_fd(), root_path: path, mount, by, made };
            place.make()?;
            if mount.covers_root() {
                root = open_root(path).at_entry(Step::MountAttach, mount.index)?;
            }
        }
        self.make_devices(root.as_fd(), &[])?;
        self.make_terminal(root.as_fd())?;
        self.wait_for_hooks()?;
        self.make_working_directory(root.as_fd())?;
        self.mask_by_mount(root.as_fd(), classic)?;
        self.protect_by_mount(root.as_fd())?;
        self.run_create_hooks()?;
        self.finish_by_mount(root.as_fd())?;
        if rootfs.readonly {
            remount(root.as_fd(), READ_ONLY).at(Step::ReadOnlyRoot)?;
        }
        enter::enter(root.as_fd(), self.prepared.plan.pivot, 0).at(Step::Pivot)?;
        match rootfs.propagation {
            (kind @ (Propagation::Shared | Propagation::Unbindable), reach) => {
                mount_change(c"/", propagation_flags(kind, reach)).at(Step::Pivot)
            }
            _ => Ok(()),
        }
    }

    /// Covers directories with an empty one and everything else with the null device.
    fn mask_by_mount(&self, root: BorrowedFd<'_>, classic: &Classic) -> Result<(), Failure> {
        for (index, path) in self.prepared.plan.rootfs.masked.iter().enumerate() {
            let Some(target) = find(root, path).at_entry(Step::MaskedPath, index)? else { continue };
            let is_directory = kind(target.file.as_fd()) == Some(FileType::Directory);
            let mask = if is_directory { open_path(&classic.empty_directory) } else { null_device() };
            let covered = match mask {
                Ok(mask) => bind(mask.as_fd(), target.file.as_fd(), Reach::Mount)
                    .and_then(|()| make_private(reopen(&target, root)?.as_fd(), Reach::Mount)),
                // Nothing of the state directory is for the root of a user namespace to see.
                Err(Errno::ACCESS) if is_directory => cover_with_nothing(target.file.as_fd()),
                Err(errno) => Err(errno),
            };
            covered
                .and_then(|()| remount(reopen(&target, root)?.as_fd(), READ_ONLY))
                .at_entry(Step::MaskedPath, index)?;
        }
        Ok(())
    }

    /// Binds each path onto itself, read-only.
    fn protect_by_mount(&self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        for (index, path) in self.prepared.plan.rootfs.read_only_paths.iter().enumerate() {
            let Some(target) = find(root, path).at_entry(Step::ReadOnlyPath, index)? else { continue };
            bind(target.file.as_fd(), target.file.as_fd(), Reach::Tree)
                .and_then(|()| remount(reopen(&target, root)?.as_fd(), READ_ONLY))
                .at_entry(Step::ReadOnlyPath, index)?;
        }
        Ok(())
    }

    /// Makes those mounts read-only that had to wait for what is below them.
    fn finish_by_mount(&self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        for mount in self.prepared.plan.rootfs.mounts.iter().filter(|mount| !mount.deferred.is_empty()) {
            let mounted = inner::open(root, &mount.destination);
            mounted
                .and_then(|mounted| remount(mounted.as_fd(), mount.deferred))
                .at_entry(Step::MountAttributes, mount.index)?;
        }
        Ok(())
    }

    /// Makes writable again what was made read-only at the end, so that what was made there can be taken away. By path,
    /// because the `/proc` in sight may be the image's; the root is the container's by then.
    pub(super) fn unprotect_by_mount(&self) {
        let writable = MountChange { clear: MountAttr::RDONLY, ..MountChange::default() };
        let make_writable = |path: &CStr| {
            let _ = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .and_then(|mounted| remount_at(mounted.as_fd(), path, writable));
        };
        if chdir(c"/").is_err() {
            return;
        }
        make_writable(c"/");
        for mount in self.prepared.plan.rootfs.mounts.iter().filter(|mount| !mount.deferred.is_empty()) {
            make_writable(mount.destination.as_c_str());
        }
    }
}

/// Shows a node that is open at `place`; `find` opens what is there.
pub(super) fn bind_node(
    node: BorrowedFd<'_>,
    place: BorrowedFd<'_>,
    find: impl Fn() -> Result<OwnedFd, Errno>,
) -> Result<(), Errno> {
    bind(node, place, Reach::Mount)?;
    make_private(find()?.as_fd(), Reach::Mount)
}

/// Shows the node of a device that lies below the root of the host.
pub(super) fn bind_host_node(
    host: BorrowedFd<'_>,
    device: &DevicePlan,
    place: BorrowedFd<'_>,
    (parent, name): (BorrowedFd<'_>, &CStr),
) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let node = openat(host, device.path.as_c_str(), flags, Mode::empty())?;
    if !device.kind.is(&fstat(&node)?) {
        return Err(Errno::NODEV);
    }
    bind(node.as_fd(), place, Reach::Mount)?;
    let mounted = openat(parent, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
    remount(mounted.as_fd(), MountChange { set: NODE_ATTRIBUTES, ..MountChange::default() })
}
