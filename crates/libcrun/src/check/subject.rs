//! Who asks, and of which machine: in tests all of it is played.

use std::cell::OnceCell;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use sys::clone::Namespaces;
use sys::probe::Call;

use crate::clone;
use crate::error::{Code, Context, Error, Result};
use crate::explain::Machine;
use crate::foreground;
use crate::host::Host;
use crate::id::ContainerId;
use crate::plan::{CgroupManager, NamespacePlan, Plan, Request, supported_filter_flags};
use crate::procfs::ProcFs;
use crate::spec;
use crate::state::StateRoot;
use crate::user_namespace::map_ids;

/// Everything that questions are asked of.
pub(super) struct Subject<'a> {
    pub(super) machine: Machine,
    pub(super) kernel: Kernel,
    pub(super) host: &'a Host,
    pub(super) state_root: &'a StateRoot,
    pub(super) manager: CgroupManager,
    /// `XDG_RUNTIME_DIR`
    pub(super) runtime_directory: Option<PathBuf>,
    /// What the container of `crun spec` takes.
    plan: OnceCell<Result<Plan>>,
}

/// What a kernel can or cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ability {
    /// It has a call.
    Call(Call),
    /// It makes a mount namespace of a tree of mounts.
    MountNamespaceOfTree,
    /// It exchanges the executable of a running process.
    ExchangeOfExecutable,
    /// It takes a device program from this user.
    DevicePrograms,
}

/// What only trying tells.
pub(super) enum Kernel {
    /// This one.
    This,
    /// One that can do everything but this, and makes no namespaces for this reason; and the systemd that runs on it.
    #[cfg(test)]
    Played { lacks: Vec<Ability>, refuses: Option<Error>, systemd: Option<&'static str> },
}

impl Kernel {
    pub(super) fn can(&self, ability: Ability) -> bool {
        #[cfg(test)]
        if let Self::Played { lacks, .. } = self {
            return !lacks.contains(&ability);
        }
        match ability {
            Ability::Call(call) => sys::probe::has(call),
            Ability::MountNamespaceOfTree => sys::mount::can_open_namespace(),
            Ability::ExchangeOfExecutable => sys::exe::can_replace(),
            Ability::DevicePrograms => {
                sys::bpf::load_cgroup_device(c"crun_check", &::cgroups::devices::program(&[])).is_ok()
            }
        }
    }

    /// The version of the systemd that makes this user's units.
    pub(super) fn systemd(&self, is_rootless: bool) -> Result<String> {
        #[cfg(test)]
        if let Self::Played { systemd, .. } = self {
            let none = || Error::new(Code::Cgroup, "cannot connect to systemd: there is none");
            return systemd.map(str::to_owned).ok_or_else(none);
        }
        Ok(::cgroups::systemd::version(is_rootless)?)
    }

    /// The flags of filters that it does not know.
    pub(super) fn unknown_filter_flags(&self) -> Vec<&'static str> {
        let known = match self {
            Self::This => supported_filter_flags(),
            #[cfg(test)]
            Self::Played { .. } => seccomp::FLAGS.to_vec(),
        };
        seccomp::FLAGS.into_iter().filter(|flag| !known.contains(flag)).collect()
    }

    /// Makes a process in these new namespaces, with their ids, which ends at once.
    pub(super) fn make(&self, namespaces: &NamespacePlan) -> Result<()> {
        #[cfg(test)]
        if let Self::Played { refuses, .. } = self {
            return refuses.clone().map_or(Ok(()), Err);
        }
        make(namespaces)
    }
}

fn make(plan: &NamespacePlan) -> Result<()> {
    const KINDS: [Namespaces; 8] = [
        Namespaces::USER,
        Namespaces::IPC,
        Namespaces::UTS,
        Namespaces::NETWORK,
        Namespaces::PID,
        Namespaces::CGROUP,
        Namespaces::TIME,
        Namespaces::MOUNT,
    ];
    let namespaces = KINDS
        .into_iter()
        .filter(|kind| plan.creates(*kind))
        .fold(Namespaces::empty(), |all, kind| all | kind);
    let failed = || "make a process in new namespaces";
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context(Code::Namespace, failed)?;
    let own_end = std::cell::Cell::new(Some(writer));
    let child = clone::spawn(namespaces, None, || {
        // With a copy of the other end open, the end of the runtime would go unnoticed.
        drop(own_end.take());
        while read(&reader, &mut [0_u8; 1]) == Err(Errno::INTR) {}
        0
    })
    .context(Code::Namespace, failed)?;
    let mapped = match &plan.id_maps {
        Some(maps) => ProcFs::open().and_then(|proc| map_ids(maps, &proc, child.pid)),
        None => Ok(()),
    };
    let _ = sys::signal::send(child.pidfd.as_fd(), Signal::KILL.as_raw());
    foreground::reap(&child).context(Code::Namespace, failed)?;
    mapped
}

impl<'a> Subject<'a> {
    pub(super) fn new(
        machine: Machine,
        kernel: Kernel,
        host: &'a Host,
        state_root: &'a StateRoot,
        manager: CgroupManager,
    ) -> Self {
        let directory = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
        let runtime_directory = directory.map(PathBuf::from);
        Self { machine, kernel, host, state_root, manager, runtime_directory, plan: OnceCell::new() }
    }

    /// What the container of `crun spec` takes here.
    pub(super) fn plan(&self) -> std::result::Result<&Plan, &Error> {
        self.plan.get_or_init(|| self.plan_of_template()).as_ref()
    }

    fn plan_of_template(&self) -> Result<Plan> {
        let unified = self.host.cgroups().is_ok_and(::cgroups::Layout::is_unified);
        let text = spec::template(self.host.effective_uid() != 0, unified);
        let spec = spec::parse(text.as_bytes(), "config.json")?;
        let id = ContainerId::new("check")?;
        Plan::without_filter(&spec, &self.request(&id, Path::new("/"), None), self.host)
    }

    /// How a container of this name would be asked for.
    pub(super) fn request<'r>(
        &self,
        id: &'r ContainerId,
        bundle: &'r Path,
        seccomp_receiver: Option<&'r Path>,
    ) -> Request<'r> {
        Request { cgroup_manager: self.manager, seccomp_receiver, ..Request::new(id, bundle) }
    }

    /// Whether containers of this user have a user namespace of their own.
    pub(super) fn needs_user_namespace(&self) -> bool {
        self.host.effective_uid() != 0
    }
}
