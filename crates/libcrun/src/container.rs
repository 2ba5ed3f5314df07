//! A container that exists: its status, checked against the process it speaks of.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use cgroups::freezer::is_freezer;
use cgroups::layout::Hierarchy;
use cgroups::{Cgroup, CgroupPath, Freezers, Layout};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::channel::Failure;
use crate::error::{Code, Context, Error, Result, words};
use crate::explain;
use crate::hooks::Hooks;
use crate::host::Host;
use crate::id::ContainerId;
use crate::plan::{HooksPlan, process_plan};
use crate::report;
use crate::spec;
use crate::state::{StateDirectory, StateRoot, Status, is_ending, is_same_process};

/// Where a container is in its life (runtime-spec runtime.md#state).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Set up, waiting for its start.
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its process has ended.
    Stopped,
}

impl Phase {
    /// The specification's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// What can be said about a container at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub id: ContainerId,
    /// Where it is in its life.
    pub phase: Phase,
    /// What was recorded when it was created.
    pub status: Status,
}

impl Snapshot {
    /// The pid of its process, 0 when that has ended.
    #[must_use]
    pub fn pid(&self) -> i32 {
        if self.phase == Phase::Stopped { 0 } else { self.status.pid }
    }
}

/// A container's state directory with what is written in it.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) directory: StateDirectory,
    pub(crate) status: Status,
}

impl Container {
    /// Reads the status of a container.
    pub(crate) fn open(root: &StateRoot, id: &ContainerId) -> Result<Self> {
        let directory = root.open(id)?;
        let status = directory.read_status()?;
        Ok(Self { id: id.clone(), directory, status })
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.status.pid)
    }

    /// Whether its process is still there.
    pub(crate) fn is_alive(&self) -> Result<bool> {
        let Some(pid) = self.pid() else { return Ok(false) };
        is_same_process(pid, self.status.process_start_time)
            .context(Code::State, || format!("look at process {pid}"))
    }

    /// Whether its process is gone or about to be; not, where that cannot be told.
    pub(crate) fn is_ending(&self) -> bool {
        match self.is_alive() {
            Ok(true) => self.pid().is_some_and(|pid| is_ending(pid) == Ok(true)),
            other => other == Ok(false),
        }
    }

    /// A descriptor of its process for something that takes a running container.
    pub(crate) fn open_running(&self) -> Result<OwnedFd> {
        self.open_process().map_err(|error| match error.errno() {
            Some(Errno::SRCH) => words::exec_not_running(self.id.as_str()),
            _ => error,
        })
    }

    /// A descriptor of its process.
    ///
    /// The start time is compared after the process has been opened, so that it belongs to the one that is open.
    pub(crate) fn open_process(&self) -> Result<OwnedFd> {
        let pid = self.pid().ok_or_else(words::process_not_running)?;
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            // EINVAL: there is a thread of that number, but no process.
            Err(Errno::SRCH | Errno::INVAL) => return Err(words::process_not_running()),
            other => other.context(Code::Signal, || format!("open process {pid}"))?,
        };
        if self.is_alive()? { Ok(pidfd) } else { Err(words::process_not_running()) }
    }

    /// Where it is in its life.
    pub(crate) fn phase(&self) -> Result<Phase> {
        self.phase_by(&Freezers::default())
    }

    /// A container is paused whether it was started or not: nothing can be run in it either way.
    fn phase_by(&self, freezers: &Freezers) -> Result<Phase> {
        Ok(match self.is_alive()? {
            false => Phase::Stopped,
            true if self.cgroup_path().is_some_and(|path| freezers.is_frozen(&path)) => Phase::Paused,
            true if self.directory.has_fifo() => Phase::Created,
            true => Phase::Running,
        })
    }

    /// The path of its cgroup, if it has one of its own.
    pub(crate) fn cgroup_path(&self) -> Option<CgroupPath> {
        let path = Some(self.status.cgroup_path.as_str()).filter(|path| !path.is_empty())?;
        Some(CgroupPath::new(Some(path), self.id.as_str())).filter(|path| !path.is_root())
    }

    /// Whether it was made by somebody else than root, and so has a user namespace whatever its configuration says.
    pub(crate) fn is_an_ordinary_users(&self) -> bool {
        !matches!(self.status.owner.as_deref(), None | Some("root" | ""))
    }

    /// The systemd unit it is in, if it is in one.
    pub(crate) fn unit(&self) -> Option<&str> {
        let scope = self.status.scope.as_deref().filter(|scope| !scope.is_empty());
        scope.filter(|_| self.status.systemd_cgroup)
    }

    /// Its cgroup in the hierarchies that freeze.
    pub(crate) fn freezer(&self) -> Result<Option<Cgroup>> {
        self.cgroup_in(is_freezer)
    }

    /// Its cgroup in all hierarchies, if it has one.
    pub(crate) fn cgroup(&self) -> Result<Option<Cgroup>> {
        let Some(path) = self.cgroup_path() else { return Ok(None) };
        Ok(Some(Cgroup::open(&Layout::detect()?.with_named_hierarchy(), &path)?))
    }

    /// Its cgroup where its processes are listed: the v2 tree if there is one, otherwise any hierarchy.
    pub(crate) fn cgroup_for_processes(&self) -> Result<Option<Cgroup>> {
        match self.cgroup_in(|hierarchy| hierarchy.unified)? {
            Some(cgroup) if !cgroup.exists() => self.cgroup(),
            other => Ok(other),
        }
    }

    /// A container without a cgroup must not need a host with cgroups.
    fn cgroup_in(&self, wanted: impl Fn(&Hierarchy) -> bool) -> Result<Option<Cgroup>> {
        let Some(path) = self.cgroup_path() else { return Ok(None) };
        Ok(Some(Cgroup::open(&Layout::detect_those(wanted)?, &path)?))
    }

    fn snapshot_by(self, freezers: &Freezers) -> Result<Snapshot> {
        let phase = self.phase_by(freezers)?;
        Ok(Snapshot { id: self.id, phase, status: self.status })
    }

    /// Its hooks, if there are some for what comes after its creation.
    pub(crate) fn later_hooks(&self) -> Result<Option<Hooks>> {
        if self.status.later_hooks == Some(false) {
            return Ok(None);
        }
        let config = self.directory.read_config()?;
        let spec = spec::parse(&config, &self.directory.file("config.json"))?;
        let plan = HooksPlan::new(&spec, &self.id, Path::new(&self.status.bundle))?;
        plan.filter(|plan| plan.come_later()).map(|plan| Hooks::new(plan, false)).transpose()
    }

    /// The error for what its process has failed in after its creation.
    pub(crate) fn failure(&self, failure: Failure) -> Result<Error> {
        let config = self.directory.read_config()?;
        let spec = spec::parse(&config, &self.directory.file("config.json"))?;
        let plan = process_plan(&spec.process.unwrap_or_default(), 0, &Host::new())?;
        let rootfs = Path::new(&self.status.bundle).join(&self.status.rootfs);
        Ok(explain::program_failed(report::process_failure(&plan, failure), &rootfs))
    }

    /// Whether the configuration gives it a new pid namespace of its own.
    pub(crate) fn has_own_pid_namespace(&self) -> Result<bool> {
        let is_new = |path: Option<&str>| path.is_none_or(str::is_empty);
        self.has_namespace(|entry| &*entry.kind == "pid" && is_new(entry.path.as_deref()))
    }

    /// Whether the configuration gives it another network namespace than that of the runtime.
    pub(crate) fn has_network_namespace(&self) -> Result<bool> {
        self.has_namespace(|entry| &*entry.kind == "network")
    }

    fn has_namespace(&self, is_it: impl Fn(&spec::Namespace<'_>) -> bool) -> Result<bool> {
        let config = self.directory.read_config()?;
        let spec = spec::parse(&config, &self.directory.file("config.json"))?;
        let namespaces = spec.linux.and_then(|linux| linux.namespaces).unwrap_or_default();
        Ok(namespaces.iter().any(is_it))
    }
}

