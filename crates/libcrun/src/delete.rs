//! Deleting a container and everything it has left.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use cgroups::{Cgroup, CgroupPath, Layout, Leftovers, Removed, systemd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, readlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::container::{Container, Phase, send};
use crate::create;
use crate::error::{Code, Error, Result, words};
use crate::hooks::Hooks;
use crate::host::Host;
use crate::id::ContainerId;
use crate::kill::kill_others;
use crate::plan;
use crate::spec::{self, Spec};
use crate::state::{StateDirectory, StateRoot};
use crate::timeline::Timeline;
use crate::warning::Warnings;

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the first process of a pid namespace may take to end those in namespaces within that.
const PATIENCE_BESIDE_OTHERS: Duration = Duration::from_secs(3);

/// How to delete a container.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Whether it is killed if it runs. An unknown container is no error then.
    pub force: bool,
    /// Where it is noted what is done when.
    pub timeline: Timeline,
}

/// Deletes a container as [`delete_with`] does, with `force` or not.
///
/// # Errors
/// Those of [`delete_with`].
pub fn delete(root: &StateRoot, id: &ContainerId, force: bool) -> Result<Warnings> {
    delete_with(root, id, &DeleteOptions { force, ..DeleteOptions::default() })
}

/// Deletes a container that is created or stopped; with `force` also a running one, after killing it. Forced, an
/// unknown container is no error.
///
/// # Errors
/// When the container does not exist, is running, or something of it cannot be removed.
pub fn delete_with(root: &StateRoot, id: &ContainerId, options: &DeleteOptions) -> Result<Warnings> {
    let DeleteOptions { force, timeline } = options;
    let force = *force;
    let directory = match root.open(id) {
        Err(error) if force && error.code() == Code::ContainerNotFound => return Ok(Vec::new()),
        other => other?,
    };
    let status = match directory.read_status() {
        Ok(status) => status,
        // Its creator was killed before it could write the status, or its remover after removing it. Whatever is
        // there can be found by the configuration, and if that is not there either, nothing was made.
        Err(error) if error.errno() == Some(Errno::NOENT) => return delete_remains(root, &directory, id),
        Err(error) if force => {
            let mut warnings = delete_remains(root, &directory, id)?;
            warnings.insert(0, error);
            return Ok(warnings);
        }
        Err(error) => return Err(error),
    };
    let container = Container { id: id.clone(), directory, status };
    if !force && !matches!(container.phase()?, Phase::Created | Phase::Stopped) {
        return Err(words::not_deletable(id.as_str()));
    }
    timeline.measure_wait("end the process", || end_process(root, &container))?;
    let mut warnings = Vec::new();
    warnings.extend(timeline.look("remove the cgroup", || remove_own_cgroup(root, &container)));
    timeline.look("poststop hooks", || match container.later_hooks() {
        Ok(hooks) => warnings.extend(hooks.iter().flat_map(Hooks::run_poststop)),
        Err(error) => warnings.push(error),
    });
    timeline.measure("remove the state", || container.directory.remove())?;
    Ok(warnings)
}

/// Removes the cgroup of a container whose process has ended, or its unit; returns what is to be told.
fn remove_own_cgroup(root: &StateRoot, container: &Container) -> Option<Error> {
    match container.cgroup() {
        _ if container.unit().is_some() => delete_unit(container).err(),
        Ok(Some(cgroup)) => {
            let has_own_pids = || container.has_own_pid_namespace().unwrap_or(false);
            warning(&cgroup, remove_cgroup(root, &container.id, &cgroup, has_own_pids))
        }
        Ok(None) => None,
        Err(error) => Some(error),
    }
}

/// Kills the container's process, and without a pid namespace of its own all others too, and waits for its end.
fn end_process(root: &StateRoot, container: &Container) -> Result<()> {
    let Ok(process) = container.open_process() else { return Ok(()) };
    // That it cannot be opened is no reason not to kill the process.
    let opened = container.cgroup();
    let cgroup = opened.as_ref().ok().and_then(Option::as_ref);
    let killed = kill_processes(root, container, &process, cgroup);
    if let Some(cgroup) = cgroup {
        // Also after an error: a frozen process that was killed is not to stay frozen.
        cgroup.thaw();
    }
    killed?;
    wait_for_end(&process, container, cgroup).map_err(|errno| {
        let message = format!("the process of the container `{}` does not end", container.id);
        Error::os(Code::Signal, message, errno)
    })
}

fn kill_processes(
    root: &StateRoot,
    container: &Container,
    process: &OwnedFd,
    cgroup: Option<&Cgroup>,
) -> Result<()> {
    match send(process, Signal::KILL.as_raw()) {
        Err(error) if error.errno() != Some(Errno::SRCH) => return Err(error),
        _ => {}
    }
    cgroup.map_or(Ok(()), |cgroup| kill_others(root, container, cgroup))
}

