//! The plan: everything that has judgement in it, decided before anything is touched.
//!
//! Second stage of the pipeline. [`Plan::new`] is a function from the configuration, the options of the command and
//! what the [`Host`] answers to a plain value. It opens nothing, so it can be tested without privileges; what it
//! refuses has left no trace. The later stages find nothing to decide in it:
//! [`crate::prepare`] acquires what it names, [`crate::init`] executes it inside.

mod binding;
mod cgroup;
mod filter;
mod force_v1;
mod hooks;
mod id_maps;
mod labels;
mod mounts;
mod namespaces;
mod notify;
mod paths;
mod process;
mod rootfs;
mod running;
mod scheduling;
pub(crate) mod show;
mod sysctl;
mod terminal;
#[cfg(test)]
mod tests;
mod user;
mod warnings;

use std::ffi::CString;
use std::path::Path;
use std::rc::Rc;

use cgroups::devices::Rule;
use cgroups::resources::Write;
use cgroups::systemd::UnitPlan;
use cgroups::{CgroupPath, Layout};
use rustix::process::{Resource, Rlimit};
use sys::clone::Namespaces;

pub(crate) use binding::{Affinity, MemoryPolicy, memory_policy_flags, memory_policy_modes};
pub(crate) use filter::{
    FilterPlan, Receiver, Subject as FilterSubject, supported_flags as supported_filter_flags,
};
pub(crate) use hooks::{HookKind, HookPlan, HooksPlan, hook_name};
pub(crate) use id_maps::{IdMaps, is_own_only, lines};
pub(crate) use labels::{Labels, MountLabel};
pub(crate) use mounts::{
    Bind, CgroupTree, Fallback, Filesystem, Idmap, Maker, Maps, MountOperation, MountSource, Parameter,
    SourceLink, Target,
};
pub(crate) use namespaces::{Join, NamespacePlan, namespace_name, namespace_type};
pub use notify::Notify;
pub(crate) use paths::InnerPath;
pub(crate) use process::{ProcessPlan, personality, process_plan};
pub(crate) use rootfs::{DevicePlan, NodeKind, RootfsPlan, SYMLINKS};
pub(crate) use running::{AddedMounts, RemovedMounts, Running};
pub(crate) use scheduling::{IoPriority, Kind as SchedulerKind, Scheduler};
pub(crate) use sysctl::Sysctl;
pub(crate) use terminal::{Console, TerminalPlan};
pub(crate) use user::{SetUpIds, UserNamespace, keeps_groups};

use crate::delegation::Delegation;
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::id::ContainerId;
use crate::spec::{self, Spec};

/// Who creates and removes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupManager {
    /// The runtime itself, in the cgroup filesystem.
    #[default]
    Cgroupfs,
    /// systemd: the container is in a unit of its own, in a cgroup below the unit's.
    Systemd,
    /// systemd: the container is in a unit of its own, in the unit's cgroup, as for runc.
    SystemdScope,
    /// Nobody: the container stays in the cgroup of its creator.
    Disabled,
}

/// What the command says beside the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The container's name.
    pub id: &'a ContainerId,
    /// The directory of the bundle, absolute.
    pub bundle: &'a Path,
    /// Who manages its cgroup.
    pub cgroup_manager: CgroupManager,
    /// How many descriptors from 3 on the container's process keeps.
    pub preserve_fds: u32,
    /// How many of these are sockets that systemd has passed.
    pub listen_fds: u32,
    /// Whether it gets a session keyring of its own.
    pub new_keyring: bool,
    /// Whether the root is entered with `pivot_root(2)`; without, with `chroot(2)`, for hosts that run from a ramdisk.
    pub pivot: bool,
    /// Who answers for system calls that the configuration leaves to somebody, where it does not say whom to ask.
    pub seccomp_receiver: Option<&'a Path>,
    /// Who waits for the container to be ready.
    pub notify: Option<Notify<'a>>,
}

impl<'a> Request<'a> {
    /// For a container of which no more is said than its name and its bundle.
    #[must_use]
    pub const fn new(id: &'a ContainerId, bundle: &'a Path) -> Self {
        Self {
            id,
            bundle,
            cgroup_manager: CgroupManager::Cgroupfs,
            preserve_fds: 0,
            listen_fds: 0,
            new_keyring: true,
            pivot: true,
            seccomp_receiver: None,
            notify: None,
        }
    }
}

/// All that is to be done to start a container.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) namespaces: NamespacePlan,
    pub(crate) rootfs: RootfsPlan,
    pub(crate) cgroup: Option<CgroupPlan>,
    pub(crate) process: ProcessPlan,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) sysctls: Vec<Sysctl>,
    /// The name of the new session keyring.
    pub(crate) keyring: Option<CString>,
    pub(crate) pivot: bool,
    pub(crate) hooks: Option<Rc<HooksPlan>>,
    /// Whether this process has no power over the host.
    pub(crate) is_rootless: bool,
}

/// The container's cgroup and what is written into it.
#[derive(Debug)]
pub(crate) struct CgroupPlan {
    pub(crate) layout: Layout,
    pub(crate) path: CgroupPath,
    /// Whether the configuration says so.
    pub(crate) is_configured: bool,
    pub(crate) writes: Vec<Write>,
    pub(crate) device_rules: Vec<Rule>,
    /// Where the named v1 hierarchy is mounted instead of it.
    pub(crate) v1_mount: Option<String>,
    /// What of it becomes the container's own.
    pub(crate) delegation: Option<Delegation>,
    /// The unit whose cgroup it is, if systemd makes it.
    pub(crate) unit: Option<Rc<UnitPlan>>,
}

