//! A process in the foreground: its signals forwarded, its end waited for.

mod attached;
mod buffer;
mod caller;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, child_subreaper, getpid, set_child_subreaper, waitid,
};
use sys::clone::{Child, Namespaces};
use sys::signal::{SignalFd, SignalSet};

use crate::error::{Code, Context, Error, Result};
use crate::notify::Proxy;
use crate::plan::NamespacePlan;
pub(crate) use caller::size as callers_size;

const SIGCHLD: i32 = 17;

/// The runtime while it is a subreaper; dropped, it is what it was before. Without a pid namespace of its own, what a
/// container leaves behind would go to the host's init; so the runtime gets it, to end it with the container.
#[derive(Debug)]
pub(crate) struct Adoption {
    before: Option<Pid>,
}

impl Drop for Adoption {
    fn drop(&mut self) {
        // Those that ended with the container, after its first process.
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        let _ = set_child_subreaper(self.before);
    }
}

impl Adoption {
    /// Where the container needs it.
    pub(crate) fn begin(namespaces: &NamespacePlan) -> Result<Option<Self>> {
        if namespaces.contains(Namespaces::PID) {
            return Ok(None);
        }
        let failed = || "become a subreaper";
        let before = child_subreaper().context(Code::System, failed)?;
        set_child_subreaper(Some(getpid())).context(Code::System, failed)?;
        Ok(Some(Self { before }))
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status, or 128 plus the number of the signal that ended it.
    status: i32,
    /// Whether all it wrote to its terminal has reached the caller.
    output: Result<()>,
}

impl Ended {
    /// Its status, if nothing that it wrote was lost.
    pub(crate) fn status(self) -> Result<i32> {
        self.output.map(|()| self.status)
    }
}

/// What there is beside the process, as long as it runs.
#[derive(Debug, Default)]
pub(crate) struct Company<'a> {
    /// Who else is waited for.
    pub(crate) adoption: Option<&'a Adoption>,
    /// What is said to it is passed on.
    pub(crate) proxy: Option<&'a Proxy>,
    /// The runtime's end of its terminal.
    pub(crate) master: Option<OwnedFd>,
}

impl<'a> Company<'a> {
    /// The proxy, while there may be something to be heard.
    fn listening(&self) -> Option<&'a Proxy> {
        self.proxy.filter(|proxy| proxy.is_listening())
    }

    /// The status of the child if it has ended. What has been said is passed on, also by one that has ended since.
    fn status(&self, child: &Child) -> Result<Option<i32>> {
        let ended = match self.adoption {
            None => child_ended(child),
            Some(_) => any_ended(child),
        };
        if let Some(proxy) = self.proxy {
            proxy.pass_on();
        }
        ended.context(Code::System, || "wait for the container's process")
    }
}

/// Waits for the end of `child`, forwarding to it every signal that arrives, and with the `master` of its terminal what
/// the caller types. All signals are blocked in the caller. Meanwhile all other children are waited for too where orphans
/// are adopted; otherwise none, because the caller may have children of its own.
pub(crate) fn wait(child: &Child, company: Company<'_>) -> Result<Ended> {
    let signals = SignalFd::new(SignalSet::ALL).context(Code::System, || "open a signal descriptor")?;
    match company.master {
        Some(_) => attached::wait(child, company, &signals),
        None => wait_for_signals(child, &company, &signals).map(|status| Ended { status, output: Ok(()) }),
    }
}

fn wait_for_signals(child: &Child, company: &Company<'_>, signals: &SignalFd) -> Result<i32> {
    loop {
        // Looked at before each signal: one SIGCHLD may stand for several ended children.
        if let Some(status) = company.status(child)? {
            return Ok(status);
        }
        // In a program with several threads SIGCHLD may go to one that does not block it, and tell nobody.
        // The process takes the place of what there is nothing to wait for.
        let nothing = PollFd::new(&child.pidfd, PollFlags::empty());
        let mut awaited = [
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(&child.pidfd, PollFlags::IN),
            company.listening().map_or(nothing, |proxy| PollFd::new(proxy, PollFlags::IN)),
        ];
        match poll(&mut awaited, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::os(Code::System, "wait for a signal", errno)),
        }
        let signal = signals.next().context(Code::System, || "read a signal")?;
        if let Some(signal) = signal.filter(|signal| *signal != SIGCHLD) {
            // A process that is already gone will be found so in the next round.
            let _ = sys::signal::send(child.pidfd.as_fd(), signal);
        }
    }
}

/// The signals that end a runtime, for one that blocks them while it waits for something else.
pub(crate) fn ending_signals() -> Result<SignalFd> {
    let signals = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].map(Signal::as_raw);
    SignalFd::new(SignalSet::of(&signals)).context(Code::System, || "open a signal descriptor")
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

/// Whether a process ends before `limit` is over; it is not waited for otherwise.
pub(crate) fn ends_within(process: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
    let mut awaited = [PollFd::new(process, PollFlags::IN)];
    poll(&mut awaited, Some(&limit)).is_ok_and(|ended| ended > 0)
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

/// How a child ended that did not say why.
#[derive(Debug)]
pub(crate) struct EarlyDeath {
    /// `was killed by signal 9`, say.
    pub(crate) how: String,
    pub(crate) error: Error,
    /// By SIGKILL, as when it found no memory.
    pub(crate) was_killed: bool,
}

/// How a child ended without a word.
pub(crate) fn died_early(child: &Child) -> EarlyDeath {
    let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let (code, signal) = match status {
        Ok(Some(status)) => (status.exit_status(), status.terminating_signal()),
        _ => (None, None),
    };
    let how = match (code, signal) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) if signal == Signal::SYS.as_raw() => {
            format!(
                "was killed by signal {signal}: its seccomp profile forbids a call that takes part in the start"
            )
        }
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    EarlyDeath {
        error: Error::new(Code::System, format!("the container's process {how} before it was set up")),
        how,
        was_killed: signal == Some(Signal::KILL.as_raw()),
    }
}
