//! The container's first process, from the clone to the exec: the plan, executed.
//!
//! Fifth stage of the pipeline, and the only one that runs inside. It does not parse, look up, log or allocate: it
//! walks the plan with the descriptors that [`crate::prepare`] acquired, reports the first failure and ends. Read from
//! top to bottom, [`Init::live`] is the story of how a container is born.

mod acquire;
pub(crate) mod binding;
mod classic;
pub(crate) mod credentials;
mod devices;
mod enter;
pub(crate) mod filter;
mod hooks;
pub(crate) mod inner;
pub(crate) mod join;
pub(crate) mod labels;
pub(crate) mod launch;
mod masks;
pub(crate) mod mounts;
mod streams;
mod target;
pub(crate) mod terminal;
mod time;

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::clone::Namespaces;

use crate::channel::{At, Failure, InitEnd, Step, ToInit};
use crate::prepare::{Prepared, PreparedRoot, Trees};
pub(crate) use acquire::clone_mounts;
pub(crate) use inner::Made;
use mounts::Deferred;
pub(crate) use mounts::copy_up::DEEPEST as DEEPEST_COPIED;
use terminal::Terminal;

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

/// Init's inheritance.
#[derive(Debug)]
pub(crate) struct Init<'a> {
    pub(crate) prepared: &'a Prepared<'a>,
    pub(crate) channel: &'a InitEnd,
    pub(crate) placement: Placement,
    /// Where a created container waits for its start.
    pub(crate) exec_fifo: Option<BorrowedFd<'a>>,
    /// Room for the mounts that become read-only at the end; reserved by the parent, because init does not allocate.
    pub(crate) deferred: Vec<Deferred>,
    /// Room for the clones of the host's trees that it makes itself, by their place in the plan.
    pub(crate) own_clones: Vec<(usize, OwnedFd)>,
    /// What it has cloned where the runtime could not.
    pub(crate) trees: Option<Trees>,
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
    /// What the process is to be attached to.
    pub(crate) terminal: Option<Terminal>,
}

impl Init<'_> {
    /// Runs to the exec, or reports why not and returns the exit status.
    pub(crate) fn run(&mut self) -> i32 {
        let Err(failure) = self.live();
        self.take_back();
        launch::report_failure(self.channel, &self.prepared.process, failure)
    }

    fn live(&mut self) -> Result<Infallible, Failure> {
        // Not in the terminal's foreground group, whose signals the runtime forwards.
        let _ = rustix::process::setsid();
        filter::hear_pid(&self.prepared.process, self.channel)?;
        // One whose ids are still to be mapped is left visible to the runtime, which may have no privileges.
        if self.plan().namespaces.id_maps.is_none() {
            credentials::forbid_tracing()?;
        }
        rustix::process::umask(rustix::fs::Mode::empty());
        let time_offsets = self.open_time_offsets()?;
        self.take_place()?;
        // Early, because later on the parent is the one that is waited for; but an ordinary user may do it only inside.
        let joins_user = self.plan().namespaces.joins(Namespaces::USER).is_some();
        if !joins_user {
            launch::protect_executable(&self.prepared.process)?;
        }
        self.enter_namespaces()?;
        self.make_time_namespace(time_offsets)?;
        if joins_user {
            launch::protect_executable(&self.prepared.process)?;
        }
        if !self.is_stopped_by_hooks() {
            self.set_sysctls()?;
        }
        self.build_root()?;
        self.await_cgroup()?;
        binding::settle(self.prepared.process.plan)?;
        self.set_names()?;
        self.wait_for_runtime()?;
        terminal::take(self.terminal.take())?;
        let process = &self.prepared.process;
        labels::assume(process)?;
        launch::close_descriptors(process, self.channel, self.exec_fifo)?;
        let set_limits = !self.plan().namespaces.contains(Namespaces::USER);
        credentials::assume(process.plan, set_limits, || filter::load_early(process, self.channel))?;
        let program = launch::find_executable(process.plan)?;
        self.wait_for_start()?;
        launch::confine(process, self.channel)?;
        self.run_start_hooks()?;
        launch::execute(process, program)
    }

    fn plan(&self) -> &crate::plan::Plan {
        self.prepared.plan
    }

    /// Waits for cgroup and id maps where the process was not cloned into them, and takes on the ids it has inside.
    fn take_place(&mut self) -> Result<(), Failure> {
        match self.placement {
            Placement::BeforeMounts => self.channel.expect(ToInit::Placed).at(Step::Runtime)?,
            Placement::BeforeCgroupNamespace if self.plan().namespaces.id_maps.is_some() => {
                self.channel.expect(ToInit::Mapped).at(Step::Runtime)?;
            }
            _ => {}
        }
        if self.plan().namespaces.creates(Namespaces::USER) {
            self.become_mapped()?;
        }
        match &self.plan().keyring {
            Some(name) => labels::take_keyring(&self.prepared.process, name),
            None => Ok(()),
        }
    }

    /// Enters the namespaces that exist, then makes those that do not.
    fn enter_namespaces(&mut self) -> Result<(), Failure> {
        self.join_namespaces()?;
        self.acquire()?;
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

    /// Sets the parameters of its namespaces, before anybody makes devices in them.
    pub(super) fn set_sysctls(&mut self) -> Result<(), Failure> {
        let prepared = self.prepared;
        let Some(proc) = &prepared.process.proc else { return Ok(()) };
        for (index, sysctl) in prepared.plan.sysctls.iter().enumerate() {
            if sysctl.namespace == Namespaces::NETWORK {
                self.enter_network()?;
            }
            proc.write_at(&sysctl.path, sysctl.value.as_bytes()).at_entry(Step::Sysctl, index)?;
        }
        Ok(())
    }

    /// Enters the namespaces that exist: first those for which the process has the right, then the user namespace, then
    /// those for which it has it from there.
    fn join_namespaces(&mut self) -> Result<(), Failure> {
        let prepared = self.prepared;
        let (namespaces, joins) = (&prepared.plan.namespaces, prepared.joins.as_slice());
        if joins.is_empty() {
            return Ok(());
        }
        if namespaces.joins(Namespaces::USER).is_none() {
            return join::all(joins, join::BY_INIT);
        }
        let mut left = join::BY_INIT - prepared.joined.get();
        if !namespaces.user_by_relay {
            left = join::what_may_be(joins, left)?;
            join::all(joins, Namespaces::USER)?;
        }
        self.become_mapped()?;
        join::all(joins, left)
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

    fn hear_attended(&mut self) -> Result<(), Failure> {
        if !self.is_attended {
            self.channel.expect(ToInit::Attended).at(Step::Runtime)?;
            self.is_attended = true;
        }
        Ok(())
    }

    /// Leaves the root filesystem as it was, after a failure.
    fn take_back(&self) {
        self.leave_shared_mounts();
        if self.made.is_empty() {
            return;
        }
        match &self.prepared.root {
            PreparedRoot::Directory => {}
            PreparedRoot::Trees(trees) => self.unprotect_trees(trees),
            PreparedRoot::ByInit(_) => self.trees.iter().for_each(|trees| self.unprotect_trees(trees)),
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
        match self.exec_fifo {
            None => Ok(()),
            Some(fifo) => {
                launch::wait_on_fifo(fifo).at(Step::Runtime)?;
                self.channel.part();
                Ok(())
            }
        }
    }
}
