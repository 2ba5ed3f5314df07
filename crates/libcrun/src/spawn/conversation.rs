//! The runtime's side of the conversation with a process.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use cgroups::Cgroup;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, prlimit};
use sys::clock::Clock;

use super::Spawned;
use crate::channel::{Failure, FromInit, Step, ToInit};
use crate::error::{Code, Context, Error, Result};
use crate::explain;
use crate::filesystem;
use crate::foreground;
use crate::hooks::with_output;
use crate::state::has_executed;
use crate::timeline::{Of, Outcome};

/// How long a seccomp agent may keep a process from its program.
const AGENTS_TIME: Duration = Duration::from_secs(10);

/// How far a process has to come before its parent goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// It waits for hooks to be run.
    AtHooks,
    /// It is set up.
    Ready,
    /// It has become the program.
    Executed,
}

impl Spawned {
    /// Waits until the process has come as far as hooks outside want it.
    pub(crate) fn await_hooks(
        &self,
        cgroup: Option<&Cgroup>,
        describe: impl Fn(Failure) -> Error,
    ) -> Result<()> {
        self.hear(Until::AtHooks, cgroup, describe)
    }

    /// Says that these hooks are done.
    pub(crate) fn tell_hooks_run(&self) {
        self.say(ToInit::HooksRun);
    }

    /// Waits until the process is set up, and gives it the `limits` that it cannot raise itself: only then, or those on
    /// descriptors and memory would hit the set-up.
    pub(crate) fn make_ready(
        &self,
        limits: &[(Resource, Rlimit)],
        cgroup: Option<&Cgroup>,
        describe: impl Fn(Failure) -> Error,
    ) -> Result<()> {
        self.hear(Until::Ready, cgroup, describe)?;
        limits.iter().try_for_each(|(resource, limit): &(Resource, Rlimit)| {
            prlimit(Some(self.cloned.child.pid), *resource, *limit)
                .map(drop)
                .context(Code::Credentials, || format!("set the limit `{}`", crate::rlimits::name(*resource)))
        })
    }

    /// Says that everything around the process is done.
    pub(crate) fn tell_attended(&self) {
        self.say(ToInit::Attended);
    }

    /// Lets the process go on, to its program or to the FIFO where it waits for its start.
    pub(crate) fn let_go(&self) {
        self.was_let_go.set(true);
        self.say(ToInit::Go);
    }

    /// Lets the process become its program, with `limits` as for [`Self::make_ready`]; returns when it has.
    pub(crate) fn execute(
        &self,
        limits: &[(Resource, Rlimit)],
        cgroup: Option<&Cgroup>,
        describe: impl Fn(Failure) -> Error,
    ) -> Result<()> {
        if !limits.is_empty() {
            self.make_ready(limits, cgroup, &describe)?;
        }
        self.let_go();
        self.hear(Until::Executed, cgroup, describe)
    }

    /// Makes sure, for a process that memory can be short for, that its silence was that of its program and not its end:
    /// both close the channel.
    pub(crate) fn confirm_execution(&self, cgroup: Option<&Cgroup>) -> Result<()> {
        if has_executed(self.child().pid) {
            return Ok(());
        }
        let death = foreground::died_early(self.child());
        let mut message = format!("the container's process {} before its program was started", death.how);
        if self.deadline.get().is_some() {
            // Without it such a call fails, that which would tell of a failure included.
            message += ": its seccomp agent answers for calls that take part in the start, and may be gone";
        }
        Err(explain(Error::new(Code::System, message), death.was_killed, cgroup))
    }

    /// Says something to the process.
    pub(super) fn say(&self, message: ToInit) {
        self.observed.timeline.say(match message {
            ToInit::Placed => "says: in its cgroup",
            ToInit::Mapped => "says: ids are mapped",
            ToInit::HooksRun => "says: hooks are done",
            ToInit::Attended => "says: attended",
            _ => "says: go",
        });
        self.channel.tell(message);
    }

