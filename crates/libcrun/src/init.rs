//! The container's first process, from the clone to the exec: the plan, executed.
//!
//! Fifth stage of the pipeline, and the only one that runs inside. It does not parse, look up, log or allocate: it
//! walks the plan with the descriptors that [`crate::prepare`] acquired, reports the first failure and ends. Read from
//! top to bottom, [`Init::live`] is the story of how a container is born.

pub(crate) mod binding;
mod classic;
pub(crate) mod credentials;
mod devices;
mod enter;
mod hooks;
pub(crate) mod inner;
pub(crate) mod launch;
mod masks;
pub(crate) mod mounts;
mod target;

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use sys::clone::Namespaces;

use crate::channel::{At, Failure, InitEnd, Step, ToInit};
use crate::hooks::Hooks;
use crate::prepare::{Prepared, PreparedRoot};
use crate::relay;
pub(crate) use inner::Made;
use mounts::Deferred;
pub(crate) use mounts::copy_up::DEEPEST as DEEPEST_COPIED;

/// When init has to wait until the runtime has put it into its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It was cloned into its cgroup and has no ids to be mapped.
    Done,
    /// Before anything else: its ids are still to be mapped, or its cgroup mount depends on where it is.
    BeforeMounts,
    /// Only before its cgroup namespace is made: moving it through the v1 hierarchies takes the kernel, and making its unit
    /// takes systemd, long enough to do the mounts meanwhile.
    BeforeCgroupNamespace,
}

/// What a created container has instead of the runtime, when that has ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fifos<'a> {
    /// Where it waits for its start.
    pub(crate) start: Option<BorrowedFd<'a>>,
    /// Where it says what becomes of that, if somebody has to know.
    pub(crate) report: Option<BorrowedFd<'a>>,
}

/// Init's inheritance.
#[derive(Debug)]
pub(crate) struct Init<'a> {
    pub(crate) prepared: &'a Prepared<'a>,
    pub(crate) channel: &'a InitEnd,
    pub(crate) placement: Placement,
    pub(crate) fifos: Fifos<'a>,
    /// Room for the mounts that become read-only at the end; reserved by the parent, because init does not allocate.
    pub(crate) deferred: Vec<Deferred>,
    /// Room for the clones of the host's trees that it makes itself, by their place in the plan.
    pub(crate) own_clones: Vec<(usize, OwnedFd)>,
    /// What was made in the root filesystem, which a failed start leaves as it was.
    pub(crate) made: Made,
    /// Whether the network namespace that the runtime makes is still to come.
    pub(crate) awaits_network: bool,
    /// Whether the runtime has said that everything around the process is done.
    pub(crate) is_attended: bool,
    /// Whether nothing of the host's mounts is in sight any more.
    pub(crate) sees_no_host: bool,
    /// Whether the root is attached where the host has it, and not over the host's own.
    pub(crate) root_is_in_place: bool,
}

