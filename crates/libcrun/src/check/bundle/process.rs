//! Whether the process can get the rights and limits it is to have, and who it depends on is there.

use rustix::process::getrlimit;
use sys::clone::Namespaces;

use super::super::confinement::{beyond_bounding_set, of_kernel};
use super::super::{Answer, Finding};
use super::Examined;
use crate::capabilities::names_of;
use crate::error::{Code, Error};
use crate::rlimits;
use rustix::io::Errno;

pub(super) fn look(examined: &Examined<'_>) -> Vec<Finding> {
    let mut findings = limits(examined);
    findings.extend(capabilities(examined));
    findings.extend(profile(examined));
    findings.extend(receiver(examined));
    if examined.plan.process.terminal.is_some() {
        let note =
            "its terminal goes to the caller's; `create` and `run --detach` take `--console-socket` for it";
        findings.push(Answer::ok(note).about("process.terminal"));
    }
    findings
}

/// Limits above those of this process, which only a privileged one may raise.
fn limits(examined: &Examined<'_>) -> Vec<Finding> {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let effective =
        examined.subject.machine.status("CapEff").and_then(|set| u64::from_str_radix(&set, 16).ok());
    if !examined.subject.host.is_rootless() && effective.is_none_or(|set| set & CAP_SYS_RESOURCE != 0) {
        return Vec::new();
    }
    let limits = examined.plan.process.rlimits.iter().enumerate();
    let above = limits.filter_map(|(index, (resource, limit))| {
        let most = getrlimit(*resource).maximum?;
        if limit.maximum.is_some_and(|maximum| maximum <= most) {
            return None;
        }
        let what = format!("set the limit `{}`", rlimits::name(*resource));
        let found = Error::os(Code::Credentials, what, Errno::PERM);
        let remedy = format!("{most} is the most this user may have: ask for no more, or raise it (limits.conf(5), systemd: LimitNOFILE= and the like)");
        Some(Answer::missing(found.to_string(), remedy).about(format!("process.rlimits[{index}]")))
    });
    above.collect()
}

/// Capabilities that this process does not have to give, or that the kernel does not know.
fn capabilities(examined: &Examined<'_>) -> Option<Finding> {
    let sets = &examined.plan.process.capabilities;
    let unknown = !of_kernel(examined.subject)?;
    let beyond = match examined.plan.namespaces.contains(Namespaces::USER) {
        true => unknown,
        false => unknown | beyond_bounding_set(examined.subject)?,
    };
    let (held, bounding) = ((sets.permitted | sets.effective) & beyond, sets.bounding & beyond);
    let remedy = "start it with them, or leave them out";
    let answer = match (held, bounding) {
        (0, 0) => return None,
        (0, only) => Answer::limited(format!("the bounding set will not have {}", names_of(only)), remedy),
        (held, _) => {
            let what = format!("capset: the runtime itself does not have {}", names_of(held));
            Answer::missing(Error::os(Code::Credentials, what, Errno::PERM).to_string(), remedy)
        }
    };
    Some(answer.about("process.capabilities"))
}

/// An AppArmor profile that is not loaded, where this user may see which are.
fn profile(examined: &Examined<'_>) -> Option<Finding> {
    let name = &examined.plan.process.labels.apparmor.as_ref()?.name;
    let loaded = examined.subject.machine.text("/sys/kernel/security/apparmor/profiles")?;
    let is_it = |line: &str| line.rsplit_once(" (").is_some_and(|(loaded, _)| loaded == name);
    if name == "unconfined" || loaded.lines().any(is_it) {
        return None;
    }
    let found = format!("process.apparmorProfile: the AppArmor profile `{name}` is not loaded");
    let remedy = "`apparmor_parser -r FILE` loads one, `aa-status` lists those that are";
    Some(Answer::missing(found, remedy).about("process.apparmorProfile"))
}

/// A seccomp agent that is not there.
fn receiver(examined: &Examined<'_>) -> Option<Finding> {
    let path = &examined.plan.process.receiver()?.path;
    let error = std::fs::metadata(path).err()?;
    let found =
        format!("linux.seccomp: the seccomp receiver `{}` cannot be reached: {error}", path.display());
    Some(
        Answer::missing(found, "start the agent that listens there before")
            .about("linux.seccomp.listenerPath"),
    )
}
