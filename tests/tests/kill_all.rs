//! `kill --all`, and SIGKILL to a container whose processes do not end with the first one.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, new_id, skipped, wait_for};
use kit::{runtime, runtime_on_v2};
use serde_json::json;

/// A container without a pid namespace of its own, and a second process that outlives the first.
fn without_pid_namespace() -> Bundle {
    let script = "trap 'echo first' USR1; sh -c 'trap \"echo second\" USR1; echo up; while :; do sleep 0.02; done' & \
                  while :; do sleep 0.02; done";
    Bundle::new().namespace("pid", None).sh(script)
}

/// The container's own directories.
fn directories(container: &Container) -> Vec<PathBuf> {
    let all = container.cgroups().into_iter().map(|(_, dir)| dir);
    all.filter(|dir| dir.ends_with(container.id())).collect()
}

fn is_empty(directories: &[PathBuf]) -> bool {
    directories.iter().all(|dir| fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().is_empty())
}

#[test]
fn every_process_gets_the_signal() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&without_pid_namespace());
        container.wait_output("up");
        assert_eq!(container.cmd(["kill", "--all", "ID", "USR1"]).ok(), "", "{layout}");
        container.wait_output("first");
        container.wait_output("second");
        assert_eq!(container.status(), "running", "{layout}");
    }
}

#[test]
fn a_paused_container_stays_paused_and_gets_the_signal_when_it_is_resumed() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&without_pid_namespace());
        container.wait_output("up");
        assert_eq!(container.cmd(["pause", "ID"]).ok(), "", "{layout}");
        assert_eq!(container.cmd(["kill", "--all", "ID", "USR1"]).ok(), "", "{layout}");
        assert_eq!(container.status(), "paused", "{layout}");
        assert!(!container.stdout().contains("first"), "{layout}");
        assert_eq!(container.cmd(["resume", "ID"]).ok(), "", "{layout}");
        container.wait_output("first");
        container.wait_output("second");
    }
}

#[test]
fn where_nothing_is_left_to_be_signalled_all_is_well() {
    for pid_namespace in [Some(""), None] {
        let crun = runtime!();
        let container = crun.create(&Bundle::new().namespace("pid", pid_namespace).args(["true"]));
        container.kill("KILL");
        container.wait();
        for signal in ["KILL", "TERM", "0"] {
            assert_eq!(container.cmd(["kill", "--all", "ID", signal]).ok(), "", "{signal}");
        }
        crun.cmd(["kill", "--all", "nobody", "KILL"]).error_with(["container `nobody` does not exist"]);
    }
}

#[test]
fn what_has_outlived_the_first_process_can_still_be_killed() {
    for (layout, crun) in Crun::on_every_layout() {
        let container =
            crun.start(&Bundle::new().namespace("pid", None).sh("sleep 98 & echo up; exec sleep 97"));
        container.wait_output("up");
        let directories = directories(&container);
        kit::crun::signal(first_process(&container), 9);
        container.wait();
        assert!(!is_empty(&directories), "{layout}");
        assert_eq!(container.cmd(["kill", "--all", "ID", "KILL"]).ok(), "", "{layout}");
        wait_for("the end of all", || is_empty(&directories).then_some(()));
    }
}

/// The pid of the first process, outside of any view.
fn first_process(container: &Container) -> u32 {
    let status = fs::read_to_string(container.proc().join("status")).unwrap();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap().to_owned();
    let inside = container.pid().to_string();
    let procs = fs::read_to_string(directories(container)[0].join("cgroup.procs")).unwrap();
    let is_it = |pid: &&str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let last = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default().to_owned();
        last.split_whitespace().last() == Some(&inside) && last.ends_with(pids.trim())
    };
    procs.lines().find(is_it).unwrap().parse().unwrap()
}

#[test]
fn sigkill_ends_a_container_without_a_pid_namespace_as_a_whole() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&without_pid_namespace());
        container.wait_output("up");
        let directories = directories(&container);
        container.kill("KILL");
        container.wait();
        wait_for(&format!("the end of all on {layout}"), || is_empty(&directories).then_some(()));
    }
}

#[test]
fn sigkill_spares_another_container_in_the_same_cgroup() {
    for (layout, crun) in Crun::on_every_layout() {
        let path = format!("/{}", new_id());
        let bundle = || without_pid_namespace().set("/linux/cgroupsPath", json!(path));
        let (first, second) = (crun.start(&bundle()), crun.start(&bundle()));
        for container in [&first, &second] {
            container.wait_output("up");
        }
        first.kill("KILL");
        first.wait();
        assert_eq!(second.status(), "running", "{layout}");
        assert_eq!(second.cmd(["kill", "--all", "ID", "USR1"]).ok(), "", "{layout}");
        second.wait_output("second");
        second.delete();
        first.delete();
    }
}

/// Whether the pids controller limits a container's processes here; without it there is nothing to hold a bomb.
fn has_pids(crun: &Crun) -> bool {
    let container = crun.start(&Bundle::new().args(["sleep", "9"]));
    let found = container.cgroup("pids").is_some_and(|dir| dir.ends_with(container.id()));
    if !found {
        skipped("there is no pids controller here");
    }
    found
}

#[test]
fn a_fork_bomb_ends_at_once() {
    for (layout, crun) in Crun::on_every_layout() {
        if !has_pids(&crun) {
            continue;
        }
        for (pid_namespace, command) in [(None, "kill --all"), (None, "kill"), (Some(""), "kill --all")] {
            let container = crun.start(&Bundle::new().namespace("pid", pid_namespace).fork_bomb(60));
            container.wait_output("up");
            let directories = directories(&container);
            let args = command.split(' ').chain([container.id(), "KILL"]);
            assert_eq!(crun.cmd(args.collect::<Vec<_>>()).ok(), "", "{layout}: {command}");
            wait_for(&format!("the end of all on {layout}"), || is_empty(&directories).then_some(()));
            container.wait();
            assert_eq!(container.cmd(["delete", "ID"]).ok(), "", "{layout}: {command}");
            container.deleted();
        }
    }
}

#[test]
fn without_cgroup_kill_the_processes_are_killed_while_they_are_frozen() {
    let crun = runtime_on_v2!();
    let container = crun.start(&without_pid_namespace());
    container.wait_output("up");
    let directories = directories(&container);
    // A file that refuses to be written stands in for the one that older kernels do not have.
    let file = format!("/sys/fs/cgroup/{}/cgroup.kill", container.id());
    let view = crun.view().unwrap();
    assert!(view.command("mount").args(["--bind", "/dev/full", &file]).status().unwrap().success());
    assert_eq!(container.cmd(["kill", "--all", "ID", "KILL"]).ok(), "");
    wait_for("the end of all", || is_empty(&directories).then_some(()));
    assert_eq!(fs::read_to_string(directories[0].join("cgroup.freeze")).unwrap(), "0\n");
    assert!(view.command("umount").arg(&file).status().unwrap().success());
    container.wait();
}

#[test]
fn a_runtime_in_the_containers_own_cgroup_does_not_freeze_itself() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&Bundle::new().args(["sleep", "99"]));
        let path = container.id();
        let enter = format!(
            "for procs in /sys/fs/cgroup/{path}/cgroup.procs /sys/fs/cgroup/*/{path}/cgroup.procs; do \
             [ ! -e $procs ] || echo 0 >$procs; done"
        );
        let inside = crun.clone().after(&enter);
        assert_eq!(inside.cmd(["kill", "--all", path, "URG"]).ok(), "", "{layout}");
        assert_eq!(container.status(), "running", "{layout}");
    }
}
