//! The process: its names, its rights and limits, and what becomes of it.

use rustix::process::{Resource, Rlimit};
use sys::clone::Namespaces;

use super::{Sheet, View, rootfs, words};
use crate::capabilities;
use crate::plan::{Console, ProcessPlan, SchedulerKind};
use crate::rlimits;

pub(super) fn lead_session(_: &View<'_>, sheet: &mut Sheet) {
    sheet.add("session", "lead a session of its own");
}

/// Who keeps the runtime's executable from the container, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protector {
    Runtime,
    Early,
    /// A joined user namespace is where it may.
    Late,
}

fn protector(view: &View<'_>) -> Option<Protector> {
    let namespaces = &view.plan.namespaces;
    let has_users = namespaces.contains(Namespaces::USER);
    let by_process = match has_users {
        true => view.host.effective_uid() != 0,
        false => namespaces.creates(Namespaces::PID),
    };
    let protector = match (by_process, namespaces.joins(Namespaces::USER)) {
        (false, _) => Protector::Runtime,
        (true, None) => Protector::Early,
        (true, Some(_)) => Protector::Late,
    };
    view.self_protection.then_some(protector)
}

pub(super) fn protect_executable_before(view: &View<'_>, sheet: &mut Sheet) {
    protect_executable(view, Protector::Runtime, sheet);
}

pub(super) fn protect_executable_early(view: &View<'_>, sheet: &mut Sheet) {
    protect_executable(view, Protector::Early, sheet);
}

pub(super) fn protect_executable_late(view: &View<'_>, sheet: &mut Sheet) {
    protect_executable(view, Protector::Late, sheet);
}

fn protect_executable(view: &View<'_>, who: Protector, sheet: &mut Sheet) {
    if protector(view) == Some(who) {
        sheet
            .add("executable", "exchange the runtime's executable for a read-only view of it")
            .or("nothing, where nobody could write to it");
    }
}

/// A process in a new user namespace takes on ids there once they are mapped.
pub(super) fn become_mapped_at_birth(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.namespaces.creates(Namespaces::USER) {
        become_mapped(view, sheet);
    }
}

pub(super) fn become_mapped(view: &View<'_>, sheet: &mut Sheet) {
    rootfs::clone_inside(view, sheet);
    let ids = view.plan.namespaces.set_up;
    let (uid, gid) = (ids.uid.as_raw(), ids.gid.as_raw());
    let what = format!("become user {uid} and group {gid} of the user namespace, for the set-up");
    sheet.add("ids", what).said("uid", uid).said("gid", gid);
}

pub(super) fn keyring(view: &View<'_>, sheet: &mut Sheet) {
    if let Some(name) = &view.plan.keyring {
        let name = words::text(name);
        sheet
            .add("keyring", format!("take a new session keyring {name}"))
            .said("name", name)
            .or("the caller's, where there can be none");
    }
}

pub(super) fn oom_score(view: &View<'_>, sheet: &mut Sheet) {
    if let Some(score) = view.plan.process.oom_score_adj {
        sheet
            .add("oom", format!("oom_score_adj ← {score}"))
            .said("file", "oom_score_adj")
            .said("value", i64::from(score))
            .or_if(view.plan.is_rootless, "left as it is, where lowering it takes root of the host");
    }
}

pub(super) fn early_sysctls(view: &View<'_>, sheet: &mut Sheet) {
    if !waits_for_hooks(view) {
        sysctls(view, sheet);
    }
}

pub(super) fn late_sysctls(view: &View<'_>, sheet: &mut Sheet) {
    if waits_for_hooks(view) {
        sysctls(view, sheet);
    }
}

/// The devices that parameters are of may come from hooks.
fn waits_for_hooks(view: &View<'_>) -> bool {
    view.plan.hooks.as_ref().is_some_and(|hooks| hooks.stop_init())
}

fn sysctls(view: &View<'_>, sheet: &mut Sheet) {
    for sysctl in &view.plan.sysctls {
        let file = format!("/proc/{}", words::text(&sysctl.path));
        sheet
            .add("sysctl", format!("{file} ← {}", sysctl.value))
            .said("name", sysctl.name.as_str())
            .said("file", file)
            .said("value", sysctl.value.as_str());
    }
}