/// A mistake in the configuration.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidConfig, message)
}

/// One of the names that the specification has for something, and what it stands for.
type Named<T> = (&'static str, T);

/// What `name`, found at `path`, stands for.
fn named<T: Copy>(path: &str, name: &str, table: &[Named<T>]) -> Result<Named<T>> {
    table.iter().find(|(known, _)| *known == name).copied().ok_or_else(|| {
        let known: Vec<&str> = table.iter().map(|(known, _)| *known).collect();
        invalid(format!("{path}: `{name}` is none of {}", known.join(", ")))
    })
}

impl Plan {
    /// Decides everything.
    ///
    /// # Errors
    /// When the configuration contradicts itself or the host, or asks for what this version cannot do.
    pub(crate) fn new(spec: &Spec<'_>, request: &Request<'_>, host: &Host) -> Result<Self> {
        let mut plan = Self::without_filter(spec, request, host)?;
        let Request { id, bundle, seccomp_receiver: receiver, .. } = *request;
        let subject = FilterSubject { id, bundle, status: "creating", receiver };
        plan.process.filter = host.timeline().measure("seccomp filter", || FilterPlan::new(spec, subject))?;
        Ok(plan)
    }

    /// Decides everything but the filter, for who has that already.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub(crate) fn without_filter(spec: &Spec<'_>, request: &Request<'_>, host: &Host) -> Result<Self> {
        spec::refuse_unsupported(spec)?;
        let linux =
            spec.linux.as_ref().ok_or_else(|| invalid("invalid config file, no `linux` block specified"))?;
        let process = spec.process.as_ref().ok_or_else(|| invalid("block `process` not found"))?;
        if process.cwd.as_deref().is_none_or(str::is_empty) {
            return Err(invalid("process.cwd: missing, the directory to start in is required"));
        }
        let mut namespaces = namespaces::plan(linux, process.user.as_ref(), host)?;
        namespaces.settle_user_join(host);
        let is_rootless = host.is_rootless();
        namespaces.share_work(is_rootless);
        namespaces.settle_time(is_rootless);
        let has = |flag| namespaces.contains(flag);
        for (name, set) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
            if name_in(set).is_some() && !has(Namespaces::UTS) {
                return Err(invalid(format!("{name} requires the UTS namespace")));
            }
        }
        let cgroup = cgroup::plan(spec, linux, request, &namespaces, host)?;
        let rootfs = rootfs::plan(spec, linux, request, &namespaces, cgroup.as_ref(), host)?;
        let mut process = process_plan(process, request.preserve_fds, host)?;
        process.memory_policy = MemoryPolicy::of(Some(linux))?;
        process.personality = personality(Some(linux))?;
        if let Some(terminal) = &mut process.terminal {
            terminal.settle(spec);
            terminal.console = Console::of(&rootfs);
        }
        // That is for those that come later, but a mistake in it is found now.
        process.affinity = Affinity::default();
        let user_namespace = user::namespace(&namespaces, host);
        if keeps_groups(spec) {
            process.groups = None;
        }
        if let Some(namespace) = &user_namespace {
            process.settle_in(namespace)?;
            namespaces.set_up = SetUpIds::new(&namespace.maps, process.uid, process.gid);
        }
        if user_namespace.is_some() || !namespaces.contains(Namespaces::USER) {
            process.own_terminal(user_namespace.as_ref());
        }
        if request.listen_fds > 0 && namespaces.creates(Namespaces::PID) {
            process.tell_of_sockets(request.listen_fds);
        }
        if let Some(notify) = &request.notify {
            notify.tell(&mut process.env)?;
        }
        Ok(Self {
            process,
            rootfs,
            cgroup,
            hostname: name_in(&spec.hostname).map(str::to_owned),
            domainname: sysctl::domainname(spec, linux).map(str::to_owned),
            sysctls: sysctl::plan(spec, linux, &namespaces)?,
            keyring: request.new_keyring.then(|| request.id.to_c_string()),
            pivot: request.pivot,
            hooks: HooksPlan::new(spec, request.id, request.bundle)?,
            is_rootless,
            namespaces,
        })
    }

    /// The resource limits that the runtime sets for the process: raising one takes a privilege that the process does not
    /// have in a user namespace.
    pub(crate) fn limits_from_outside(&self) -> &[(Resource, Rlimit)] {
        if self.namespaces.contains(Namespaces::USER) { &self.process.rlimits } else { &[] }
    }

    /// Whether its memory is limited.
    pub(crate) fn limits_memory(&self) -> bool {
        let writes = self.cgroup.as_ref().map(|cgroup| cgroup.writes.as_slice()).unwrap_or_default();
        writes.iter().any(|write| write.file.starts_with("memory."))
    }

    /// The container's systemd unit, if it has one.
    pub(crate) fn unit(&self) -> Option<&Rc<UnitPlan>> {
        self.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_ref())
    }
}

/// The name of a host or a domain; an empty one is none, as for the C crun.
fn name_in<'a>(field: &'a Option<spec::Text<'_>>) -> Option<&'a str> {
    field.as_deref().filter(|name| !name.is_empty())
}

/// Whether the configuration says where the cgroup is to be.
pub(crate) fn has_cgroups_path(spec: &Spec<'_>) -> bool {
    let path = spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
    path.is_some_and(|path| !path.is_empty())
}

/// Where a container's cgroup lies, decided as when it was created; for cleaning up after a runtime that was killed
/// before it could write that down.
pub(crate) fn cgroup_path(spec: &Spec<'_>, id: &ContainerId) -> CgroupPath {
    let configured = spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
    CgroupPath::new(configured, id.as_str())
}
