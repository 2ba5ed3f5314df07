//! The device program against the plain rule book, on an interpreter of the few instructions it uses.

use sys::bpf::Instruction;

use super::program::{TYPE_BLOCK, TYPE_CHAR, asks, both};
use super::*;

fn rule(allow: bool, kind: DeviceKind, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
    DeviceRule { allow, kind, major, minor, access: Some(access.to_owned()) }
}

/// Runs `code` for one request.
fn run(code: &[Instruction], kind: i32, major: u32, minor: u32, access: u8) -> bool {
    let context = [u32::from(access) << 16 | kind.cast_unsigned(), major, minor];
    let mut registers = [0_u32; 11];
    let mut at = 0_usize;
    loop {
        let Instruction { code: operation, registers: packed, offset, immediate } = code[at];
        let (target, source) = (usize::from(packed & 15), usize::from(packed >> 4));
        let value = immediate.cast_unsigned();
        at += 1;
        let jump = match operation {
            0x61 => {
                registers[target] = context[usize::try_from(offset).unwrap() / 4];
                false
            }
            0xbc => {
                registers[target] = registers[source];
                false
            }
            0x54 => {
                registers[target] &= value;
                false
            }
            0x74 => {
                registers[target] >>= value;
                false
            }
            0x7c => {
                registers[target] >>= registers[source];
                false
            }
            0xb4 | 0xb7 => {
                registers[target] = value;
                false
            }
            0x26 => registers[target] > value,
            0x56 => registers[target] != value,
            0x16 => registers[target] == value,
            0x46 => registers[target] & value != 0,
            0x05 => true,
            0x95 => return registers[0] != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        if jump {
            at += usize::try_from(offset).unwrap();
        }
    }
}

/// A small generator, so that the test needs nothing and repeats itself exactly.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn number(&mut self) -> Option<i64> {
        match self.below(4) {
            0 => None,
            other => Some(i64::try_from(other).unwrap()),
        }
    }

    fn rule(&mut self) -> DeviceRule {
        let kind =
            [DeviceKind::All, DeviceKind::Block, DeviceKind::Char][usize::try_from(self.below(3)).unwrap()];
        let access = ["r", "w", "m", "rw", "rm", "wm", "rwm"][usize::try_from(self.below(7)).unwrap()];
        rule(self.below(2) == 0, kind, self.number(), self.number(), access)
    }

    /// Some alone, some followed by their like for other minor numbers or for the other kind.
    fn rules(&mut self) -> Vec<DeviceRule> {
        let mut all = Vec::new();
        for _ in 0..=self.below(8) {
            let first = self.rule();
            all.push(first.clone());
            match self.below(4) {
                0 => all.extend((0..self.below(5)).map(|_| {
                    let minor = MINORS[usize::try_from(self.below(8)).unwrap()];
                    DeviceRule { minor: Some(i64::from(minor)), ..first.clone() }
                })),
                1 => all.push(DeviceRule { kind: DeviceKind::Block, ..first }),
                _ => {}
            }
        }
        all
    }
}

/// Minor numbers at the ends of what a word has a bit for, too.
const MINORS: [u32; 8] = [0, 1, 2, 3, 30, 31, 32, 33];

/// Every request for a device whose numbers some rule names, or none does.
fn requests() -> impl Iterator<Item = (DeviceKind, u32, u32, u8)> {
    let kinds = [DeviceKind::Block, DeviceKind::Char].into_iter();
    let pairs = kinds.flat_map(|kind| (0..5).flat_map(move |a| MINORS.map(move |b| (kind, a, b))));
    pairs.flat_map(|(kind, a, b)| (1..8).map(move |access| (kind, a, b, access)))
}

fn number(kind: DeviceKind) -> i32 {
    if kind == DeviceKind::Block { TYPE_BLOCK } else { TYPE_CHAR }
}

#[test]
fn the_program_decides_as_the_rule_book_for_random_rules_and_every_request() {
    let mut random = Random(1);
    for _ in 0..1500 {
        let configured = random.rules();
        let rules = rules(&configured).unwrap();
        let code = program(&rules);
        for (kind, major, minor, access) in requests() {
            assert_eq!(
                run(&code, number(kind), major, minor, access),
                decide(&rules, kind, major, minor, access),
                "{configured:?} for {kind:?} {major}:{minor} access {access}"
            );
        }
    }
}

