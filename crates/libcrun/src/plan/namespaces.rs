//! Which namespaces are made, which are joined, and in what order (runtime-spec config-linux.md#namespaces).

use std::path::PathBuf;

use sys::clone::Namespaces;

use super::id_maps::{IdMaps, around_own, identity};
use super::{SetUpIds, invalid};
use crate::error::Result;
use crate::host::Host;
use crate::spec::{IdMapping, Linux, TimeOffset, User};

/// The types by name. Joining goes in this order: the user namespace first, because it owns the others; the mount
/// namespace last, because after it the paths of this host mean something else.
pub(crate) const TYPES: [(&str, Namespaces); 8] = [
    ("user", Namespaces::USER),
    ("ipc", Namespaces::IPC),
    ("uts", Namespaces::UTS),
    ("network", Namespaces::NETWORK),
    ("pid", Namespaces::PID),
    ("cgroup", Namespaces::CGROUP),
    ("time", Namespaces::TIME),
    ("mount", Namespaces::MOUNT),
];

/// The user namespace is among them because it owns the others and its maps are written from outside.
const ONLY_BY_CLONE: Namespaces = Namespaces::PID.union(Namespaces::USER).union(Namespaces::TIME);

/// The namespaces of a container.
#[derive(Debug, Default)]
pub(crate) struct NamespacePlan {
    /// Made by the clone itself, because only a new process can be in them.
    pub(crate) clone: Namespaces,
    /// Made by the new process, at the same time as its parent does what is to be done outside.
    pub(crate) unshare: Namespaces,
    /// Whether the network namespace, which takes the kernel as long as all mounts together, is made by the runtime
    /// while the new process does those. Not with a user namespace, which has to own it, and not in one, where there is no
    /// way back into the host's.
    pub(crate) network_by_runtime: bool,
    /// Made by the process once it is in its cgroup, which becomes the root of the cgroup namespace.
    pub(crate) cgroup: bool,
    /// Joined, in this order.
    pub(crate) join: Vec<Join>,
    /// Whether it is a process in between that joins the user namespace ([`crate::relay`]).
    pub(crate) user_by_relay: bool,
    /// The mappings of a new user namespace.
    pub(crate) id_maps: Option<IdMaps>,
    /// Whether the configuration does not say all of that: for a caller without privileges the runtime makes up for it.
    pub(crate) supplements_ids: bool,
    /// By which ids the container is set up.
    pub(crate) set_up: SetUpIds,
    /// The contents of `timens_offsets` for a new time namespace; such a namespace is usually made by the parent, because
    /// offsets can only be set before a process is in it (`time_namespaces(7)`).
    pub(crate) time_offsets: Option<String>,
    /// Whether it is the container's process that makes it, because it is to belong to a user namespace, or because the
    /// runtime has not the right to.
    pub(crate) time_by_init: bool,
}

/// A namespace that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) kind: Namespaces,
    pub(crate) path: PathBuf,
}

impl NamespacePlan {
    /// Leaves a new network namespace to the runtime, where that can come back from it.
    pub(super) fn share_work(&mut self, is_rootless: bool) {
        let is_new = self.unshare.contains(Namespaces::NETWORK) && !self.contains(Namespaces::USER);
        if is_new && !is_rootless {
            self.unshare.remove(Namespaces::NETWORK);
            self.network_by_runtime = true;
        }
    }

    /// Decides how a user namespace is joined. Not at all if it is the runtime's own, which cannot be joined again.
    pub(super) fn settle_user_join(&mut self, host: &Host) {
        self.join.retain(|join| join.kind != Namespaces::USER || !host.is_own_user_namespace(&join.path));
        let is_without_rights = || self.joins(Namespaces::PID).is_some() && host.effective_uid() != 0;
        self.user_by_relay = self.joins(Namespaces::USER).is_some()
            && (self.clone.contains(Namespaces::PID) || is_without_rights());
    }

    /// Decides who makes a time namespace with offsets.
    pub(super) fn settle_time(&mut self, is_rootless: bool) {
        let has_offsets = self.time_offsets.is_some();
        self.time_by_init = has_offsets && (is_rootless || self.contains(Namespaces::USER));
    }

    /// The namespace of this kind that is joined.
    pub(crate) fn joins(&self, kind: Namespaces) -> Option<&Join> {
        self.join.iter().find(|join| join.kind == kind)
    }

    /// Whether others are in the container's mount namespace, whose root and mounts stay what they are.
    pub(crate) fn shares_mounts(&self) -> bool {
        self.joins(Namespaces::MOUNT).is_some()
    }

    /// Whether the container does not share this namespace with the runtime.
    pub(crate) fn contains(&self, kind: Namespaces) -> bool {
        self.creates(kind) || self.joins(kind).is_some()
    }

