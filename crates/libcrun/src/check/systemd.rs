//! The systemd that would make this user's cgroups, and keeps its session.

use std::os::unix::fs::MetadataExt;

use super::subject::Subject;
use super::{Answer, Question};
use crate::host::users;
use crate::plan::CgroupManager;

pub(super) const QUESTIONS: [Question; 3] = [
    Question { name: "manager", look: manager },
    Question { name: "runtime-directory", look: runtime_directory },
    Question { name: "linger", look: linger },
];

fn manager(subject: &Subject<'_>) -> Option<Answer> {
    let is_rootless = subject.host.is_rootless();
    Some(match subject.kernel.systemd(is_rootless) {
        Ok(version) => {
            let whose = if is_rootless { "the user's" } else { "the system's" };
            Answer::ok(format!("{whose} systemd answers: version {version}"))
        }
        Err(error) => {
            let remedy = match (is_rootless, runs(subject)) {
                (_, false) => "start the machine with systemd, or do without `--systemd-cgroup`",
                (true, true) => {
                    "a session of this user's (`machinectl shell`, ssh, `loginctl enable-linger`), with XDG_RUNTIME_DIR set"
                }
                (false, true) => "start the bus (`systemctl start dbus.socket`)",
            };
            let is_needed = subject.manager == CgroupManager::Systemd;
            let lost = if is_needed { "" } else { "; `--systemd-cgroup` fails" };
            Answer::lacking(is_needed, format!("{error}{lost}"), remedy)
        }
    })
}

/// Whether the machine was started by it (`sd_booted(3)`).
fn runs(subject: &Subject<'_>) -> bool {
    subject.machine.file("/run/systemd/system").is_dir()
}

/// Where an ordinary user's state goes, if it does not say otherwise.
fn runtime_directory(subject: &Subject<'_>) -> Option<Answer> {
    if !subject.needs_user_namespace() {
        return None;
    }
    let uid = subject.machine.uid;
    let remedy = format!(
        "log in by a session manager that makes /run/user/{uid} and sets XDG_RUNTIME_DIR, or set it to a directory of your own"
    );
    let Some(directory) = &subject.runtime_directory else {
        return Some(Answer::limited("XDG_RUNTIME_DIR is not set", remedy));
    };
    let shown = directory.display();
    let owner =
        std::fs::metadata(subject.machine.file(&directory.to_string_lossy())).map(|metadata| metadata.uid());
    Some(match owner {
        Ok(owner) if owner == uid => Answer::ok(format!("{shown}")),
        Ok(owner) => {
            Answer::limited(format!("XDG_RUNTIME_DIR is `{shown}`, which is user {owner}'s"), remedy)
        }
        Err(_) => Answer::limited(format!("XDG_RUNTIME_DIR is `{shown}`, which is not there"), remedy),
    })
}

/// Whether what an ordinary user has started outlives its last session.
fn linger(subject: &Subject<'_>) -> Option<Answer> {
    if !subject.needs_user_namespace() || !runs(subject) {
        return None;
    }
    let uid = subject.machine.uid;
    let passwd = subject.machine.text("/etc/passwd").unwrap_or_default();
    let name = users::name_in(&passwd, uid).unwrap_or_else(|| uid.to_string());
    Some(match subject.machine.file(&format!("/var/lib/systemd/linger/{name}")).exists() {
        true => Answer::ok("what this user has started goes on after its last session"),
        false => Answer::limited(
            "containers in units of this user's systemd end with its last session",
            format!("`loginctl enable-linger {name}`"),
        ),
    })
}
