//! Mounts for a container that runs: added, and taken off again.
//!
//! The pipeline of a start with a container that exists: planned and acquired as there, and made by init's code in a
//! process that enters the container to do it ([`inside`]). Nothing is written down; the mounts end with the container.

mod inside;

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cgroups::Cgroup;
use rustix::io::Errno;
use sys::clone::Namespaces;
use sys::signal::{SignalSet, set_mask};

use crate::channel::{Failure, InitEnd, Step};
use crate::container::{Container, Phase};
use crate::error::{Code, Context, Error, Result, words};
use crate::explain;
use crate::foreground;
use crate::host::Host;
use crate::id::ContainerId;
use crate::init::{Made, Placement};
use crate::plan::{AddedMounts, MountOperation, RemovedMounts, Running, SetUpIds};
use crate::prepare::{ByInit, ForRunning, PreparedMount};
use crate::relay::Entry;
use crate::report;
use crate::self_protection;
use crate::spawn::{Observed, Spawned};
use crate::spec::{self, Mount, Spec};
use crate::state::StateRoot;
use inside::Way;

/// How the mounts of a running container are changed.
#[derive(Debug, Clone, Copy)]
pub struct MountsOptions {
    /// As for [`crate::ExecOptions`].
    pub self_protection: bool,
}

impl Default for MountsOptions {
    fn default() -> Self {
        Self { self_protection: true }
    }
}

/// Adds mounts to a running container, all of them or none: when one cannot be made, those before it are taken off
/// again, and so are the mount points made for them.
///
/// # Errors
/// Names the first mount that cannot be had, by its place in the list.
pub fn add_mounts(
    root: &StateRoot,
    id: &ContainerId,
    mounts: &[Mount<'_>],
    options: &MountsOptions,
) -> Result<()> {
    let Visited { container, pidfd, config } = Visited::open(root, id)?;
    if mounts.is_empty() {
        return Ok(());
    }
    let spec = spec::parse(&config, &container.directory.file("config.json"))?;
    let host = Host::new();
    let plan = AddedMounts::new(mounts, &known(&container, &spec), &host)?;
    let cgroup = if plan.shows_cgroup() || plan.copies() { container.cgroup()? } else { None };
    let ready = ForRunning::new(&plan.mounts, cgroup.as_ref(), &host)?;
    let visit = Visit {
        id,
        pidfd,
        namespaces: plan.enter,
        set_up: plan.set_up,
        belongings: ready.descriptors(),
        // Only in a mount namespace of its own may it clone what the runtime may not.
        clones: match &ready {
            ForRunning::Ready(_) => None,
            ForRunning::ByVisitor(wanted) => Some((&plan.mounts, wanted)),
        },
        // A copy is as large as the container likes: let it pay for that. And where one of its processes puts a device
        // in the place of a file, it stays as closed as it is for the container.
        cgroup: cgroup.as_ref().filter(|_| plan.copies()),
    };
    // Not to be moved into the process that enters: there nothing may be given back to the allocator.
    let made = RefCell::new(Made::with_mounts(room(&plan.mounts)));
    let deferred = RefCell::new(Vec::with_capacity(plan.mounts.len()));
    visit.make(
        options,
        |root, channel, cloned| {
            let (mut made, mut deferred) = (made.borrow_mut(), deferred.borrow_mut());
            let ready = match &ready {
                ForRunning::Ready(ready) => ready,
                ForRunning::ByVisitor(_) => cloned,
            };
            inside::add(root, channel, &plan.mounts, ready, &mut made, &mut deferred)
        },
        |failure| report::added_mount_failure(&plan.mounts, failure),
    )
}

/// Takes mounts off a running container, the last of the list first; only their destinations matter. Where one of
/// them is no mount, nothing is taken off.
///
/// # Errors
/// Names the mount that cannot be taken off, by its place in the list.
pub fn remove_mounts(
    root: &StateRoot,
    id: &ContainerId,
    mounts: &[Mount<'_>],
    options: &MountsOptions,
) -> Result<()> {
    let Visited { container, pidfd, config } = Visited::open(root, id)?;
    if mounts.is_empty() {
        return Ok(());
    }
    let spec = spec::parse(&config, &container.directory.file("config.json"))?;
    let plan = RemovedMounts::new(mounts, &known(&container, &spec), &Host::new())?;
    let RemovedMounts { enter: namespaces, set_up, .. } = plan;
    let visit = Visit { id, pidfd, namespaces, set_up, belongings: Vec::new(), clones: None, cgroup: None };
    let found = RefCell::new(Vec::with_capacity(plan.destinations.len()));
    visit.make(
        options,
        |root, channel, _| inside::remove(root, channel, &plan.destinations, &mut found.borrow_mut()),
        |failure| report::removed_mount_failure(&plan.destinations, failure),
    )
}

/// A running container whose mounts are to be changed.
struct Visited {
    container: Container,
    /// Its first process.
    pidfd: OwnedFd,
    /// Its config.json as it was created with.
    config: Vec<u8>,
}

impl Visited {
    fn open(root: &StateRoot, id: &ContainerId) -> Result<Self> {
        let container = Container::open(root, id)?;
        match container.phase()? {
            Phase::Stopped => return Err(words::exec_not_running(id.as_str())),
            Phase::Paused => return Err(words::exec_paused(id.as_str())),
            Phase::Created | Phase::Running => {}
        }
        let pidfd = container.open_running()?;
        let config = container.directory.read_config()?;
        Ok(Self { container, pidfd, config })
    }
}

fn known<'a>(container: &'a Container, spec: &'a Spec<'a>) -> Running<'a> {
    Running {
        spec,
        bundle: Path::new(&container.status.bundle),
        user_namespace: format!("/proc/{}/ns/user", container.status.pid).into(),
        has_cgroup: !container.status.cgroup_path.is_empty(),
        is_an_ordinary_users: container.is_an_ordinary_users(),
    }
}