    /// Whether the namespace is a new one.
    pub(crate) fn creates(&self, kind: Namespaces) -> bool {
        (self.clone | self.unshare).contains(kind)
            || kind == Namespaces::NETWORK && self.network_by_runtime
            || kind == Namespaces::CGROUP && self.cgroup
            || kind == Namespaces::TIME && self.time_offsets.is_some()
    }
}

/// `user` is that of the container's process.
pub(super) fn plan(linux: &Linux<'_>, user: Option<&User>, host: &Host) -> Result<NamespacePlan> {
    let mut plan = NamespacePlan::default();
    let mut seen = Namespaces::empty();
    for entry in linux.namespaces.iter().flatten() {
        let (name, kind) = TYPES
            .into_iter()
            .find(|(name, _)| *name == &*entry.kind)
            .ok_or_else(|| invalid(format!("invalid namespace type: `{}`", entry.kind)))?;
        if seen.contains(kind) {
            return Err(invalid(format!("duplicate namespace type: `{name}`")));
        }
        seen |= kind;
        match entry.path.as_deref().filter(|path| !path.is_empty()) {
            Some(path) if !path.starts_with('/') => {
                return Err(invalid(format!("linux.namespaces: {name}: `{path}` is not an absolute path")));
            }
            Some(path) => plan.join.push(Join { kind, path: PathBuf::from(path) }),
            None if kind == Namespaces::CGROUP => plan.cgroup = true,
            None if ONLY_BY_CLONE.contains(kind) => plan.clone |= kind,
            None => plan.unshare |= kind,
        }
    }
    plan.join.sort_by_key(|join| TYPES.iter().position(|(_, kind)| *kind == join.kind));
    if !seen.contains(Namespaces::USER) && host.effective_uid() != 0 {
        plan.clone |= Namespaces::USER;
    }
    if plan.clone.contains(Namespaces::USER) {
        let says_all = seen.contains(Namespaces::USER) && mapped(linux) == [true; 2];
        plan.supplements_ids = host.effective_uid() != 0 && !says_all;
        plan.id_maps = Some(id_maps(linux, user, host)?);
    } else if !seen.contains(Namespaces::USER)
        && let Some((name, _)) = NAMES.into_iter().zip(mapped(linux)).find(|(_, is_mapped)| *is_mapped)
    {
        return Err(invalid(format!("{name}: id mappings need a user namespace")));
    }
    plan.time_offsets = time_offsets(linux, &mut plan.clone)?;
    Ok(plan)
}

/// Which of the lists of mappings there are: of users, of groups.
fn mapped(linux: &Linux<'_>) -> [bool; 2] {
    [&linux.uid_mappings, &linux.gid_mappings].map(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
}

/// Where the configuration has the mappings.
const NAMES: [&str; 2] = ["linux.uidMappings", "linux.gidMappings"];

/// The maps of a new user namespace. Without any in the configuration, all ids stand for themselves if root makes it.
fn id_maps(linux: &Linux<'_>, user: Option<&User>, host: &Host) -> Result<IdMaps> {
    let listed = |mappings: &Option<Vec<IdMapping>>| mappings.clone().filter(|list| !list.is_empty());
    let is_root = host.effective_uid() == 0;
    let ids = || host.subordinate_ids();
    let (uid, gid) = user.map_or((0, 0), |user| (user.uid, user.gid));
    let uids = listed(&linux.uid_mappings).unwrap_or_else(|| match is_root {
        true => identity(),
        false => around_own(host.effective_uid(), uid, ids().uid),
    });
    let gids = listed(&linux.gid_mappings).unwrap_or_else(|| match is_root {
        true => identity(),
        false => around_own(host.effective_gid(), gid, ids().gid),
    });
    IdMaps::new(uids, gids, NAMES)
}

fn time_offsets(linux: &Linux<'_>, clone: &mut Namespaces) -> Result<Option<String>> {
    let Some(offsets) = linux.time_offsets.as_ref().filter(|offsets| !offsets.is_empty()) else {
        return Ok(None);
    };
    if !clone.contains(Namespaces::TIME) {
        return Err(invalid("linux.timeOffsets: needs a new time namespace"));
    }
    clone.remove(Namespaces::TIME);
    let mut text = String::new();
    for (clock, TimeOffset { secs, nanosecs }) in offsets {
        if !matches!(&**clock, "monotonic" | "boottime") {
            return Err(invalid(format!("linux.timeOffsets.{clock}: unknown clock")));
        }
        text.push_str(&format!("{clock} {secs} {nanosecs}\n"));
    }
    Ok(Some(text))
}

/// The name of a type.
pub(crate) fn namespace_name(kind: Namespaces) -> &'static str {
    TYPES.into_iter().find(|(_, known)| *known == kind).map_or("unknown", |(name, _)| name)
}

/// The namespace type of that name.
pub(crate) fn namespace_type(name: &str) -> Option<Namespaces> {
    TYPES.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
}
