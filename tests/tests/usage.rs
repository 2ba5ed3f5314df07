//! A command line that makes no sense: what is wrong, in one line.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::runtime;

#[test]
fn no_command_and_an_unknown_one() {
    let crun = runtime!();
    crun.cmd::<[&str; 0]>([]).error_with(["please specify a command"]);
    crun.cmd(["frobnicate"]).error_with(["unknown command frobnicate"]);
}

#[test]
fn too_few_arguments() {
    let crun = runtime!();
    for command in ["create", "run", "start", "state", "kill", "delete", "exec"] {
        let line = crun.cmd([command]).error();
        assert!(
            line.contains("please specify a ID") || line.contains("requires a minimum of"),
            "{command}: {line}"
        );
    }
    crun.cmd(["exec", "some-id"]).error_with(["`exec` requires a minimum of 2 arguments"]);
}

#[test]
fn too_many_arguments() {
    let crun = runtime!();
    for (args, most) in [
        (vec!["start", "a", "b"], "1"),
        (vec!["state", "a", "b"], "1"),
        (vec!["run", "a", "b"], "1"),
        (vec!["create", "a", "b"], "1"),
        (vec!["delete", "a", "b"], "1"),
        (vec!["kill", "a", "TERM", "c"], "2"),
    ] {
        let expected = format!("`{}` requires a maximum of {most} arguments", args[0]);
        crun.cmd(&args).error_with([&expected]);
    }
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let crun = runtime!();
    for args in [vec!["--nonsense", "list"], vec!["list", "--nonsense"], vec!["delete", "--nonsense", "x"]] {
        let output = crun.cmd(&args);
        assert_eq!(output.code, 64, "{output}"); // EX_USAGE of sysexits.h(3head)
        assert!(output.stderr.contains("--nonsense") && output.stdout.is_empty(), "{output}");
    }
}

#[test]
fn an_option_without_its_value_is_a_usage_error() {
    let crun = runtime!();
    for args in [vec!["run", "--bundle"], vec!["list", "-f"]] {
        let output = crun.cmd(&args);
        assert_eq!(output.code, 64, "{output}");
        assert!(!output.stderr.is_empty(), "{output}");
    }
}

#[test]
fn unknown_values_of_global_options() {
    let crun = runtime!();
    crun.clone()
        .with("--cgroup-manager=nonsense")
        .cmd(["list"])
        .error_with(["unknown cgroup manager specified"]);
    crun.clone().with("--log-level=nonsense").cmd(["list"]).error_with(["nonsense"]);
    crun.clone().with("--log-format=nonsense").cmd(["list"]).error_with(["nonsense"]);
    crun.with("--log=nonsense:x").cmd(["list"]).error_with(["unknown log type"]);
}

#[test]
fn an_empty_state_directory_is_none() {
    let crun = runtime!();
    for args in [&["--root=", "list"][..], &["--root", "", "list"]] {
        crun.cmd(args).error_with(["stat ``", "No such file or directory"]);
    }
}
