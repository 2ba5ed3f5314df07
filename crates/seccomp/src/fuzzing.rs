//! Any bytes as a profile, or as a program: for the fuzz target `seccomp`, and for the test that feeds its inputs
//! (`fuzz/seeds/seccomp`, `fuzz/corpus/seccomp`). What is compiled is a program that the kernel takes, and says of calls at
//! the edges what the profile says.
#![allow(clippy::panic, reason = "who broke a promise is to be found")]

use crate::action::ACTIONS;
use crate::architecture::Architecture;
use crate::condition::OPERATORS;
use crate::{
    Argument, Data, Instruction, Judge, Options, Profile, Rule, compile, disassemble, is_valid, run,
    syscall_names,
};

/// How many rules a profile has at most: more take longer and show nothing else.
const MOST_RULES: usize = 40;

/// Values at which halves and comparisons change.
const EDGES: [u64; 8] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, 0xffff_ffff << 32, u64::MAX];

/// Takes bytes for what the first of them says.
pub fn feed(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, program)) => show(program),
        Some((_, profile)) => check(&mut Bytes(profile)),
        None => {}
    }
}

/// Takes bytes for a program.
fn show(bytes: &[u8]) {
    let (chunks, _) = bytes.as_chunks::<{ Instruction::SIZE }>();
    let program: Vec<Instruction> = chunks.iter().map(|bytes| Instruction::from_bytes(*bytes)).collect();
    assert_eq!(disassemble(&program).lines().count(), program.len(), "a line for each instruction");
    let answer = run(&program, &Data::default());
    assert!(!is_valid(&program) || answer.is_some(), "a valid program gives an answer");
}

/// Compiles a profile, and compares what comes of it with what the profile says.
fn check(bytes: &mut Bytes<'_>) {
    let names: Vec<&str> = syscall_names().collect();
    let architectures: Vec<Architecture> = Architecture::all().collect();
    let native = bytes.one_of(&architectures);
    let profile = profile(bytes, &names, &architectures);
    let options = Options { native, refuse_unknown_names: bytes.next().is_multiple_of(16) };
    let judge = Judge::new(&profile, &options);
    let Ok(filter) = compile(&profile, &options) else {
        return;
    };
    let Ok(judge) = judge else { panic!("compiled, but not to be judged: {profile:#?}") };
    assert!(is_valid(&filter.program), "{profile:#?}\n{}", disassemble(&filter.program));
    let arguments = arguments(&profile);
    for architecture in judge.architectures() {
        for number in numbers(&profile, *architecture) {
            for arguments in &arguments {
                let data = Data {
                    number,
                    architecture: architecture.token(),
                    arguments: *arguments,
                    ..Data::default()
                };
                let said = judge.judge(&data).action;
                let done = run(&filter.program, &data).map(|answer| answer.action);
                assert_eq!(done, Some(said), "{data:x?} {profile:#?}\n{}", disassemble(&filter.program));
            }
        }
    }
}

/// The numbers of the calls that a profile names, their neighbours, and those at the edges.
fn numbers(profile: &Profile<'_>, architecture: Architecture) -> Vec<u32> {
    let names = profile.rules.iter().flat_map(|rule| &rule.names).chain(&["socketcall", "ipc"]);
    let mut numbers: Vec<u32> = names.filter_map(|name| architecture.syscall_number(name)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let around = |number: &u32| [number.wrapping_sub(1), *number, number.wrapping_add(1)];
    let mut numbers: Vec<u32> = numbers.iter().flat_map(around).collect();
    numbers.extend([0, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, u32::MAX - 1, u32::MAX]);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Arguments that are what a rule asks for, and that are a little off.
fn arguments(profile: &Profile<'_>) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6], [u64::MAX; 6]];
    for rule in &profile.rules {
        for off in [0, 1, u64::MAX, 1 << 32] {
            let mut arguments = [0; 6];
            for argument in &rule.arguments {
                if let Some(place) =
                    usize::try_from(argument.index).ok().and_then(|index| arguments.get_mut(index))
                {
                    *place = argument.value.wrapping_add(off);
                }
            }
            all.push(arguments);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn profile<'a>(bytes: &mut Bytes<'_>, names: &[&'a str], architectures: &[Architecture]) -> Profile<'a> {
    let (default_action, default_errno) = action(bytes);
    let count = bytes.next() % 4;
    let architectures = (0..count).map(|_| match bytes.next() {
        u8::MAX => "SCMP_ARCH_VAX",
        at => architectures[usize::from(at) % architectures.len()].name(),
    });
    let architectures = architectures.collect();
    let mut rules = Vec::new();
    while !bytes.0.is_empty() && rules.len() < MOST_RULES {
        rules.push(rule(bytes, names));
    }
    Profile { default_action, default_errno, architectures, rules }
}

fn rule<'a>(bytes: &mut Bytes<'_>, names: &[&'a str]) -> Rule<'a> {
    let (action, errno) = action(bytes);
    let count = bytes.next() % 12;
    let names = (0..count).map(|_| match bytes.next() {
        u8::MAX => "no_such_call",
        high => names[(usize::from(high) << 8 | usize::from(bytes.next())) % names.len()],
    });
    let names = names.collect();
    let count = bytes.next() % 5;
    Rule { names, action, errno, arguments: (0..count).map(|_| argument(bytes)).collect() }
}

fn argument(bytes: &mut Bytes<'_>) -> Argument<'static> {
    let index = u32::from(bytes.next() % 7);
    let operator = OPERATORS.get(usize::from(bytes.next() % 8)).copied().unwrap_or("SCMP_CMP_IS");
    Argument { index, value: bytes.value(), value_two: bytes.value(), operator }
}

fn action(bytes: &mut Bytes<'_>) -> (&'static str, Option<u32>) {
    let action = ACTIONS.get(usize::from(bytes.next() % 10)).copied().unwrap_or("SCMP_ACT_PERHAPS");
    let errno = match bytes.next() % 4 {
        0 => Some(u32::from(bytes.next())),
        1 => Some(u32::from(bytes.next()) << 8),
        _ => None,
    };
    (action, errno)
}

/// Bytes that are taken one after the other, and are 0 in the end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.next()) % of.len()]
    }

    fn value(&mut self) -> u64 {
        match self.next() {
            at if usize::from(at) < EDGES.len() => EDGES[usize::from(at)],
            _ => u64::from_le_bytes([0; 8].map(|_: u8| self.next())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn nothing_of_the_corpus_breaks_the_compiler() {
        let mut count = 0;
        for kind in ["seeds", "corpus"] {
            let directory =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join("seccomp");
            for file in std::fs::read_dir(directory).unwrap() {
                let path = file.unwrap().path();
                println!("{}", path.display());
                feed(&std::fs::read(path).unwrap());
                count += 1;
            }
        }
        assert!(count > 50, "the corpus is gone");
    }
}
