//! Where this user's containers get their cgroups, and what can be limited there.

use std::path::PathBuf;

use cgroups::Layout;
use cgroups::layout::{Hierarchy, MOUNT_POINT};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::subject::{Ability, Subject};
use super::{Answer, Question};
use crate::plan::CgroupManager;

pub(super) const QUESTIONS: [Question; 6] = [
    Question { name: "layout", look: layout },
    Question { name: "controllers", look: controllers },
    Question { name: "place", look: place },
    Question { name: "delegated-controllers", look: delegated },
    Question { name: "swap", look: swap },
    Question { name: "devices", look: devices },
];

/// What is limited by a controller, by its name in version 2.
const LIMITS: [(&str, &str); 8] = [
    ("cpu", "linux.resources.cpu"),
    ("cpuset", "linux.resources.cpu.cpus and mems"),
    ("hugetlb", "linux.resources.hugepageLimits"),
    ("io", "linux.resources.blockIO"),
    ("memory", "linux.resources.memory"),
    ("misc", "`misc.max` of linux.resources.unified"),
    ("pids", "linux.resources.pids"),
    ("rdma", "linux.resources.rdma"),
];

fn layout(subject: &Subject<'_>) -> Option<Answer> {
    Some(match subject.host.cgroups() {
        Ok(layout) if layout.is_unified() => Answer::ok("version 2"),
        Ok(layout) => {
            let both = if layout.has_unified() { "version 1, with version 2 beside it" } else { "version 1" };
            let count = layout.hierarchies.len();
            Answer::limited(
                format!(
                    "{both}: a process is moved through {count} hierarchies, and linux.resources.unified is refused"
                ),
                "start the machine with `cgroup_no_v1=all` (systemd before 258: and `systemd.unified_cgroup_hierarchy=1`)",
            )
        }
        Err(error) => {
            let is_needed = subject.manager != CgroupManager::Disabled && !subject.host.is_rootless();
            Answer::lacking(
                is_needed,
                format!("{error}: containers have no cgroup, and no limits"),
                format!("`mount -t cgroup2 none {MOUNT_POINT}`, or run with `--cgroup-manager=disabled`"),
            )
        }
    })
}

/// The controllers of the host, by their names in version 2.
pub(super) fn of_host(subject: &Subject<'_>) -> Vec<String> {
    let Ok(layout) = subject.host.cgroups() else { return Vec::new() };
    let of = |hierarchy: &Hierarchy| match hierarchy.unified {
        true => {
            let directory = directory(hierarchy);
            listed(subject, &format!("{directory}/cgroup.controllers"))
        }
        false => hierarchy.controllers.clone(),
    };
    let all = layout.hierarchies.iter().flat_map(of);
    all.map(|name| if name == "blkio" { "io".to_owned() } else { name }).collect()
}

fn directory(hierarchy: &Hierarchy) -> String {
    format!("{MOUNT_POINT}/{}", hierarchy.directory).trim_end_matches('/').to_owned()
}

pub(super) fn listed(subject: &Subject<'_>, file: &str) -> Vec<String> {
    let text = subject.machine.text(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Those that are not there, with what is lost.
fn missing(present: &[String]) -> Vec<String> {
    let missing = LIMITS.iter().filter(|(name, _)| !present.iter().any(|present| present == name));
    missing.map(|(name, what)| format!("{name} ({what})")).collect()
}

fn controllers(subject: &Subject<'_>) -> Option<Answer> {
    subject.host.cgroups().ok()?;
    let present = of_host(subject);
    let shown = if present.is_empty() { "none".to_owned() } else { present.join(" ") };
    let missing = missing(&present);
    Some(match missing.is_empty() {
        true => Answer::ok(shown),
        false => Answer::limited(
            format!("{shown}; not there, so that these limits are refused: {}", missing.join(", ")),
            "a kernel with them; and none of `cgroup_disable=` among its parameters",
        ),
    })
}

/// Where a container's cgroup is made that has asked for no place.
pub(super) enum Place {
    /// In these directories.
    At(Vec<String>),
    /// Nowhere: this directory is closed.
    Closed(String),
    /// Wherever systemd makes it.
    Systemd,
}

pub(super) fn find(subject: &Subject<'_>, layout: &Layout) -> Place {
    if subject.manager == CgroupManager::Systemd {
        return Place::Systemd;
    }
    let tops: Vec<String> = layout.hierarchies.iter().map(directory).collect();
    let Some(closed) = tops.iter().find(|top| !is_open(subject, top)) else { return Place::At(tops) };
    let beside = || {
        let own = own(subject, layout, None)?;
        let parent = own.rsplit_once('/').map(|(parent, _)| parent.to_owned())?;
        (layout.is_unified() && parent.starts_with(MOUNT_POINT) && is_open(subject, &parent))
            .then_some(parent)
    };
    beside().map_or_else(|| Place::Closed(closed.clone()), |parent| Place::At(vec![parent]))
}

/// Whether this user may make a directory in it, and move processes.
pub(super) fn is_open(subject: &Subject<'_>, directory: &str) -> bool {
    let directory = subject.machine.file(directory);
    let may = |path: PathBuf| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    may(directory.clone()) && may(directory.join("cgroup.procs"))
}

/// The cgroup of this process: in version 2, or in the hierarchy of a controller. Nothing where it is out of sight.
pub(super) fn own(subject: &Subject<'_>, layout: &Layout, controller: Option<&str>) -> Option<String> {
    let legacy = controller.and_then(|name| layout.hierarchies.iter().find(|hierarchy| hierarchy.has(name)));
    let hierarchy = legacy.or_else(|| layout.hierarchies.iter().find(|hierarchy| hierarchy.unified))?;
    let list = subject.machine.text("/proc/self/cgroup")?;
    let is_its = |names: &str| match legacy {
        Some(_) => names.split(',').any(|name| Some(name) == controller),
        None => names.is_empty(),
    };
    let path = list.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        is_its(names).then(|| path.to_owned())
    })?;
    let is_outside = path.split('/').any(|step| step == "..");
    (!is_outside).then(|| format!("{}{}", directory(hierarchy), path.trim_end_matches('/')))
}