/// How much has to be remembered to take these mounts off again: each of them and the directories made on the way to it;
/// links of the container may lead to a few more.
fn room(mounts: &[MountOperation]) -> usize {
    const BY_LINKS: usize = 64;
    let of_mount = |mount: &MountOperation| 1 + mount.destination.to_string().matches('/').count();
    BY_LINKS + mounts.iter().map(of_mount).sum::<usize>()
}

/// A process that enters a running container to change its mounts. It is none of the container's processes and executes
/// nothing; they see it only if it has to be in their pid namespace.
struct Visit<'a> {
    id: &'a ContainerId,
    /// The container's first process.
    pidfd: OwnedFd,
    namespaces: Namespaces,
    /// Who it is in the container's user namespace.
    set_up: SetUpIds,
    /// The descriptors it takes along.
    belongings: Vec<BorrowedFd<'a>>,
    /// What it clones of the host on its way.
    clones: Option<(&'a [MountOperation], &'a ByInit)>,
    /// The cgroup it works in, if that is not the caller's.
    cgroup: Option<&'a Cgroup>,
}

impl Visit<'_> {
    /// Sends the process in to do its `work`; `describe` makes an error of what it reports.
    fn make(
        &self,
        options: &MountsOptions,
        work: impl Fn(BorrowedFd<'_>, &InitEnd, &[PreparedMount]) -> core::result::Result<(), Failure>,
        describe: impl Fn(Failure) -> Error,
    ) -> Result<()> {
        if options.self_protection {
            self_protection::protect_visiting()?;
        }
        // Blocked in the process for good: what interrupts the runtime must not leave half of the work done.
        let before = set_mask(SignalSet::ALL).context(Code::System, || "block signals")?;
        let spawned = self.spawn(work, &describe);
        set_mask(before).context(Code::System, || "restore the signal mask")?;
        let spawned = spawned?;
        let ended = self.attend(&spawned, describe);
        // One that nobody listens to any more takes back what it has done, and ends.
        spawned.dismiss();
        ended
    }

    fn spawn(
        &self,
        work: impl Fn(BorrowedFd<'_>, &InitEnd, &[PreparedMount]) -> core::result::Result<(), Failure>,
        describe: impl Fn(Failure) -> Error,
    ) -> Result<Spawned> {
        let entry = Entry::new(self.pidfd.as_fd(), self.namespaces, self.set_up)?;
        let left_to_join = entry.left_to_join;
        let mut belongings = self.belongings.clone();
        belongings.push(self.pidfd.as_fd());
        belongings.sort_unstable_by_key(AsRawFd::as_raw_fd);
        let live = |channel: &InitEnd, placement| {
            let way = Way {
                container: self.pidfd.as_fd(),
                left_to_join,
                set_up: self.namespaces.contains(Namespaces::USER).then_some(self.set_up),
                belongings: &belongings,
                clones: self.clones,
            };
            let worked = inside::enter(&way, channel, placement)
                .and_then(|entered| work(entered.root.as_fd(), channel, &entered.cloned));
            match worked {
                Ok(()) => 0,
                Err(failure) => {
                    let _ = channel.tell_failed(failure);
                    1
                }
            }
        };
        entry.spawn(Observed::default(), live, (self.cgroup, Placement::Done), describe)
    }

    /// The parent's part, until the work is done.
    fn attend(&self, spawned: &Spawned, describe: impl Fn(Failure) -> Error) -> Result<()> {
        // Where it works in the container's cgroup, it is the first to go if memory runs out there.
        let oom_score_adj = self.cgroup.is_some().then_some(1000);
        spawned.place(oom_score_adj, None, self.cgroup)?;
        spawned.make_ready(&[], self.cgroup, describe).map_err(|error| match spawned.failure() {
            Some(Failure { step: Step::JoinNamespace, errno: Errno::SRCH, .. }) => {
                words::exec_not_running(self.id.as_str())
            }
            Some(_) => error,
            None => self.death(spawned),
        })
    }

    /// The error for a process that ended without a word.
    fn death(&self, spawned: &Spawned) -> Error {
        let death = foreground::died_early(spawned.child());
        let who = "the process that changes the container's mounts";
        let error =
            Error::new(Code::System, format!("{who} {}, perhaps after some of the changes", death.how));
        match self.cgroup {
            Some(cgroup) if death.was_killed && cgroup.has_run_out_of_memory() => {
                explain::out_of_memory(&error, cgroup)
            }
            _ => error,
        }
    }
}
