//! `crun seccomp`: what a profile says, for operators.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::Stdio;

use kit::crun::Crun;
use kit::runtime;
use tempfile::TempDir;

const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":["SCMP_ARCH_X86"],
    "syscalls":[{"names":["read","openat","no_such_call"],"action":"SCMP_ACT_ALLOW"},
        {"names":["socket"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":2,"op":"SCMP_CMP_EQ"},
            {"index":1,"value":15,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"}]},
        {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;

/// What is told of a file with this text.
fn told(crun: &Crun, text: &str, options: &[&str]) -> String {
    let place = TempDir::new().unwrap();
    let file = place.path().join("profile.json");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    crun.cmd([&["seccomp"], options, &[file]].concat()).ok().replace(file, "FILE")
}

#[test]
fn the_decision_for_a_call_is_shown_with_its_reason() {
    let crun = runtime!();
    let decision = |options: &[&str]| told(&crun, PROFILE, &[&["--arch=x86_64"], options].concat());
    if cfg!(target_arch = "x86_64") {
        assert_eq!(
            decision(&["--syscall=read"]),
            "read, number 0 of SCMP_ARCH_X86_64:\n  SCMP_ACT_ALLOW always (syscalls[0])\n"
        );
        assert_eq!(
            decision(&["--syscall=socket"]),
            "socket, number 41 of SCMP_ARCH_X86_64:\n  \
             SCMP_ACT_LOG if argument 0 == 2 and argument 1 & 15 == 1 (syscalls[1])\n  \
             SCMP_ACT_ERRNO(1) otherwise (defaultAction)\n"
        );
        let newer = "  SCMP_ACT_ERRNO(38) always (the call is newer than all that the profile names)\n";
        assert!(decision(&["--syscall=openat2"]).ends_with(newer));
    }
}

#[test]
fn of_a_call_with_arguments_that_case_is_shown_that_holds() {
    let crun = runtime!();
    let decision = |options: &[&str]| told(&crun, PROFILE, &[&["--syscall=socket"], options].concat());
    let log = decision(&["--arg=0=2", "--arg=1=0x71"]);
    assert!(log.contains("SCMP_ACT_LOG if") && !log.contains("otherwise"), "{log}");
    let default = decision(&["--arg=0=2"]);
    assert!(default.contains("SCMP_ACT_ERRNO(1) otherwise") && !default.contains("LOG"), "{default}");
}

#[test]
fn all_calls_are_shown_by_what_happens_to_them() {
    let crun = runtime!();
    let summary = told(&crun, PROFILE, &[]);
    for line in [
        "default action: SCMP_ACT_ERRNO(1)\n",
        "unknown calls, left out: no_such_call\n",
        "\nSCMP_ACT_ALLOW, 2 calls of SCMP_ARCH_",
        ":\n  openat read\n",
        "\nby their arguments (see --syscall), 1 calls of ",
        ":\n  socket\n",
        "\nSCMP_ACT_ERRNO(38), 1 calls of ",
    ] {
        assert!(summary.contains(line), "{line:?} in\n{summary}");
    }
}

#[test]
fn the_program_is_shown_with_names() {
    let crun = runtime!();
    let program = told(&crun, PROFILE, &["--disassemble"]);
    for words in [
        "load the architecture\n",
        "SCMP_ARCH_X86",
        "(openat)",
        "low half of argument 0",
        "return SCMP_ACT_ALLOW\n",
    ] {
        assert!(program.contains(words), "{words:?} in\n{program}");
    }
}

#[test]
fn a_profile_is_taken_from_a_bundle_from_the_standard_input_and_in_the_form_of_engines() {
    let crun = runtime!();
    let config = format!(r#"{{"ociVersion":"1.0.0","linux":{{"seccomp":{PROFILE}}}}}"#);
    let bundle = TempDir::new().unwrap();
    std::fs::write(bundle.path().join("config.json"), &config).unwrap();
    let expected = told(&crun, PROFILE, &["--syscall=read"]);
    assert_eq!(crun.cmd(["seccomp", "--syscall=read", bundle.path().to_str().unwrap()]).ok(), expected);

    let mut command = crun.command(["seccomp", "--syscall=read", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), expected);

    let engine = PROFILE.replacen(r#""names""#, r#""includes":{"caps":["CAP_BPF"]},"names""#, 1);
    let with = told(&crun, &engine, &["--syscall=read", "--cap=CAP_BPF"]);
    assert_eq!(with, expected);
    assert!(told(&crun, &engine, &["--syscall=read"]).contains("SCMP_ACT_ERRNO(1) always (defaultAction)"));
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    let crun = runtime!();
    let place = TempDir::new().unwrap();
    let file = place.path().join("profile.json");
    let said = |text: &str, options: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let output = crun.cmd([&["seccomp"], options, &[file.to_str().unwrap()]].concat());
        output.error()
    };
    let wrong = PROFILE.replace("SCMP_CMP_EQ", "SCMP_CMP_IS");
    for (text, options, words) in [
        (PROFILE, &["--syscall=nope"][..], "--syscall: unknown system call `nope`"),
        (PROFILE, &["--syscall=fork", "--arch=aarch64"], "--syscall: SCMP_ARCH_AARCH64 has no call `fork`"),
        (PROFILE, &["--arch=vax"], "--arch: unknown architecture `vax` (one of x86,"),
        (PROFILE, &["--arg=0=1"], "--arg says something of a call: give its name with --syscall"),
        (PROFILE, &["--syscall=read", "--arg=6=1"], "--arg: a call has arguments 0 to 5, not 6"),
        (PROFILE, &["--syscall=read", "--arg=x"], "--arg: `x` is not an argument and its value"),
        (&wrong, &[], "linux.seccomp.syscalls[1].args[0].op: unknown operator \"SCMP_CMP_IS\""),
        (r#"{"ociVersion":"1.0.0"}"#, &[], "has no linux.seccomp: the container may make every system call"),
        ("{", &[], "EOF while parsing"),
    ] {
        let stderr = said(text, options);
        assert!(stderr.contains(words), "{words:?} in {stderr}");
    }
}
