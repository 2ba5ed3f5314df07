//! The eBPF program that enforces device rules on v2.

use sys::bpf::Instruction;

use super::DeviceKind;
use super::rules::{EVERY_ACCESS, Rule};

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
    let mut last_first = without_kind(rules.iter().rev().copied());
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

/// A program that allows what both allow: where the first would say yes, the second is asked. `None` where that is too long
/// for a jump. The first has been made here too, or is such a pair; the kernel may have rewritten it meanwhile, but not
/// what it does.
pub(super) fn both(first: &[Instruction], second: &[Instruction]) -> Option<Vec<Instruction>> {
    let mut code = first.to_vec();
    for at in 1..first.len() {
        if first[at] == EXIT && first[at - 1] == answer(true)[0] {
            code[at] = jump_over(i16::try_from(first.len() - at - 1).ok()?);
        }
    }
    code.extend_from_slice(second);
    Some(code)
}

/// Whether a program made by [`both`] asks `part` already.
pub(super) fn asks(code: &[Instruction], part: &[Instruction]) -> bool {
    let same = |here: &Instruction, there: &Instruction| {
        here == there || *there == EXIT && here.code == JUMP && here.registers == 0
    };
    code.windows(part.len()).any(|window| window.iter().zip(part).all(|(here, there)| same(here, there)))
}

/// The code for `rules`, first to last. Neighbours of the same kind share the test for it, because the time the kernel
/// takes to verify a program grows with its branches.
fn by_kind(rules: &[Rule]) -> Vec<Instruction> {
    let groups = rules.chunk_by(|a, b| a.kind == b.kind).flat_map(|group| {
        let kind = match group.first().map(|rule| rule.kind) {
            Some(DeviceKind::Block) => Some(TYPE_BLOCK),
            Some(DeviceKind::Char) => Some(TYPE_CHAR),
            _ => None,
        };
        let group = reachable(group, |rule| rule.major.is_none() && rule.minor.is_none());
        // A jump reaches 32 767 instructions far.
        group.chunks(1000).flat_map(|part| only_if(R_KIND, kind, by_major(part))).collect::<Vec<_>>()
    });
    groups.collect()
}

fn by_major(rules: &[Rule]) -> Vec<Instruction> {
    let groups = rules.chunk_by(|a, b| a.major == b.major).map(|group| {
        let major = group.first().and_then(|rule| rule.major);
        let minors = by_minor(reachable(group, |rule| rule.minor.is_none()));
        only_if(R_MAJOR, major.map(u32::cast_signed), minors)
    });
    groups.flatten().collect()
}

fn by_minor(rules: &[Rule]) -> Vec<Instruction> {
    let is_small = |rule: &Rule| rule.minor.is_some_and(|minor| minor < 32);
    let alike = |a: &Rule, b: &Rule| (a.allow, a.access, is_small(a)) == (b.allow, b.access, is_small(b));
    let runs = rules.chunk_by(alike).map(|run| match run {
        [first, _, _, ..] if is_small(first) => {
            let minors = run.iter().filter_map(|rule| rule.minor).fold(0, |set, minor| set | 1 << minor);
            only_if_among(minors, action(first))
        }
        _ => run
            .iter()
            .flat_map(|rule| only_if(R_MINOR, rule.minor.map(u32::cast_signed), action(rule)))
            .collect(),
    });
    runs.flatten().collect()
}

/// Rules, of which two neighbours that differ in the kind alone are one for both kinds.
fn without_kind(rules: impl Iterator<Item = Rule>) -> Vec<Rule> {
    let mut merged: Vec<Rule> = Vec::new();
    for rule in rules {
        match merged.last_mut() {
            Some(last) if last.kind != rule.kind && (Rule { kind: last.kind, ..rule }) == *last => {
                last.kind = DeviceKind::All;
            }
            _ => merged.push(rule),
        }
    }
    merged
}

/// The rules up to the first that decides whatever gets to it; the verifier refuses code that cannot be reached.
fn reachable(rules: &[Rule], matches_all: impl Fn(&Rule) -> bool) -> &[Rule] {
    let last = rules.iter().position(|rule| rule.access == EVERY_ACCESS && matches_all(rule));
    &rules[..last.map_or(rules.len(), |index| index + 1)]
}

/// `code`, skipped unless the register has the value, if one is asked for. The verifier follows what comes next before
/// what is jumped to, and takes what it knows of the register for a reason to look at all that follows again: so the case
/// in which it knows nothing comes first, and the other adds no more than `code`.
fn only_if(register: u8, value: Option<i32>, code: Vec<Instruction>) -> Vec<Instruction> {
    let Some(value) = value else { return code };
    let skip = i16::try_from(code.len()).unwrap_or(i16::MAX);
    let mut all = vec![jump_if_equal(register, value, 1), jump_over(skip)];
    all.extend(code);
    all
}

/// `code`, skipped unless the minor number is in the set: for several of them at a time, because each branch costs the
/// verifier more than the rest.
fn only_if_among(minors: u32, code: Vec<Instruction>) -> Vec<Instruction> {
    let skip = i16::try_from(code.len()).unwrap_or(i16::MAX);
    let mut all = vec![
        jump_if_greater(R_MINOR, 31, skip.saturating_add(4)),
        set(R_SET, minors.cast_signed()),
        shift_right_by(R_SET, R_MINOR),
        jump_if_any(R_SET, 1, 1),
        jump_over(skip),
    ];
    all.extend(code);
    all
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

// BPF_DEVCG_DEV_* of linux/bpf.h.
pub(super) const TYPE_BLOCK: i32 = 1;
pub(super) const TYPE_CHAR: i32 = 2;

const R_KIND: u8 = 2;
const R_ACCESS: u8 = 3;
const R_MAJOR: u8 = 4;
const R_MINOR: u8 = 5;
const R_SET: u8 = 6;

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

/// `register = value` (32 bits)
const fn set(register: u8, value: i32) -> Instruction {
    instruction(0xb4, register, 0, value)
}

/// `register >>= other` (32 bits)
const fn shift_right_by(register: u8, other: u8) -> Instruction {
    instruction(0x7c, (other << 4) | register, 0, 0)
}

/// `if register > value, skip` (32 bits)
const fn jump_if_greater(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x26, register, skip, value)
}

/// `if register != value, skip` (32 bits, so that a major number above 2³¹ is not taken for a negative one)
const fn jump_unless_equal(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x56, register, skip, value)
}

/// `if register == value, skip` (32 bits)
const fn jump_if_equal(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x16, register, skip, value)
}

/// `if register & value, skip` (32 bits)
const fn jump_if_any(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x46, register, skip, value)
}

const JUMP: u8 = 0x05;

const EXIT: Instruction = instruction(0x95, 0, 0, 0);

const fn jump_over(skip: i16) -> Instruction {
    instruction(JUMP, 0, skip, 0)
}

/// `return allow`
const fn answer(allow: bool) -> [Instruction; 2] {
    [instruction(0xb7, 0, 0, allow as i32), EXIT]
}
