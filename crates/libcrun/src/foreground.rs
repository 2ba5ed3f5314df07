//! A process in the foreground: its signals forwarded, its end waited for.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, getpid, set_child_subreaper, waitid};
use sys::clone::{Child, Namespaces};
use sys::signal::{SignalFd, SignalSet};

use crate::error::{Code, Context, Error, Result};
use crate::plan::NamespacePlan;

const SIGCHLD: i32 = 17;

/// Without a pid namespace of its own, what the container leaves behind would go to the host's init; as a subreaper
/// the runtime gets it, to end it with the container.
pub(crate) fn adopt_orphans(namespaces: &NamespacePlan) -> Result<Reaping> {
    if namespaces.contains(Namespaces::PID) {
        return Ok(Reaping::Child);
    }
    set_child_subreaper(Some(getpid())).context(Code::System, || "become a subreaper")?;
    Ok(Reaping::Everything)
}

/// Whose ends a foreground wait sees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaping {
    /// Only that of the process waited for; the caller may have other children.
    Child,
    /// Also those of what the container has left to this process ([`adopt_orphans`]).
    Everything,
}

/// Waits for the end of `child`, forwarding to it every signal that arrives. All signals are blocked in the caller.
/// Returns the exit status, or 128 plus the number of the signal that ended it.
pub(crate) fn wait(child: &Child, reaping: Reaping) -> Result<i32> {
    let signals = SignalFd::new(SignalSet::ALL).context(Code::System, || "open a signal descriptor")?;
    loop {
        // Looked at before each signal: one SIGCHLD may stand for several ended children.
        let ended = match reaping {
            Reaping::Child => child_ended(child),
            Reaping::Everything => any_ended(child),
        };
        if let Some(status) = ended.context(Code::System, || "wait for the container's process")? {
            return Ok(status);
        }
        let signal = signals.wait().context(Code::System, || "wait for a signal")?;
        if signal != SIGCHLD {
            // A process that is already gone will be found so in the next round.
            let _ = sys::signal::send(child.pidfd.as_fd(), signal);
        }
    }
}

/// The child's status if it has ended.
fn child_ended(child: &Child) -> core::result::Result<Option<i32>, Errno> {
    let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
    Ok(status.and_then(|status| match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(code),
        (None, Some(signal)) => Some(128 + signal),
        (None, None) => None,
    }))
}

/// The same; also reaps every other child that has ended.
fn any_ended(child: &Child) -> core::result::Result<Option<i32>, Errno> {
    while let Some((pid, status)) = rustix::process::wait(WaitOptions::NOHANG)? {
        let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        if pid == child.pid && code.is_some() {
            return Ok(code);
        }
    }
    Ok(None)
}

/// Waits for the end of a child that has been killed.
pub(crate) fn reap(child: &Child) -> core::result::Result<(), Errno> {
    loop {
        match waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// The error for a child that ended without a word.
pub(crate) fn died_early(child: &Child) -> Error {
    let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let how = match status {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("exited with status {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        _ => "ended".to_owned(),
    };
    Error::new(Code::System, format!("the container's process {how} before it was set up"))
}
