//! Which namespaces are made, which are joined, and in what order (runtime-spec config-linux.md#namespaces).

use std::path::PathBuf;

use rustix::process::Pid;
use sys::clone::Namespaces;

use super::invalid;
use crate::error::{Code, Context, Result};
use crate::procfs::ProcFs;
use crate::spec::{IdMapping, Linux, TimeOffset};

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
    /// The mappings of a new user namespace.
    pub(crate) id_maps: Option<IdMaps>,
    /// The contents of `timens_offsets` for a new time namespace; such a namespace is made by the parent, because
    /// offsets can only be set before a process is in it (`time_namespaces(7)`).
    pub(crate) time_offsets: Option<String>,
}

/// A namespace that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) kind: Namespaces,
    pub(crate) path: PathBuf,
}

/// Which ids outside stand for those inside a user namespace (`user_namespaces(7)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdMaps {
    uid: Vec<IdMapping>,
    gid: Vec<IdMapping>,
}

impl IdMaps {
    /// Takes mappings that the kernel can take. `names` are what an error calls them.
    pub(super) fn new(uid: Vec<IdMapping>, gid: Vec<IdMapping>, names: [&str; 2]) -> Result<Self> {
        for (mappings, name) in [&uid, &gid].into_iter().zip(names) {
            if mappings.len() > 340 {
                return Err(invalid(format!("{name}: the kernel takes at most 340 mappings")));
            }
        }
        Ok(Self { uid, gid })
    }

    /// Gives them to a process in a new user namespace, each map in one write. The group map first: afterwards the
    /// process may already have become someone.
    pub(crate) fn write(&self, proc: &ProcFs, pid: Pid) -> Result<()> {
        proc.write(pid, "gid_map", &lines(&self.gid))?;
        proc.write(pid, "uid_map", &lines(&self.uid))
    }

    /// Those of the user namespace a process is in (`user_namespaces(7)`).
    pub(crate) fn of(pid: Pid) -> Result<Self> {
        let read = |name: &str| -> Result<Vec<IdMapping>> {
            let path = format!("/proc/{pid}/{name}");
            let text =
                std::fs::read_to_string(&path).context(Code::Namespace, || format!("read `{path}`"))?;
            Ok(text.lines().filter_map(mapping).collect())
        };
        Ok(Self { uid: read("uid_map")?, gid: read("gid_map")? })
    }

    /// The user outside that is `id` inside.
    pub(crate) fn outside_uid(&self, id: u32) -> Option<u32> {
        outside(&self.uid, id)
    }

    /// The group outside that is `id` inside.
    pub(crate) fn outside_gid(&self, id: u32) -> Option<u32> {
        outside(&self.gid, id)
    }
}

/// A line of `/proc/PID/uid_map`.
fn mapping(line: &str) -> Option<IdMapping> {
    let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten();
    Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
}

fn lines(mappings: &[IdMapping]) -> String {
    let line =
        |mapping: &IdMapping| format!("{} {} {}\n", mapping.container_id, mapping.host_id, mapping.size);
    mappings.iter().map(line).collect()
}

/// The id outside that stands for `id`.
pub(super) fn outside(mappings: &[IdMapping], id: u32) -> Option<u32> {
    let range = mappings
        .iter()
        .find(|range| id.checked_sub(range.container_id).is_some_and(|offset| offset < range.size))?;
    range.host_id.checked_add(id - range.container_id)
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

    /// Whether the container does not share this namespace with the runtime.
    pub(crate) fn contains(&self, kind: Namespaces) -> bool {
        self.creates(kind) || self.join.iter().any(|join| join.kind == kind)
    }

    /// Whether the namespace is a new one.
    pub(crate) fn creates(&self, kind: Namespaces) -> bool {
        (self.clone | self.unshare).contains(kind)
            || kind == Namespaces::NETWORK && self.network_by_runtime
            || kind == Namespaces::CGROUP && self.cgroup
            || kind == Namespaces::TIME && self.time_offsets.is_some()
    }
}

pub(super) fn plan(linux: &Linux<'_>) -> Result<NamespacePlan> {
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
            Some(path) => plan.join.push(Join { kind, path: PathBuf::from(path) }),
            None if kind == Namespaces::CGROUP => plan.cgroup = true,
            None if ONLY_BY_CLONE.contains(kind) => plan.clone |= kind,
            None => plan.unshare |= kind,
        }
    }
    plan.join.sort_by_key(|join| TYPES.iter().position(|(_, kind)| *kind == join.kind));
    if plan.clone.contains(Namespaces::USER) {
        plan.id_maps = Some(id_maps(linux)?);
    } else if linux.uid_mappings.as_ref().is_some_and(|mappings| !mappings.is_empty())
        && !seen.contains(Namespaces::USER)
    {
        return Err(invalid("linux.uidMappings: id mappings need a user namespace"));
    }
    plan.time_offsets = time_offsets(linux, &mut plan.clone)?;
    Ok(plan)
}

/// The maps of a new user namespace; without any in the configuration all ids stand for themselves.
fn id_maps(linux: &Linux<'_>) -> Result<IdMaps> {
    let everything = || vec![IdMapping { container_id: 0, host_id: 0, size: u32::MAX }];
    let listed = |mappings: &Option<Vec<IdMapping>>| {
        mappings.clone().filter(|list| !list.is_empty()).unwrap_or_else(everything)
    };
    let names = ["linux.uidMappings", "linux.gidMappings"];
    IdMaps::new(listed(&linux.uid_mappings), listed(&linux.gid_mappings), names)
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

/// The namespace type of that name.
pub(crate) fn namespace_type(name: &str) -> Option<Namespaces> {
    TYPES.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
}
