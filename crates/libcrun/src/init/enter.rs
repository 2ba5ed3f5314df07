//! Building the root filesystem and moving into it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, chroot, fchdir, pivot_root};
use sys::clone::Namespaces;
use sys::mount::{MountAttr, MountChange, Propagation, Reach, set_attributes, set_root_propagation};

use super::inner::{self, Missing};
use super::{Init, mounts};
use crate::channel::{At, Failure, Step};
use crate::filesystem;

impl Init<'_> {
    /// Assembles everything the plan has for the root filesystem and makes it the root.
    pub(super) fn build_root(&mut self) -> Result<(), Failure> {
        let prepared = self.prepared;
        let Some(root) = prepared.root.as_ref().map(AsFd::as_fd) else {
            return self.enter_host_tree();
        };
        leave_host_propagation().at(Step::HostPropagation)?;
        mounts::attach_over_root(root).at(Step::AttachRoot)?;
        let over_root = self.make_mounts(root)?;
        let root = over_root.as_ref().map_or(root, AsFd::as_fd);
        self.make_devices(root)?;
        self.make_working_directory(root)?;
        self.mask_paths(root)?;
        self.protect_paths(root)?;
        self.finish_mounts()?;
        if prepared.plan.rootfs.readonly {
            let change = MountChange { set: MountAttr::RDONLY, ..MountChange::default() };
            set_attributes(root, change, Reach::Mount).at(Step::ReadOnlyRoot)?;
        }
        let over = prepared.plan.rootfs.mounts.iter().filter(|mount| mount.covers_root()).count();
        enter(root, prepared.plan.pivot, over).at(Step::Pivot)?;
        match prepared.plan.rootfs.propagation {
            (propagation @ (Propagation::Shared | Propagation::Unbindable), reach) => {
                set_root_propagation(propagation, reach).at(Step::Pivot)
            }
            _ => Ok(()),
        }
    }

    /// Without a mount namespace of its own a container only gets another root directory.
    fn enter_host_tree(&mut self) -> Result<(), Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = self.prepared.plan.rootfs.c_path.as_c_str();
        let root = openat(CWD, path, flags, Mode::empty()).at(Step::Pivot)?;
        self.make_devices(root.as_fd())?;
        self.make_working_directory(root.as_fd())?;
        fchdir(&root).at(Step::Pivot)?;
        chroot(c".").at(Step::Pivot)?;
        chdir(c"/").at(Step::Pivot)
    }

    fn make_working_directory(&mut self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        let cwd = &self.prepared.plan.rootfs.working_directory;
        if cwd.is_root() {
            return Ok(());
        }
        match inner::open_or_make(root, cwd, Missing::Directory, &mut self.made) {
            // In the way stands something only the container's user may pass, or a read-only image; whether the
            // directory can be entered shows later, and is then said.
            Ok(_) | Err(Errno::ACCESS | Errno::ROFS | Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).at(Step::WorkingDirectoryCreate),
        }
    }
}

/// From here on nothing that is mounted or unmounted in this namespace is seen in the host's.
fn leave_host_propagation() -> Result<(), Errno> {
    match set_root_propagation(Propagation::Private, Reach::Tree) {
        // Not the root of a mount: the runtime lives in a chroot, and the mount that holds it cannot be named from in
        // there. Entering the namespace it is in already takes the process to the root of that (setns(2)).
        Err(Errno::INVAL) => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let own = openat(CWD, c"/proc/thread-self/ns/mnt", flags, Mode::empty())?;
            sys::namespace::join(own.as_fd(), Namespaces::MOUNT)?;
            set_root_propagation(Propagation::Private, Reach::Tree)
        }
        other => other,
    }
}

/// Makes `root`, which is mounted over the present root, the root directory, and lets go of everything else; `between`
/// is how many mounts lie between the two.
fn enter(root: BorrowedFd<'_>, pivot: bool, between: usize) -> Result<(), Errno> {
    if !pivot {
        return change_root(root);
    }
    fchdir(root)?;
    // With both arguments the same directory the old root ends up on top of the new one (pivot_root(2)), with what is
    // mounted over it, from where it can be taken off without a place for it in the container.
    pivot_root(c".", c".")?;
    for _ in 0..=between {
        unmount(c".", UnmountFlags::DETACH)?;
    }
    chdir(c"/")
}

/// The same for hosts that run from a ramdisk, which cannot be pivoted away from. The old root stays below the new one,
/// but not its proc and sysfs: with these in sight, a user namespace inside may mount others that nothing hides or
/// protects.
fn change_root(root: BorrowedFd<'_>) -> Result<(), Errno> {
    for path in [c"/proc", c"/sys"] {
        let mut unmounted = Ok(());
        while unmounted.is_ok() {
            unmounted = unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
        match unmounted {
            // Nothing is mounted there (any more).
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => {}
            // Locked by a user namespace: it can be covered all the same.
            _ => cover(path)?,
        }
    }
    fchdir(root)?;
    chroot(c".")?;
    chdir(c"/")
}

fn cover(path: &CStr) -> Result<(), Errno> {
    let place = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let nothing = filesystem::small_tmpfs(c"tmpfs", MountAttr::RDONLY)?;
    mounts::attach(nothing.as_fd(), place.as_fd())
}
