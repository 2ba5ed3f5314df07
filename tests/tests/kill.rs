//! `kill`: which signal, to whom.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped, wait_for};
use kit::runtime;

/// A payload that stays until it is told to go, and says when it is up.
fn sleeper() -> Bundle {
    Bundle::new().sh("trap 'exit 42' TERM; echo up; while :; do sleep 0.02; done")
}

#[test]
fn kill_knows_names_with_and_without_sig_numbers_and_real_time_signals() {
    let crun = runtime!();
    let spellings = [
        ("USR1", "10"),
        ("SIGUSR1", "10"),
        ("10", "10"),
        ("RTMIN+3", "37"),
        ("SIGRTMAX-1", "63"),
        ("40", "40"),
    ];
    for (spelling, number) in spellings {
        let script = format!("trap 'echo got' {number}; echo up; while :; do sleep 0.02; done");
        let container = crun.start(&Bundle::new().sh(&script));
        container.wait_output("up");
        container.kill(spelling);
        container.wait_output("got");
    }
}

#[test]
fn kill_sends_term_when_not_told_otherwise() {
    let crun = runtime!();
    let container =
        crun.start(&Bundle::new().sh("trap 'echo term; exit' TERM; echo up; while :; do sleep 0.02; done"));
    container.wait_output("up");
    assert_eq!(container.cmd(["kill", "ID"]).ok(), "");
    container.wait_output("term");
}

#[test]
fn kill_with_signal_0_only_asks() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    container.wait_output("up");
    container.kill("0");
    assert_eq!(container.status(), "running");
}

#[test]
fn kill_of_a_stopped_container_says_no_such_process() {
    let crun = runtime!();
    let container = crun.create(&sleeper());
    container.kill("KILL");
    container.wait();
    container.cmd(["kill", "ID", "KILL"]).error_with(["No such process"]);
}

#[test]
fn kill_reaches_only_the_first_process_and_kill_all_reaches_every_one() {
    let crun = runtime!();
    // Without a pid namespace of its own the others survive their first process.
    let script = "trap 'echo first' USR1; sh -c 'trap \"echo second\" USR1; echo up; while :; do sleep 0.02; done' & \
                  while :; do sleep 0.02; done";
    let container = crun.start(&Bundle::new().namespace("pid", None).sh(script));
    container.wait_output("up");
    container.kill("USR1");
    container.wait_output("first");
    assert!(!container.stdout().contains("second"), "{}", container.stdout());
    assert_eq!(container.cmd(["kill", "--all", "ID", "USR1"]).ok(), "");
    container.wait_output("second");
}

#[test]
fn kill_all_with_kill_ends_every_process_of_a_container_without_a_pid_namespace() {
    let crun = runtime!();
    let script = "for i in 1 2 3; do (trap '' TERM; while :; do sleep 0.02; done) & done; echo up; wait";
    let container = crun.start(&Bundle::new().namespace("pid", None).sh(script));
    container.wait_output("up");
    let (_, cgroup) = container.cgroups().into_iter().find(|(_, dir)| dir.ends_with(container.id())).unwrap();
    let procs = || fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    assert!(procs().lines().count() >= 4, "{}", procs());
    assert_eq!(container.cmd(["kill", "-a", "ID", "KILL"]).ok(), "");
    container.wait();
    wait_for("the cgroup to be empty", || procs().is_empty().then_some(()));
    assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
    container.deleted();
}

#[test]
fn kill_by_regular_expression_reaches_the_containers_that_match() {
    let crun = runtime!();
    let (one, two, other) = (crun.start(&sleeper()), crun.start(&sleeper()), crun.start(&sleeper()));
    for container in [&one, &two, &other] {
        container.wait_output("up");
    }
    let pattern = format!("^({}|{})$", one.id(), two.id());
    assert_eq!(crun.cmd(["kill", "--regex", &pattern, "TERM"]).ok(), "");
    one.wait();
    two.wait();
    assert_eq!(other.status(), "running");
}

/// Freezes what is in the container's cgroup, with the freezer of version 1 or of version 2.
fn freeze(crun: &Crun, container: &Container) {
    let (file, value, done) = match crun.view() {
        Some(_) => ("cgroup.freeze", "1", "frozen 1"),
        None => ("freezer.state", "FROZEN", "FROZEN"),
    };
    let name = if crun.view().is_some() { "" } else { "freezer" };
    let (_, dir) = container.cgroups().into_iter().find(|(list, _)| list == name).unwrap();
    fs::write(dir.join(file), value).unwrap();
    let state = dir.join(if crun.view().is_some() { "cgroup.events" } else { file });
    wait_for("the freezer", || fs::read_to_string(&state).unwrap().contains(done).then_some(()));
}

#[test]
fn a_frozen_container_can_be_killed_and_deleted() {
    for crun in [Crun::new(), Crun::on_v2()] {
        let crun = match crun {
            Ok(crun) => crun,
            Err(reason) => return skipped(reason),
        };
        if crun.view().is_none() && !kit::leftovers::hierarchies().iter().any(|(list, _)| list == "freezer") {
            skipped("there is no freezer of version 1");
            continue;
        }
        for pid_namespace in [Some(""), None] {
            let bundle = sleeper().namespace("pid", pid_namespace);
            for command in ["delete --force ID", "kill ID KILL", "kill --all ID KILL"] {
                let container = crun.start(&bundle);
                container.wait_output("up");
                freeze(&crun, &container);
                assert_eq!(container.status(), "paused");
                let args: Vec<_> =
                    command.split(' ').map(|word| if word == "ID" { container.id() } else { word }).collect();
                assert_eq!(crun.cmd(&args).ok(), "", "{command}");
                if command.starts_with("kill") {
                    container.wait();
                    assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
                }
                container.deleted();
            }
        }
    }
}