/// Where no cgroup can be made for want of a right.
const NOT_WITH_VERSION_1: &str =
    "run it as root, or on a machine with version 2 alone, where cgroups can be given to a user";
const TO_BE_GIVEN: &str = "run it with `--systemd-cgroup` in a session of systemd's, or below `systemd-run --user --scope \
                           --property=Delegate=yes`";

fn place(subject: &Subject<'_>) -> Option<Answer> {
    if subject.manager == CgroupManager::Disabled {
        let lost = "containers stay in the cgroup of this process, as asked for: no limits, no pause";
        return Some(Answer::limited(lost, "leave `--cgroup-manager=disabled` out"));
    }
    let layout = subject.host.cgroups().ok()?;
    Some(match find(subject, layout) {
        Place::At(directories) if directories.len() == 1 => {
            Answer::ok(format!("below {}", directories.concat()))
        }
        Place::At(directories) => {
            Answer::ok(format!("below {MOUNT_POINT}, in each of {} hierarchies", directories.len()))
        }
        Place::Systemd => Answer::ok("systemd makes them"),
        Place::Closed(directory) => {
            let found = format!("this user can make none in {directory}: no limits, no pause");
            let remedy = match subject.host.is_rootless() {
                true if !layout.is_unified() => NOT_WITH_VERSION_1.to_owned(),
                true => TO_BE_GIVEN.to_owned(),
                false => format!("make {directory} writable: it may be mounted read-only, as in a container"),
            };
            Answer::lacking(!subject.host.is_rootless(), found, remedy)
        }
    })
}

/// The cgroup that an ordinary user's are made in, and the controllers that it has there. Nothing for root, who has all.
pub(super) fn given_to_user(subject: &Subject<'_>) -> Option<(String, Vec<String>)> {
    let layout = subject.host.cgroups().ok()?;
    if !subject.host.is_rootless() || !layout.is_unified() {
        return None;
    }
    let uid = subject.machine.uid;
    let directory = match find(subject, layout) {
        Place::At(directories) => directories.concat(),
        Place::Systemd => format!("{MOUNT_POINT}/user.slice/user-{uid}.slice/user@{uid}.service"),
        Place::Closed(_) => return None,
    };
    let file = format!("{directory}/cgroup.controllers");
    subject.machine.text(&file)?;
    let controllers = listed(subject, &file);
    Some((directory, controllers))
}

/// Those that systemd can give to anybody (systemd.resource-control(5), Delegate=).
const DELEGATED_BY_SYSTEMD: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// What of the host's controllers has been given to an ordinary user.
fn delegated(subject: &Subject<'_>) -> Option<Answer> {
    let (directory, present) = given_to_user(subject)?;
    let handed_on = listed(subject, &format!("{directory}/cgroup.subtree_control"));
    let shown = format!("{} in {directory} (handed on so far: {})", words(&present), words(&handed_on));
    let host = of_host(subject);
    let is_kept =
        |name: &&str| host.iter().any(|known| known == name) && !present.iter().any(|given| given == name);
    let kept: Vec<&str> = DELEGATED_BY_SYSTEMD.into_iter().filter(is_kept).collect();
    Some(match kept.is_empty() {
        true => Answer::ok(shown),
        false => Answer::limited(
            format!("{shown}; not given to this user: {}", kept.join(" ")),
            "`Delegate=cpu cpuset io memory pids` in the section [Service] of \
             /etc/systemd/system/user@.service.d/delegate.conf, then a new session",
        ),
    })
}

fn words(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join(" ") }
}

/// Whether swap is counted.
fn swap(subject: &Subject<'_>) -> Option<Answer> {
    let layout = subject.host.cgroups().ok()?;
    if !of_host(subject).iter().any(|name| name == "memory") {
        return None;
    }
    let own = own(subject, layout, Some("memory"))?;
    let is_there = |file: String| subject.machine.file(&file).exists();
    let (file, is_known) = match layout.is_unified_for("memory") {
        true => ("memory.swap.max", is_there(format!("{own}/memory.max"))),
        false => ("memory.memsw.limit_in_bytes", true),
    };
    // The root of the tree has no limits, and so does not show which there are.
    if !is_known {
        return None;
    }
    Some(match is_there(format!("{own}/{file}")) {
        true => Answer::ok("swap is counted"),
        false => Answer::limited(
            "swap is not counted: linux.resources.memory.swap is refused",
            "a kernel with CONFIG_SWAP (version 1: started with `swapaccount=1`)",
        ),
    })
}

/// Whether rules about devices hold.
fn devices(subject: &Subject<'_>) -> Option<Answer> {
    let layout = subject.host.cgroups().ok().filter(|_| subject.manager != CgroupManager::Disabled)?;
    if subject.host.is_rootless() {
        return Some(Answer::ok(
            "a container's devices are those that this user may open; rules are not needed",
        ));
    }
    if !layout.is_unified_for("devices") {
        return Some(Answer::ok("rules go to the controller of version 1"));
    }
    Some(match subject.kernel.can(Ability::DevicePrograms) {
        true => Answer::ok("rules become a program of the cgroup"),
        false => Answer::missing(
            "the kernel takes no device program: rules do not hold",
            "a kernel with CONFIG_CGROUP_BPF; the capabilities CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN; no filter that forbids bpf(2)",
        ),
    })
}