/// What can be said about a container now.
///
/// # Errors
/// When there is none of that name, or its state cannot be read.
pub fn snapshot(root: &StateRoot, id: &ContainerId) -> Result<Snapshot> {
    Container::open(root, id)?.snapshot_by(&Freezers::default())
}

/// The annotations of a container's configuration.
///
/// # Errors
/// When there is no such container, or its configuration cannot be read.
pub fn annotations(root: &StateRoot, id: &ContainerId) -> Result<BTreeMap<String, String>> {
    let directory = root.open(id)?;
    let config = directory.read_config()?;
    let annotations = spec::parse_annotations(&config, &directory.file("config.json"))?;
    Ok(annotations.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
}

/// All containers with what can be said about them; those whose state cannot be read, with the reason.
///
/// # Errors
/// When the state directory itself cannot be read.
pub fn list(root: &StateRoot) -> Result<Vec<core::result::Result<Snapshot, Error>>> {
    let freezers = Freezers::default();
    let snapshot = |id| Container::open(root, id)?.snapshot_by(&freezers);
    Ok(root.containers()?.iter().map(snapshot).collect())
}

/// The containers whose names match a regular expression.
///
/// # Errors
/// When the expression is malformed or the state directory cannot be read.
pub fn matching(root: &StateRoot, pattern: &str) -> Result<Vec<ContainerId>> {
    let expression = regex_lite::Regex::new(pattern).map_err(|error| {
        Error::new(Code::InvalidId, format!("invalid regular expression `{pattern}`: {error}"))
    })?;
    let mut ids = root.containers()?;
    ids.retain(|id| expression.is_match(id.as_str()));
    Ok(ids)
}

/// Sends a signal to an open process.
pub(crate) fn send(pidfd: &OwnedFd, signal: i32) -> Result<()> {
    sys::signal::send(pidfd.as_fd(), signal).map_err(|errno| match errno {
        Errno::SRCH => words::process_not_running(),
        errno => Error::os(Code::Signal, format!("send signal {signal}"), errno),
    })
}
