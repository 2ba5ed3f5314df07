//! Making the container's process and putting it into its place.
//!
//! Fourth stage of the pipeline: the clone ([`crate::clone`]), what is done for the new process from outside, and the
//! runtime's side of the conversation with it. Shared by containers and `exec`.

mod conversation;
mod serve;

use std::cell::{Cell, OnceCell, RefCell};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cgroups::Cgroup;
use rustix::io::Errno;
use rustix::process::Signal;
use sys::clone::{Child, Namespaces};
use sys::signal::SignalFd;

use crate::channel::{self, Failure, InitEnd, RuntimeEnd};
use crate::clone::{Cloned, ForChildren, clone_into};
use crate::error::{Code, Context, Error, Result};
use crate::foreground;
use crate::init::{Init, Made, Placement};
use crate::plan::{Plan, ProcessPlan};
use crate::prepare::Prepared;
use crate::relay::{self, Relay, Users};
use crate::report;
use crate::timeline::{Marks, Room, Timeline};
use crate::warning;

/// A process on its way to its program.
#[derive(Debug)]
pub(crate) struct Spawned {
    cloned: Cloned,
    channel: RuntimeEnd,
    is_ready: Cell<bool>,
    was_let_go: Cell<bool>,
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

/// How long a process that is given up on may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

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
                let (is_ready, was_let_go, failure, terminal, deadline) = Default::default();
                let (ending, refused_score) = Default::default();
                Ok(Self {
                    cloned,
                    channel,
                    is_ready,
                    was_let_go,
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

    /// Whether it may have become its program.
    pub(crate) fn was_let_go(&self) -> bool {
        self.was_let_go.get()
    }

    /// What it has said could not be done.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.get()
    }

    /// Whether that is something else than that nobody listens to it any more.
    pub(crate) fn has_failed_by_itself(&self) -> bool {
        self.failure().is_some_and(|failure| failure.errno != Errno::PIPE)
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

    /// What is to be told of what was done for it.
    pub(crate) fn warning(&self) -> Option<Error> {
        self.refused_score.get().map(warning::score_not_lowered)
    }
}
