//! Making the container's process and putting it into its place.
//!
//! Fourth stage of the pipeline: one `clone3(2)`, but for the case of [`crate::relay`]. Namespaces that only children can enter
//! (pid; time with offsets) are entered by the runtime for its child and left again at once.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cgroups::Cgroup;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, write};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sys::clone::{Child, Namespaces};

use crate::channel::{self, Failure, FromInit, InitEnd, RuntimeEnd, ToInit};
use crate::error::{Code, Context, Error, Result};
use crate::foreground;
use crate::init::{Init, Made, Placement};
use crate::plan::{NamespacePlan, Plan, ProcessPlan};
use crate::prepare::Prepared;
use crate::relay;

/// A process that walks its plan.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) child: Child,
    pub(crate) channel: RuntimeEnd,
    placement: Placement,
    in_unified_cgroup: bool,
}

/// How far a new process has to come before its parent goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// It is set up.
    Ready,
    /// It has become the program.
    Executed,
}

/// Listens to a new process until it has come that far; `describe` makes an error of a failure it reports.
pub(crate) fn hear(
    channel: &RuntimeEnd,
    child: &Child,
    until: Until,
    describe: impl Fn(Failure) -> Error,
) -> Result<()> {
    let mut ready = false;
    loop {
        match channel.hear().context(Code::System, || "hear from the container's process")? {
            Some(FromInit::Failed(failure)) => return Err(describe(failure)),
            Some(FromInit::Ready) if until == Until::Ready => return Ok(()),
            Some(FromInit::Ready | FromInit::Born(_)) => ready = true,
            // The exec closes the channel.
            None if ready => return Ok(()),
            None => return Err(foreground::died_early(child)),
        }
    }
}

/// How many files and directories that init makes in the root filesystem it can take away again.
const ROOM_FOR_MADE: usize = 128;

/// Clones the container's process.
pub(crate) fn spawn(
    prepared: &Prepared<'_>,
    cgroup: Option<&Cgroup>,
    exec_fifo: Option<BorrowedFd<'_>>,
) -> Result<Spawned> {
    let plan = prepared.plan;
    let (runtime_end, init_end) = channel::pair().context(Code::System, || "create the socket pair")?;
    let borrowed = ForChildren::enter(&plan.namespaces, &prepared.joins)?;
    let runtime_end = Cell::new(Some(runtime_end));
    let deferred = Cell::new(Vec::with_capacity(plan.rootfs.mounts.len()));
    let made = Cell::new(Made::with_capacity(ROOM_FOR_MADE));
    let init = |channel, placement| Init {
        prepared,
        channel,
        placement,
        exec_fifo,
        deferred: deferred.take(),
        made: made.take(),
        awaits_network: plan.namespaces.network_by_runtime,
    };
    let relay = prepared.joins.iter().find(|(kind, _)| *kind == Namespaces::USER);
    let relay = relay.filter(|_| relay::is_needed(&plan.namespaces));
    let new = if relay.is_some() { Namespaces::empty() } else { plan.namespaces.clone };
    let cloned = clone_into(new, cgroup, preferred_placement(plan, cgroup), |placement| {
        // With a copy of the other end open, the end of the runtime would go unnoticed.
        drop(runtime_end.take());
        let live = || init(&init_end, placement).run();
        match relay {
            None => live(),
            Some((_, user_namespace)) => relay::run(&init_end, user_namespace.as_fd(), live),
        }
    });
    borrowed.leave()?;
    drop::<InitEnd>(init_end);
    let (mut child, placement, in_unified_cgroup) = cloned?;
    let closed = || Error::new(Code::System, "the channel to the container's process is closed");
    let runtime_end = runtime_end.take().ok_or_else(closed)?;
    if relay.is_some() {
        child = relay::take_over(plan, &runtime_end, &child)?;
    }
    Ok(Spawned { child, channel: runtime_end, placement, in_unified_cgroup })
}

fn preferred_placement(plan: &Plan, cgroup: Option<&Cgroup>) -> Placement {
    match cgroup {
        _ if plan.namespaces.id_maps.is_some() => Placement::BeforeMounts,
        Some(cgroup) if !cgroup.is_unified_only() => Placement::BeforeCgroupNamespace,
        _ => Placement::Done,
    }
}

/// Clones into the cgroup's v2 directory where the kernel can do that; otherwise the process is moved afterwards and
/// waits for it. Says where the process has to wait and whether it is in the v2 directory already.
pub(crate) fn clone_into(
    namespaces: Namespaces,
    cgroup: Option<&Cgroup>,
    placement: Placement,
    child: impl Fn(Placement) -> i32,
) -> Result<(Child, Placement, bool)> {
    let failed = || "create the container's process";
    if let Some(directory) = cgroup.and_then(Cgroup::unified_directory) {
        match sys::clone::spawn(namespaces, Some(directory), || child(placement)) {
            Ok(cloned) => return Ok((cloned, placement, true)),
            // A cgroup that takes no processes this way, or a kernel that does not know the way (before 5.7).
            Err(Errno::BUSY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOENT | Errno::TOOBIG) => {}
            Err(errno) => return Err(Error::os(Code::Namespace, failed(), errno)),
        }
    }
    let placement = if cgroup.is_some() { Placement::BeforeMounts } else { placement };
    let cloned = sys::clone::spawn(namespaces, None, || child(placement)).context(Code::Namespace, failed)?;
    Ok((cloned, placement, false))
}

