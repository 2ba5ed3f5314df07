//! Making the container's process and putting it into its place.
//!
//! Fourth stage of the pipeline: the clone ([`crate::clone`]), what is done for the new process from outside, and the
//! runtime's side of the conversation with it. Shared by containers and `exec`.

use std::cell::{Cell, OnceCell, RefCell};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cgroups::Cgroup;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use sys::clock::Clock;
use sys::clone::{Child, Namespaces};
use sys::signal::SignalFd;

use crate::channel::{self, Failure, FromInit, InitEnd, RuntimeEnd, Step, ToInit};
use crate::clone::{Cloned, ForChildren, clone_into};
use crate::error::{Code, Context, Error, Result};
use crate::explain;
use crate::filesystem;
use crate::foreground;
use crate::hooks::with_output;
use crate::host::Host;
use crate::init::{Init, Made, Placement};
use crate::plan::{IdMaps, Plan, ProcessPlan};
use crate::prepare::Prepared;
use crate::procfs::ProcFs;
use crate::relay::{self, Relay, Users};
use crate::report;
use crate::state::has_executed;
use crate::timeline::{Marks, Of, Outcome, Room, Timeline};
use crate::user_namespace::map_ids;
use crate::warning;

/// A process on its way to its program.
#[derive(Debug)]
pub(crate) struct Spawned {
    cloned: Cloned,
    channel: RuntimeEnd,
    is_ready: Cell<bool>,
    /// What it has said could not be done.
    failure: Cell<Option<Failure>>,
    /// The runtime's end of its terminal, once it has handed that over.
    terminal: RefCell<Option<OwnedFd>>,
    /// Until when a seccomp agent has to let it go on.
    deadline: Cell<Option<Instant>>,
    /// The signals on which it is not listened to any longer.
    ending: OnceCell<SignalFd>,
    /// How it was to be judged when memory is short, if that could not be had.
    refused_score: Cell<Option<i32>>,
    observed: Observed,
}

/// Where it is noted what is done for a process, and where that leaves its marks.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    timeline: Timeline,
    marks: Option<Arc<Marks>>,
    /// When it was found to have become its program.
    executed: Cell<u64>,
}

impl Observed {
    /// For a process that is about to be made; `room` is asked only where there is a timeline.
    pub(crate) fn new<'a>(timeline: &Timeline, room: impl FnOnce() -> Room<'a>) -> Result<Self> {
        let marks = if timeline.is_on() { timeline.room(&room())? } else { None };
        Ok(Self { timeline: timeline.clone(), marks, executed: Cell::new(0) })
    }
}

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

/// How long a process that is given up on may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a seccomp agent may keep a process from its program.
const AGENTS_TIME: Duration = Duration::from_secs(10);

/// How many files and directories that init makes in the root filesystem it can take away again.
const ROOM_FOR_MADE: usize = 128;

/// Makes the container's process.
pub(crate) fn spawn(
    prepared: &Prepared<'_>,
    cgroup: Option<&Cgroup>,
    exec_fifo: Option<BorrowedFd<'_>>,
) -> Result<Spawned> {
    let plan = prepared.plan;
    let deferred = Cell::new(Vec::with_capacity(plan.rootfs.mounts.len()));
    let own_clones = Cell::new(Vec::with_capacity(plan.rootfs.mounts.len()));
    let made = Cell::new(Made::with_capacity(ROOM_FOR_MADE));
    let live = |channel: &InitEnd, placement| {
        let init = Init {
            prepared,
            channel,
            placement,
            exec_fifo,
            deferred: deferred.take(),
            own_clones: own_clones.take(),
            trees: None,
            made: made.take(),
            awaits_network: plan.namespaces.network_by_runtime,
            is_attended: false,
            sees_no_host: false,
            root_is_in_place: false,
            terminal: None,
        };
        // Never dropped: that would free memory, for which another thread of the runtime may hold the lock.
        ManuallyDrop::new(init).run()
    };
    let placement = preferred_placement(plan, cgroup);
    // systemd moves it, and only what is not in the unit's cgroup yet.
    let cgroup = cgroup.filter(|_| plan.unit().is_none());
    let (borrowed, relay) = enter_for_child(prepared)?;
    let new = plan.namespaces.clone;
    let observed = Observed::new(prepared.timeline, || Room::for_container(plan))?;
    let spawned = Spawned::new(observed, borrowed, live, |live| match relay {
        None => clone_into(new, cgroup, placement, live),
        Some(relay) => {
            relay::clone_by_relay(relay, new - Namespaces::PID, cgroup, placement, live, |failure| {
                report::container_failure(plan, failure)
            })
        }
    })?;
    spawned.tell_pid(&plan.process);
    Ok(spawned)
}

