//! Acquiring what the plan names: every path of the host is opened once, here, and carried as a descriptor from
//! then on.
//!
//! Third stage of the pipeline, the last one before the clone. What fails here has made nothing but the cgroup, which
//! the guard of [`crate::create`] takes back.

mod by_init;
pub(crate) mod classic;
mod devices;
mod masks;
mod mounts;
pub(crate) mod terminal;

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use cgroups::Cgroup;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::clone::Namespaces;
use sys::exe::ReadOnlyView;
use sys::exec::StringArray;
use sys::mount::{MountChange, Propagation, Reach, set_attributes};

use crate::channel::{Failure, Step};
use crate::error::{Code, Context, Error, Result, doing};
use crate::explain;
use crate::home;
use crate::hooks::Hooks;
use crate::host::Host;
use crate::idmap::UserNamespaces;
use crate::plan::{Join, MountOperation, Plan, ProcessPlan};
use crate::procfs::ProcFs;
use crate::receiver::Connection;
use crate::state::StateRoot;
use crate::timeline::Timeline;
pub(crate) use by_init::ByInit;
use classic::Classic;
pub(crate) use devices::ATTRIBUTES as NODE_ATTRIBUTES;
pub(crate) use masks::Masks;
pub(crate) use mounts::{PreparedMount, change_clone, is_directory, shown_instead};
use terminal::HostTerminal;

/// Everything init needs, acquired.
#[derive(Debug)]
pub(crate) struct Prepared<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) root: PreparedRoot,
    /// The namespaces to join; that of pids is joined by the parent for its child.
    pub(crate) joins: Vec<(Namespaces, OwnedFd)>,
    /// Which kinds a process in between has joined for init, before it made that.
    pub(crate) joined: Cell<Namespaces>,
    pub(crate) process: PreparedProcess<'p>,
    pub(crate) timeline: &'p Timeline,
}

/// What there is of the root filesystem before the container's process exists.
#[derive(Debug)]
pub(crate) enum PreparedRoot {
    /// Nothing is mounted: the container has no mount namespace of its own.
    Directory,
    /// Detached mounts, to be attached.
    Trees(Trees),
    /// This process may clone no mounts: init clones them, once it is in namespaces where it may.
    ByInit(ByInit),
    /// Nothing, on a kernel without detached mounts: everything is done by path.
    Classic(Classic),
}

/// The mounts of the container, as far as they can be had beforehand.
#[derive(Debug)]
pub(crate) struct Trees {
    pub(crate) root: RootTree,
    /// Whether init clones again what is bound with all that is mounted in it.
    pub(crate) clones_binds_inside: bool,
    /// One for each mount of the plan.
    pub(crate) mounts: Vec<PreparedMount>,
    /// One for each device of the plan when they cannot be made inside (user namespace), otherwise empty.
    pub(crate) device_nodes: Vec<Option<OwnedFd>>,
    pub(crate) masks: Option<Masks>,
}

/// How the root filesystem gets into a mount namespace of the container's own.
#[derive(Debug)]
pub(crate) enum RootTree {
    /// A new namespace is made of the tree at this directory (Linux 7.0): nothing of the host's mounts is copied, however
    /// many there are.
    Namespace(OwnedFd),
    /// This clone of the tree is attached in a copy of the host's namespace, which is then left behind.
    Clone(OwnedFd),
}

/// Which of the ways into a mount namespace is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rung {
    /// The newest this kernel has.
    Newest,
    /// Without a namespace of the tree alone, which not every tree can be made into.
    CopiedNamespace,
    /// The same, and what is bound with all that is mounted in it is cloned by init from the copy.
    ClonesInside,
    /// Without any detached mounts.
    Classic,
}

/// The process with its final environment.
#[derive(Debug)]
pub(crate) struct PreparedProcess<'p> {
    pub(crate) plan: &'p ProcessPlan,
    pub(crate) env: StringArray,
    /// The runtime's executable through a read-only mount, when init has to exchange it (CVE-2019-5736).
    pub(crate) executable_view: Option<ReadOnlyView>,
    /// What it is attached to if the container has no devpts.
    pub(crate) host_terminal: Option<HostTerminal>,
    /// The host's procfs, for what the process writes about itself and its namespaces: nothing of the container's is ever
    /// mounted over it.
    pub(crate) proc: Option<ProcFs>,
    /// Who answers for its system calls, where its filter leaves any to somebody.
    pub(crate) agent: Option<&'p Connection>,
    pub(crate) hooks: Option<&'p Hooks>,
    /// Where it says what becomes of it once the channel has no other end any more, if somebody has to know.
    pub(crate) report: Option<BorrowedFd<'p>>,
}

/// What there is for the process beside its plan.
#[derive(Debug)]
pub(crate) struct Beside<'a> {
    pub(crate) agent: Option<&'a Connection>,
    pub(crate) hooks: Option<Rc<Hooks>>,
    pub(crate) report: Option<BorrowedFd<'a>>,
    pub(crate) timeline: &'a Timeline,
}

/// Opens a directory of the host only to name it.
const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

