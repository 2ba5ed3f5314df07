//! What a profile becomes, looked at by running the program.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use seccomp::{Action, Architecture, Argument, Data, Filter, Options, Profile, Rule, compile, run};

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
