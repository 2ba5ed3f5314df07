//! Filtering the process' own system calls: right before the program is executed if that is possible, so that the profile
//! need not allow what it takes to get there; otherwise while there is still the right to, before the capabilities go.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::thread::{CapabilitySets, capabilities, set_capabilities};
use sys::seccomp::{Flags, filter_with, filter_with_listener};

use super::launch;
use crate::channel::{At, Failure, InitEnd, Step};
use crate::plan::{FilterPlan, Receiver};
use crate::prepare::PreparedProcess;
use crate::receiver::Connection;
use crate::timeline::marks;

/// Learns what a seccomp agent is told: the pid that the process has outside.
pub(crate) fn hear_pid(process: &PreparedProcess<'_>, channel: &InitEnd) -> Result<(), Failure> {
    if let Some(agent) = process.agent {
        agent.set_pid(channel.expect_pid().at(Step::Runtime)?);
    }
    Ok(())
}

/// Filters a process that will not have the right to later; called when it has its user and not its capabilities yet.
pub(crate) fn load_early(process: &PreparedProcess<'_>, channel: &InitEnd) -> Result<(), Failure> {
    let Some(filter) = process.plan.filter.as_ref().filter(|_| !process.plan.can_filter_at_last()) else {
        return Ok(());
    };
    if !process.plan.uid.is_root() {
        // Becoming another user has left none of them effective (capabilities(7)).
        let own = capabilities(None).at(Step::Seccomp)?;
        set_capabilities(None, CapabilitySets { effective: own.permitted, ..own }).at(Step::Seccomp)?;
    }
    load(filter, process, channel)
}

/// Filters a process of which nothing is left to be done but the exec.
pub(crate) fn load_at_last(process: &PreparedProcess<'_>, channel: &InitEnd) -> Result<(), Failure> {
    match process.plan.filter.as_ref().filter(|_| process.plan.can_filter_at_last()) {
        Some(filter) => load(filter, process, channel),
        None => Ok(()),
    }
}

fn load(filter: &FilterPlan, process: &PreparedProcess<'_>, channel: &InitEnd) -> Result<(), Failure> {
    marks::filter();
    let loaded = match (process.agent, &filter.receiver) {
        (Some(agent), Some(receiver)) => {
            let stack = agent.take_stack().ok_or(Errno::NOMEM).at(Step::Seccomp)?;
            let deliver = |listener| deliver((agent, receiver), listener, process, channel);
            filter_with_listener(&filter.program, filter.flags, stack, deliver)
        }
        _ => match filter_with(&filter.program, filter.flags) {
            // Before Linux 4.17. With a listener, which is newer than the flags that are usual, it cannot be for them.
            Err(Errno::INVAL) if !filter.asks_for_flags => filter_with(&filter.program, Flags::empty()),
            loaded => loaded,
        },
    };
    loaded.at(Step::Seccomp)
}

/// Brings the listener to the agent. In a thread of its own, which is not filtered: should it fail, any call of the other
/// one may be one that only the agent could answer, so this is the one that says so and ends the process.
fn deliver(
    (agent, receiver): (&Connection, &Receiver),
    listener: OwnedFd,
    process: &PreparedProcess<'_>,
    channel: &InitEnd,
) {
    match agent.send(receiver, listener.as_fd()) {
        // A created container's runtime has ended long ago.
        Ok(()) => drop(channel.tell_listening()),
        Err(errno) => {
            let failure = Failure::new(Step::SeccompReceiver, 0, errno);
            sys::clone::exit_now(launch::report_failure(channel, process, failure));
        }
    }
}
