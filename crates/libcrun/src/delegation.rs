//! Giving the container's cgroup, or one below it, to the container.
//!
//! Without being asked that is done where the specification wants it: in a container with a user namespace, which has a
//! cgroup namespace of its own and the cgroup filesystem mounted to be written to, the user of its process gets the cgroup
//! (runtime-spec config-linux.md#cgroup-ownership). The annotation `run.oci.delegate-cgroup` asks for a cgroup below, into
//! which the process is moved when its cgroup namespace exists: what is above, with the limits, is in sight of the
//! container but not its own.

use cgroups::{Cgroup, CgroupPath, Layout};
use rustix::process::Pid;
use sys::clone::Namespaces;

use crate::error::Result;
use crate::plan::{IdMaps, NamespacePlan, invalid};
use crate::spec::Spec;
use crate::user_namespace;

const ANNOTATION: &str = "run.oci.delegate-cgroup";

/// What is given to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delegation {
    /// The cgroup below the container's that is made for it; without, it is the container's own.
    child: Option<String>,
    /// The owner's ids inside, where they are not those outside.
    owner: Option<Owner>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    uid: u32,
    gid: Option<u32>,
}

impl Delegation {
    /// Decides it; `layout` is that of the host, if the container has a cgroup.
    pub(crate) fn plan(spec: &Spec<'_>, namespaces: &NamespacePlan, layout: &Layout) -> Result<Option<Self>> {
        let has_user_namespace = namespaces.contains(Namespaces::USER);
        if let Some(path) = asked(spec) {
            CgroupPath::below(path).map_err(|error| invalid(format!("annotations.{ANNOTATION}: {error}")))?;
            if !layout.is_unified() {
                return Err(invalid(format!("annotations.{ANNOTATION}: needs a cgroup v2 host")));
            }
            let owner = has_user_namespace.then_some(Owner { uid: 0, gid: Some(0) });
            return Ok(Some(Self { child: Some(path.to_owned()), owner }));
        }
        let is_wanted = has_user_namespace
            && layout.is_unified()
            && namespaces.creates(Namespaces::CGROUP)
            && mounts_cgroups_writable(spec);
        let user = spec.process.as_ref().and_then(|process| process.user.as_ref());
        let owner = Owner { uid: user.map_or(0, |user| user.uid), gid: None };
        Ok(is_wanted.then_some(Self { child: None, owner: Some(owner) }))
    }

    /// Refuses a container that asks for it and has no cgroup.
    pub(crate) fn refuse(spec: &Spec<'_>) -> Result<()> {
        match asked(spec) {
            Some(_) => Err(invalid(format!("annotations.{ANNOTATION}: needs a cgroup, and there is none"))),
            None => Ok(()),
        }
    }

    /// The cgroup below the container's that is made for it.
    pub(crate) fn child(&self) -> Option<&str> {
        self.child.as_deref()
    }

    /// Who gets it, by ids inside.
    pub(crate) fn owner(&self) -> Option<(u32, Option<u32>)> {
        self.owner.map(|owner| (owner.uid, owner.gid))
    }

    /// Does it, once the process has its namespaces.
    pub(crate) fn carry_out(&self, cgroup: &Cgroup, pid: Pid, maps: Option<&IdMaps>) -> Result<()> {
        if let Some(child) = &self.child {
            cgroup.create_child(child)?;
            cgroup.add_process(pid, false)?;
            cgroup.hand_on_controllers()?;
        }
        let Some(owner) = self.owner else { return Ok(()) };
        let joined;
        let maps = match maps {
            Some(maps) => maps,
            None => {
                joined = user_namespace::of(pid)?.maps;
                &joined
            }
        };
        // Who is nobody outside can own nothing there.
        let Some(uid) = maps.outside_uid(owner.uid) else { return Ok(()) };
        let gid = owner.gid.and_then(|gid| maps.outside_gid(gid));
        Ok(cgroup.give_to(uid, gid)?)
    }
}

fn asked<'s>(spec: &'s Spec<'_>) -> Option<&'s str> {
    let all = spec.annotations.as_ref()?;
    all.iter().find(|(name, path)| &***name == ANNOTATION && !path.is_empty()).map(|(_, path)| &**path)
}

fn mounts_cgroups_writable(spec: &Spec<'_>) -> bool {
    let mounts = spec.mounts.as_deref().unwrap_or_default();
    let cgroup = mounts.iter().rfind(|mount| mount.destination.trim_end_matches('/') == "/sys/fs/cgroup");
    cgroup.is_some_and(|mount| {
        let is_cgroup = matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2"));
        let options = mount.options.as_deref().unwrap_or_default();
        is_cgroup && !options.iter().any(|option| &**option == "ro")
    })
}