/// Waits until the process has ended, or at least it and all in its pid namespace have left the cgroup: the first process
/// of a pid namespace stays as long as somebody outside has not waited for another process of it.
fn wait_for_end(
    process: &OwnedFd,
    container: &Container,
    cgroup: Option<&Cgroup>,
) -> core::result::Result<(), Errno> {
    const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let start = Instant::now();
    let has_left =
        |cgroup: &Cgroup| container.pid().is_none_or(|first| has_left(cgroup, first, start.elapsed()));
    while start.elapsed() < PATIENCE {
        let mut polled = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut polled, Some(&SLICE)) {
            Ok(0) if cgroup.is_some_and(has_left) => return Ok(()),
            Ok(0) | Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
    Err(Errno::TIMEDOUT)
}

/// Whether nobody is in the cgroup who ends with the first process of the container's pid namespace. That process is out
/// as soon as it begins to end, before it has told the others to. Those are told from others by their namespace; one in
/// another, which may lie within the container's, is given time.
fn has_left(cgroup: &Cgroup, first: Pid, waited: Duration) -> bool {
    let Ok(present) = cgroup.processes() else { return false };
    let of_the_runtime = pid_namespace("self");
    let ending = pid_namespace(&first.to_string());
    let may_end = |pid: &Pid| match pid_namespace(&pid.to_string()) {
        None => false,
        namespace if namespace == of_the_runtime => false,
        namespace if namespace == ending => true,
        Some(_) => waited < PATIENCE_BESIDE_OTHERS,
    };
    !present.iter().any(may_end)
}

/// The pid namespace of a process, as long as there is one.
fn pid_namespace(process: &str) -> Option<CString> {
    readlinkat(CWD, format!("/proc/{process}/ns/pid"), Vec::new()).ok()
}

/// Removes the cgroup of a container whose first process has ended, and what is left of the container in it.
///
/// What is left of it can be told from the processes of others by one thing only. A pid namespace ends with its first
/// process: after a container that had one of its own, whoever is still in the cgroup is somebody else, another
/// container with the same `cgroupsPath` for example, and the cgroup is left to them. Without one, the container's
/// daemons live on and are killed, with everything in the cgroup; unless another container of this state directory runs
/// there, whose deletion will see to them.
///
/// # Errors
/// When the cgroup cannot be removed.
pub(crate) fn remove_cgroup(
    root: &StateRoot,
    id: &ContainerId,
    cgroup: &Cgroup,
    has_own_pid_namespace: impl Fn() -> bool,
) -> Result<Removed> {
    Ok(cgroup.remove(&|| leftovers(root, id, cgroup, has_own_pid_namespace()))?)
}

/// What becomes of those that are in the cgroup of a container whose first process has ended.
pub(crate) fn leftovers(
    root: &StateRoot,
    id: &ContainerId,
    cgroup: &Cgroup,
    has_own_pid_namespace: bool,
) -> Leftovers {
    match has_own_pid_namespace || is_shared(root, id, cgroup.path()) {
        true => Leftovers::Leave,
        false => Leftovers::Kill,
    }
}

/// Ends the unit of a container, wherever it has got to when its creator was killed.
fn delete_unit(container: &Container) -> Result<()> {
    let Some(unit) = container.unit() else { return Ok(()) };
    let path = container.cgroup_path().and_then(|path| systemd::unit_path(&path, unit));
    let cgroup = path.map(|path| Cgroup::open(&Layout::detect()?.with_named_hierarchy(), &path)).transpose();
    remove_unit(unit, cgroup.ok().flatten().as_ref())
}

/// Removes the systemd unit of a container whose first process has ended, with everything in it: a unit is one
/// container's alone. systemd would ask the processes to end, and wait; so they are killed before.
///
/// # Errors
/// When systemd does not end the unit. Its cgroup is removed all the same.
pub(crate) fn remove_unit(unit: &str, cgroup: Option<&Cgroup>) -> Result<()> {
    let killed = cgroup.map_or(Ok(()), |cgroup| cgroup.signal_all(Signal::KILL.as_raw()));
    let stopped = systemd::stop_unit(unit, Host::new().is_rootless());
    let removed = cgroup.map_or(Ok(Removed::Everywhere), |cgroup| cgroup.remove(&|| Leftovers::Kill));
    killed.and(stopped).and(removed.map(drop)).map_err(Error::from)
}

/// What is to be told about the removal of a cgroup.
fn warning(cgroup: &Cgroup, removed: Result<Removed>) -> Option<Error> {
    match removed {
        Ok(Removed::Everywhere) => None,
        Ok(Removed::LeftToOthers) => {
            let path = cgroup.path();
            let message =
                format!("the cgroup `{path}` is left: processes that are not the container's are in it");
            Some(Error::new(Code::Cgroup, message))
        }
        Err(error) => Some(error),
    }
}

/// Whether another container of this state directory runs in the cgroup or in one below it.
pub(crate) fn is_shared(root: &StateRoot, id: &ContainerId, path: &CgroupPath) -> bool {
    let path = path.to_string();
    let is_inside =
        |other: &str| other.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let others = root.containers().unwrap_or_default();
    others.iter().filter(|other| *other != id).any(|other| {
        Container::open(root, other)
            .is_ok_and(|other| is_inside(&other.status.cgroup_path) && other.is_alive().unwrap_or(true))
    })
}

/// The cgroup of a container that was made by a runtime like this one: where it was planned, or beside that of the runtime.
fn remaining_cgroup(spec: &Spec<'_>, id: &ContainerId) -> Result<Cgroup> {
    let layout = Layout::detect()?.with_named_hierarchy();
    let planned = Cgroup::open(&layout, &plan::cgroup_path(spec, id))?;
    if planned.exists() || plan::has_cgroups_path(spec) {
        return Ok(planned);
    }
    match create::beside_own(&layout, id.as_str()) {
        Some(path) => Ok(Cgroup::open(&layout, &path)?),
        None => Ok(planned),
    }
}

/// Removes what a runtime that was killed has left of a container without a status.
fn delete_remains(root: &StateRoot, directory: &StateDirectory, id: &ContainerId) -> Result<Warnings> {
    let mut warnings = Vec::new();
    if let Ok(config) = directory.read_config()
        && let Ok(spec) = spec::parse(&config, &directory.file("config.json"))
    {
        warnings.extend(match remaining_cgroup(&spec, id) {
            // Its process may still be in there, and nobody knows which one it is.
            Ok(cgroup) => warning(&cgroup, remove_cgroup(root, id, &cgroup, || false)),
            Err(error) => Some(error),
        });
    }
    directory.remove()?;
    Ok(warnings)
}
