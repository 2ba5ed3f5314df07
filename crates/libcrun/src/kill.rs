//! Signalling a container.

use cgroups::Cgroup;
use rustix::process::Signal;

use crate::container::{Container, send};
use crate::delete::is_shared;
use crate::error::Result;
use crate::id::ContainerId;
use crate::state::StateRoot;

/// Sends `signal` to the first process of a container; 0 only asks whether it is there. SIGKILL takes all others with it,
/// also of a container without a pid namespace of its own, unless another container runs in its cgroup.
///
/// # Errors
/// When the container does not exist or its process has ended.
pub fn kill(root: &StateRoot, id: &ContainerId, signal: i32) -> Result<()> {
    let container = Container::open(root, id)?;
    let process = container.open_process()?;
    let sent = send(&process, signal);
    if sent.is_err() || signal != Signal::KILL.as_raw() {
        return sent;
    }
    // The process has been killed. That its cgroup cannot be opened leaves nothing more to be done.
    let Ok(Some(cgroup)) = container.cgroup() else { return Ok(()) };
    let killed = kill_others(root, &container, &cgroup);
    // What the v1 freezer has frozen does not die before it is thawed.
    cgroup.thaw();
    killed
}

/// Kills what the end of its first process does not take with it: a pid namespace ends with that, and whoever else is in
/// the cgroup is not the container's.
pub(crate) fn kill_others(root: &StateRoot, container: &Container, cgroup: &Cgroup) -> Result<()> {
    if container.has_own_pid_namespace().unwrap_or(false) || is_shared(root, &container.id, cgroup.path()) {
        return Ok(());
    }
    Ok(cgroup.signal_all(Signal::KILL.as_raw())?)
}

/// Sends `signal` to all processes of a container. That there is none left to be signalled is no error: what engines
/// want by it is done.
///
/// # Errors
/// When the container does not exist, or its processes cannot be listed.
pub fn kill_all(root: &StateRoot, id: &ContainerId, signal: i32) -> Result<()> {
    let container = Container::open(root, id)?;
    if signal == 0 {
        return Ok(());
    }
    let kills = signal == Signal::KILL.as_raw();
    let opened = container.cgroup();
    if kills || matches!(opened, Ok(None)) {
        // Its end is that of a pid namespace of its own; and it can be killed without a cgroup.
        drop(container.open_process().and_then(|process| send(&process, signal)));
    }
    let Some(cgroup) = opened? else { return Ok(()) };
    if !kills {
        return Ok(cgroup.signal_all(signal)?);
    }
    let killed = match container.has_own_pid_namespace() {
        // That is all of the container; others may be in its cgroup.
        Ok(true) => Ok(()),
        _ => cgroup.signal_all(signal),
    };
    cgroup.thaw();
    Ok(killed?)
}
