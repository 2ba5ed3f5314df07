//! The one case in which a single clone does not do: a new pid namespace for a container that joins a user namespace.
//!
//! The pid namespace has to belong to the user namespace, or the container could not mount its own `/proc`; so it can
//! only be made by a process that is in there already, and the runtime itself could never come back from there. A
//! process in between joins, makes the namespace, clones the container's process as its sibling, says its pid and ends.

use std::os::fd::BorrowedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sys::clone::{Child, Namespaces};

use crate::channel::{At, Failure, FromInit, InitEnd, RuntimeEnd, Step};
use crate::error::{Code, Context, Result};
use crate::foreground;
use crate::init::{credentials, launch};
use crate::plan::{NamespacePlan, Plan};
use crate::report;

/// Whether a container is made by way of a relay.
pub(crate) fn is_needed(plan: &NamespacePlan) -> bool {
    plan.clone.contains(Namespaces::PID) && plan.join.iter().any(|join| join.kind == Namespaces::USER)
}

/// The relay's life; returns its exit status. `child` is that of the container's process.
pub(crate) fn run(channel: &InitEnd, user_namespace: BorrowedFd<'_>, child: impl FnOnce() -> i32) -> i32 {
    match pass_on(channel, user_namespace, child) {
        Ok(()) => 0,
        Err(failure) => launch::report_failure(channel, failure),
    }
}

fn pass_on(
    channel: &InitEnd,
    user_namespace: BorrowedFd<'_>,
    child: impl FnOnce() -> i32,
) -> core::result::Result<(), Failure> {
    sys::namespace::join(user_namespace, Namespaces::USER).at(Step::JoinNamespace)?;
    credentials::become_mapped_root()?;
    sys::namespace::unshare(Namespaces::PID).at(Step::NewNamespaces)?;
    let pid = sys::clone::spawn_sibling(child).at(Step::NewNamespaces)?;
    channel.tell(FromInit::Born(pid)).at(Step::Runtime)
}

/// Waits for the relay's message; returns the container's process in its place.
pub(crate) fn take_over(plan: &Plan, channel: &RuntimeEnd, relay: &Child) -> Result<Child> {
    let heard = channel.hear().context(Code::System, || "hear from the container's process")?;
    let ended = foreground::reap(relay).context(Code::System, || "wait for the process that joins");
    let pid: Pid = match heard {
        Some(FromInit::Born(pid)) => pid,
        Some(FromInit::Failed(failure)) => return Err(report::container_failure(plan, failure)),
        _ => return Err(foreground::died_early(relay)),
    };
    ended?;
    // It is a child of this process, so its pid stays its own until it is waited for.
    let pidfd =
        pidfd_open(pid, PidfdFlags::empty()).context(Code::System, || "open the container's process")?;
    Ok(Child { pid, pidfd })
}