/// A terminal of the host's, for a container that may have no devpts.
pub(super) fn host_terminal(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.process.terminal.as_ref().is_some_and(|terminal| terminal.may_be_hosts) {
        sheet.add("terminal", "make a terminal of the host's");
    }
}

pub(super) fn make_terminal(view: &View<'_>, sheet: &mut Sheet) {
    let Some(terminal) = &view.plan.process.terminal else { return };
    let devpts = terminal.devpts.to_string();
    let action = sheet.add("terminal", format!("make a terminal in {devpts}"));
    action.said("devpts", devpts).or_if(terminal.may_be_hosts, "the host's, where there is no devpts");
    if let Some(size) = terminal.size {
        action.with("rows", u32::from(size.ws_row)).with("columns", u32::from(size.ws_col));
    }
    if terminal.console != Console::Untouched {
        let missing = terminal.console == Console::Covered;
        sheet
            .add("terminal", "mount the terminal on /dev/console")
            .said("path", "/dev/console")
            .or_if(missing, "left out where it is missing");
    }
}

pub(super) fn schedule(view: &View<'_>, sheet: &mut Sheet) {
    if let Some(scheduler) = &view.plan.process.scheduler {
        let attributes = &scheduler.attributes;
        let action = sheet.add("scheduler", format!("set the scheduling policy {}", scheduler.name));
        action.said("policy", scheduler.name);
        match scheduler.kind {
            SchedulerKind::Shared => {
                action.with("nice", i64::from(attributes.nice));
            }
            SchedulerKind::RealTime => {
                action.with("priority", attributes.priority);
            }
            SchedulerKind::Deadline => {
                for (name, time) in [
                    ("runtime", attributes.runtime),
                    ("deadline", attributes.deadline),
                    ("period", attributes.period),
                ] {
                    action.with(name, time.to_string());
                }
            }
        }
    }
    if let Some(io) = &view.plan.process.io_priority {
        sheet
            .add("scheduler", format!("set the I/O priority {} {}", io.name, io.priority))
            .said("class", io.name)
            .said("priority", u32::from(io.priority));
    }
}

pub(super) fn bind(view: &View<'_>, sheet: &mut Sheet) {
    sheet.add("cpus", "run on every CPU of its cpuset");
    if let Some(policy) = &view.plan.process.memory_policy {
        let nodes = policy.nodes.to_string();
        let action = sheet.add("memory", format!("set the memory policy {} {nodes}", policy.name));
        action.said("mode", policy.name).said("nodes", nodes);
    }
}

pub(super) fn names(view: &View<'_>, sheet: &mut Sheet) {
    for (subject, name) in [("hostname", &view.plan.hostname), ("domainname", &view.plan.domainname)] {
        if let Some(name) = name {
            sheet.add(subject, name.as_str()).said("name", name.as_str());
        }
    }
}

pub(super) fn labels(view: &View<'_>, sheet: &mut Sheet) {
    let labels = &view.plan.process.labels;
    if let Some(label) = &labels.selinux {
        sheet.add("selinux", format!("ask for the label {label}")).said("label", label.as_str());
    }
    if let Some(profile) = &labels.apparmor {
        sheet
            .add("apparmor", format!("ask for the profile {}", profile.name))
            .said("profile", profile.name.as_str())
            .with("request", profile.request.as_str());
    }
}

pub(super) fn close_descriptors(view: &View<'_>, sheet: &mut Sheet) {
    let first = view.plan.process.first_closed_fd;
    sheet.add("descriptors", format!("close all from {first} on")).said("first", first);
}

/// By the process itself, which in a user namespace has no right to.
pub(super) fn limit(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.limits_from_outside().is_empty() {
        limits(&view.plan.process.rlimits, sheet);
    }
}

pub(super) fn limit_from_outside(view: &View<'_>, sheet: &mut Sheet) {
    limits(view.plan.limits_from_outside(), sheet);
}

fn limits(limits: &[(Resource, Rlimit)], sheet: &mut Sheet) {
    let shown = |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string());
    for (resource, limit) in limits {
        let name = rlimits::name(*resource);
        let (soft, hard) = (shown(limit.current), shown(limit.maximum));
        let action = sheet.add("rlimit", format!("{name} soft {soft} hard {hard}"));
        action.said("type", name).said("soft", soft).said("hard", hard);
    }
}

