//! The compiler against libseccomp: the same profiles, by both made into programs, which have to say the same of every
//! call. libseccomp is asked through a small C program that is built here; without a C compiler or the library (Debian:
//! gcc, libseccomp-dev) the tests are skipped.
//!
//! What may differ, and is checked to be that:
//! - Calls newer than the profile are `ENOSYS` here, and the default action there.
//! - Of several rules with conditions the first in the profile that holds decides here. There it is another, or, because it
//!   compares what another argument has left behind, none: then each rule is compared alone.
//! - Names that only one of the two knows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]
#![allow(clippy::print_stderr, reason = "why a test is skipped is printed")]

mod kit;
#[path = "libseccomp/oracle.rs"]
mod oracle;

use std::collections::{BTreeSet, HashMap};

use kit::{Random, TOGETHER};
use oracle::Oracle;
use seccomp::{
    Action, Architecture, Data, Filter, Instruction, Judge, Options, Profile, Reason, Rule, compile,
    disassemble, run,
};

/// The profile of Debian's package golang-github-containers-common.
const CONTAINERS: &str = "/usr/share/containers/seccomp.json";

/// How many random profiles are compared.
const PROFILES: usize = 2000;

/// A profile, and what both make of it.
struct Both<'a> {
    oracle: &'a mut Oracle,
    profile: &'a Profile<'static>,
    architectures: &'a [Architecture],
    ours: Filter,
    theirs: Vec<Instruction>,
    judge: Judge<'static>,
    default: Action,
    /// What libseccomp makes of one alternative of one rule for one call.
    alone: HashMap<(usize, &'static str, usize), Vec<Instruction>>,
}

impl Both<'_> {
    /// Compares what both say of a call.
    fn compare(&mut self, call: &Data) {
        let ours = run(&self.ours.program, call).expect("a valid program").action;
        let theirs = run(&self.theirs, call).expect("a valid program of libseccomp's").action;
        if ours == theirs {
            return;
        }
        let is_newer = self.judge.judge(call).reason == Reason::Newer && theirs == self.default;
        if !is_newer {
            assert_eq!(
                ours,
                self.first_that_holds(call).unwrap_or(self.default),
                "{theirs} in libseccomp of {call:x?}: {:#?}\n{}\n{}",
                self.profile,
                disassemble(&self.ours.program),
                disassemble(&self.theirs)
            );
        }
    }

    /// What the first rule says of which libseccomp, when it knows no other, says that it holds.
    fn first_that_holds(&mut self, call: &Data) -> Option<Action> {
        let by_number =
            |it: &Architecture| it.token() == call.architecture && it.syscall_name(call.number).is_some();
        let name = self.architectures.iter().find(|it| by_number(it))?.syscall_name(call.number)?;
        let is_for_many = matches!(name, "socketcall" | "ipc");
        for (at, rule) in self.profile.rules.iter().enumerate() {
            let called = rule.names.iter().filter(|it| **it == name || is_for_many);
            let alternatives = oracle::alternatives(rule).into_iter().enumerate();
            for (called, (place, arguments)) in
                called.flat_map(|called| alternatives.clone().map(move |it| (called, it)))
            {
                let program = self.alone.entry((at, called, place)).or_insert_with(|| {
                    let rule = Rule { names: vec![called], arguments: arguments.to_vec(), ..rule.clone() };
                    // Where it is asked about one call only, libseccomp forgets to load its number.
                    let other = if *called == "getpid" { "getppid" } else { "getpid" };
                    let other = Rule { names: vec![other], arguments: Vec::new(), ..rule.clone() };
                    let alone = Profile { rules: vec![rule, other], ..self.profile.clone() };
                    self.oracle.program(&alone, self.architectures).1
                });
                let action = run(program, call).expect("a valid program of libseccomp's").action;
                if action != self.default {
                    return Some(action);
                }
            }
        }
        None
    }
}