/// Enters the namespaces that only children can enter, or says who does that instead.
fn enter_for_child<'p>(prepared: &'p Prepared<'_>) -> Result<(ForChildren, Option<Relay<'p>>)> {
    let namespaces = &prepared.plan.namespaces;
    let joined = |kind| prepared.joins.iter().find(move |(joined, _)| *joined == kind);
    let users = joined(Namespaces::USER).filter(|_| namespaces.user_by_relay);
    let others = Some((prepared.joins.as_slice(), &prepared.joined));
    let users = users.map(|(_, users)| Users { namespace: users.as_fd(), set_up: namespaces.set_up, others });
    let pids = joined(Namespaces::PID).map(|(_, pids)| Relay::JoinedPids(pids.as_fd(), users));
    if users.is_some() && pids.is_some() {
        return Ok((ForChildren::default(), pids));
    }
    match ForChildren::enter(namespaces, &prepared.joins) {
        Err(error) if error.errno() == Some(Errno::PERM) && pids.is_some() => {
            Ok((ForChildren::default(), pids))
        }
        entered => Ok((entered?, users.map(Relay::NewPids))),
    }
}

fn preferred_placement(plan: &Plan, cgroup: Option<&Cgroup>) -> Placement {
    placement(plan, cgroup.map(Cgroup::is_unified_only))
}

/// When init waits for its place, where it can be cloned into the v2 tree if that is all there is to its cgroup.
pub(crate) fn placement(plan: &Plan, is_unified_only: Option<bool>) -> Placement {
    match is_unified_only {
        // What is mounted shows the cgroup namespace.
        _ if plan.cgroup.as_ref().is_some_and(|cgroup| cgroup.v1_mount.is_some()) => Placement::BeforeMounts,
        _ if plan.unit().is_some() => Placement::BeforeCgroupNamespace,
        _ if plan.namespaces.id_maps.is_some() => Placement::BeforeMounts,
        Some(false) => Placement::BeforeCgroupNamespace,
        _ => Placement::Done,
    }
}

impl Spawned {
    /// Makes a process whose life is `live`, by `clone`, and returns from the namespaces that were entered for it.
    pub(crate) fn new(
        observed: Observed,
        borrowed: ForChildren,
        live: impl Fn(&InitEnd, Placement) -> i32,
        clone: impl FnOnce(&dyn Fn(Placement) -> i32) -> Result<Cloned>,
    ) -> Result<Self> {
        let (runtime_end, init_end) = channel::pair().context(Code::System, || "create the socket pair")?;
        let runtime_end = Cell::new(Some(runtime_end));
        let cloned = observed.timeline.measure("clone", || {
            clone(&|placement| {
                if let Some(marks) = &observed.marks {
                    Marks::begin(marks);
                }
                // With a copy of the other end open, the end of the runtime would go unnoticed.
                drop(runtime_end.take());
                live(&init_end, placement)
            })
        })?;
        drop(init_end);
        let closed = || Error::new(Code::System, "the channel to the container's process is closed");
        match borrowed.leave().and_then(|()| runtime_end.take().ok_or_else(closed)) {
            Ok(channel) => {
                let (is_ready, failure, terminal, deadline) = Default::default();
                let (ending, refused_score) = Default::default();
                Ok(Self {
                    cloned,
                    channel,
                    is_ready,
                    failure,
                    terminal,
                    deadline,
                    ending,
                    refused_score,
                    observed,
                })
            }
            Err(error) => {
                cloned.end();
                Err(error)
            }
        }
    }

    /// The process.
    pub(crate) fn child(&self) -> &Child {
        &self.cloned.child
    }

    /// Tells the process its pid, which it waits for where a seccomp agent is to be told of it.
    pub(crate) fn tell_pid(&self, process: &ProcessPlan) {
        if process.receiver().is_some() {
            self.channel.tell_pid(self.child().pid);
        }
    }

