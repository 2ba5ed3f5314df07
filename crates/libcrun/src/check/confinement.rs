//! What containers can be confined by, and what confines this process already.

use super::subject::Subject;
use super::{Answer, Question};
use crate::capabilities;

pub(super) const QUESTIONS: [Question; 4] = [
    Question { name: "security-module", look: security_module },
    Question { name: "seccomp-actions", look: seccomp_actions },
    Question { name: "seccomp-flags", look: seccomp_flags },
    Question { name: "capabilities", look: bounding_set },
];

fn security_module(subject: &Subject<'_>) -> Option<Answer> {
    let apparmor = subject.host.apparmor().map(str::trim_end);
    if let Some(profile) = apparmor {
        return Some(Answer::ok(format!("AppArmor, which has this process as `{profile}`")));
    }
    if subject.host.has_selinux() {
        let mode = match subject.machine.text("/sys/fs/selinux/enforce").as_deref() {
            Some("1") => "enforcing",
            Some("0") => "permissive",
            _ => "of an unknown mode",
        };
        return Some(Answer::ok(format!("SELinux, {mode}")));
    }
    Some(Answer::limited(
        "neither AppArmor nor SELinux runs: process.apparmorProfile, process.selinuxLabel and linux.mountLabel are refused",
        "start the kernel with `lsm=` naming the one of your distribution (before Linux 5.1: `security=`)",
    ))
}

/// The actions of filters, by their names in the kernel's list.
const ACTIONS: [&str; 8] =
    ["kill_process", "kill_thread", "trap", "errno", "user_notif", "trace", "log", "allow"];

/// The actions that the kernel lacks; nothing where it does not say.
pub(super) fn unknown_actions(subject: &Subject<'_>) -> Option<Vec<&'static str>> {
    let known = subject.machine.text("/proc/sys/kernel/seccomp/actions_avail")?;
    Some(
        ACTIONS
            .into_iter()
            .filter(|action| !known.split_whitespace().any(|known| known == *action))
            .collect(),
    )
}

fn seccomp_actions(subject: &Subject<'_>) -> Option<Answer> {
    let unknown = unknown_actions(subject)?;
    Some(match unknown.is_empty() {
        true => Answer::ok("all of them"),
        false => {
            let found = format!(
                "this kernel has not: {}; what is to happen there is that the process is killed",
                unknown.join(" ")
            );
            Answer::limited(found, "a newer kernel (Linux 5.0 has all)")
        }
    })
}

fn seccomp_flags(subject: &Subject<'_>) -> Option<Answer> {
    let unknown = subject.kernel.unknown_filter_flags();
    Some(match unknown.is_empty() {
        true => Answer::ok("all of them"),
        false => Answer::limited(
            format!("this kernel has not: {}; a profile that names them is refused", unknown.join(" ")),
            "a newer kernel (Linux 5.19 has all)",
        ),
    })
}

/// All capabilities of the kernel that this process, and so a container without a user namespace, cannot have.
pub(super) fn beyond_bounding_set(subject: &Subject<'_>) -> Option<capabilities::Set> {
    let bounding = u64::from_str_radix(&subject.machine.status("CapBnd")?, 16).ok()?;
    Some(of_kernel(subject)? & !bounding)
}

/// All capabilities that this kernel has.
pub(super) fn of_kernel(subject: &Subject<'_>) -> Option<capabilities::Set> {
    let last: u32 = subject.machine.text("/proc/sys/kernel/cap_last_cap")?.parse().ok()?;
    Some(u64::MAX.checked_shr(63_u32.checked_sub(last)?).unwrap_or(u64::MAX))
}

fn bounding_set(subject: &Subject<'_>) -> Option<Answer> {
    if subject.needs_user_namespace() {
        return None;
    }
    Some(match beyond_bounding_set(subject)? {
        0 => Answer::ok("containers can have all of this kernel's"),
        missing => Answer::limited(
            format!("this process cannot hand on {}", capabilities::names_of(missing)),
            "start it with them (Docker and podman: `--privileged` or `--cap-add`; systemd: CapabilityBoundingSet=)",
        ),
    })
}
