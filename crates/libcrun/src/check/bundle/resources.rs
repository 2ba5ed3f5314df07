//! Whether there is a controller for each limit, and a place for the cgroup.

use cgroups::CgroupPath;
use cgroups::layout::MOUNT_POINT;
use cgroups::resources::{IfMissing, Write};

use super::super::cgroups::{Place, find, is_open, of_host};
use super::super::{Answer, Finding};
use super::Examined;
use crate::plan::CgroupPlan;

/// Which limit of a configuration a file is for; the first of a controller stands for all others.
const FIELDS: [(&str, &str); 22] = [
    ("memory.max", "memory.limit"),
    ("memory.limit_in_bytes", "memory.limit"),
    ("memory.low", "memory.reservation"),
    ("memory.soft_limit_in_bytes", "memory.reservation"),
    ("memory.swap.max", "memory.swap"),
    ("memory.memsw.limit_in_bytes", "memory.swap"),
    ("memory.kmem.limit_in_bytes", "memory.kernel"),
    ("memory.kmem.tcp.limit_in_bytes", "memory.kernelTCP"),
    ("memory.swappiness", "memory.swappiness"),
    ("memory.oom_control", "memory.disableOOMKiller"),
    ("cpu.weight", "cpu.shares"),
    ("cpu.shares", "cpu.shares"),
    ("cpu.max", "cpu.quota"),
    ("cpu.cfs_quota_us", "cpu.quota"),
    ("cpu.cfs_period_us", "cpu.period"),
    ("cpu.idle", "cpu.idle"),
    ("cpuset.cpus", "cpu.cpus"),
    ("cpuset.mems", "cpu.mems"),
    ("pids.max", "pids.limit"),
    ("rdma.max", "rdma"),
    ("net_cls.classid", "network.classID"),
    ("net_prio.ifpriomap", "network.priorities"),
];

pub(super) fn look(examined: &Examined<'_>) -> Vec<Finding> {
    let Some(cgroup) = &examined.plan.cgroup else { return Vec::new() };
    let placed = placed(examined, cgroup).map(|answer| answer.about("linux.cgroupsPath"));
    let present = of_host(examined.subject);
    let mut findings: Vec<Finding> = placed.into_iter().collect();
    for write in cgroup.writes.iter().filter(|write| !is_there(cgroup, write, &present)) {
        let (name, controller) = (field(examined, write), controller(cgroup, write));
        let found = format!("there is no {controller} controller here: `{}` cannot be written", write.file);
        let remedy = format!(
            "a kernel with it (`{MOUNT_POINT}/cgroup.controllers` lists those of version 2), or leave the limit out"
        );
        let finding = Answer::missing(found, remedy).about(name);
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// The controller that a file belongs to, where it is to be found on this host.
fn controller<'w>(cgroup: &CgroupPlan, write: &'w Write) -> &'w str {
    match cgroup.layout.is_unified_for(write.controller) {
        true => write.file.split('.').next().unwrap_or(write.controller),
        false => write.controller,
    }
}

fn is_there(cgroup: &CgroupPlan, write: &Write, present: &[String]) -> bool {
    let name = controller(cgroup, write);
    // Those are files of every cgroup.
    let is_core = name == "cgroup";
    let is_present = is_core || present.iter().any(|known| known == name || known == "io" && name == "blkio");
    is_present
        || match &write.if_missing {
            IfMissing::Fail => false,
            IfMissing::Ignore => true,
            IfMissing::Instead(other) => is_there(cgroup, other, present),
        }
}

/// What the configuration calls it.
fn field(examined: &Examined<'_>, write: &Write) -> String {
    let resources = examined.spec.linux.as_ref().and_then(|linux| linux.resources.as_ref());
    if resources.is_some_and(|resources| resources.unified.contains_key(&*write.file)) {
        return format!("linux.resources.unified.{}", write.file);
    }
    let known = FIELDS.iter().find(|(file, _)| *file == write.file).map(|(_, field)| *field);
    let section = match write.file.split('.').next().unwrap_or_default() {
        "io" | "blkio" => "blockIO",
        "hugetlb" => "hugepageLimits",
        other => other,
    };
    format!("linux.resources.{}", known.unwrap_or(section))
}

/// What is wrong with the place of the cgroup.
fn placed(examined: &Examined<'_>, cgroup: &CgroupPlan) -> Option<Answer> {
    if cgroup.unit.is_some() {
        let error = examined.subject.kernel.systemd(examined.subject.host.is_rootless()).err()?;
        return Some(Answer {
            remedy: Some("see the group `systemd`".to_owned()),
            ..Answer::refused(&error)
        });
    }
    if cgroup.path.is_root() {
        let found = "linux.cgroupsPath: the root cgroup cannot be a container's";
        return Some(Answer::missing(found, "name one below it"));
    }
    if !cgroup.is_configured {
        let is_closed = matches!(find(examined.subject, &cgroup.layout), Place::Closed(_));
        let remedy = "run it with `--systemd-cgroup` in a session of systemd's, or leave the limits out";
        return (is_closed && !cgroup.writes.is_empty())
            .then(|| Answer::missing("the limits take a cgroup that has been given to this user", remedy));
    }
    cgroup.layout.hierarchies.iter().find_map(|hierarchy| {
        let top = format!("{MOUNT_POINT}/{}", hierarchy.directory);
        let top = top.trim_end_matches('/');
        let nearest = nearest(examined, top, &cgroup.path);
        let remedy =
            "a place below a cgroup that has been given to this user (systemd: Delegate=yes), or none";
        (!is_open(examined.subject, &nearest)).then(|| {
            Answer::missing(format!("linux.cgroupsPath: this user can make none in `{nearest}`"), remedy)
        })
    })
}

/// The deepest directory on the way to a cgroup that is there already.
fn nearest(examined: &Examined<'_>, top: &str, path: &CgroupPath) -> String {
    let levels = path.levels().map(|level| format!("{top}/{level}"));
    let there = levels.take_while(|level| examined.subject.machine.file(level).is_dir());
    there.last().unwrap_or_else(|| top.to_owned())
}
