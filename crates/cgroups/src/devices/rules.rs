//! The rules in numbers, and the rule book in plain words.

use super::{DeviceKind, DeviceRule};
use crate::error::{Error, Result};

/// A rule in numbers, ready to be compared with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub(super) allow: bool,
    pub(super) kind: DeviceKind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: u8,
}

// BPF_DEVCG_ACC_* of linux/bpf.h.
/// Making a node.
pub const MKNOD: u8 = 1;
/// Opening for reading.
pub const READ: u8 = 2;
/// Opening for writing.
pub const WRITE: u8 = 4;
pub(super) const EVERY_ACCESS: u8 = MKNOD | READ | WRITE;

/// What every container may use, whatever its configuration says: any node may be made (making one grants
/// nothing), and the default devices used.
const DEFAULTS: [Rule; 12] = {
    const fn device(major: u32, minor: Option<u32>) -> Rule {
        Rule { allow: true, kind: DeviceKind::Char, major: Some(major), minor, access: EVERY_ACCESS }
    }
    const fn make(kind: DeviceKind) -> Rule {
        Rule { allow: true, kind, major: None, minor: None, access: MKNOD }
    }
    [
        make(DeviceKind::Char),
        make(DeviceKind::Block),
        device(1, Some(3)),
        device(1, Some(5)),
        device(1, Some(7)),
        device(1, Some(8)),
        device(1, Some(9)),
        device(5, Some(0)),
        device(5, Some(1)),
        device(5, Some(2)),
        device(10, Some(200)),
        device(136, None),
    ]
};

/// The rules of a configuration followed by those that always hold; empty when the configuration has none, which
/// leaves all devices usable.
///
/// # Errors
/// When a rule has a number or an access letter that does not exist; the error names it.
pub fn rules(configured: &[DeviceRule]) -> Result<Vec<Rule>> {
    if configured.is_empty() {
        return Ok(Vec::new());
    }
    let mut rules = Vec::with_capacity(configured.len() + DEFAULTS.len());
    for (index, rule) in configured.iter().enumerate() {
        let numbers = rule.numbers().map_err(|what| {
            Error::plain(format!("linux.resources.devices[{index}].{what}: invalid value in a device rule"))
        })?;
        rules.push(numbers);
    }
    rules.extend(DEFAULTS);
    Ok(rules)
}

impl DeviceRule {
    fn numbers(&self) -> std::result::Result<Rule, &'static str> {
        // −1 is what older engines write for "all".
        let number = |value: Option<i64>, name| match value {
            None | Some(-1) => Ok(None),
            Some(value) => u32::try_from(value).map(Some).map_err(|_| name),
        };
        let mut access = 0;
        for letter in self.access.as_deref().unwrap_or_default().chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => return Err("access"),
            };
        }
        Ok(Rule {
            allow: self.allow,
            kind: self.kind,
            major: number(self.major, "major")?,
            minor: number(self.minor, "minor")?,
            access: if access == 0 { EVERY_ACCESS } else { access },
        })
    }
}

impl Rule {
    /// Whether this rule decides every request that reaches it.
    pub(super) fn is_final(&self) -> bool {
        self.kind == DeviceKind::All
            && self.major.is_none()
            && self.minor.is_none()
            && self.access == EVERY_ACCESS
    }

    /// Whether it grants.
    pub(super) fn allows(&self) -> bool {
        self.allow
    }

    /// Whether it speaks of this device.
    pub(super) fn is_about(&self, kind: DeviceKind, major: u32, minor: u32) -> bool {
        (self.kind == DeviceKind::All || self.kind == kind)
            && self.major.is_none_or(|value| value == major)
            && self.minor.is_none_or(|value| value == minor)
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { allow, kind, major, minor, access } = *self;
        write!(f, "{} {}", if allow { "allow" } else { "deny" }, Line { kind, major, minor, access })
    }
}

/// Devices and the access to them as the v1 controller writes them (cgroup-v1/devices.rst).
pub(super) struct Line {
    pub(super) kind: DeviceKind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: u8,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |value: Option<u32>| value.map_or_else(|| "*".to_owned(), |value| value.to_string());
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        let access: String =
            letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect();
        let kind = match self.kind {
            DeviceKind::All => 'a',
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        write!(f, "{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// The rule book in plain words: whether all of `access` to a device is allowed.
#[must_use]
pub fn decide(rules: &[Rule], kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
    access & !allowed(rules, kind, major, minor) == 0
}

/// Which kinds of access to a device are allowed.
pub(super) fn allowed(rules: &[Rule], kind: DeviceKind, major: u32, minor: u32) -> u8 {
    let about = || rules.iter().rev().filter(|rule| rule.is_about(kind, major, minor));
    let is_allowed = |bit: &u8| about().find(|rule| rule.access & bit != 0).is_some_and(|rule| rule.allow);
    [MKNOD, READ, WRITE].into_iter().filter(is_allowed).sum()
}