impl<'p> Prepared<'p> {
    /// Whether the container's mount namespace is not made along with the others: made of its tree alone, or before, so
    /// that init can clone mounts in it.
    pub(crate) fn makes_mount_namespace(&self) -> bool {
        match &self.root {
            PreparedRoot::Trees(trees) => matches!(trees.root, RootTree::Namespace(_)),
            PreparedRoot::ByInit(_) => true,
            _ => false,
        }
    }

    /// Where a failure of init says that this rung cannot hold the container, the one it is to be tried on. A tree with a
    /// mount namespace pinned in it as a file (as snapd does) can only be attached in an older namespace than that.
    pub(crate) fn next_rung(&self, failure: Failure) -> Option<Rung> {
        match (&self.root, failure.step, failure.errno) {
            (PreparedRoot::Trees(_), Step::MountNamespace, _) => Some(Rung::CopiedNamespace),
            (PreparedRoot::Trees(trees), Step::MountAttach, Errno::LOOP)
                if !trees.clones_binds_inside && !self.plan.namespaces.shares_mounts() =>
            {
                Some(Rung::ClonesInside)
            }
            // Before Linux 5.12, or taken away by a filter.
            (PreparedRoot::ByInit(_), Step::AttachRoot, Errno::NOSYS | Errno::PERM) => Some(Rung::Classic),
            _ => None,
        }
    }

    /// Acquires everything but the cgroup, which exists already. `state_root` has the directory that masked ones show.
    pub(crate) fn new(
        plan: &'p Plan,
        cgroup: Option<&Cgroup>,
        state_root: &StateRoot,
        rung: Rung,
        executable_view: Option<ReadOnlyView>,
        beside: &'p Beside<'_>,
    ) -> Result<Self> {
        let timeline = beside.timeline;
        let joins = open_joins(&plan.namespaces.join)?;
        let root_path = open_root(plan)?;
        let env = home::environment(&plan.process, root_path.as_fd());
        let env = env.context(Code::InvalidConfig, || "process.env")?;
        let root = match plan.rootfs.own_mounts {
            false => PreparedRoot::Directory,
            true => prepare_root(plan, root_path, cgroup, (state_root, beside.timeline), rung)?,
        };
        let needs_proc =
            !plan.sysctls.is_empty() || !plan.process.labels.is_empty() || plan.namespaces.time_by_init;
        let proc = if needs_proc { Some(ProcFs::open()?) } else { None };
        let host_terminal = HostTerminal::new(&plan.process)?;
        let process = PreparedProcess {
            plan: &plan.process,
            env,
            executable_view,
            host_terminal,
            proc,
            agent: beside.agent,
            hooks: beside.hooks.as_deref(),
            report: beside.report,
        };
        Ok(Self { plan, root, joins, joined: Cell::default(), process, timeline })
    }
}

fn prepare_root(
    plan: &Plan,
    root_path: OwnedFd,
    cgroup: Option<&Cgroup>,
    (state_root, timeline): (&StateRoot, &Timeline),
    rung: Rung,
) -> Result<PreparedRoot> {
    let takes_trees = || !plan.is_rootless || may_clone(root_path.as_fd());
    let is_shared = plan.namespaces.shares_mounts();
    let root = if rung == Rung::Newest && !is_shared && sys::mount::can_open_namespace() && takes_trees() {
        RootTree::Namespace(root_path)
    } else {
        match timeline.look("clone of the rootfs", || clone_root(plan, root_path.as_fd())) {
            // There is only the way of detached mounts: none other brings a mount of the host there.
            Err(errno @ (Errno::NOSYS | Errno::PERM)) if is_shared => {
                let needs = "mounts in a mount namespace that is joined take open_tree(2) (Linux 5.12)";
                return Err(Error::os(Code::Unsupported, needs, errno));
            }
            // The mount namespace is somebody else's.
            Err(Errno::PERM) if rung != Rung::Classic && by_init::can_do(plan) => {
                return ByInit::new(plan, cgroup, state_root).map(PreparedRoot::ByInit);
            }
            // Before Linux 5.12, or taken away by a filter.
            Err(Errno::NOSYS | Errno::PERM) => {
                // Made here, because init only names it.
                drop(state_root.empty_directory()?);
                let classic = Classic::new(plan, cgroup, &state_root.empty_directory_path())?;
                return Ok(PreparedRoot::Classic(classic));
            }
            cloned => RootTree::Clone(cloned.context(Code::Rootfs, || {
                format!("clone the mount of the rootfs `{}`", plan.rootfs.path.display())
            })?),
        }
    };
    let mounts = prepare_mounts(&plan.rootfs.mounts, cgroup, timeline)?;
    // In a user namespace no node can be made, whatever capabilities a process has there. Where the host's nodes are out of
    // reach later, it has to be known here whether they will be needed.
    let mounts_devices = plan.namespaces.contains(Namespaces::USER)
        || matches!(root, RootTree::Namespace(_)) && plan.is_rootless;
    let device_nodes = match mounts_devices {
        true => timeline.measure("devices of the host", || devices::prepare(plan))?,
        false => Vec::new(),
    };
    let masks = match plan.rootfs.masked.as_slice() {
        [] => None,
        _ => Some(timeline.measure("masks", || Masks::new(state_root.empty_directory()?.as_fd()))?),
    };
    let clones_binds_inside = rung == Rung::ClonesInside;
    Ok(PreparedRoot::Trees(Trees { root, clones_binds_inside, mounts, device_nodes, masks }))
}

