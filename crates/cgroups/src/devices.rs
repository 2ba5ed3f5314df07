//! Which devices a container may use: the rules, the eBPF program that enforces them on v2, and the lines that do
//! on v1.
//!
//! The rules of the configuration apply in order and the last one that matches decides, for each of the three
//! kinds of access by itself (runtime-spec config-linux.md#allowed-device-list). Both enforcers come from the
//! same list, and [`decide`] is the same rule book in plain words, for tests.

mod enforce;

use serde::Deserialize;
use sys::bpf::Instruction;

use crate::error::{Error, Result};

/// One entry of `linux.resources.devices`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeviceRule {
    /// Whether the rule grants or takes away.
    pub allow: bool,
    /// Character devices, block devices or both.
    #[serde(rename = "type", default)]
    pub kind: DeviceKind,
    /// Major number; none stands for all.
    #[serde(default)]
    pub major: Option<i64>,
    /// Minor number; none stands for all.
    #[serde(default)]
    pub minor: Option<i64>,
    /// Any of `r`, `w` and `m`; none stands for all.
    #[serde(default)]
    pub access: Option<String>,
}

/// The kind of device a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum DeviceKind {
    /// Both kinds.
    #[default]
    #[serde(rename = "a")]
    All,
    /// Block devices.
    #[serde(rename = "b")]
    Block,
    /// Character devices.
    #[serde(rename = "c", alias = "u")]
    Char,
}

/// A rule in numbers, ready to be compared with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    allow: bool,
    kind: DeviceKind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

// BPF_DEVCG_ACC_* of linux/bpf.h.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const EVERY_ACCESS: u8 = MKNOD | READ | WRITE;
// BPF_DEVCG_DEV_*.
const TYPE_BLOCK: i32 = 1;
const TYPE_CHAR: i32 = 2;

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
    fn is_final(&self) -> bool {
        self.kind == DeviceKind::All
            && self.major.is_none()
            && self.minor.is_none()
            && self.access == EVERY_ACCESS
    }

    /// The lines for `devices.allow` or `devices.deny` (cgroup-v1/devices.rst). There `a` stands for every device and
    /// every access, whatever follows it, so a narrower rule for both kinds takes two lines.
    fn legacy_lines(&self) -> Vec<String> {
        match self.kind {
            DeviceKind::All if self.is_final() => vec!["a".to_owned()],
            DeviceKind::All => vec![self.legacy_line('b'), self.legacy_line('c')],
            DeviceKind::Block => vec![self.legacy_line('b')],
            DeviceKind::Char => vec![self.legacy_line('c')],
        }
    }

    fn legacy_line(&self, kind: char) -> String {
        let number = |value: Option<u32>| value.map_or_else(|| "*".to_owned(), |value| value.to_string());
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        let access: String =
            letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// The writes that enforce `rules` on v1: the file and its value, in order.
#[must_use]
pub fn legacy_writes(rules: &[Rule]) -> Vec<(&'static str, String)> {
    let file = |rule: &Rule| if rule.allow { "devices.allow" } else { "devices.deny" };
    rules.iter().flat_map(|rule| rule.legacy_lines().into_iter().map(|line| (file(rule), line))).collect()
}

/// The rule book in plain words: whether all of `access` to a device is allowed.
#[must_use]
pub fn decide(rules: &[Rule], kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
    let matches = |rule: &&Rule| {
        (rule.kind == DeviceKind::All || rule.kind == kind)
            && rule.major.is_none_or(|value| value == major)
            && rule.minor.is_none_or(|value| value == minor)
    };
    [MKNOD, READ, WRITE].into_iter().filter(|bit| access & bit != 0).all(|bit| {
        rules.iter().rev().filter(matches).find(|rule| rule.access & bit != 0).is_some_and(|rule| rule.allow)
    })
}

/// The eBPF program that enforces `rules` on v2.
///
/// It goes through the rules from the last to the first with the accesses nobody has decided yet in a register:
/// a matching rule that denies any of them ends it with "no", one that allows takes its own out, and when none
/// are left the answer is "yes".
#[must_use]
pub fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut code = Vec::with_capacity(8 + rules.len() * 8);
    // r1 points at struct bpf_cgroup_dev_ctx { access_type, major, minor }.
    code.extend([
        load_word(R_KIND, 0),
        copy_register(R_ACCESS, R_KIND),
        and_immediate(R_KIND, 0xffff),
        shift_right(R_ACCESS, 16),
        load_word(R_MAJOR, 4),
        load_word(R_MINOR, 8),
    ]);
    let mut last_first: Vec<Rule> = rules.iter().rev().copied().collect();
    match last_first.iter().position(Rule::is_final) {
        // Nothing gets past this one; the verifier refuses code that cannot be reached.
        Some(index) => {
            last_first.truncate(index + 1);
            code.extend(by_kind(&last_first));
        }
        None => {
            code.extend(by_kind(&last_first));
            code.extend(answer(false));
        }
    }
    code
}

