//! Device rules in systemd's words (systemd.resource-control(5), `DevicePolicy=`, `DeviceAllow=`).
//!
//! These have no way to take something out of what is allowed, and none to name a minor number of all devices. Where a
//! rule needs that, systemd allows more and the program in the container's own cgroup takes it away again: a device is
//! usable only if both allow it.

use super::{DeviceKind, MKNOD, READ, Rule, WRITE};

/// What systemd is told about devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowList {
    /// `strict`, or `auto` where nothing is restricted.
    pub(crate) policy: &'static str,
    /// Devices and accesses.
    pub(crate) allowed: Vec<(String, String)>,
}

impl AllowList {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let last = rules.iter().rposition(Rule::is_final);
        // Without a rule for all devices those that no rule names are denied, unless there are no rules at all.
        let allows_all = last.map_or(rules.is_empty(), |index| rules[index].allow);
        if allows_all {
            return Self { policy: "auto", allowed: Vec::new() };
        }
        let specific = &rules[last.map_or(0, |index| index + 1)..];
        let allowed = specific.iter().filter(|rule| rule.allow).flat_map(entries).collect();
        Self { policy: "strict", allowed }
    }
}

fn entries(rule: &Rule) -> Vec<(String, String)> {
    let access = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
    let access: String =
        access.into_iter().filter(|(bit, _)| rule.access & bit != 0).map(|(_, letter)| letter).collect();
    let kinds: &[&str] = match rule.kind {
        DeviceKind::All => &["char", "block"],
        DeviceKind::Block => &["block"],
        DeviceKind::Char => &["char"],
    };
    let device = |kind: &str| match (rule.major, rule.minor) {
        (None, _) => format!("{kind}-*"),
        (Some(major), None) => format!("{kind}-{major}"),
        // Understood also where there is no such file.
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
    };
    kinds.iter().map(|kind| (device(kind), access.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::rules::EVERY_ACCESS;

    fn rule(allow: bool, kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: u8) -> Rule {
        Rule { allow, kind, major, minor, access }
    }

    fn allowed(rules: &[Rule]) -> Vec<String> {
        let list = AllowList::new(rules);
        assert_eq!(list.policy, "strict");
        list.allowed.into_iter().map(|(device, access)| format!("{device} {access}")).collect()
    }

    const DENY_ALL: Rule =
        Rule { allow: false, kind: DeviceKind::All, major: None, minor: None, access: EVERY_ACCESS };
    const ALLOW_ALL: Rule = Rule { allow: true, ..DENY_ALL };

    #[test]
    fn devices_are_named_by_their_numbers() {
        let rules = [
            DENY_ALL,
            rule(true, DeviceKind::Char, Some(1), Some(3), EVERY_ACCESS),
            rule(true, DeviceKind::Block, Some(8), None, READ),
            rule(true, DeviceKind::Char, None, None, MKNOD),
            rule(true, DeviceKind::All, Some(9), Some(0), READ | WRITE),
        ];
        let expected =
            ["/dev/char/1:3 rwm", "block-8 r", "char-* m", "/dev/char/9:0 rw", "/dev/block/9:0 rw"];
        assert_eq!(allowed(&rules), expected);
    }

    #[test]
    fn without_rules_or_with_all_allowed_nothing_is_restricted() {
        let auto = AllowList { policy: "auto", allowed: vec![] };
        assert_eq!(AllowList::new(&[]), auto);
        let some = rule(true, DeviceKind::Char, Some(1), Some(3), EVERY_ACCESS);
        assert_eq!(AllowList::new(&[DENY_ALL, some, ALLOW_ALL]), auto);
    }

    #[test]
    fn what_cannot_be_said_is_allowed_here_and_left_to_the_program() {
        let denied = rule(false, DeviceKind::Char, Some(1), Some(3), EVERY_ACCESS);
        assert_eq!(AllowList::new(&[ALLOW_ALL, denied]).policy, "auto");
        let all_of_a_minor = rule(true, DeviceKind::Char, None, Some(3), READ);
        assert_eq!(allowed(&[DENY_ALL, all_of_a_minor]), ["char-* r"]);
    }

    #[test]
    fn whatever_the_rules_allow_is_on_the_list() {
        // Every short list of these rules, and every device they can tell apart.
        let kinds = [DeviceKind::All, DeviceKind::Block, DeviceKind::Char];
        let mut some = vec![DENY_ALL, ALLOW_ALL];
        for kind in kinds {
            for (major, minor) in [(None, Some(1)), (Some(1), None), (Some(1), Some(1)), (None, None)] {
                for access in [READ, EVERY_ACCESS] {
                    some.extend([true, false].map(|allow| rule(allow, kind, major, minor, access)));
                }
            }
        }
        for a in &some {
            for b in &some {
                for c in &some {
                    let rules = [*a, *b, *c];
                    let list = AllowList::new(&rules);
                    for (kind, name) in [(DeviceKind::Block, "block"), (DeviceKind::Char, "char")] {
                        for (major, minor) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
                            let is_allowed = super::super::decide(&rules, kind, major, minor, READ);
                            assert!(!is_allowed || is_listed(&list, name, major, minor), "{rules:?}");
                        }
                    }
                }
            }
        }
    }

    fn is_listed(list: &AllowList, kind: &str, major: u32, minor: u32) -> bool {
        let names = [format!("{kind}-*"), format!("{kind}-{major}"), format!("/dev/{kind}/{major}:{minor}")];
        list.policy == "auto"
            || list.allowed.iter().any(|(device, access)| names.contains(device) && access.contains('r'))
    }
}