    /// How far a timeline follows the process, which is to become `program`; what its parent did has ended so.
    pub(crate) fn outcome<'p>(&self, attended: &Result<()>, program: &'p str) -> Outcome<'p> {
        match (attended, self.observed.executed.get()) {
            (Err(error), _) => Outcome::Failed(Clock::Monotonic.now(), error.to_string()),
            (Ok(()), 0) => Outcome::Waits(Clock::Monotonic.now()),
            (Ok(()), at) => Outcome::Executed(at, program),
        }
    }

    /// Adds to the timeline what the process has done so far. `name` is what it is called, `of` knows its plan.
    pub(crate) fn tell<'p>(
        &self,
        name: impl FnOnce() -> String,
        outcome: impl FnOnce() -> Outcome<'p>,
        of: Of<'_>,
    ) {
        if let Some(marks) = &self.observed.marks {
            self.observed.timeline.add_process((name(), self.child().pid), marks, &outcome(), of);
        }
    }

    /// Listens to the process until it has come that far; `describe` makes an error of a failure it reports.
    fn hear(&self, until: Until, cgroup: Option<&Cgroup>, describe: impl Fn(Failure) -> Error) -> Result<()> {
        let what = match until {
            Until::AtHooks => "waits for init at the hooks",
            Until::Ready => "waits for init to be ready",
            Until::Executed => "waits for the exec",
        };
        self.observed.timeline.measure_wait(what, || self.listen(until, cgroup, describe))?;
        if self.observed.timeline.is_on() && until == Until::Executed {
            self.observed.executed.set(Clock::Monotonic.now());
        }
        Ok(())
    }

    fn listen(
        &self,
        until: Until,
        cgroup: Option<&Cgroup>,
        describe: impl Fn(Failure) -> Error,
    ) -> Result<()> {
        let failed = || "hear from the container's process";
        let mut text = Vec::new();
        loop {
            if self.deadline.get().is_some_and(|deadline| !self.channel.has_word_by(deadline)) {
                return Err(describe(Failure::new(Step::SeccompReceiver, 0, Errno::TIMEDOUT)));
            }
            if let Some(signals) = self.ending.get()
                && !self.channel.has_word_before(signals.as_fd())
            {
                // Taken, or it would end this process before it has taken back what it has made.
                let signal = signals.next().ok().flatten().unwrap_or_default();
                let message = format!("given up on signal {signal} before the program was started");
                return Err(Error::new(Code::System, message));
            }
            match self.channel.hear().context(Code::System, failed)? {
                Some(FromInit::Failed(failure)) => {
                    self.failure.set(Some(failure));
                    let error = with_output(describe(failure), &text);
                    return Err(explain(error, failure.errno == Errno::NOMEM, cgroup));
                }
                Some(FromInit::Text(length)) => {
                    text = self.channel.hear_text(length).context(Code::System, failed)?;
                }
                Some(FromInit::AtHooks) if until == Until::AtHooks => return Ok(()),
                Some(FromInit::Mount(context, attributes)) => {
                    match filesystem::mount(context.as_fd(), attributes) {
                        Ok(mount) => self.channel.hand_over(ToInit::Mounted, mount.as_fd()),
                        Err(_) => self.channel.tell(ToInit::NotMounted),
                    }
                }
                Some(FromInit::Terminal(master)) => {
                    self.terminal.replace(Some(master));
                }
                Some(FromInit::Listening) => self.deadline.set(Some(Instant::now() + AGENTS_TIME)),
                Some(FromInit::Ready) if until == Until::Ready => {
                    self.is_ready.set(true);
                    return Ok(());
                }
                Some(FromInit::Ready | FromInit::Born(_)) => self.is_ready.set(true),
                Some(FromInit::AtHooks) => {}
                // The exec closes the channel.
                None if self.is_ready.get() => return Ok(()),
                None => {
                    let death = foreground::died_early(self.child());
                    return Err(explain(death.error, death.was_killed, cgroup));
                }
            }
        }
    }
}

/// An error that may be one for want of memory: the kernel knows.
fn explain(error: Error, for_want_of_memory: bool, cgroup: Option<&Cgroup>) -> Error {
    match cgroup {
        Some(cgroup) if for_want_of_memory && cgroup.has_run_out_of_memory() => {
            explain::out_of_memory(&error, cgroup)
        }
        _ => error,
    }
}
