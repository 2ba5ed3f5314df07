//! The user with a systemd session that lanes have (`cargo xtask lane`): what tests about users without privileges, and
//! about root of their user namespaces, can count on. Also run as that user itself.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::process::Command;

use kit::lane::{SUBIDS, UID};
use kit::user_session;

fn says(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_command_is_run_as_the_user_in_a_scope_that_its_systemd_delegated() {
    let session = user_session!();
    let mut command = session.command("sh");
    command.args([
        "-c",
        "id -u; cat /proc/self/cgroup; mkdir /sys/fs/cgroup/$(sed -n s/^0:://p /proc/self/cgroup)/mine",
    ]);
    let text = says(command);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], UID.to_string());
    // With version 1 hierarchies beside it, it is the last line.
    let cgroup = lines.last().unwrap();
    assert!(cgroup.starts_with(&format!("0::/user.slice/user-{UID}.slice/user@{UID}.service/")), "{text}");
    assert!(cgroup.ends_with(".scope"), "{text}");
}

#[test]
fn the_users_systemd_answers_and_exit_statuses_come_through() {
    let session = user_session!();
    let mut command = session.command("systemctl");
    command.args(["--user", "show", "--property=Version"]);
    assert!(says(command).starts_with("Version=2"));
    assert_eq!(session.command("sh").args(["-c", "exit 7"]).status().unwrap().code(), Some(7));
}

#[test]
fn mapped_root_has_the_users_id_and_those_it_was_given() {
    let session = user_session!();
    let mut command = session.mapped_root("cat");
    command.arg("/proc/self/uid_map");
    let rows: Vec<Vec<u32>> = says(command)
        .lines()
        .map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect())
        .collect();
    assert_eq!(rows, [vec![0, UID, 1], vec![1, SUBIDS.0, SUBIDS.1]]);
    let mut command = session.mapped_root("id");
    command.arg("-u");
    assert_eq!(says(command), "0\n");
}
