//! Bad names, programs and directories: exit status 1, exactly one line that says what is wrong, and nothing left.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::runtime;
use serde_json::json;

/// Runs and creates the bundle: both have to fail with these words, and to leave nothing.
fn refused<const N: usize>(crun: &Crun, bundle: &Bundle, words: [&str; N]) {
    crun.run(bundle).error_with(words);
    let container = crun.container(bundle);
    container.cmd(["create", "-b", "BUNDLE", "ID"]).error_with(words);
    container.deleted();
}

#[test]
fn a_bad_name() {
    let crun = runtime!();
    let bundle = Bundle::new();
    let dir = bundle.save().to_str().unwrap();
    for (id, character) in
        [("a/b", "/"), ("..", "."), (".hidden", "."), ("a b", " "), ("a\nb", "\n"), ("é", "é")]
    {
        let output = crun.cmd(["run", "-b", dir, id]);
        assert_eq!(output.code, 1, "{output}");
        assert!(output.stderr.contains("container ID"), "{output}");
        assert!(output.stderr.contains(character) || character == "\n" || character == "é", "{output}");
        for command in ["state", "start", "delete", "kill"] {
            assert_eq!(crun.cmd([command, id]).code, 1, "{command} {id}");
        }
    }
    crun.cmd(["run", "-b", dir, ""]).error_with(["empty container ID"]);
    let left = fs::read_dir(crun.state_dir())
        .map_or(0, |dir| dir.flatten().filter(|e| !e.file_name().to_string_lossy().starts_with('.')).count());
    assert_eq!(left, 0);
}

#[test]
fn a_name_that_is_in_use() {
    let crun = runtime!();
    let container = crun.create(&Bundle::new().args(["sleep", "99"]));
    for command in ["create", "run"] {
        container.cmd([command, "-b", "BUNDLE", "ID"]).error_with([container.id(), "already exists"]);
    }
    assert_eq!(container.status(), "created");
    container.start();
    assert_eq!(container.status(), "running");
}

#[test]
fn an_unknown_container() {
    let crun = runtime!();
    for command in ["state", "start", "kill", "delete"] {
        crun.cmd([command, "unknown"]).error_with(["`unknown` does not exist"]);
    }
    crun.cmd(["exec", "unknown", "true"]).error_with(["`unknown` does not exist"]);
}

#[test]
fn an_executable_that_does_not_exist() {
    let crun = runtime!();
    let missing = |name: &str| crun.run(&Bundle::new().args([name])).error();
    assert_eq!(missing("no-such"), "executable file `no-such` not found in $PATH: No such file or directory");
    assert_eq!(missing("/no/such"), "executable file `/no/such` not found: No such file or directory");
    refused(
        &crun,
        &Bundle::new().set("/process/env", json!([])).args(["/no/such"]),
        ["executable file `/no/such` not found"],
    );
}

#[test]
fn an_executable_that_is_not_executable() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["/plain"]);
    fs::write(bundle.rootfs().join("plain"), "x").unwrap();
    fs::set_permissions(bundle.rootfs().join("plain"), fs::Permissions::from_mode(0o644)).unwrap();
    let line = crun.run(&bundle).error();
    assert_eq!(line, "the path `/plain` exists but it is not executable: Operation not permitted");
}

#[test]
fn a_directory_as_executable() {
    let crun = runtime!();
    let line = crun.run(&Bundle::new().args(["/etc"])).error();
    assert!(
        line.contains("`/etc`") && (line.contains("not a regular file") || line.contains("not found")),
        "{line}"
    );
}

#[test]
fn an_executable_of_an_unknown_format_fails_at_start() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["/garbage"]);
    fs::write(bundle.rootfs().join("garbage"), "\x7fNOT ELF").unwrap();
    fs::set_permissions(bundle.rootfs().join("garbage"), fs::Permissions::from_mode(0o755)).unwrap();
    crun.run(&bundle).error_with(["Exec format error"]);
}

#[test]
fn a_working_directory_that_cannot_be_entered() {
    let crun = runtime!();
    refused(
        &crun,
        &Bundle::new().set("/process/cwd", json!("/etc/passwd")),
        ["/etc/passwd", "ot a directory"],
    );
    let bundle = Bundle::new()
        .caps([])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/cwd", json!("/locked/in"));
    fs::create_dir_all(bundle.rootfs().join("locked/in")).unwrap();
    fs::set_permissions(bundle.rootfs().join("locked"), fs::Permissions::from_mode(0o700)).unwrap();
    // Entered as root, it would be a way past the permissions: the runtime may do so, or refuse.
    let output = crun.run(&bundle.args(["ls", "/locked"]));
    assert_eq!(output.code, 1, "{output}");
    assert!(output.stderr.contains("Permission denied"), "{output}");
}

#[test]
fn an_unknown_signal() {
    let crun = runtime!();
    let container = crun.create(&Bundle::new());
    for signal in ["NONSENSE", "SIGNONSENSE", "65", "RTMIN+40", ""] {
        container.cmd(["kill", "ID", signal]).error_with(["unknown signal", signal]);
    }
    assert_eq!(container.status(), "created");
}

#[test]
fn a_terminal_without_a_console_socket() {
    let crun = runtime!();
    let container = crun.container(&Bundle::new().set("/process/terminal", json!(true)));
    container.cmd(["create", "-b", "BUNDLE", "ID"]).error_with(["terminal"]);
    container.cmd(["run", "-d", "-b", "BUNDLE", "ID"]).error_with(["terminal"]);
    container.deleted();
}

#[test]
fn a_pid_file_that_cannot_be_written() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["true"]);
    crun.run_with(&bundle, ["--pid-file", "/nonexistent/dir/pid"])
        .error_with(["/nonexistent/dir/pid", "No such file or directory"]);
}

#[test]
fn the_cause_is_told_every_time_while_others_go_on() {
    let crun = runtime!();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let bundle = Bundle::new().args(["/no/such"]);
                for _ in 0..25 {
                    crun.run(&bundle).error_with(["executable file `/no/such` not found"]);
                }
            });
        }
    });
}