impl Spawned {
    /// Does for the new process what is done for it from outside, in the order in which it waits for it.
    pub(crate) fn serve(&self, plan: &Plan, cgroup: Option<&Cgroup>) -> Result<()> {
        if self.placement == Placement::BeforeMounts {
            self.place(plan, cgroup)?;
            return self.give_network(plan);
        }
        self.give_network(plan)?;
        self.place(plan, cgroup)
    }

    /// Makes the network namespace and hands it over at once; its loopback device, for which the kernel has one lock for
    /// all namespaces, comes up while the process is at its mounts.
    fn give_network(&self, plan: &Plan) -> Result<()> {
        if !plan.namespaces.network_by_runtime {
            return Ok(());
        }
        let own = open_network_namespace()?;
        sys::namespace::unshare(Namespaces::NETWORK)
            .context(Code::Namespace, || "create the network namespace")?;
        let made = open_network_namespace().and_then(|namespace| {
            self.channel.hand_over(ToInit::Network, namespace.as_fd());
            sys::net::bring_loopback_up().context(Code::Namespace, || "bring the loopback interface up")
        });
        sys::namespace::join(own.as_fd(), Namespaces::NETWORK)
            .context(Code::Namespace, || "return to the runtime's own network namespace")?;
        made
    }

    /// Maps the process' ids and moves it into its cgroup, and lets it go on if it waits for that.
    fn place(&self, plan: &Plan, cgroup: Option<&Cgroup>) -> Result<()> {
        let pid = self.child.pid;
        if let Some(maps) = &plan.namespaces.id_maps {
            // The group map first: afterwards the process may already have become someone.
            write_proc(pid, "gid_map", &maps.gid_lines())?;
            write_proc(pid, "uid_map", &maps.uid_lines())?;
        }
        if plan.namespaces.contains(Namespaces::USER) {
            set_limits(pid, &plan.process)?;
        }
        if let Some(adjustment) = plan.process.oom_score_adj {
            write_proc(pid, "oom_score_adj", &adjustment.to_string())?;
        }
        if let Some(cgroup) = cgroup {
            cgroup.add_process(pid, self.in_unified_cgroup)?;
        }
        if self.placement != Placement::Done {
            self.channel.tell(ToInit::Placed);
        }
        Ok(())
    }
}

/// The network namespace the calling thread is in.
fn open_network_namespace() -> Result<OwnedFd> {
    openat(CWD, c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(Code::Namespace, || "open `/proc/thread-self/ns/net`")
}

/// Raising a limit takes a privilege outside the user namespace, so the parent sets them there.
fn set_limits(pid: Pid, process: &ProcessPlan) -> Result<()> {
    process.rlimits.iter().try_for_each(|(resource, limit): &(Resource, Rlimit)| {
        prlimit(Some(pid), *resource, *limit)
            .map(drop)
            .context(Code::Credentials, || format!("set the limit `{}`", crate::rlimits::name(*resource)))
    })
}

/// Writes one of the files by which a process is set up from outside.
pub(crate) fn write_proc(pid: Pid, file: &str, value: &str) -> Result<()> {
    let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
    let name = || format!("write `{}` to `{path}`", value.trim_end());
    let open = openat(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let written = open.and_then(|file| write(&file, value.as_bytes())).context(Code::System, name)?;
    if written == value.len() { Ok(()) } else { Err(Error::os(Code::System, name(), Errno::NOSPC)) }
}

/// The namespaces the runtime has entered for its next child.
struct ForChildren {
    /// Its own ones, to go back to.
    own: Vec<(Namespaces, OwnedFd)>,
}

impl ForChildren {
    fn enter(plan: &NamespacePlan, joins: &[(Namespaces, OwnedFd)]) -> Result<Self> {
        let mut this = Self { own: Vec::new() };
        if let Some((kind, namespace)) = joins.iter().find(|(kind, _)| *kind == Namespaces::PID) {
            this.remember("pid", *kind)?;
            sys::namespace::join(namespace.as_fd(), *kind)
                .context(Code::Namespace, || "join the pid namespace")?;
        }
        if let Some(offsets) = &plan.time_offsets {
            this.remember("time", Namespaces::TIME)?;
            sys::namespace::unshare(Namespaces::TIME)
                .context(Code::Namespace, || "create the time namespace")?;
            let name = || "write `/proc/self/timens_offsets`";
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(CWD, c"/proc/self/timens_offsets", flags, Mode::empty())
                .context(Code::Namespace, name)?;
            write(&file, offsets.as_bytes()).context(Code::Namespace, name)?;
        }
        Ok(this)
    }

    fn remember(&mut self, file: &str, kind: Namespaces) -> Result<()> {
        let path = format!("/proc/self/ns/{file}");
        let own = openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context(Code::Namespace, || format!("open `{path}`"))?;
        self.own.push((kind, own));
        Ok(())
    }

    fn leave(self) -> Result<()> {
        self.own.iter().try_for_each(|(kind, namespace)| {
            sys::namespace::join(namespace.as_fd(), *kind)
                .context(Code::Namespace, || "return to the runtime's own namespace")
        })
    }
}
