//! The options of `exec`, one by one, where they have no file of their own.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::Crun;
use kit::runtime;
use serde_json::json;

fn running(crun: &Crun) -> Container {
    crun.start(&Bundle::new().set("/process/noNewPrivileges", json!(false)).args(["sleep", "99"]))
}

/// `exec OPTIONS ID COMMAND`.
fn exec(container: &Container, options: &[&str], command: &[&str]) -> kit::running::Output {
    container.crun().cmd([&["exec"], options, &[container.id()], command].concat())
}

#[test]
fn groups_are_added_to_those_of_the_user() {
    let crun = runtime!();
    let bundle = Bundle::new().set("/process/user/additionalGids", json!([3])).args(["sleep", "99"]);
    let container = crun.start(&bundle);
    let groups = |options: &[&str]| exec(&container, options, &["id", "-G"]).ok();
    assert_eq!(groups(&[]), "0 3\n");
    assert_eq!(groups(&["-g", "7", "--additional-gids", "8"]), "0 3 7 8\n");
    assert_eq!(groups(&["-g7", "-u", "5:6"]), "6 7\n");
}

#[test]
fn a_group_that_is_no_number_is_refused() {
    let crun = runtime!();
    let container = running(&crun);
    for group in ["wheel", "", "-1", "+1", "1,2", "1x", "4294967296"] {
        let line = exec(&container, &[&format!("--additional-gids={group}")], &["id"]).error();
        assert_eq!(line, format!("invalid group `{group}`: a number is expected"));
    }
    exec(&container, &["-g", "4294967295"], &["id"]).error_with(["process.user.additionalGids: 4294967295"]);
}

#[test]
fn new_privileges_can_be_given_up_but_not_had_back() {
    let crun = runtime!();
    let value = |container: &Container, options: &[&str]| {
        exec(container, options, &["grep", "NoNewPrivs", "/proc/self/status"]).ok()
    };
    let container = running(&crun);
    assert_eq!(value(&container, &[]), "NoNewPrivs:\t0\n");
    assert_eq!(value(&container, &["--no-new-privs"]), "NoNewPrivs:\t1\n");
    let strict = crun.start(&Bundle::new().args(["sleep", "99"]));
    assert_eq!(value(&strict, &[]), "NoNewPrivs:\t1\n");
}

#[test]
fn a_terminal_is_had_unless_false_or_no_is_said() {
    let crun = runtime!();
    let container = running(&crun);
    let is_a_terminal =
        |options: &[&str]| exec(&container, options, &["sh", "-c", "test -t 1; echo $?"]).ok();
    for options in [&["--tty=false"], &["--tty=no"], &["-tfalse"], &["-tno"]] {
        assert_eq!(is_a_terminal(options), "1\n", "{options:?}");
    }
    for options in [&["--tty"], &["-t"], &["--tty=true"], &["-ttrue"]] {
        assert_eq!(is_a_terminal(options).trim(), "0", "{options:?}");
    }
}

#[test]
fn a_capability_is_added_by_any_spelling_of_its_name() {
    let crun = runtime!();
    let container = running(&crun);
    for name in ["CAP_CHOWN", "chown", "cap_chown"] {
        let sets = exec(&container, &["-c", name], &["grep", "Cap", "/proc/self/status"]).ok();
        let has = |set: &str| {
            let line = sets.lines().find_map(|line| line.strip_prefix(set)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap() & 1 == 1
        };
        assert_eq!(
            ["CapPrm:", "CapEff:", "CapBnd:", "CapInh:"].map(has),
            [true, true, true, false],
            "{name}"
        );
    }
    assert_eq!(exec(&container, &["-c", "CAP_X"], &["true"]).error(), "unknown capability `CAP_X`");
}

#[test]
fn the_last_value_of_a_variable_counts() {
    let crun = runtime!();
    let container = running(&crun);
    let options = ["--env", "A=1", "-e", "A=2", "-e", "EMPTY="];
    let text = exec(&container, &options, &["sh", "-c", "echo $A ${EMPTY-unset} ${EMPTY:-empty}"]).ok();
    assert_eq!(text, "2 empty\n");
}

#[test]
fn a_directory_has_to_be_absolute_and_there() {
    let crun = runtime!();
    let container = running(&crun);
    let line = |cwd: &str| exec(&container, &["--cwd", cwd], &["pwd"]).error();
    assert_eq!(line("etc"), "process.cwd: `etc` is not an absolute path");
    assert_eq!(line("/no/such"), "chdir to `/no/such`: No such file or directory");
    assert_eq!(line("/etc/passwd"), "chdir to `/etc/passwd`: Not a directory");
}

#[test]
fn what_cannot_be_executed_is_told_of_at_once_also_detached() {
    let crun = runtime!();
    let container = running(&crun);
    for (program, message) in [
        ("no-such", "executable file `no-such` not found in $PATH: No such file or directory"),
        ("/no/such", "executable file `/no/such` not found: No such file or directory"),
        ("/etc/passwd", "the path `/etc/passwd` exists but it is not executable: Operation not permitted"),
        ("/", "the path `/` is not a regular file: Operation not permitted"),
        ("", "executable file `` not found in $PATH: No such file or directory"),
    ] {
        let file = tempfile::tempdir().unwrap();
        let pid_file = file.path().join("pid");
        let detached = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
        for options in [&[] as &[&str], &detached] {
            assert_eq!(exec(&container, options, &[program]).error(), message);
        }
        assert!(!pid_file.exists(), "a pid file for a process that never was: {program}");
    }
}
