//! Whether there is a controller for each limit, and a place for the cgroup.

use cgroups::layout::MOUNT_POINT;
use cgroups::resources::{IfMissing, Write};
use cgroups::{CgroupPath, Resources};

use super::super::cgroups::{Place, find, given_to_user, is_open, listed, of_host};
use super::super::{Answer, Finding};
use super::Examined;
use crate::plan::CgroupPlan;

/// Which limit of a configuration a file is for, where it is not a section as a whole.
const FIELDS: [(&str, &str); 27] = [
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
    ("cpu.max.burst", "cpu.burst"),
    ("cpu.cfs_burst_us", "cpu.burst"),
    ("cpu.rt_period_us", "cpu.realtimePeriod"),
    ("cpu.rt_runtime_us", "cpu.realtimeRuntime"),
    ("memory.use_hierarchy", "memory.useHierarchy"),
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
    let (host, given) = (of_host(examined.subject), given(examined, cgroup));
    let resources = examined.spec.linux.as_ref().and_then(|linux| linux.resources.as_ref());
    let mut findings: Vec<Finding> = placed.into_iter().collect();
    for write in &cgroup.writes {
        let controller = controller(cgroup, write);
        let (why, remedy) = if !is_there(cgroup, write, &host) {
            (format!("there is no {controller} controller here"), NO_CONTROLLER)
        } else if given.as_ref().is_some_and(|given| !is_there(cgroup, write, given)) {
            (format!("the {controller} controller has not been given to this user"), NOT_GIVEN)
        } else {
            continue;
        };
        let found = format!("{why}: `{}` cannot be written", write.file);
        let finding = Answer::missing(found, remedy).about(field(resources, &write.file));
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

const NO_CONTROLLER: &str =
    "a kernel with it (`/sys/fs/cgroup/cgroup.controllers` lists those of version 2), or leave the limit out";
const NOT_GIVEN: &str = "see the group `cgroups`, or leave the limit out";

/// The controllers of an ordinary user where the cgroup is to be; nothing where they are those of the host.
fn given(examined: &Examined<'_>, cgroup: &CgroupPlan) -> Option<Vec<String>> {
    if !cgroup.is_configured || cgroup.unit.is_some() {
        return given_to_user(examined.subject).map(|(_, controllers)| controllers);
    }
    if !examined.subject.host.is_rootless() || !cgroup.layout.is_unified() {
        return None;
    }
    let nearest = nearest(examined, MOUNT_POINT, &cgroup.path);
    Some(listed(examined.subject, &format!("{nearest}/cgroup.controllers")))
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

/// What the configuration calls the limit that is written to this file.
fn field(resources: Option<&Resources>, file: &str) -> String {
    if resources.is_some_and(|resources| resources.unified.contains_key(file)) {
        return format!("linux.resources.unified.{file}");
    }
    let known = FIELDS.iter().find(|(known, _)| *known == file).map(|(_, field)| *field);
    let section = match file.split('.').next().unwrap_or_default() {
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

#[cfg(test)]
mod tests {
    use cgroups::Layout;
    use cgroups::layout::Hierarchy;

    use super::*;
    use crate::spec::parse_resources;

    /// The limits that are written for these.
    fn fields(text: &str, layout: &Layout) -> Vec<String> {
        let resources = parse_resources(text.as_bytes(), "x").unwrap();
        let writes = resources.writes(layout).unwrap();
        writes.iter().map(|write| field(Some(&resources), &write.file)).collect()
    }

    #[test]
    fn a_file_is_known_by_the_limit_it_is_for() {
        let legacy = |name: &str| Hierarchy {
            directory: name.to_owned(),
            unified: false,
            controllers: vec![name.to_owned()],
        };
        let legacy =
            Layout { hierarchies: ["memory", "cpu", "cpuset", "pids", "hugetlb"].map(legacy).into() };
        for (text, name) in [
            (r#"{"memory":{"limit":9}}"#, "memory.limit"),
            (r#"{"memory":{"reservation":9}}"#, "memory.reservation"),
            (r#"{"cpu":{"shares":9}}"#, "cpu.shares"),
            (r#"{"cpu":{"quota":9}}"#, "cpu.quota"),
            (r#"{"cpu":{"idle":1}}"#, "cpu.idle"),
            (r#"{"cpu":{"cpus":"0"}}"#, "cpu.cpus"),
            (r#"{"cpu":{"mems":"0"}}"#, "cpu.mems"),
            (r#"{"cpu":{"burst":9}}"#, "cpu.burst"),
            (r#"{"pids":{"limit":9}}"#, "pids.limit"),
            (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#, "hugepageLimits"),
        ] {
            for layout in [&Layout::unified(), &legacy] {
                let fields = fields(text, layout);
                let expected = format!("linux.resources.{name}");
                assert!(
                    !fields.is_empty() && fields.iter().all(|field| *field == expected),
                    "{text}: {fields:?}"
                );
            }
        }
        let unified = fields(r#"{"unified":{"memory.max":"9"}}"#, &Layout::unified());
        assert_eq!(unified, ["linux.resources.unified.memory.max"]);
    }
}
