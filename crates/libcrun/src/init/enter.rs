//! Building the root filesystem and moving into it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{chdir, chroot, fchdir, pivot_root};
use sys::clone::Namespaces;
use sys::mount::{MountAttr, MountChange, Propagation, Reach, set_attributes, set_root_propagation};

use super::inner::{self, Missing};
use super::{Init, mounts};
use crate::channel::{At, Failure, Step};
use crate::filesystem;
use crate::prepare::{PreparedRoot, RootTree, Trees};

/// Opens a directory only to name it.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Init<'_> {
    /// Assembles everything the plan has for the root filesystem and makes it the root.
    pub(super) fn build_root(&mut self) -> Result<(), Failure> {
        match &self.prepared.root {
            PreparedRoot::Directory => self.enter_host_tree(),
            PreparedRoot::Trees(trees) => self.attach_trees(trees),
            PreparedRoot::ByInit(_) => {
                let trees = self.trees.take().ok_or(Errno::INVAL).at(Step::AttachRoot)?;
                let built = self.attach_trees(&trees);
                self.trees = Some(trees);
                built
            }
            PreparedRoot::Classic(classic) => self.build_root_by_mount(classic),
        }
    }

    fn attach_trees(&mut self, trees: &Trees) -> Result<(), Failure> {
        let plan = self.prepared.plan;
        let namespace_root;
        let root = match &trees.root {
            RootTree::Namespace(directory) => {
                let propagation = plan.rootfs.propagation.0;
                namespace_root =
                    enter_namespace_of(directory.as_fd(), propagation).at(Step::MountNamespace)?;
                self.sees_no_host = true;
                namespace_root.as_fd()
            }
            RootTree::Clone(tree) => {
                if trees.clones_binds_inside {
                    self.clone_binds()?;
                }
                self.attach_root(tree.as_fd()).at(Step::AttachRoot)?;
                tree.as_fd()
            }
        };
        let over_root = self.make_mounts(root, trees)?;
        let root = over_root.as_ref().map_or(root, AsFd::as_fd);
        self.make_devices(root, &trees.device_nodes)?;
        self.make_terminal(root)?;
        self.wait_for_hooks()?;
        self.make_working_directory(root)?;
        self.mask_paths(root, trees.masks.as_ref())?;
        self.protect_paths(root)?;
        self.run_create_hooks()?;
        mounts::finish(&plan.rootfs.mounts, &trees.mounts, &self.own_clones, &self.deferred)?;
        if plan.rootfs.readonly {
            let change = MountChange { set: MountAttr::RDONLY, ..MountChange::default() };
            set_attributes(root, change, Reach::Mount).at(Step::ReadOnlyRoot)?;
        }
        if self.sees_no_host || self.plan().namespaces.shares_mounts() {
            // It is the root already, unless something has been mounted over it; or others keep theirs.
            fchdir(root).and_then(|()| chroot(c".")).at(Step::Pivot)?;
        } else {
            let over = || plan.rootfs.mounts.iter().filter(|mount| mount.covers_root()).count();
            enter(root, plan.pivot, if self.root_is_in_place { 0 } else { over() }).at(Step::Pivot)?;
        }
        match plan.rootfs.propagation {
            (propagation @ (Propagation::Shared | Propagation::Unbindable), reach) => {
                set_root_propagation(propagation, reach).at(Step::Pivot)
            }
            _ => Ok(()),
        }
    }

    /// After a failure: takes the root, with all that is mounted in it, out of the mount namespace that others are in.
    pub(super) fn leave_shared_mounts(&self) {
        if self.plan().namespaces.shares_mounts()
            && self.root_is_in_place
            && let PreparedRoot::Trees(Trees { root: RootTree::Clone(tree), .. }) = &self.prepared.root
        {
            let _ = fchdir(tree).and_then(|()| unmount(c".", UnmountFlags::DETACH));
        }
    }

    /// Attaches the root over the one of the mount namespace, whose path need not be looked up then; or for others who are
    /// in it, and hooks, which know the container by its path on the host, there.
    fn attach_root(&mut self, tree: BorrowedFd<'_>) -> Result<(), Errno> {
        let rootfs = &self.prepared.plan.rootfs;
        let is_looked_at = self.prepared.process.hooks.is_some_and(|hooks| hooks.plan.see_both_sides());
        let place = match is_looked_at || self.plan().namespaces.shares_mounts() {
            true => openat(CWD, rootfs.c_path.as_c_str(), DIRECTORY, Mode::empty()).map(Some),
            false => Ok(None),
        };
        leave_host_propagation()?;
        match place {
            Ok(Some(place)) => {
                self.root_is_in_place = true;
                mounts::attach(tree, place.as_fd())
            }
            // Root of a user namespace need not be let as far as that.
            Err(Errno::ACCESS) if !self.plan().namespaces.shares_mounts() => mounts::attach_over_root(tree),
            Ok(None) => mounts::attach_over_root(tree),
            Err(errno) => Err(errno),
        }
    }

    /// Without a mount namespace of its own a container only gets another root directory.
    fn enter_host_tree(&mut self) -> Result<(), Failure> {
        let path = self.prepared.plan.rootfs.c_path.as_c_str();
        let root = openat(CWD, path, DIRECTORY, Mode::empty()).at(Step::Pivot)?;
        self.make_devices(root.as_fd(), &[])?;
        self.make_terminal(root.as_fd())?;
        self.wait_for_hooks()?;
        self.make_working_directory(root.as_fd())?;
        self.run_create_hooks()?;
        fchdir(&root).at(Step::Pivot)?;
        chroot(c".").at(Step::Pivot)?;
        chdir(c"/").at(Step::Pivot)
    }

    pub(super) fn make_working_directory(&mut self, root: BorrowedFd<'_>) -> Result<(), Failure> {
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

/// Enters a mount namespace that is made of the tree at `directory` and nothing else; returns its root.
fn enter_namespace_of(directory: BorrowedFd<'_>, propagation: Propagation) -> Result<OwnedFd, Errno> {
    let namespace = sys::mount::open_namespace(directory)?;
    sys::namespace::join(namespace.as_fd(), Namespaces::MOUNT)?;
    // A clone of a shared mount is its peer: what is mounted in one shows up in the other. A slave only listens.
    let propagation = match propagation {
        Propagation::Slave => Propagation::Slave,
        _ => Propagation::Private,
    };
    set_root_propagation(propagation, Reach::Tree)?;
    openat(CWD, c"/", DIRECTORY, Mode::empty())
}

/// From here on nothing that is mounted or unmounted in this namespace is seen in the host's.
fn leave_host_propagation() -> Result<(), Errno> {
    match set_root_propagation(Propagation::Private, Reach::Tree) {
        // Not the root of a mount: the runtime lives in a chroot, and the mount that holds it cannot be named from in
        // there.
        Err(Errno::INVAL) => {
            go_to_real_root()?;
            set_root_propagation(Propagation::Private, Reach::Tree)
        }
        other => other,
    }
}

/// Leaves a chroot: entering the mount namespace a process is in already takes it to the root of that (`setns(2)`).
fn go_to_real_root() -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = openat(CWD, c"/proc/thread-self/ns/mnt", flags, Mode::empty())?;
    sys::namespace::join(own.as_fd(), Namespaces::MOUNT)
}

