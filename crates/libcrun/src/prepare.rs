//! Acquiring what the plan names: every path of the host is opened once, here, and carried as a descriptor from
//! then on.
//!
//! Third stage of the pipeline, the last one before the clone. What fails here has made nothing but the cgroup, which
//! the guard of [`crate::create`] takes back.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cgroups::Cgroup;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::clone::Namespaces;
use sys::exe::ReadOnlyView;
use sys::exec::StringArray;
use sys::mount::{MountAttr, MountChange, Propagation, Reach, set_attributes};

use crate::error::{Code, Context, Error, Result};
use crate::home;
use crate::plan::{Join, MountOperation, MountSource, Plan, ProcessPlan};

/// Everything init needs, acquired.
#[derive(Debug)]
pub(crate) struct Prepared<'p> {
    pub(crate) plan: &'p Plan,
    /// The root filesystem, cloned with all that is mounted in it and detached from the host's tree; `None` for a
    /// container without a mount namespace of its own.
    pub(crate) root: Option<OwnedFd>,
    /// One for each mount of the plan.
    pub(crate) mounts: Vec<PreparedMount>,
    /// One for each device of the plan when they cannot be made inside (user namespace), otherwise empty.
    pub(crate) device_nodes: Vec<OwnedFd>,
    pub(crate) masks: Option<Masks>,
    /// The namespaces to join; that of pids is joined by the parent for its child.
    pub(crate) joins: Vec<(Namespaces, OwnedFd)>,
    pub(crate) process: PreparedProcess<'p>,
}

/// What of a mount could be had before the container's process exists.
#[derive(Debug)]
pub(crate) enum PreparedMount {
    /// A clone of a part of the host's tree, detached.
    Tree { tree: OwnedFd, is_directory: bool },
    /// The container's cgroup in each hierarchy, by the hierarchy's name.
    CgroupTrees(Vec<(CString, OwnedFd)>),
    /// Nothing: it is made inside.
    Inside,
}

/// What masked paths are covered with: detached, read-only.
#[derive(Debug)]
pub(crate) struct Masks {
    pub(crate) directory: OwnedFd,
    pub(crate) file: OwnedFd,
}

/// The process with its final environment.
#[derive(Debug)]
pub(crate) struct PreparedProcess<'p> {
    pub(crate) plan: &'p ProcessPlan,
    pub(crate) env: StringArray,
    /// The runtime's executable through a read-only mount, when init has to exchange it (CVE-2019-5736).
    pub(crate) executable_view: Option<ReadOnlyView>,
}

/// Opens a directory of the host only to name it.
const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

impl<'p> Prepared<'p> {
    /// Acquires everything but the cgroup, which exists already. `empty_directory` is what masked directories show.
    pub(crate) fn new(
        plan: &'p Plan,
        cgroup: Option<&Cgroup>,
        empty_directory: impl FnOnce() -> Result<OwnedFd>,
        executable_view: Option<ReadOnlyView>,
    ) -> Result<Self> {
        let joins = open_joins(&plan.namespaces.join)?;
        let root_path = open_root(plan)?;
        let env = home::environment(&plan.process, root_path.as_fd());
        let env = env.context(Code::InvalidConfig, || "process.env")?;
        let root = plan.rootfs.own_mounts.then(|| clone_root(plan, root_path.as_fd())).transpose()?;
        let mounts =
            plan.rootfs.mounts.iter().map(|mount| prepare_mount(mount, cgroup)).collect::<Result<_>>()?;
        let device_nodes =
            if plan.namespaces.contains(Namespaces::USER) { clone_devices(plan)? } else { Vec::new() };
        let masks =
            if plan.rootfs.masked.is_empty() { None } else { Some(Masks::new(empty_directory()?.as_fd())?) };
        let process = PreparedProcess { plan: &plan.process, env, executable_view };
        Ok(Self { plan, root, mounts, device_nodes, masks, joins, process })
    }
}

/// Opens the namespaces to join while their paths still mean what the configuration meant.
fn open_joins(joins: &[Join]) -> Result<Vec<(Namespaces, OwnedFd)>> {
    joins
        .iter()
        .map(|join| {
            let file = openat(CWD, &join.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .context(Code::Namespace, || format!("open the namespace `{}`", join.path.display()))?;
            Ok((join.kind, file))
        })
        .collect()
}

fn open_root(plan: &Plan) -> Result<OwnedFd> {
    let path = &plan.rootfs.path;
    openat(CWD, path, PATH_ONLY | OFlags::DIRECTORY, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => {
            Error::new(Code::Rootfs, format!("the rootfs path `{}` does not exist", path.display()))
        }
        _ => Error::os(Code::Rootfs, format!("open the rootfs `{}`", path.display()), errno),
    })
}

const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// Clones the mount (or the whole tree of mounts) at `path`, detached from any namespace (`open_tree(2)`).
fn clone_tree(path: &Path, reach: Reach) -> core::result::Result<OwnedFd, Errno> {
    open_tree(CWD, path, clone_flags(reach))
}

fn clone_flags(reach: Reach) -> OpenTreeFlags {
    match reach {
        Reach::Mount => CLONE,
        Reach::Tree => CLONE.union(OpenTreeFlags::AT_RECURSIVE),
    }
}

