//! What a profile becomes, looked at by running the program.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use seccomp::{
    Action, Architecture, Argument, Data, Filter, Options, Profile, Rule, compile, disassemble, run,
};

const EPERM: Action = Action(0x0005_0001);
const ENOSYS: Action = Action(0x0005_0026);

/// The options of a test: as on x86_64.
fn options() -> Options {
    Options { native: Architecture::X86_64, refuse_unknown_names: false }
}

fn rule<'a>(names: &[&'a str], action: &'a str) -> Rule<'a> {
    Rule { names: names.to_vec(), action, ..Rule::default() }
}

fn profile<'a>(default_action: &'a str, rules: Vec<Rule<'a>>) -> Profile<'a> {
    Profile { default_action, rules, ..Profile::default() }
}

fn compiled(profile: &Profile<'_>) -> Filter {
    compile(profile, &options()).unwrap()
}

/// What a filter says of a call.
fn answer(filter: &Filter, architecture: Architecture, name: &str, arguments: [u64; 6]) -> Action {
    let number = architecture.syscall_number(name).unwrap();
    numbered(filter, architecture, number, arguments)
}

fn numbered(filter: &Filter, architecture: Architecture, number: u32, arguments: [u64; 6]) -> Action {
    let data = Data { number, architecture: architecture.token(), arguments, ..Data::default() };
    run(&filter.program, &data).unwrap().action
}

#[test]
fn a_call_in_a_rule_gets_its_action_and_others_the_default() {
    let filter = compiled(&profile("SCMP_ACT_ERRNO", vec![rule(&["read", "openat2"], "SCMP_ACT_ALLOW")]));
    assert_eq!(answer(&filter, Architecture::X86_64, "read", [0; 6]), Action::ALLOW);
    assert_eq!(answer(&filter, Architecture::X86_64, "write", [0; 6]), EPERM);
}

#[test]
fn a_call_newer_than_all_in_the_profile_is_not_there() {
    let allow = |action| compiled(&profile(action, vec![rule(&["read", "openat"], "SCMP_ACT_TRAP")]));
    let newer = |action| answer(&allow(action), Architecture::X86_64, "openat2", [0; 6]);
    assert_eq!(newer("SCMP_ACT_ERRNO"), ENOSYS);
    assert_eq!(newer("SCMP_ACT_KILL_PROCESS"), ENOSYS);
    assert_eq!(newer("SCMP_ACT_ALLOW"), Action::ALLOW);
    assert_eq!(newer("SCMP_ACT_LOG"), Action::LOG);
    assert_eq!(newer("SCMP_ACT_NOTIFY"), Action::NOTIFY);
    let none = compiled(&profile("SCMP_ACT_ERRNO", Vec::new()));
    assert_eq!(answer(&none, Architecture::X86_64, "openat2", [0; 6]), EPERM);
}

#[test]
fn a_call_that_a_rule_gives_the_default_action_was_known_to_its_author() {
    let rules = vec![rule(&["openat2"], "SCMP_ACT_ERRNO"), rule(&["read"], "SCMP_ACT_ALLOW")];
    let filter = compiled(&profile("SCMP_ACT_ERRNO", rules));
    assert_eq!(answer(&filter, Architecture::X86_64, "openat2", [0; 6]), EPERM);
    assert_eq!(answer(&filter, Architecture::X86_64, "faccessat2", [0; 6]), ENOSYS);
}

#[test]
fn calls_from_other_architectures_than_those_of_the_profile_end_the_thread() {
    let filter = compiled(&profile("SCMP_ACT_ALLOW", vec![rule(&["read"], "SCMP_ACT_ERRNO")]));
    assert_eq!(answer(&filter, Architecture::X86, "read", [0; 6]), Action::KILL_THREAD);
    assert_eq!(answer(&filter, Architecture::X32, "read", [0; 6]), Action::KILL_THREAD);
    assert_eq!(numbered(&filter, Architecture::X86_64, u32::MAX, [0; 6]), Action::ALLOW);
}

#[test]
fn of_two_rules_the_first_whose_conditions_hold_decides_but_one_without_conditions_always() {
    let with = |value| {
        let argument = Argument { index: 1, value, operator: "SCMP_CMP_GE", ..Argument::default() };
        vec![argument]
    };
    let rules = vec![
        Rule { arguments: with(0x1_0000_0000), ..rule(&["read", "write"], "SCMP_ACT_TRAP") },
        Rule { arguments: with(7), ..rule(&["read", "write"], "SCMP_ACT_LOG") },
        rule(&["write"], "SCMP_ACT_ALLOW"),
    ];
    let filter = compiled(&profile("SCMP_ACT_ERRNO", rules));
    let read = |argument| answer(&filter, Architecture::X86_64, "read", [0, argument, 0, 0, 0, 0]);
    assert_eq!([read(6), read(7), read(u64::MAX)], [EPERM, Action::LOG, Action::TRAP]);
    assert_eq!(answer(&filter, Architecture::X86_64, "write", [0, 7, 0, 0, 0, 0]), Action::ALLOW);
}