#[test]
fn two_programs_in_one_allow_what_both_allow_and_so_do_three() {
    let mut random = Random(3);
    for _ in 0..400 {
        let lists: Vec<_> = (0..3).map(|_| rules(&random.rules()).unwrap()).collect();
        let codes: Vec<_> = lists.iter().map(|rules| program(rules)).collect();
        let two = both(&codes[0], &codes[1]).unwrap();
        let three = both(&two, &codes[2]).unwrap();
        assert!(codes.iter().all(|code| asks(&three, code)) && asks(&two, &codes[1]));
        for (kind, major, minor, access) in requests() {
            let says = |code: &[_]| run(code, number(kind), major, minor, access);
            let all =
                |lists: &[Vec<Rule>]| lists.iter().all(|rules| decide(rules, kind, major, minor, access));
            assert_eq!((says(&two), says(&three)), (all(&lists[..2]), all(&lists)));
        }
    }
}

#[test]
fn a_list_of_any_length_has_jumps_that_end_where_they_should() {
    for kind in [DeviceKind::Char, DeviceKind::All] {
        let configured: Vec<_> =
            (0..9000).map(|minor| rule(minor % 2 == 0, kind, Some(7), Some(minor), "r")).collect();
        let rules = rules(&configured).unwrap();
        let code = program(&rules);
        for (major, minor) in [(7, 0), (7, 1), (7, 4000), (7, 4001), (7, 8998), (7, 8999), (8, 0), (1, 3)] {
            let decided = decide(&rules, DeviceKind::Char, major, minor, READ);
            assert_eq!(run(&code, TYPE_CHAR, major, minor, READ), decided, "{major}:{minor}");
        }
    }
}

#[test]
fn with_everything_denied_the_default_devices_remain() {
    let rules = rules(&[rule(false, DeviceKind::All, None, None, "rwm")]).unwrap();
    let allowed = |major, minor, access| decide(&rules, DeviceKind::Char, major, minor, access);
    assert!(allowed(1, 3, READ | WRITE | MKNOD));
    assert!(allowed(136, 17, READ | WRITE));
    assert!(allowed(1, 11, MKNOD) && !allowed(1, 11, READ));
}

#[test]
fn every_instruction_can_be_reached() {
    let mut random = Random(2);
    for _ in 0..400 {
        let configured = random.rules();
        let code = program(&rules(&configured).unwrap());
        let mut reached = vec![false; code.len()];
        let mut open = vec![0_usize];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut reached[at], true) {
                continue;
            }
            let target = || at + 1 + usize::try_from(code[at].offset).unwrap();
            match code[at].code {
                0x95 => {}
                0x05 => open.push(target()),
                0x26 | 0x56 | 0x46 | 0x16 => open.extend([at + 1, target()]),
                _ => open.push(at + 1),
            }
        }
        assert!(reached.iter().all(|reached| *reached), "{configured:?}");
    }
}

#[test]
fn small_minor_numbers_are_looked_for_together() {
    let one = |minor| rule(true, DeviceKind::Char, Some(7), Some(minor), "rwm");
    let length = |minors: &[i64]| {
        let configured: Vec<_> = minors.iter().copied().map(one).collect();
        program(&rules(&configured).unwrap()).len()
    };
    assert_eq!(length(&[0, 4, 31]), length(&[0, 4, 9, 17, 30, 31]));
    assert!(length(&[0, 4, 31, 32, 33]) > length(&[0, 4, 31]));
}

#[test]
fn no_rules_leave_all_devices_usable() {
    assert_eq!(rules(&[]).unwrap(), []);
}

#[test]
fn a_wrong_access_letter_is_named() {
    let error = rules(&[rule(true, DeviceKind::Char, None, None, "rx")]).unwrap_err();
    assert!(error.message.starts_with("linux.resources.devices[0].access"));
}

mod legacy;
