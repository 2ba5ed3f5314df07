//! The programs against the meaning of the profiles, read from the top: for random profiles of every architecture, every
//! number, and arguments at the edges of the conditions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

mod kit;

use kit::{Random, TOGETHER};
use seccomp::{Architecture, Data, Filter, Judge, Options, Profile, compile, disassemble, is_valid, run};

/// Compares a program with its profile for a call.
fn compare(filter: &Filter, judge: &Judge<'_>, profile: &Profile<'_>, call: &Data) {
    let verdict = judge.judge(call);
    let answer = run(&filter.program, call).expect("a valid program");
    assert_eq!(
        answer.action,
        verdict.action,
        "{call:x?} {verdict:?} {profile:#?}\n{}",
        disassemble(&filter.program)
    );
}

fn compare_all(random: &mut Random, profile: &Profile<'_>, architectures: &[Architecture]) {
    let options = Options { native: architectures[0], refuse_unknown_names: false };
    let filter = compile(profile, &options).unwrap();
    assert!(is_valid(&filter.program), "{profile:#?}\n{}", disassemble(&filter.program));
    let judge = Judge::new(profile, &options).unwrap();
    let edges = kit::arguments(random, profile, None);
    for architecture in architectures {
        for number in kit::numbers(*architecture) {
            compare(&filter, &judge, profile, &kit::call(*architecture, number, random.one_of(&edges)));
            compare(&filter, &judge, profile, &kit::call(*architecture, number, random.one_of(&edges)));
        }
    }
}

#[test]
fn programs_do_what_their_profiles_say() {
    let mut random = Random(1);
    let names = kit::names();
    for _ in 0..400 {
        let architectures = random.one_of(&TOGETHER);
        let profile = kit::profile(&mut random, architectures, &names);
        compare_all(&mut random, &profile, architectures);
    }
}

#[test]
fn long_programs_jump_as_far_as_they_have_to() {
    let mut random = Random(2);
    let names = kit::names();
    for _ in 0..40 {
        let architectures = TOGETHER[3];
        let mut profile = kit::profile(&mut random, architectures, &names);
        while compile(&profile, &Options::default()).is_ok() {
            let more = kit::profile(&mut random, architectures, &names);
            profile.rules.extend(more.rules.into_iter().filter(|rule| !rule.arguments.is_empty()));
        }
        while compile(&profile, &Options::default()).is_err() {
            profile.rules.pop();
        }
        compare_all(&mut random, &profile, architectures);
    }
}
