//! The namespaces that containers are in, and whether this user can have them.

use sys::clone::Namespaces;

use super::subject::Subject;
use super::{Answer, Finding};
use crate::explain::{Concern, PROBES, obstacles};
use crate::plan::NamespacePlan;

/// Each kind: its name, its file in `/proc/self/ns`, and what is lost without it where the container of `crun spec` does
/// without.
const KINDS: [(&str, &str, Namespaces, &str); 8] = [
    ("mount", "mnt", Namespaces::MOUNT, ""),
    ("pid", "pid", Namespaces::PID, ""),
    ("network", "net", Namespaces::NETWORK, ""),
    ("ipc", "ipc", Namespaces::IPC, ""),
    ("uts", "uts", Namespaces::UTS, ""),
    ("cgroup", "cgroup", Namespaces::CGROUP, "containers see the whole tree of cgroups"),
    ("user", "user", Namespaces::USER, "only root runs containers, and not with ids of their own"),
    ("time", "time", Namespaces::TIME, "linux.timeOffsets is refused"),
];

pub(super) fn look(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = KINDS
        .into_iter()
        .map(|(name, file, kind, lost)| answer(subject, file, kind, lost).about(name))
        .collect();
    let made = make(subject);
    let works = made.verdict == super::Verdict::Ok;
    findings.push(made.about("new-namespaces"));
    // Where they could be made all the same, what is found may get in the way of something else.
    let is_needed = subject.needs_user_namespace() && !works;
    for probe in PROBES.iter().filter(|probe| probe.concern == Concern::UserNamespace) {
        let answer = match probe.look(&subject.machine) {
            None => continue,
            Some(obstacle) => {
                Answer::lacking(is_needed, format!("user namespaces: {}", obstacle.found), obstacle.remedy)
            }
        };
        findings.push(answer.about(probe.name));
    }
    findings
}

fn answer(subject: &Subject<'_>, file: &str, kind: Namespaces, lost: &str) -> Answer {
    if std::fs::symlink_metadata(subject.machine.file(&format!("/proc/self/ns/{file}"))).is_ok() {
        return Answer::ok("this kernel has them");
    }
    let is_needed = lost.is_empty() || subject.plan().is_ok_and(|plan| plan.namespaces.creates(kind));
    let lost = if lost.is_empty() { "containers need them" } else { lost };
    let option = match kind {
        Namespaces::MOUNT | Namespaces::CGROUP => "Linux 4.6".to_owned(),
        _ => format!("CONFIG_{}_NS", file.to_uppercase()),
    };
    Answer::lacking(
        is_needed,
        format!("this kernel does not have them: {lost}"),
        format!("a kernel with {option}"),
    )
}

/// Whether this user can have those of the container of `crun spec`, with their ids.
fn make(subject: &Subject<'_>) -> Answer {
    match subject.plan() {
        Ok(plan) => made(subject, &plan.namespaces),
        // What is wrong with the plan is found where it belongs; without one there is nothing to try.
        Err(error) => Answer::refused(error),
    }
}

/// Whether this user can have these, with their ids.
pub(super) fn made(subject: &Subject<'_>, namespaces: &NamespacePlan) -> Answer {
    let Err(error) = subject.kernel.make(namespaces) else {
        let ids = match &namespaces.id_maps {
            Some(maps) => {
                let count =
                    |list: &[crate::spec::IdMapping]| list.iter().map(|ids| u64::from(ids.size)).sum::<u64>();
                format!(" (user ids: {}, group ids: {})", count(&maps.uid), count(&maps.gid))
            }
            None => String::new(),
        };
        return Answer::ok(format!("a process was made in them{ids}"));
    };
    let concerns = match namespaces.id_maps.is_some() {
        true => &[Concern::UserNamespace, Concern::Ids][..],
        false => &[],
    };
    let remedy = concerns.iter().find_map(|concern| obstacles(*concern, &subject.machine).next());
    let remedy = remedy.map_or_else(
        || "run it as root, or see the findings around this one".to_owned(),
        |found| found.to_string(),
    );
    Answer::missing(error.to_string(), remedy)
}