pub(super) fn personality(view: &View<'_>, sheet: &mut Sheet) {
    let linux = view.spec.linux.as_ref();
    if let Some(personality) = linux.and_then(|linux| linux.personality.as_ref()) {
        let domain = &*personality.domain;
        sheet.add("personality", format!("take on the execution domain {domain}")).said("domain", domain);
    }
}

pub(super) fn place(view: &View<'_>, sheet: &mut Sheet) {
    let process = &view.plan.process;
    let cwd = words::text(&process.cwd);
    sheet
        .add("cwd", format!("enter {cwd}"))
        .said("path", cwd)
        .or("later, as the process' user, where root may not");
    let umask = format!("{:04o}", process.umask.as_raw_mode());
    sheet.add("umask", format!("set the umask {umask}")).said("umask", umask);
}

pub(super) fn drop_bounding(view: &View<'_>, sheet: &mut Sheet) {
    let kept = view.plan.process.capabilities.bounding;
    let count = kept.count_ones();
    let action = sheet.add("capabilities", format!("drop all but {count} from the bounding set"));
    action.with("bounding", list(kept));
}

fn list(set: capabilities::Set) -> Vec<String> {
    capabilities::list(set).map(str::to_owned).collect()
}

/// So that it can open them again.
pub(super) fn give_streams(view: &View<'_>, sheet: &mut Sheet) {
    let ProcessPlan { uid, gid, .. } = &view.plan.process;
    if !(uid.is_root() && gid.is_root()) {
        sheet
            .add("streams", "give the standard streams to the process' user")
            .or("left alone, where they are devices");
    }
}

pub(super) fn identity(view: &View<'_>, sheet: &mut Sheet) {
    let ProcessPlan { uid, gid, groups, .. } = &view.plan.process;
    match groups {
        Some(groups) => {
            let groups: Vec<_> = groups.iter().map(|gid| gid.as_raw().to_string()).collect();
            let what = if groups.is_empty() { "none".to_owned() } else { groups.join(" ") };
            sheet.add("ids", format!("set the supplementary groups: {what}")).said("groups", groups);
        }
        None => {
            sheet.add("ids", "keep the supplementary groups as they are");
        }
    }
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    let action = sheet.add("ids", format!("become user {uid} and group {gid}"));
    action.said("uid", uid).said("gid", gid);
}

pub(super) fn capabilities(view: &View<'_>, sheet: &mut Sheet) {
    let sets = &view.plan.process.capabilities;
    let action = sheet.add("capabilities", "set the capabilities of the process");
    for (name, set) in [
        ("effective", sets.effective),
        ("permitted", sets.permitted),
        ("inheritable", sets.inheritable),
        ("ambient", sets.ambient),
    ] {
        action.with(name, list(set));
    }
    let is_left_out = sets.ambient & !(sets.permitted & sets.inheritable) != 0;
    action.or_if(is_left_out, "without those ambient ones that are not both permitted and inheritable");
}

pub(super) fn no_new_privileges(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.process.no_new_privileges {
        sheet.add("privileges", "allow no new ones (no_new_privs)");
    }
}

pub(super) fn find_program(view: &View<'_>, sheet: &mut Sheet) {
    let process = &view.plan.process;
    let action = sheet.add("program", format!("find {}", process.name));
    action.with("candidates", process.candidates.iter().map(|path| words::text(path)).collect::<Vec<_>>());
}

pub(super) fn execute(view: &View<'_>, sheet: &mut Sheet) {
    let process = &view.plan.process;
    let args: Vec<String> = process.argv.iter().map(words::text).collect();
    let env: Vec<String> =
        process.env.iter().map(|variable| String::from_utf8_lossy(variable).into_owned()).collect();
    let has_home = env.iter().any(|variable| variable.starts_with("HOME="));
    let action = sheet.add("program", format!("execute {}", args.join(" ")));
    action.said("args", args).with("env", env);
    if !has_home {
        action.with("home", "HOME is that of the user in the container's /etc/passwd, or else /");
    }
}