/// Compares what both make of a profile, for every number of its architectures.
fn compare(
    oracle: &mut Oracle,
    random: &mut Random,
    profile: &Profile<'static>,
    architectures: &[Architecture],
) {
    let options = Options { native: architectures[0], refuse_unknown_names: false };
    let (profile, theirs) = oracle.program(profile, architectures);
    let empty = Judge::new(&Profile { rules: Vec::new(), ..profile.clone() }, &options).unwrap();
    let somewhere = Data { architecture: options.native.token(), ..Data::default() };
    let mut both = Both {
        oracle,
        profile: &profile,
        architectures,
        ours: compile(&profile, &options).unwrap(),
        theirs,
        judge: Judge::new(&profile, &options).unwrap(),
        default: empty.judge(&somewhere).action,
        alone: HashMap::new(),
    };
    let named: BTreeSet<&str> = profile.rules.iter().flat_map(|rule| &rule.names).copied().collect();
    for architecture in architectures {
        for number in kit::numbers(*architecture) {
            if both.oracle.differs(*architecture, number) {
                continue;
            }
            both.compare(&kit::call(*architecture, number, [0; 6]));
            let Some(name) = architecture.syscall_name(number) else {
                continue;
            };
            let is_for_many = matches!(name, "socketcall" | "ipc");
            if !named.contains(name) && !is_for_many {
                continue;
            }
            for mut arguments in kit::arguments(random, &profile, (!is_for_many).then_some(name)) {
                both.compare(&kit::call(*architecture, number, arguments));
                arguments[0] = random.next() % 26;
                both.compare(&kit::call(*architecture, number, arguments));
            }
        }
    }
    // A token that no profile names.
    both.compare(&Data { architecture: 0x4000_9026, ..Data::default() });
}

#[test]
fn random_profiles_mean_to_the_compiler_what_they_mean_to_libseccomp() {
    let mut oracle = match Oracle::start() {
        Ok(oracle) => oracle,
        Err(reason) => return eprintln!("skipped: random profiles against libseccomp: {reason}"),
    };
    let mut random = Random(5);
    for _ in 0..PROFILES {
        let architectures = random.one_of(&TOGETHER);
        if architectures.iter().all(|architecture| oracle.knows(*architecture)) {
            let names = oracle.names().to_vec();
            let profile = kit::profile(&mut random, architectures, &names);
            compare(&mut oracle, &mut random, &profile, architectures);
        }
    }
}

#[test]
fn the_numbers_of_calls_are_those_of_libseccomp() {
    let mut oracle = match Oracle::start() {
        Ok(oracle) => oracle,
        Err(reason) => return eprintln!("skipped: numbers of calls against libseccomp: {reason}"),
    };
    for architecture in Architecture::all() {
        if !oracle.knows(architecture) {
            continue;
        }
        for name in kit::names() {
            let (ours, theirs) = (architecture.syscall_number(name), oracle.resolve(architecture, name));
            if let (Some(ours), 0..) = (ours, theirs) {
                assert_eq!(i64::from(ours), theirs, "{name} on {architecture:?}");
            }
        }
    }
}

#[test]
fn the_profile_of_the_containers_project_means_what_it_means_to_libseccomp() {
    let mut oracle = match Oracle::start() {
        Ok(oracle) => oracle,
        Err(reason) => {
            return eprintln!("skipped: the containers project's profile against libseccomp: {reason}");
        }
    };
    let Ok(text) = std::fs::read_to_string(CONTAINERS) else {
        return eprintln!("skipped: the containers project's profile: no {CONTAINERS}");
    };
    let text: &'static str = text.leak();
    let mut random = Random(6);
    for architectures in TOGETHER {
        if !architectures.iter().all(|architecture| oracle.knows(*architecture)) {
            continue;
        }
        for rights in [&["CAP_SYS_ADMIN", "CAP_AUDIT_WRITE"][..], &[]] {
            let profile = kit::containers::profile(text, architectures, rights);
            compare(&mut oracle, &mut random, &profile, architectures);
        }
    }
}
