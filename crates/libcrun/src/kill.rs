//! Signalling a container.

use rustix::process::Signal;

use crate::container::{Container, send};
use crate::error::{Result, words};
use crate::id::ContainerId;
use crate::state::StateRoot;

/// Sends `signal` to the first process of a container; 0 only asks whether it is there.
///
/// # Errors
/// When the container does not exist or its process has ended.
pub fn kill(root: &StateRoot, id: &ContainerId, signal: i32) -> Result<()> {
    let container = Container::open(root, id)?;
    let process = container.open_process()?;
    let sent = send(&process, signal);
    if signal == Signal::KILL.as_raw()
        && let Ok(Some(cgroup)) = container.freezer()
    {
        // What the v1 freezer has frozen does not die before it is thawed.
        cgroup.thaw();
    }
    sent
}

/// Sends `signal` to all processes of a container.
///
/// # Errors
/// When the container does not exist, or its processes cannot be listed.
pub fn kill_all(root: &StateRoot, id: &ContainerId, signal: i32) -> Result<()> {
    let container = Container::open(root, id)?;
    let Some(cgroup) = container.cgroup()? else {
        return send(&container.open_process()?, signal);
    };
    if signal == 0 {
        return if container.is_alive()? { Ok(()) } else { Err(words::process_not_running()) };
    }
    if signal != Signal::KILL.as_raw() {
        return Ok(cgroup.signal_all(signal)?);
    }
    // On v2 the whole cgroup dies in one step; elsewhere a process may fork while the others are being killed, so the
    // first one goes too, and with it everything in its pid namespace.
    let killed = match container.has_own_pid_namespace() {
        // That is all of the container; others may be in its cgroup.
        Ok(true) => Ok(()),
        _ => cgroup.signal_all(signal),
    };
    if let Ok(process) = container.open_process() {
        drop(send(&process, signal));
    }
    cgroup.thaw();
    Ok(killed?)
}
