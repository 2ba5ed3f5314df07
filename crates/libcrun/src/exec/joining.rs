//! The process that joins a running container: what it needs, its clone, and its life up to the exec.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cgroups::Cgroup;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use sys::clone::Namespaces;
use sys::exec::StringArray;

use super::namespaced::{Namespaced, not_started};
use crate::channel::{At, Failure, InitEnd, Step, ToInit};
use crate::container::Container;
use crate::error::{Code, Context, Result};
use crate::home;
use crate::init::{Placement, binding, credentials, filter, labels, launch, terminal};
use crate::oom_score::OwnScore;
use crate::plan::ProcessPlan;
use crate::prepare::PreparedProcess;
use crate::procfs::ProcFs;
use crate::relay::Entry;
use crate::report;
use crate::scheduling;
use crate::spawn::{Observed, Spawned};
use crate::spec::Spec;
use crate::timeline::{Room, Timeline};

/// The running container that is joined.
pub(super) struct Joined<'a> {
    pub(super) container: &'a Container,
    pub(super) spec: &'a Spec<'a>,
    /// Its first process.
    pub(super) pidfd: OwnedFd,
    pub(super) namespaces: Namespaced,
    pub(super) timeline: &'a Timeline,
}

/// What the joining process needs, acquired before it exists.
pub(super) struct Joining<'p> {
    pub(super) pidfd: OwnedFd,
    namespaces: Namespaced,
    /// The container's root directory, for a container that shares the mount namespace.
    root: Option<OwnedFd>,
    pub(super) process: PreparedProcess<'p>,
    /// The name of its session keyring: with the caller's it would hold the caller's keys.
    keyring: CString,
    timeline: &'p Timeline,
}

/// A container with a new mount namespace has made its root that namespace's; any other was put into a root directory.
fn has_new_mount_namespace(spec: &Spec<'_>) -> bool {
    let entries = spec.linux.as_ref().and_then(|linux| linux.namespaces.as_deref()).unwrap_or_default();
    let is_new = |path: Option<&str>| path.is_none_or(str::is_empty);
    entries.iter().any(|entry| &*entry.kind == "mount" && is_new(entry.path.as_deref()))
}

impl<'p> Joining<'p> {
    pub(super) fn new(
        joined: Joined<'p>,
        plan: &ProcessPlan,
        process: impl FnOnce(StringArray, Option<ProcFs>) -> PreparedProcess<'p>,
    ) -> Result<Self> {
        let Joined { container, spec, pidfd, namespaces, timeline } = joined;
        let root_path = format!("/proc/{}/root", container.status.pid);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, &root_path, flags, Mode::empty())
            .context(Code::Namespace, || format!("open `{root_path}`"))
            .map_err(|error| match error.errno() {
                Some(Errno::ACCESS) if container.directory.has_fifo() => not_started(container),
                _ => error,
            })?;
        let env = home::environment(plan, root.as_fd()).context(Code::InvalidConfig, || "process.env")?;
        let proc = if plan.labels.is_empty() { None } else { Some(ProcFs::open()?) };
        Ok(Self {
            pidfd,
            namespaces,
            root: (!has_new_mount_namespace(spec)).then_some(root),
            process: process(env, proc),
            keyring: container.id.to_c_string(),
            timeline,
        })
    }

    fn spawn(&self, cgroup: Option<&Cgroup>) -> Result<Spawned> {
        let Namespaced { kinds, set_up } = self.namespaces;
        let entry = Entry::new(self.pidfd.as_fd(), kinds, set_up)?;
        let left_to_join = entry.left_to_join;
        let placement = match cgroup {
            Some(cgroup) if !cgroup.is_unified_only() => Placement::BeforeMounts,
            _ => Placement::Done,
        };
        let live = |channel: &InitEnd, placement| {
            let Err(failure) = self.live(left_to_join, channel, placement);
            launch::report_failure(channel, &self.process, failure)
        };
        // One that has CPUs of its own until then is not born in the cgroup.
        let (cgroup, placement) = match &self.process.plan.affinity.initial {
            Some(_) => (None, Placement::BeforeMounts),
            None => (cgroup, placement),
        };
        let describe = |failure| report::process_failure(self.process.plan, failure);
        let room = || Room::for_joining(self.process.plan, kinds);
        let observed = Observed::new(self.timeline, room)?;
        let spawned = entry.spawn(observed, live, (cgroup, placement), describe)?;
        spawned.tell_pid(self.process.plan);
        Ok(spawned)
    }

    /// Makes the process and puts it into its place.
    pub(super) fn spawn_in(&self, cgroup: Option<&Cgroup>) -> Result<Spawned> {
        let plan = self.process.plan;
        let inherited = OwnScore::set_for_child(plan.oom_score_adj);
        let spawned = self.spawn(cgroup)?;
        drop(inherited);
        let placed = scheduling::begin(plan, spawned.child().pid)
            .and_then(|()| spawned.place(plan.oom_score_adj, None, cgroup));
        match placed {
            Ok(()) => Ok(spawned),
            Err(error) => {
                spawned.end_soon();
                Err(error)
            }
        }
    }

    /// The terminal, in the devpts of the container.
    fn make_terminal(&self, channel: &InitEnd) -> core::result::Result<Option<terminal::Terminal>, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, c"/", flags, Mode::empty()).at(Step::Terminal)?;
        terminal::make(root.as_fd(), &self.process, channel)
    }

    pub(super) fn is_in_user_namespace(&self) -> bool {
        self.namespaces.kinds.contains(Namespaces::USER)
    }

    /// The joining process, from the clone to the exec; it was not to be traced from its birth ([`clone_into`]).
    fn live(
        &self,
        left_to_join: Namespaces,
        channel: &InitEnd,
        placement: Placement,
    ) -> core::result::Result<Infallible, Failure> {
        let _ = rustix::process::setsid();
        filter::hear_pid(&self.process, channel)?;
        let plan = self.process.plan;
        if placement != Placement::Done {
            channel.expect(ToInit::Placed).at(Step::Runtime)?;
        }
        binding::settle(plan)?;
        if !left_to_join.is_empty() {
            sys::namespace::join(self.pidfd.as_fd(), left_to_join).at(Step::JoinNamespace)?;
        }
        if self.is_in_user_namespace() {
            credentials::become_mapped(self.namespaces.set_up)?;
        }
        launch::protect_executable(&self.process)?;
        if let Some(root) = &self.root {
            change_root(root.as_fd()).at(Step::JoinNamespace)?;
        }
        if plan.terminal.is_some() {
            terminal::take(self.make_terminal(channel)?)?;
        }
        labels::take_keyring(&self.process, &self.keyring)?;
        labels::assume(&self.process)?;
        launch::close_descriptors(&self.process, channel, None)?;
        let load_early = || filter::load_early(&self.process, channel);
        credentials::assume(plan, !self.is_in_user_namespace(), load_early)?;
        let program = launch::find_executable(plan)?;
        channel.tell_ready().at(Step::Runtime)?;
        channel.expect(ToInit::Go).at(Step::Runtime)?;
        launch::confine(&self.process, channel)?;
        launch::execute(&self.process, program)
    }
}

fn change_root(root: BorrowedFd<'_>) -> core::result::Result<(), rustix::io::Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(c".")
}
