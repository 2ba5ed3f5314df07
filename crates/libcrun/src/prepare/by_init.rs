//! What init has to clone itself, because this process has no right to: an ordinary user has none over the mount
//! namespace of the host, and root of a user namespace none as long as its mount namespace is somebody else's.
//!
//! What can be decided and what has to be allocated is here; [`crate::init::acquire`] executes it, in the copy of the
//! host's mount namespace that belongs to the container's user namespace.

use std::cell::RefCell;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use cgroups::Cgroup;
use sys::mount::Reach;

use super::PreparedMount;
use super::mounts::{link_to_copy, user_namespace};
use crate::error::{Code, Context, Error, Result};
use crate::idmap::UserNamespaces;
use crate::plan::{Fallback, MountOperation, MountSource, Plan};
use crate::state::StateRoot;

/// What is to be acquired, and room for it.
#[derive(Debug)]
pub(crate) struct ByInit {
    /// One for each mount of the plan; what init clones takes its place there.
    pub(crate) mounts: RefCell<Vec<PreparedMount>>,
    /// One for each mount of the plan: the user namespace by which a filesystem is id-mapped.
    pub(crate) idmaps: Vec<Option<OwnedFd>>,
    /// One for each mount of the plan: what is shown where the filesystem cannot be had.
    pub(crate) fallbacks: Vec<Option<HostPath>>,
    /// What masked directories show, if there are any.
    pub(crate) empty_directory: Option<CString>,
}

/// A directory of the host.
#[derive(Debug)]
pub(crate) struct HostPath {
    pub(crate) path: CString,
    pub(crate) reach: Reach,
    /// Whether it is the container's to write to.
    pub(crate) is_own: bool,
}

/// Whether it can be done this way. The trees of v1 hierarchies have no one path.
pub(super) fn can_do(plan: &Plan) -> bool {
    let is_tree = |mount: &MountOperation| matches!(mount.source, MountSource::CgroupTree(_));
    plan.is_rootless && !plan.rootfs.mounts.iter().any(is_tree)
}

impl ByInit {
    /// For a container that is to be made.
    pub(super) fn new(plan: &Plan, cgroup: Option<&Cgroup>, state_root: &StateRoot) -> Result<Self> {
        let empty_directory = match plan.rootfs.masked.as_slice() {
            [] => None,
            _ => {
                // Made here, because init only names it.
                drop(state_root.empty_directory()?);
                CString::new(state_root.empty_directory_path().as_os_str().as_bytes()).ok()
            }
        };
        Ok(Self { empty_directory, ..Self::mounts(&plan.rootfs.mounts, cgroup)? })
    }

    /// For mounts alone.
    pub(super) fn mounts(plan: &[MountOperation], cgroup: Option<&Cgroup>) -> Result<Self> {
        let mut namespaces = UserNamespaces::default();
        let mounts = plan.iter().map(prepare).collect::<Result<_>>()?;
        let idmaps = plan.iter().map(|mount| idmap(mount, &mut namespaces)).collect::<Result<_>>()?;
        let fallbacks = plan.iter().map(|mount| fallback(mount, cgroup)).collect();
        Ok(Self { mounts: RefCell::new(mounts), idmaps, fallbacks, empty_directory: None })
    }
}

/// What there is of a mount before init has cloned anything.
fn prepare(mount: &MountOperation) -> Result<PreparedMount> {
    let nothing = PreparedMount::Inside { fallback: None, idmap: None };
    match &mount.source {
        MountSource::Bind(bind) if bind.idmap.is_some() => {
            let message = mount.name("id-mapping what the host has mounted takes root of the host");
            Err(Error::new(Code::Unsupported, message))
        }
        MountSource::Bind(bind) => {
            let source = || bind.opening(mount);
            Ok(link_to_copy(bind).context(Code::Mount, source)?.unwrap_or(nothing))
        }
        _ => Ok(nothing),
    }
}

fn idmap<'p>(mount: &'p MountOperation, namespaces: &mut UserNamespaces<'p>) -> Result<Option<OwnedFd>> {
    match &mount.source {
        MountSource::Filesystem(filesystem) => user_namespace(mount, filesystem, namespaces),
        _ => Ok(None),
    }
}

fn fallback(mount: &MountOperation, cgroup: Option<&Cgroup>) -> Option<HostPath> {
    let MountSource::Filesystem(filesystem) = &mount.source else { return None };
    match (filesystem.fallback?, cgroup.and_then(Cgroup::unified_path)) {
        (Fallback::Tree(path), _) => {
            Some(HostPath { path: path.to_owned(), reach: Reach::Tree, is_own: true })
        }
        (Fallback::Cgroup, Some(own)) => {
            let path = CString::new(own).ok()?;
            Some(HostPath { path, reach: Reach::Mount, is_own: true })
        }
        // The container has none: these are all the host's.
        (Fallback::Cgroup, None) => {
            Some(HostPath { path: c"/sys/fs/cgroup".to_owned(), reach: Reach::Tree, is_own: false })
        }
    }
}