/// The code for `rules`, first to last. Neighbours of the same kind share the test for it, because the time the kernel
/// takes to verify a program grows with its branches.
fn by_kind(rules: &[Rule]) -> Vec<Instruction> {
    let groups = rules.chunk_by(|a, b| a.kind == b.kind).map(|group| {
        let kind = match group.first().map(|rule| rule.kind) {
            Some(DeviceKind::Block) => Some(TYPE_BLOCK),
            Some(DeviceKind::Char) => Some(TYPE_CHAR),
            _ => None,
        };
        only_if(R_KIND, kind, by_major(reachable(group, |rule| rule.major.is_none() && rule.minor.is_none())))
    });
    groups.flatten().collect()
}

fn by_major(rules: &[Rule]) -> Vec<Instruction> {
    let groups = rules.chunk_by(|a, b| a.major == b.major).map(|group| {
        let major = group.first().and_then(|rule| rule.major);
        let minors = reachable(group, |rule| rule.minor.is_none())
            .iter()
            .flat_map(|rule| only_if(R_MINOR, rule.minor.map(u32::cast_signed), action(rule)));
        only_if(R_MAJOR, major.map(u32::cast_signed), minors.collect())
    });
    groups.flatten().collect()
}

/// The rules up to the first that decides whatever gets to it; the verifier refuses code that cannot be reached.
fn reachable(rules: &[Rule], matches_all: impl Fn(&Rule) -> bool) -> &[Rule] {
    let last = rules.iter().position(|rule| rule.access == EVERY_ACCESS && matches_all(rule));
    &rules[..last.map_or(rules.len(), |index| index + 1)]
}

/// `code`, skipped unless the register has the value, if one is asked for.
fn only_if(register: u8, value: Option<i32>, mut code: Vec<Instruction>) -> Vec<Instruction> {
    if let Some(value) = value {
        let skip = i16::try_from(code.len()).unwrap_or(i16::MAX);
        code.insert(0, jump_unless_equal(register, value, skip));
    }
    code
}

/// What a rule does once it matches.
fn action(rule: &Rule) -> Vec<Instruction> {
    let access = i32::from(rule.access);
    match (rule.allow, rule.access == EVERY_ACCESS) {
        (allow, true) => answer(allow).to_vec(),
        (true, false) => {
            let mut code = vec![and_immediate(R_ACCESS, !access & 7), jump_unless_equal(R_ACCESS, 0, 2)];
            code.extend(answer(true));
            code
        }
        (false, false) => {
            let mut code = vec![jump_if_any(R_ACCESS, access, 1), jump_over(2)];
            code.extend(answer(false));
            code
        }
    }
}

const R_KIND: u8 = 2;
const R_ACCESS: u8 = 3;
const R_MAJOR: u8 = 4;
const R_MINOR: u8 = 5;

const fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers, offset, immediate }
}

/// `target = *(u32 *)(r1 + offset)`
const fn load_word(target: u8, offset: i16) -> Instruction {
    instruction(0x61, (1 << 4) | target, offset, 0)
}

/// `target = source` (32 bits)
const fn copy_register(target: u8, source: u8) -> Instruction {
    instruction(0xbc, (source << 4) | target, 0, 0)
}

/// `register &= value` (32 bits)
const fn and_immediate(register: u8, value: i32) -> Instruction {
    instruction(0x54, register, 0, value)
}

/// `register >>= bits` (32 bits)
const fn shift_right(register: u8, bits: i32) -> Instruction {
    instruction(0x74, register, 0, bits)
}

/// `if register != value, skip` (32 bits, so that a major number above 2³¹ is not taken for a negative one)
const fn jump_unless_equal(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x56, register, skip, value)
}

/// `if register & value, skip` (32 bits)
const fn jump_if_any(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x46, register, skip, value)
}

const fn jump_over(skip: i16) -> Instruction {
    instruction(0x05, 0, skip, 0)
}

/// `return allow`
const fn answer(allow: bool) -> [Instruction; 2] {
    [instruction(0xb7, 0, 0, allow as i32), instruction(0x95, 0, 0, 0)]
}

#[cfg(test)]
mod tests;