impl Init<'_> {
    /// Runs to the exec, or reports why not and returns the exit status.
    pub(crate) fn run(&mut self) -> i32 {
        let Err(failure) = self.live();
        self.take_back();
        launch::report_failure(self.channel, self.fifos.report, self.prepared.process.plan, failure)
    }

    fn live(&mut self) -> Result<Infallible, Failure> {
        // Not in the terminal's foreground group, whose signals the runtime forwards.
        let _ = rustix::process::setsid();
        // Until the exec, nobody in the container may trace this process or look through its /proc entry
        // (CVE-2016-9962).
        set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Step::Runtime)?;
        rustix::process::umask(rustix::fs::Mode::empty());
        self.take_place()?;
        // Early, because later on the parent is the one that is waited for.
        launch::protect_executable(&self.prepared.process)?;
        self.enter_namespaces()?;
        self.build_root()?;
        self.await_cgroup()?;
        binding::settle(self.prepared.process.plan)?;
        self.set_names()?;
        self.wait_for_runtime()?;
        self.close_descriptors()?;
        credentials::assume(self.prepared.process.plan, !self.plan().namespaces.contains(Namespaces::USER))?;
        let program = launch::find_executable(self.prepared.process.plan)?;
        self.wait_for_start()?;
        self.run_start_hooks()?;
        launch::execute(&self.prepared.process, program)
    }

    fn plan(&self) -> &crate::plan::Plan {
        self.prepared.plan
    }

    /// Waits for cgroup and id maps where the process was not cloned into them, and takes on the ids it has inside.
    fn take_place(&self) -> Result<(), Failure> {
        match self.placement {
            Placement::BeforeMounts => self.channel.expect(ToInit::Placed).at(Step::Runtime)?,
            Placement::BeforeCgroupNamespace if self.plan().namespaces.id_maps.is_some() => {
                self.channel.expect(ToInit::Mapped).at(Step::Runtime)?;
            }
            _ => {}
        }
        if self.plan().namespaces.creates(Namespaces::USER) {
            credentials::become_mapped_root()?;
        }
        if let Some(name) = &self.plan().keyring {
            match sys::keyring::join_session(name) {
                // A kernel without keyrings, or one that has no more for this user or namespace.
                Ok(()) | Err(Errno::NOSYS | Errno::DQUOT | Errno::PERM | Errno::ACCESS) => {}
                Err(errno) => return Err(errno).at(Step::Runtime),
            }
        }
        Ok(())
    }

    /// Enters the namespaces that exist, then makes those that do not.
    fn enter_namespaces(&mut self) -> Result<(), Failure> {
        for (index, (kind, namespace)) in self.prepared.joins.iter().enumerate() {
            // What only takes effect for children has been joined by the parent for its child.
            let joined = *kind == Namespaces::PID
                || *kind == Namespaces::USER && relay::is_needed(&self.plan().namespaces);
            if joined {
                continue;
            }
            sys::namespace::join(namespace.as_fd(), *kind).at_entry(Step::JoinNamespace, index)?;
            if *kind == Namespaces::USER {
                credentials::become_mapped_root()?;
            }
        }
        // A mount namespace of the container's tree alone is made with that.
        let of_tree = match self.prepared.makes_mount_namespace() {
            true => Namespaces::MOUNT,
            false => Namespaces::empty(),
        };
        let new = self.plan().namespaces.unshare - of_tree;
        sys::namespace::unshare(new).at(Step::NewNamespaces)?;
        if new.contains(Namespaces::NETWORK) {
            sys::net::bring_loopback_up().at(Step::Loopback)?;
        }
        if self.placement == Placement::BeforeCgroupNamespace {
            return Ok(());
        }
        self.make_cgroup_namespace()
    }

    /// Enters the network namespace the runtime has made meanwhile; called by the first that needs to be in it.
    fn enter_network(&mut self) -> Result<(), Failure> {
        if self.awaits_network {
            let namespace = self.channel.expect_descriptor(ToInit::Network).at(Step::Runtime)?;
            sys::namespace::join(namespace.as_fd(), Namespaces::NETWORK).at(Step::NewNamespaces)?;
            self.awaits_network = false;
        }
        Ok(())
    }

    /// Waits for its place if it has none yet; called by the first that needs to be in it. The network namespace is under way
    /// before that.
    fn await_cgroup(&mut self) -> Result<(), Failure> {
        self.enter_network()?;
        if self.placement == Placement::BeforeCgroupNamespace {
            self.channel.expect(ToInit::Placed).at(Step::Runtime)?;
            self.placement = Placement::Done;
            self.make_cgroup_namespace()?;
        }
        Ok(())
    }

    /// Makes the present cgroup the root of a cgroup namespace.
    fn make_cgroup_namespace(&self) -> Result<(), Failure> {
        if self.plan().namespaces.cgroup {
            sys::namespace::unshare(Namespaces::CGROUP).at(Step::CgroupNamespace)?;
        }
        Ok(())
    }

    fn set_names(&self) -> Result<(), Failure> {
        if let Some(name) = &self.plan().hostname {
            rustix::system::sethostname(name.as_bytes()).at(Step::Hostname)?;
        }
        if let Some(name) = &self.plan().domainname {
            rustix::system::setdomainname(name.as_bytes()).at(Step::Domainname)?;
        }
        Ok(())
    }

    /// Waits until nothing can go wrong any more outside, as long as there is something to be taken back then: what
    /// follows gives up the right to.
    fn wait_for_runtime(&mut self) -> Result<(), Failure> {
        if !self.made.is_empty() {
            self.hear_attended()?;
            self.made.forget();
        }
        Ok(())
    }

    /// Closes what is the host's, but not what it still has to talk to.
    fn close_descriptors(&self) -> Result<(), Failure> {
        let hooks = self.prepared.hooks;
        let keep = [
            Some(self.channel.as_fd()),
            self.fifos.start,
            self.fifos.report,
            hooks.and_then(Hooks::stdout),
            hooks.and_then(Hooks::stderr),
        ];
        launch::close_descriptors(self.prepared.process.plan, keep)
    }

    fn hear_attended(&mut self) -> Result<(), Failure> {
        if !self.is_attended {
            self.channel.expect(ToInit::Attended).at(Step::Runtime)?;
            self.is_attended = true;
        }
        Ok(())
    }

    /// Leaves the root filesystem as it was, after a failure.
    fn take_back(&self) {
        if self.made.is_empty() {
            return;
        }
        match &self.prepared.root {
            PreparedRoot::Directory => {}
            PreparedRoot::Trees(trees) => self.unprotect_trees(trees),
            PreparedRoot::Classic(_) => self.unprotect_by_mount(),
        }
        self.made.undo();
    }

    /// Says that nothing is left to do, waits until that holds for the runtime too, and for the start of a container that
    /// is only created.
    fn wait_for_start(&mut self) -> Result<(), Failure> {
        self.channel.tell_ready().at(Step::Runtime)?;
        self.hear_attended()?;
        self.channel.expect(ToInit::Go).at(Step::Runtime)?;
        match self.fifos.start {
            None => Ok(()),
            Some(fifo) => launch::wait_on_fifo(fifo).at(Step::Runtime),
        }
    }
}
