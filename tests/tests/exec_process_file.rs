//! `exec --process`: the process object of a file, good and bad.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::Crun;
use kit::running::Output;
use kit::runtime;
use tempfile::NamedTempFile;

fn running(crun: &Crun) -> Container {
    crun.start(&Bundle::new().env("FROM=config").args(["sleep", "99"]))
}

fn exec_of(container: &Container, document: &str) -> Output {
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, document).unwrap();
    container.cmd(["exec", "--process", file.path().to_str().unwrap(), "ID"])
}

/// Documents that cannot be honoured, and what the error says beside the file's name.
const NO_PROCESSES: [(&str, &str); 29] = [
    ("", "EOF while parsing a value at line 1 column 0"),
    ("{", "EOF while parsing an object"),
    ("[]", "the process must be an object"),
    (" [true]", "the process must be an object"),
    ("7", "invalid type: integer `7`"),
    ("null", "invalid type: null"),
    (r#""x""#, r#"invalid type: string "x""#),
    (r#"{"args":["true"]} {}"#, "trailing characters at line 1 column 19"),
    (r#"{"args":["true"],"args":[]}"#, "duplicate field `args`"),
    (r#"{"args":"true"}"#, r#"args: invalid type: string "true", expected a sequence"#),
    (r#"{"args":[1]}"#, "args[0]: invalid type: integer `1`, expected a string"),
    (r#"{"args":["true"],"cwd":7}"#, "cwd: invalid type: integer `7`"),
    (r#"{"args":["true"],"env":"A=b"}"#, r#"env: invalid type: string "A=b""#),
    (r#"{"args":["true"],"env":["A=b",7]}"#, "env[1]: invalid type: integer `7`"),
    (r#"{"args":["true"],"user":"root"}"#, r#"user: invalid type: string "root""#),
    (r#"{"args":["true"],"user":{"uid":"0"}}"#, r#"user.uid: invalid type: string "0""#),
    (r#"{"args":["true"],"user":{"uid":-1}}"#, "user.uid: invalid value: integer `-1`"),
    (r#"{"args":["true"],"user":{"gid":4294967296}}"#, "user.gid: invalid value: integer `4294967296`"),
    (r#"{"args":["true"],"user":{"additionalGids":["x"]}}"#, "user.additionalGids[0]: invalid type"),
    (r#"{"args":["true"],"terminal":"yes"}"#, r#"terminal: invalid type: string "yes""#),
    (r#"{"args":["true"],"noNewPrivileges":1}"#, "noNewPrivileges: invalid type: integer `1`"),
    (r#"{"args":["true"],"capabilities":{"bounding":"ALL"}}"#, "capabilities.bounding: invalid type"),
    (r#"{"args":["true"],"rlimits":{"type":"RLIMIT_CORE"}}"#, "rlimits: invalid type: map"),
    (r#"{"args":["true"],"rlimits":[{"type":"RLIMIT_CORE"}]}"#, "rlimits[0]: missing field `soft`"),
    (r#"{"args":["true"],"consoleSize":{"height":-1}}"#, "consoleSize.height: invalid value: integer `-1`"),
    (r#"{"args":["true"],"oomScoreAdj":"low"}"#, r#"oomScoreAdj: invalid type: string "low""#),
    (r#"{"args":["true"],"apparmorProfile":[]}"#, "apparmorProfile: invalid type: sequence"),
    (r#"{"args":["true"],"user":[]}"#, "user: invalid type: sequence"),
    (r#"{"args":["true"],"capabilities":[["CAP_KILL"]]}"#, "capabilities: invalid type: sequence"),
];

#[test]
fn a_file_that_holds_no_process_is_named_with_the_place_and_what_is_wrong_there() {
    let crun = runtime!();
    let container = running(&crun);
    for (document, words) in NO_PROCESSES {
        let line = exec_of(&container, document).error();
        assert!(line.starts_with("load `/"), "{document}: {line}");
        assert!(line.contains(words), "{document}: {line}");
    }
    assert_eq!(container.status(), "running");
}

/// Processes that there cannot be, and the whole error.
const IMPOSSIBLE: [(&str, &str); 12] = [
    ("{}", "executable path not specified"),
    (r#"{"args":[]}"#, "executable path not specified"),
    (r#"{"args":null,"cwd":"/"}"#, "executable path not specified"),
    (r#"{"args":[""]}"#, "executable file `` not found in $PATH: No such file or directory"),
    (r#"{"process":{"args":["true"]}}"#, "executable path not specified"),
    (r#"{"args":["true"],"cwd":"etc"}"#, "process.cwd: `etc` is not an absolute path"),
    (r#"{"args":["true"],"cwd":"/no/such"}"#, "chdir to `/no/such`: No such file or directory"),
    (r#"{"args":["a\u0000b"]}"#, "process.args: a string holds a NUL byte"),
    (r#"{"args":["true"],"env":["A=\u0000"]}"#, "process.env: a string holds a NUL byte"),
    (r#"{"args":["true"],"capabilities":{"bounding":["CAP_X"]}}"#, "unknown capability `CAP_X`"),
    (r#"{"args":["true"],"rlimits":[{"type":"RLIMIT_X","soft":1,"hard":1}]}"#, "invalid rlimit `RLIMIT_X`"),
    (
        r#"{"args":["true"],"user":{"uid":4294967295}}"#,
        "process.user.uid: 4294967295 is nobody's id (it stands for none)",
    ),
];

#[test]
fn a_process_that_there_cannot_be_is_one_clear_error() {
    let crun = runtime!();
    let container = running(&crun);
    for (document, message) in IMPOSSIBLE {
        assert_eq!(exec_of(&container, document).error(), message, "{document}");
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn what_cannot_be_read_as_a_file_is_named() {
    let crun = runtime!();
    let container = running(&crun);
    let exec = |path: &str| container.cmd(["exec", "--process", path, "ID"]).error();
    assert_eq!(exec("/no/such"), "open `/no/such`: No such file or directory");
    assert_eq!(exec("/tmp"), "open `/tmp`: Is a directory");
    assert_eq!(exec("/dev/zero"), "read `/dev/zero`: it is larger than 16 MiB");
    assert!(exec("/dev/null").starts_with("load `/dev/null`: EOF while parsing"));
}

#[test]
fn fields_that_nobody_knows_are_left_alone() {
    let crun = runtime!();
    let container = running(&crun);
    let document = r#"{"args":["echo","hi"],"cwd":"/","selinux":{"deep":[1,{}]},"new":null}"#;
    assert_eq!(exec_of(&container, document).ok(), "hi\n");
}

#[test]
fn what_the_file_does_not_say_is_as_in_the_container() {
    let crun = runtime!();
    let bundle = Bundle::new().env("FROM=config").set("/process/user/uid", 7.into()).args(["sleep", "99"]);
    let container = crun.start(&bundle);
    let own =
        exec_of(&container, r#"{"args":["sh","-c","echo $FROM; id -u; grep CapBnd /proc/self/status"]}"#);
    let caps = container.cmd(["exec", "ID", "grep", "CapBnd", "/proc/1/status"]).ok();
    assert_eq!(own.ok(), format!("config\n7\n{caps}"));
    let document = r#"{"args":["/bin/sh","-c","echo -$FROM; id -u"],"env":[],"user":{"gid":3}}"#;
    assert_eq!(exec_of(&container, document).ok(), "-\n0\n");
}

#[test]
fn a_process_may_have_groups_beside_those_of_its_file() {
    let crun = runtime!();
    let container = running(&crun);
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, r#"{"args":["/bin/id","-G"],"user":{"additionalGids":[5]}}"#).unwrap();
    let groups = |path: &Path| container.cmd(["exec", "-g", "6", "-p", path.to_str().unwrap(), "ID"]).ok();
    assert_eq!(groups(file.path()), "0 5 6\n");
}