/// The same by `mount(2)`.
pub(super) fn leave_host_propagation_by_mount(flags: MountPropagationFlags) -> Result<(), Errno> {
    match mount_change(c"/", flags) {
        Err(Errno::INVAL) => {
            go_to_real_root()?;
            mount_change(c"/", flags)
        }
        other => other,
    }
}

/// Makes `root`, which is mounted over the present root, the root directory, and lets go of everything else; `between`
/// is how many mounts lie between the two.
pub(super) fn enter(root: BorrowedFd<'_>, pivot: bool, between: usize) -> Result<(), Errno> {
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
        let stopped = loop {
            if let Err(errno) = unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                break errno;
            }
        };
        // Nothing is mounted there (any more); or it is locked by a user namespace, and can be covered all the same.
        if !matches!(stopped, Errno::INVAL | Errno::NOENT | Errno::NOTDIR) {
            cover(path)?;
        }
    }
    fchdir(root)?;
    chroot(c".")?;
    chdir(c"/")
}

fn cover(path: &CStr) -> Result<(), Errno> {
    let place = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    match filesystem::small_tmpfs(c"tmpfs", MountAttr::RDONLY) {
        Ok(nothing) => mounts::attach(nothing.as_fd(), place.as_fd()),
        Err(_) => mount(c"tmpfs", path, c"tmpfs", MountFlags::RDONLY, None),
    }
}