#[test]
fn names_that_nobody_knows_are_skipped_and_said_or_refused() {
    let unknown = profile("SCMP_ACT_ERRNO", vec![rule(&["no_such", "read", "no_such"], "SCMP_ACT_ALLOW")]);
    assert_eq!(compiled(&unknown).skipped, ["no_such"]);
    let error = compile(&unknown, &Options { refuse_unknown_names: true, ..options() }).unwrap_err();
    assert_eq!(error.to_string(), "linux.seccomp.syscalls[0].names[0]: unknown system call \"no_such\"");
}

#[test]
fn a_listener_is_needed_where_a_call_can_be_asked_about() {
    assert!(!compiled(&profile("SCMP_ACT_ERRNO", vec![rule(&["read"], "SCMP_ACT_ALLOW")])).notifies);
    assert!(compiled(&profile("SCMP_ACT_ERRNO", vec![rule(&["read"], "SCMP_ACT_NOTIFY")])).notifies);
}

#[test]
fn what_a_profile_cannot_say_is_refused_with_its_place() {
    let refused = |profile: &Profile<'_>| compile(profile, &options()).unwrap_err().to_string();
    let base = || profile("SCMP_ACT_ERRNO", vec![rule(&["read"], "SCMP_ACT_ALLOW")]);

    let mut wrong = base();
    wrong.rules[0].action = "SCMP_ACT_PERHAPS";
    assert!(refused(&wrong).starts_with(
        "linux.seccomp.syscalls[0].action: unknown action \"SCMP_ACT_PERHAPS\" (one of SCMP_ACT_ALLOW"
    ));

    let mut wrong = base();
    wrong.rules[0].errno = Some(5);
    assert!(
        refused(&wrong).starts_with(
            "linux.seccomp.syscalls[0].errnoRet: errno value specified for action SCMP_ACT_ALLOW"
        )
    );

    let mut wrong = base();
    wrong.default_errno = Some(4096);
    assert_eq!(
        refused(&wrong),
        "linux.seccomp.defaultErrnoRet: 4096 is more than SCMP_ACT_ERRNO can give (4095)"
    );

    let mut wrong = base();
    wrong.default_action = "";
    assert_eq!(refused(&wrong), "linux.seccomp.defaultAction: seccomp misses the default action");

    let mut wrong = base();
    wrong.architectures = vec!["SCMP_ARCH_X86", "SCMP_ARCH_VAX"];
    assert!(
        refused(&wrong).starts_with("linux.seccomp.architectures[1]: unknown architecture \"SCMP_ARCH_VAX\"")
    );

    let mut wrong = base();
    wrong.rules[0].arguments = vec![Argument { index: 6, operator: "SCMP_CMP_EQ", ..Argument::default() }];
    assert_eq!(
        refused(&wrong),
        "linux.seccomp.syscalls[0].args[0].index: there is no argument 6 (a call has 0 to 5)"
    );

    let mut wrong = base();
    wrong.rules[0].arguments = vec![Argument { operator: "SCMP_CMP_IS", ..Argument::default() }];
    assert!(
        refused(&wrong).starts_with("linux.seccomp.syscalls[0].args[0].op: unknown operator \"SCMP_CMP_IS\"")
    );
}

#[test]
fn more_than_the_kernel_takes_is_refused_with_what_to_do() {
    let equal = |value| Argument { value, operator: "SCMP_CMP_MASKED_EQ", value_two: 1, index: 0 };
    let rules =
        (1..3000).map(|value| Rule { arguments: vec![equal(value)], ..rule(&["read"], "SCMP_ACT_ALLOW") });
    let error = compile(&profile("SCMP_ACT_ERRNO", rules.collect()), &options()).unwrap_err().to_string();
    assert!(error.contains("4096 instructions") && error.contains("fewer rules"), "{error}");
}

#[test]
fn two_conditions_on_one_argument_are_two_rules() {
    let equal = |index, value| Argument { index, value, operator: "SCMP_CMP_EQ", ..Argument::default() };
    let asked = |arguments| {
        let filter =
            compiled(&profile("SCMP_ACT_ALLOW", vec![Rule { arguments, ..rule(&["read"], "SCMP_ACT_LOG") }]));
        [[1, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0], [1, 3, 0, 0, 0, 0]]
            .map(|arguments| answer(&filter, Architecture::X86_64, "read", arguments) == Action::LOG)
    };
    assert_eq!(asked(vec![equal(0, 1), equal(1, 3)]), [false, false, true]);
    assert_eq!(asked(vec![equal(0, 1), equal(0, 2), equal(1, 3)]), [true, true, true]);
}