    /// What it has said could not be done.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.get()
    }

    /// The runtime's end of its terminal; it is handed over before the process is ready.
    pub(crate) fn take_terminal(&self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Lets the process take back what it has made and end by itself; kills it where that takes long.
    pub(crate) fn give_up(&self) {
        self.channel.give_up();
        if !foreground::ends_within(&self.cloned.child.pidfd, PATIENCE) {
            let _ = sys::signal::send(self.cloned.child.pidfd.as_fd(), Signal::KILL.as_raw());
        }
    }

    /// Kills the process and waits for its end.
    pub(crate) fn end(&self) {
        self.cloned.end();
    }

    /// Kills the process, too, but does not wait for long: one that a v1 freezer holds ends when it is let go.
    pub(crate) fn end_soon(&self) {
        let child = &self.cloned.child;
        let _ = sys::signal::send(child.pidfd.as_fd(), Signal::KILL.as_raw());
        if foreground::ends_within(&child.pidfd, PATIENCE) {
            let _ = foreground::reap(child);
        }
    }

    /// Gives up on listening to the process when one of these signals, which are blocked, arrives.
    pub(crate) fn end_on(&self, signals: SignalFd) {
        let _ = self.ending.set(signals);
    }

    /// Waits for the end of a process that ends by itself when nobody listens to it any more.
    pub(crate) fn dismiss(self) {
        drop(self.channel);
        let _ = foreground::reap(&self.cloned.child);
    }

    /// Does for a container's process what is done for it from outside, in the order in which it waits for it. `cgroup` is
    /// called when it is to be moved into it.
    pub(crate) fn serve<'c>(
        &self,
        plan: &Plan,
        cgroup: impl FnOnce() -> Result<Option<&'c Cgroup>>,
    ) -> Result<()> {
        let (maps, adjustment) = (plan.namespaces.id_maps.as_ref(), plan.process.oom_score_adj);
        if self.cloned.placement == Placement::BeforeMounts {
            self.place(adjustment, maps, cgroup()?)?;
            return self.give_network(plan);
        }
        if maps.is_some() {
            // Later it could not be looked at any more by a runtime without privileges.
            self.observed.timeline.measure("ids of the process", || self.set_up(adjustment, maps))?;
            self.say(ToInit::Mapped);
        }
        self.give_network(plan)?;
        self.place(adjustment.filter(|_| maps.is_none()), None, cgroup()?)
    }

    /// Makes the network namespace and hands it over at once; its loopback device, for which the kernel has one lock for
    /// all namespaces, comes up while the process is at its mounts.
    fn give_network(&self, plan: &Plan) -> Result<()> {
        if !plan.namespaces.network_by_runtime {
            return Ok(());
        }
        self.observed.timeline.measure("network namespace", || self.make_network())
    }

    fn make_network(&self) -> Result<()> {
        let own = open_network_namespace()?;
        sys::namespace::unshare(Namespaces::NETWORK)
            .context(Code::Namespace, || "create the network namespace")?;
        let made = open_network_namespace().and_then(|namespace| {
            self.channel.hand_over(ToInit::Network, namespace.as_fd());
            self.observed.timeline.measure("loopback device", || {
                sys::net::bring_loopback_up().context(Code::Namespace, || "bring the loopback interface up")
            })
        });
        sys::namespace::join(own.as_fd(), Namespaces::NETWORK)
            .context(Code::Namespace, || "return to the runtime's own network namespace")?;
        made
    }

    /// Maps the process' ids and moves it into its cgroup, and lets it go on if it waits for that.
    pub(crate) fn place(
        &self,
        oom_score_adj: Option<i32>,
        id_maps: Option<&IdMaps>,
        cgroup: Option<&Cgroup>,
    ) -> Result<()> {
        let timeline = &self.observed.timeline;
        if oom_score_adj.is_some() || id_maps.is_some() {
            timeline.measure("ids of the process", || self.set_up(oom_score_adj, id_maps))?;
        }
        if let Some(cgroup) = cgroup {
            timeline.measure("move into the cgroup", || {
                Ok(cgroup.add_process(self.cloned.child.pid, self.cloned.in_unified_cgroup)?)
            })?;
        }
        if self.cloned.placement != Placement::Done {
            self.say(ToInit::Placed);
        }
        Ok(())
    }

    /// Maps the process' ids and says how the kernel is to judge it when memory is short.
    fn set_up(&self, oom_score_adj: Option<i32>, id_maps: Option<&IdMaps>) -> Result<()> {
        let pid = self.cloned.child.pid;
        if let Some(maps) = id_maps {
            map_ids(maps, &ProcFs::open()?, pid).map_err(explain::ids_not_mapped)?;
        }
        if let Some(adjustment) = oom_score_adj {
            match ProcFs::open()?.write(pid, "oom_score_adj", &adjustment.to_string()) {
                // Lowering it takes a power over the host.
                Err(error) if error.errno() == Some(Errno::ACCESS) && Host::new().is_rootless() => {
                    self.refused_score.set(Some(adjustment));
                }
                written => written?,
            }
        }
        Ok(())
    }

    /// What is to be told of what was done for it.
    pub(crate) fn warning(&self) -> Option<Error> {
        self.refused_score.get().map(warning::score_not_lowered)
    }

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
        let message = format!("the container's process {} before its program was started", death.how);
        Err(explain(Error::new(Code::System, message), death.was_killed, cgroup))
    }

    /// Says something to the process.
    fn say(&self, message: ToInit) {
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

/// The network namespace the calling thread is in.
fn open_network_namespace() -> Result<OwnedFd> {
    openat(CWD, c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(Code::Namespace, || "open `/proc/thread-self/ns/net`")
}
