//! What the tests of the crate share: random profiles, and the calls at which they could go wrong.

#![allow(dead_code, reason = "no test needs all of it")]

pub(crate) mod containers;
pub(crate) mod program;

use seccomp::{ACTIONS, Architecture, Argument, Data, OPERATORS, Profile, Rule, syscall_names};

/// A source of numbers that look random and are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or_default()
    }

    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// The architectures that a kernel runs together, the native one first.
pub(crate) const TOGETHER: [&[Architecture]; 24] = [
    &[Architecture::X86_64],
    &[Architecture::X86_64, Architecture::X86],
    &[Architecture::X86_64, Architecture::X32],
    &[Architecture::X86_64, Architecture::X86, Architecture::X32],
    &[Architecture::X86],
    &[Architecture::Aarch64],
    &[Architecture::Aarch64, Architecture::Arm],
    &[Architecture::Arm],
    &[Architecture::Riscv64],
    &[Architecture::LoongArch64],
    &[Architecture::S390x],
    &[Architecture::S390x, Architecture::S390],
    &[Architecture::Ppc64Le],
    &[Architecture::Ppc64, Architecture::Ppc],
    &[Architecture::Ppc],
    &[Architecture::Mips64, Architecture::Mips, Architecture::Mips64N32],
    &[Architecture::MipsEl64, Architecture::MipsEl, Architecture::MipsEl64N32],
    &[Architecture::MipsEl],
    &[Architecture::PaRisc],
    &[Architecture::PaRisc64, Architecture::PaRisc],
    &[Architecture::M68k],
    &[Architecture::Sh],
    &[Architecture::ShEb],
    &[Architecture::S390],
];

/// Values at which halves, signs and comparisons change.
const EDGES: [u64; 12] = [
    0,
    1,
    2,
    40,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

/// A profile of a few rules, with conditions on arguments, of the calls that are in `names`.
pub(crate) fn profile(
    random: &mut Random,
    architectures: &[Architecture],
    names: &[&'static str],
) -> Profile<'static> {
    let default_action = random.one_of(&ACTIONS);
    let rules = (0..random.below(14)).map(|_| rule(random, names)).collect();
    Profile {
        default_action,
        default_errno: errno(random, default_action),
        architectures: architectures[1..].iter().map(|architecture| architecture.name()).collect(),
        rules,
    }
}

fn rule(random: &mut Random, names: &[&'static str]) -> Rule<'static> {
    let action = random.one_of(&ACTIONS);
    // Often the same calls, so that rules meet; sometimes many that follow each other, sometimes those made through others.
    let names = match random.below(4) {
        0 => vec![random.one_of(&["read", "write", "socket", "clone", "ioctl"])],
        1 => (0..random.below(6))
            .map(|_| random.one_of(&["accept4", "socket", "semop", "shmat", "ipc", "socketcall"]))
            .collect(),
        _ => (0..random.below(60)).map(|_| random.one_of(names)).collect(),
    };
    let arguments = match random.below(3) {
        0 => (0..random.below(4)).map(|_| argument(random)).collect(),
        _ => Vec::new(),
    };
    Rule { names, action, errno: errno(random, action), arguments }
}

fn argument(random: &mut Random) -> Argument<'static> {
    Argument {
        index: u32::try_from(random.below(6)).unwrap_or_default(),
        value: value(random),
        value_two: value(random),
        operator: random.one_of(&OPERATORS),
    }
}

fn value(random: &mut Random) -> u64 {
    if random.one_in(5) { random.next() } else { random.one_of(&EDGES) }
}

fn errno(random: &mut Random, action: &str) -> Option<u32> {
    let takes_one = matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
    (takes_one && random.one_in(2)).then(|| random.one_of(&[0, 1, 38, 4094]))
}

/// The names of all calls.
pub(crate) fn names() -> Vec<&'static str> {
    syscall_names().collect()
}

/// Calls from an architecture by each of its numbers and beyond, and by numbers of other tables, with no arguments.
pub(crate) fn numbers(architecture: Architecture) -> Vec<u32> {
    let highest = names()
        .into_iter()
        .filter_map(|name| architecture.syscall_number(name))
        .filter(|it| it & 0xf_0000 == 0);
    let highest = highest.map(|number| number & 0xffff).max().unwrap_or_default();
    let mut numbers: Vec<u32> = (0..highest + 20).collect();
    if architecture.token() == Architecture::X32.token() {
        numbers.extend(numbers.clone().iter().map(|number| number | 0x4000_0000));
    }
    numbers.extend(0xf_0000 - 1..0xf_0010);
    numbers.extend([
        0xffff,
        0x3fff_ffff,
        0x7fff_ffff,
        0x8000_0000,
        0xbfff_ffff,
        0xc000_0000,
        u32::MAX - 1,
        u32::MAX,
    ]);
    numbers
}

/// Arguments at which the conditions of a profile change: each value and its neighbours, with one half of it only, for one
/// argument at a time and for those of a rule together.
pub(crate) fn arguments(random: &mut Random, profile: &Profile<'_>, name: Option<&str>) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6], [u64::MAX; 6]];
    let of_call = |rule: &&Rule<'_>| name.is_none_or(|name| rule.names.contains(&name));
    for rule in profile.rules.iter().filter(of_call) {
        for _ in 0..12 {
            let mut arguments = [0; 6].map(|_: u64| value(random));
            for condition in &rule.arguments {
                arguments[condition.index as usize] = near(random, condition);
            }
            all.push(arguments);
        }
    }
    all
}

fn near(random: &mut Random, condition: &Argument<'_>) -> u64 {
    let value = if condition.operator == "SCMP_CMP_MASKED_EQ" {
        (condition.value & condition.value_two) | (!condition.value & random.next())
    } else {
        condition.value
    };
    match random.below(8) {
        0 => value.wrapping_add(1),
        1 => value.wrapping_sub(1),
        2 => value ^ 0x1_0000_0000,
        3 => value & 0xffff_ffff,
        4 => value ^ (1 << random.below(64)),
        _ => value,
    }
}

/// A call for the interpreter.
pub(crate) fn call(architecture: Architecture, number: u32, arguments: [u64; 6]) -> Data {
    Data { number, architecture: architecture.token(), arguments, ..Data::default() }
}