fn clone_root(plan: &Plan, root: BorrowedFd<'_>) -> Result<OwnedFd> {
    let name = || format!("clone the mount of the rootfs `{}`", plan.rootfs.path.display());
    let flags = clone_flags(Reach::Tree) | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(root, c"", flags).context(Code::Rootfs, name)?;
    // A clone of a shared mount is its peer: what is mounted in one shows up in the other. A slave only listens.
    let propagation = match plan.rootfs.propagation {
        (Propagation::Slave, _) => Propagation::Slave,
        _ => Propagation::Private,
    };
    let change = MountChange { propagation: Some(propagation), ..MountChange::default() };
    set_attributes(tree.as_fd(), change, Reach::Tree).context(Code::Rootfs, name)?;
    Ok(tree)
}

fn prepare_mount(mount: &MountOperation, cgroup: Option<&Cgroup>) -> Result<PreparedMount> {
    match &mount.source {
        MountSource::Bind { source, reach, changes } => prepare_bind(mount, source, *reach, changes),
        MountSource::CgroupTree(tree) => match cgroup {
            Some(cgroup) => clone_cgroups(mount, cgroup, tree.attributes),
            None => Ok(PreparedMount::CgroupTrees(Vec::new())),
        },
        MountSource::Filesystem { .. } | MountSource::Remount { .. } => Ok(PreparedMount::Inside),
    }
}

fn prepare_bind(
    mount: &MountOperation,
    source: &Path,
    reach: Reach,
    changes: &[(MountChange, Reach)],
) -> Result<PreparedMount> {
    let name = |what: &str| format!("mounts[{}]: {}: {what}", mount.index, mount.destination);
    let tree = clone_tree(source, reach)
        .context(Code::Rootfs, || name(&format!("open the source `{}`", source.display())))?;
    for (change, reach) in changes {
        set_attributes(tree.as_fd(), *change, *reach)
            .context(Code::Rootfs, || name("set the mount's options"))?;
    }
    let kind = fstat(&tree).context(Code::Rootfs, || name("look at the source"))?.st_mode;
    let is_directory = FileType::from_raw_mode(kind) == FileType::Directory;
    Ok(PreparedMount::Tree { tree, is_directory })
}

fn clone_cgroups(mount: &MountOperation, cgroup: &Cgroup, attributes: MountAttr) -> Result<PreparedMount> {
    let change =
        MountChange { set: attributes, propagation: Some(Propagation::Private), ..MountChange::default() };
    let name = || format!("mounts[{}]: {}: clone the container's cgroup", mount.index, mount.destination);
    let mut trees = Vec::new();
    for (hierarchy, directory) in cgroup.directories() {
        let tree =
            open_tree(directory, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH).context(Code::Rootfs, name)?;
        set_attributes(tree.as_fd(), change, Reach::Mount).context(Code::Rootfs, name)?;
        trees.push((CString::new(hierarchy).unwrap_or_default(), tree));
    }
    Ok(PreparedMount::CgroupTrees(trees))
}

/// In a user namespace no device can be made; the host's nodes are shown instead.
fn clone_devices(plan: &Plan) -> Result<Vec<OwnedFd>> {
    plan.rootfs
        .devices
        .iter()
        .map(|device| {
            let path = device.path.to_string();
            let name = || format!("open the host's device `{path}`");
            let tree = clone_tree(Path::new(&path), Reach::Mount).context(Code::Rootfs, name)?;
            // A peer of the host's mount would take what is mounted over it inside back to the host.
            let change = MountChange {
                set: MountAttr::NOSUID | MountAttr::NOEXEC,
                propagation: Some(Propagation::Private),
                ..MountChange::default()
            };
            set_attributes(tree.as_fd(), change, Reach::Mount).context(Code::Rootfs, name)?;
            Ok(tree)
        })
        .collect()
}

impl Masks {
    fn new(empty_directory: BorrowedFd<'_>) -> Result<Self> {
        let read_only = MountChange {
            set: MountAttr::RDONLY,
            propagation: Some(Propagation::Private),
            ..MountChange::default()
        };
        let seal = |tree: OwnedFd, name: &str| -> Result<OwnedFd> {
            set_attributes(tree.as_fd(), read_only, Reach::Mount)
                .context(Code::Rootfs, || format!("make {name} read-only"))?;
            Ok(tree)
        };
        let directory = open_tree(empty_directory, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH)
            .context(Code::Rootfs, || "clone the empty directory for masked paths")?;
        let file = clone_tree(Path::new("/dev/null"), Reach::Mount)
            .context(Code::Rootfs, || "clone `/dev/null` for masked paths")?;
        let stat = fstat(&file).context(Code::Rootfs, || "look at `/dev/null`")?;
        // CVE-2025-31133: whatever stands in for a secret must be the real thing.
        if stat.st_rdev != rustix::fs::makedev(1, 3)
            || FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
        {
            return Err(Error::new(Code::Rootfs, "`/dev/null` of this host is not the null device"));
        }
        Ok(Self { directory: seal(directory, "the empty directory")?, file: seal(file, "`/dev/null`")? })
    }
}