#[test]
fn a_mask_is_also_put_on_what_it_is_compared_with() {
    let masked = Argument { index: 0, value: 0xf0, value_two: 0x123, operator: "SCMP_CMP_MASKED_EQ" };
    let rule = Rule { arguments: vec![masked], ..rule(&["read"], "SCMP_ACT_LOG") };
    let filter = compiled(&profile("SCMP_ACT_ALLOW", vec![rule]));
    let read = |argument| answer(&filter, Architecture::X86_64, "read", [argument, 0, 0, 0, 0, 0]);
    assert_eq!([read(0x20), read(0xf2f), read(0x30)], [Action::LOG, Action::LOG, Action::ALLOW]);
}

#[test]
fn calls_that_are_made_through_one_for_many_are_found_there() {
    let mut profile = profile("SCMP_ACT_ERRNO", vec![rule(&["bind", "shmget"], "SCMP_ACT_ALLOW")]);
    profile.architectures = vec!["SCMP_ARCH_X86"];
    let filter = compiled(&profile);
    let call = |name, number| answer(&filter, Architecture::X86, name, [number, 0, 0, 0, 0, 0]);
    assert_eq!([call("bind", 9), call("socketcall", 2), call("ipc", 23)], [Action::ALLOW; 3]);
    assert_eq!([call("socketcall", 3), call("ipc", 2)], [EPERM; 2]);
}

#[test]
fn arguments_of_32_bits_are_compared_with_the_low_half() {
    let equal = Argument { index: 0, value: 0x5_0000_0001, operator: "SCMP_CMP_EQ", ..Argument::default() };
    let mut profile =
        profile("SCMP_ACT_ALLOW", vec![Rule { arguments: vec![equal], ..rule(&["close"], "SCMP_ACT_LOG") }]);
    profile.architectures = vec!["SCMP_ARCH_X86"];
    let filter = compiled(&profile);
    let close = |architecture| answer(&filter, architecture, "close", [1, 0, 0, 0, 0, 0]);
    assert_eq!([close(Architecture::X86), close(Architecture::X86_64)], [Action::LOG, Action::ALLOW]);
}

#[test]
fn an_allowed_call_takes_few_instructions() {
    let names: Vec<&str> =
        (0..400).step_by(2).filter_map(|it| Architecture::X86_64.syscall_name(it)).collect();
    let filter = compiled(&profile("SCMP_ACT_ERRNO", vec![rule(&names, "SCMP_ACT_ALLOW")]));
    let architecture = Architecture::X86_64.token();
    let steps = |name: &&str| {
        let number = Architecture::X86_64.syscall_number(name).unwrap();
        run(&filter.program, &Data { number, architecture, ..Data::default() }).unwrap().steps
    };
    // Three to find the architecture and the answer, one for each halving, some for the last calls one by one.
    assert_eq!(names.iter().map(steps).max(), Some(12));
    assert!(filter.program.len() < 2 * names.len(), "{}", filter.program.len());
}

#[test]
fn a_program_is_shown_with_names() {
    let equal = Argument { index: 0, value: 7, operator: "SCMP_CMP_EQ", ..Argument::default() };
    let rules = vec![
        rule(&["read", "mmap"], "SCMP_ACT_ALLOW"),
        Rule { arguments: vec![equal], ..rule(&["close"], "SCMP_ACT_TRACE") },
    ];
    assert_eq!(
        disassemble(&compiled(&profile("SCMP_ACT_LOG", rules)).program),
        "    0  load the architecture
    1  if it is SCMP_ARCH_X86_64 go on, else go to 16
    2  load the number of the call
    3  if it is at least 9 (mmap) go to 12
    4  if it is at least 3 (close) go to 6
    5  if it is at least 1 (write) go to 17, else go to 14
    6  if it is at least 4 (stat) go to 17
    7  load the high half of argument 0
    8  if it is 0x0 go on, else go to 17
    9  load the low half of argument 0
   10  if it is 0x7 go on, else go to 17
   11  return SCMP_ACT_TRACE(1)
   12  if it is at least 0x40000000 (read of x32) go to 15
   13  if it is at least 10 (mprotect) go to 17
   14  return SCMP_ACT_ALLOW
   15  if it is at least 0xffffffff go to 17
   16  return SCMP_ACT_KILL_THREAD
   17  return SCMP_ACT_LOG
"
    );
}
