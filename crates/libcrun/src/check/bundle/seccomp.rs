//! What of a seccomp profile this kernel, or this version, does not know.

use seccomp::{Options, Profile, compile};

use super::super::confinement::unknown_actions;
use super::super::{Answer, Finding};
use super::Examined;
use crate::spec::Seccomp;

/// The actions of profiles, and what the kernel calls them.
const NAMES: [(&str, &str); 9] = [
    ("SCMP_ACT_KILL", "kill_thread"),
    ("SCMP_ACT_KILL_PROCESS", "kill_process"),
    ("SCMP_ACT_KILL_THREAD", "kill_thread"),
    ("SCMP_ACT_TRAP", "trap"),
    ("SCMP_ACT_ERRNO", "errno"),
    ("SCMP_ACT_NOTIFY", "user_notif"),
    ("SCMP_ACT_TRACE", "trace"),
    ("SCMP_ACT_LOG", "log"),
    ("SCMP_ACT_ALLOW", "allow"),
];

pub(super) fn look(examined: &Examined<'_>) -> Vec<Finding> {
    let linux = examined.spec.linux.as_ref();
    let Some(given) = linux.and_then(|linux| linux.seccomp.as_ref()) else { return Vec::new() };
    let Ok(profile) = given.profile() else { return Vec::new() };
    let mut findings = Vec::new();
    if let Ok(filter) = compile(&profile, &Options::default())
        && !filter.skipped.is_empty()
    {
        let found = format!("unknown system calls, left out: {}", filter.skipped.join(" "));
        findings.push(
            Answer::limited(found, "correct their names; a newer version may know them")
                .about("linux.seccomp.syscalls"),
        );
    }
    findings.extend(flags(examined, given));
    findings.extend(actions(examined, &profile));
    findings
}

fn flags(examined: &Examined<'_>, given: &Seccomp<'_>) -> Option<Finding> {
    let unknown = examined.subject.kernel.unknown_filter_flags();
    let named = given.flags.iter().flatten().map(|flag| &**flag);
    let named: Vec<&str> = named.filter(|flag| unknown.contains(flag)).collect();
    let found = format!("linux.seccomp.flags: this kernel does not know {}", named.join(" "));
    (!named.is_empty())
        .then(|| Answer::missing(found, "leave them out, or a newer kernel").about("linux.seccomp.flags"))
}

fn actions(examined: &Examined<'_>, profile: &Profile<'_>) -> Option<Finding> {
    let unknown = unknown_actions(examined.subject)?;
    let all = profile.rules.iter().map(|rule| rule.action).chain([profile.default_action]);
    let mut lacking: Vec<&str> = all
        .filter(|action| NAMES.iter().any(|(name, kernels)| name == action && unknown.contains(kernels)))
        .collect();
    lacking.sort_unstable();
    lacking.dedup();
    let found = format!("this kernel does not know {}: the process is killed there", lacking.join(" "));
    (!lacking.is_empty())
        .then(|| Answer::limited(found, "other actions, or a newer kernel").about("linux.seccomp.actions"))
}