fn prepare_mounts(
    mounts: &[MountOperation],
    cgroup: Option<&Cgroup>,
    timeline: &Timeline,
) -> Result<Vec<PreparedMount>> {
    let mut user_namespaces = UserNamespaces::default();
    let prepared = mounts.iter().map(|mount| {
        let prepare = || mounts::prepare(mount, cgroup, &mut user_namespaces);
        timeline.measure_one("open", &mount.destination, prepare)
    });
    prepared.collect()
}

/// What of the mounts for a running container there is before somebody enters it.
#[derive(Debug)]
pub(crate) enum ForRunning {
    /// All that can be had outside.
    Ready(Vec<PreparedMount>),
    /// Nothing: this process may clone no mounts, but who enters may.
    ByVisitor(ByInit),
}

impl ForRunning {
    /// There is only the way of detached mounts: none other brings a mount of the host into a mount namespace that exists.
    pub(crate) fn new(mounts: &[MountOperation], cgroup: Option<&Cgroup>, host: &Host) -> Result<Self> {
        let detached = clone_tree(Path::new("/"), Reach::Mount).and_then(|tree| {
            let private = MountChange { propagation: Some(Propagation::Private), ..MountChange::default() };
            set_attributes(tree.as_fd(), private, Reach::Mount)
        });
        match detached {
            Err(Errno::PERM) if host.effective_uid() != 0 => {
                ByInit::mounts(mounts, cgroup).map(Self::ByVisitor)
            }
            Err(errno @ (Errno::NOSYS | Errno::PERM)) => {
                let needs = "adding mounts to a running container takes open_tree(2) and mount_setattr(2) (Linux 5.12)";
                Err(Error::os(Code::Unsupported, needs, errno))
            }
            _ => prepare_mounts(mounts, cgroup, &Timeline::default()).map(Self::Ready),
        }
    }

    /// The descriptors in it.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Ready(ready) => ready.iter().flat_map(PreparedMount::descriptors).collect(),
            Self::ByVisitor(wanted) => wanted.idmaps.iter().flatten().map(AsFd::as_fd).collect(),
        }
    }
}

/// Opens the namespaces to join while their paths still mean what the configuration meant.
fn open_joins(joins: &[Join]) -> Result<Vec<(Namespaces, OwnedFd)>> {
    joins
        .iter()
        .map(|join| {
            let file = openat(CWD, &join.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .context(Code::Namespace, || doing("open the namespace", &join.path))?;
            Ok((join.kind, file))
        })
        .collect()
}

pub(crate) fn open_root(plan: &Plan) -> Result<OwnedFd> {
    let path = &plan.rootfs.path;
    openat(CWD, path, PATH_ONLY | OFlags::DIRECTORY, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => {
            Error::of(Code::RootfsNotFound, doing("the rootfs path", path).then(" does not exist"), None)
        }
        _ => {
            let error = Error::of(Code::Rootfs, doing("open the rootfs", path), Some(errno));
            explain::closed(error, path)
        }
    })
}

const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// Clones the mount (or the whole tree of mounts) at `path`, detached from any namespace (`open_tree(2)`).
fn clone_tree(path: &Path, reach: Reach) -> core::result::Result<OwnedFd, Errno> {
    open_tree(CWD, path, clone_flags(reach))
}

/// For a detached clone of a mount, or of a whole tree of them.
pub(crate) fn clone_flags(reach: Reach) -> OpenTreeFlags {
    match reach {
        Reach::Mount => CLONE,
        Reach::Tree => CLONE.union(OpenTreeFlags::AT_RECURSIVE),
    }
}

/// Whether mounts can be cloned here: root of a user namespace may not, while its mount namespace is somebody else's.
fn may_clone(directory: BorrowedFd<'_>) -> bool {
    let flags = clone_flags(Reach::Mount) | OpenTreeFlags::AT_EMPTY_PATH;
    !matches!(open_tree(directory, c"", flags), Err(Errno::PERM))
}

/// Clones the tree of the container's root. Does not allocate, because init does it, too.
pub(crate) fn clone_root(plan: &Plan, root: BorrowedFd<'_>) -> core::result::Result<OwnedFd, Errno> {
    let tree = open_tree(root, c"", clone_flags(Reach::Tree) | OpenTreeFlags::AT_EMPTY_PATH)?;
    // A clone of a shared mount is its peer: what is mounted in one shows up in the other. A slave only listens.
    let propagation = match plan.rootfs.propagation {
        (Propagation::Slave, _) => Propagation::Slave,
        _ => Propagation::Private,
    };
    let change = MountChange { propagation: Some(propagation), ..MountChange::default() };
    set_attributes(tree.as_fd(), change, Reach::Tree)?;
    Ok(tree)
}
