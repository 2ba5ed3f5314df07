//! Cloning what a runtime without rights could not: the parts of the host's tree that the container shows.
//!
//! Done in a mount namespace that belongs to the container's user namespace, and still as the user who called the runtime:
//! what only that user can reach need not be open to the ids that the container has.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::mount::open_tree;
use sys::clone::Namespaces;
use sys::mount::Reach;

use super::{Init, credentials};
use crate::channel::{At, Failure, Step};
use crate::plan::{Bind, MountOperation, MountSource, SourceLink};
use crate::prepare::{
    ByInit, Masks, PreparedMount, PreparedRoot, RootTree, Trees, change_clone, clone_flags, clone_root,
    is_directory, shown_instead,
};

impl Init<'_> {
    /// Takes on ids of the user namespace it has just entered. What is to be cloned is cloned before.
    pub(super) fn become_mapped(&mut self) -> Result<(), Failure> {
        self.acquire()?;
        credentials::become_mapped(self.plan().namespaces.set_up)
    }

    /// Makes the mount namespace and clones, once, what the runtime has left to be cloned.
    pub(super) fn acquire(&mut self) -> Result<(), Failure> {
        let PreparedRoot::ByInit(wanted) = &self.prepared.root else { return Ok(()) };
        if self.trees.is_some() {
            return Ok(());
        }
        sys::namespace::unshare(Namespaces::MOUNT).at(Step::NewNamespaces)?;
        let plan = self.prepared.plan;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, plan.rootfs.c_path.as_c_str(), flags, Mode::empty())
            .and_then(|directory| clone_root(plan, directory.as_fd()))
            .at(Step::AttachRoot)?;
        let masks = wanted.empty_directory.as_deref().map(Masks::by_path).transpose();
        let masks = masks.at(Step::MaskedPath)?;
        let mounts = clone_mounts(&plan.rootfs.mounts, wanted)?;
        let root = RootTree::Clone(root);
        let device_nodes = Vec::new();
        self.trees = Some(Trees { root, clones_binds_inside: false, mounts, device_nodes, masks });
        Ok(())
    }

    /// Clones the trees of the host's that are bound with all that is mounted in them, as they are in the copy of the
    /// host's mount namespace: there the mount namespaces that are pinned in them as files (as snapd does) have been left
    /// out, with which a tree can only be attached in an older namespace than theirs. To be done while the container's
    /// own tree is not in sight, or a clone of `/` would have it in it.
    pub(super) fn clone_binds(&mut self) -> Result<(), Failure> {
        for (index, mount) in self.prepared.plan.rootfs.mounts.iter().enumerate() {
            let MountSource::Bind(bind) = &mount.source else { continue };
            // An id-mapped one stays as the runtime has cloned it: its mapping is not at hand here.
            if bind.reach == Reach::Mount || bind.link == SourceLink::Copy || bind.idmap.is_some() {
                continue;
            }
            self.own_clones.push((index, clone_bind(mount, bind)?));
        }
        Ok(())
    }
}

/// Clones what mounts show of the host; what there is of the others already is returned with them.
pub(crate) fn clone_mounts(plan: &[MountOperation], wanted: &ByInit) -> Result<Vec<PreparedMount>, Failure> {
    // Not dropped by a failure: that would free memory, for which another thread of the runtime may hold the lock.
    let mut mounts = ManuallyDrop::new(wanted.mounts.take());
    for (index, mount) in plan.iter().enumerate() {
        let Some(ready) = mounts.get_mut(index) else { continue };
        match (&mount.source, ready) {
            (MountSource::Bind(_), PreparedMount::Link(_)) => {}
            (MountSource::Bind(bind), ready) => {
                let tree = clone_bind(mount, bind)?;
                let is_directory = is_directory(tree.as_fd()).at_entry(Step::MountSource, mount.index)?;
                *ready = PreparedMount::Tree { tree, is_directory };
            }
            (MountSource::Filesystem(filesystem), PreparedMount::Inside { fallback, idmap }) => {
                let namespace = wanted.idmaps.get(index).and_then(Option::as_ref);
                let namespace = namespace.map(|namespace| fcntl_dupfd_cloexec(namespace, 3)).transpose();
                *idmap = namespace.at_entry(Step::MountIdmap, mount.index)?;
                let shown = wanted.fallbacks.get(index).and_then(Option::as_ref);
                // That it cannot be had is no error yet: it may not be needed.
                *fallback = shown.and_then(|shown| {
                    let tree = open_tree(CWD, shown.path.as_c_str(), clone_flags(shown.reach)).ok()?;
                    shown_instead(tree, shown.is_own, mount, filesystem)
                });
            }
            _ => {}
        }
    }
    Ok(ManuallyDrop::into_inner(mounts))
}

fn clone_bind(mount: &MountOperation, bind: &Bind) -> Result<OwnedFd, Failure> {
    let flags = clone_flags(bind.reach) | bind.link.flags();
    let tree = open_tree(CWD, bind.source.as_c_str(), flags).at_entry(Step::MountSource, mount.index)?;
    for (change, reach) in &bind.changes {
        change_clone(tree.as_fd(), *change, *reach).at_entry(Step::MountAttributes, mount.index)?;
    }
    Ok(tree)
}
