//! The interpreter against the kernel that the tests run on: what it says a program does to a call is what happens to a
//! process that makes the call. By `syscall` and, as a program of 32 bits does, by `int 0x80`.

#![cfg(target_arch = "x86_64")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]
#![allow(clippy::print_stderr, reason = "why a test is skipped is printed")]

mod kit;

use std::fmt::Write;

use kit::Random;
use kit::program::Program;
use seccomp::{Action, Architecture, Filter, Options, Profile, compile, run};

/// How many random profiles the kernel is given.
const PROFILES: usize = 150;

/// Calls that do nothing, whatever their arguments are.
const HARMLESS: [&str; 9] =
    ["getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getpgrp", "sched_yield"];

/// Numbers of no call.
const NO_CALL: [u32; 6] = [600, 1000, 0x3fff_ffff, 0x4000_0258, 0x7fff_ffff, 0xffff_fffe];

const ENOSYS: i64 = 38;

#[test]
fn what_the_interpreter_says_of_a_call_is_what_the_kernel_does() {
    let mut kernel = match Program::start("kernel/calls.c", &[]) {
        Ok(kernel) => kernel,
        Err(reason) => return eprintln!("skipped: the interpreter against the kernel: {reason}"),
    };
    let mut random = Random(7);
    for _ in 0..PROFILES {
        let architectures = random.one_of(&kit::TOGETHER[..4]);
        let profile = kit::profile(&mut random, architectures, &HARMLESS);
        let filter = compile(&profile, &Options::default()).unwrap();
        kernel.say(&said(&filter));
        for architecture in [Architecture::X86_64, Architecture::X32, Architecture::X86] {
            for _ in 0..12 {
                compare(&mut kernel, &mut random, &profile, &filter, architecture);
            }
        }
    }
}

/// Makes a call, and compares what happens with what the interpreter says.
fn compare(
    kernel: &mut Program,
    random: &mut Random,
    profile: &Profile<'_>,
    filter: &Filter,
    architecture: Architecture,
) {
    let name = random.one_of(&HARMLESS);
    let known = architecture.syscall_number(name).expect("one that all have");
    let number = if random.one_in(8) { random.one_of(&NO_CALL) } else { known };
    let edges = kit::arguments(random, profile, Some(name));
    let mut arguments = random.one_of(&edges);
    let mut bits = 64;
    if architecture == Architecture::X86 {
        bits = 32;
        arguments = arguments.map(|argument| argument & 0xffff_ffff);
    }
    let data = kit::call(architecture, number, arguments);
    let said = run(&filter.program, &data).expect("a valid program").action;
    let arguments = arguments.map(|argument| argument.to_string()).join(" ");
    let done = kernel.ask(&format!("call {bits} {number} {arguments}"));
    assert!(is_as_said(said, &done), "{said} said, but {done}: {data:x?}: {profile:#?}");
}

/// Whether what happened is what was said.
fn is_as_said(said: Action, done: &str) -> bool {
    let returned = done.strip_prefix("returned ").map(|value| value.parse::<i64>().unwrap());
    match said.kind() {
        Action::KILL_THREAD | Action::KILL_PROCESS => done == "killed",
        Action::TRAP => done == "trapped",
        Action::ERRNO => returned == Some(-i64::from(said.number())),
        // Nobody is there to be asked.
        Action::TRACE | Action::NOTIFY => returned == Some(-ENOSYS),
        // What is no call, or not of this kernel (x32), is not there.
        _ => returned.is_some_and(|value| value >= 0 || value == -ENOSYS),
    }
}

fn said(filter: &Filter) -> String {
    let mut text = format!("program {}", filter.program.len());
    for it in &filter.program {
        write!(text, "\n{} {} {} {}", it.code, it.jump_true, it.jump_false, it.operand).unwrap();
    }
    text
}
