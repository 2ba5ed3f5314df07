//! Cgroups: membership, limits read from outside and felt inside, paths, removal. Limits run on the machine's own layout,
//! whatever it is; the rest also in a private place with pure version 2.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, new_id, skipped, wait_for};
use kit::{runtime, runtime_on_v2};
use serde_json::{Value, json};

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

fn with_resources(resources: Value) -> Bundle {
    Bundle::new().set("/linux/resources", resources)
}

/// The cgroups of the container's own that its first process is in.
fn is_member(container: &Container) -> Vec<PathBuf> {
    let own: Vec<_> = container
        .cgroups()
        .into_iter()
        .map(|(_, dir)| dir)
        .filter(|dir| dir.ends_with(container.id()))
        .collect();
    assert!(!own.is_empty(), "{:?}", container.cgroups());
    own
}

fn member_and_removed(crun: &Crun) {
    let container = crun.create(&sleeper());
    let own = is_member(&container);
    container.start();
    for dir in &own {
        assert_eq!(
            fs::read_to_string(dir.join("cgroup.procs")).unwrap().lines().count(),
            1,
            "{}",
            dir.display()
        );
    }
    container.delete();
    assert_eq!(own.iter().find(|dir| dir.exists()), None);
}

#[test]
fn a_container_is_alone_in_a_cgroup_of_its_name_that_is_removed_with_it() {
    member_and_removed(&runtime!());
}

#[test]
fn a_container_is_alone_in_a_cgroup_of_its_name_on_version_2() {
    let crun = runtime_on_v2!();
    member_and_removed(&crun);
    let text =
        crun.run(&Bundle::new().namespace("cgroup", None).args(["grep", "^0::", "/proc/self/cgroup"])).ok();
    assert!(text.starts_with("0::/t") && text.ends_with("z\n"), "{text}");
}

#[test]
fn the_limits_are_in_every_hierarchy_that_has_the_controller() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    for controller in ["memory", "pids", "cpu", "cpuset", "devices", "freezer"] {
        match container.cgroup(controller) {
            Some(dir) => assert!(dir.ends_with(container.id()), "{controller}: {}", dir.display()),
            None => skipped(format!("there is no {controller} controller here")),
        }
    }
}

/// Runs in the cgroup path and returns the last component that the payload's cgroup has.
fn with_path(crun: &Crun, path: &str) -> Vec<PathBuf> {
    let container = crun.start(&sleeper().set("/linux/cgroupsPath", json!(path)));
    let own: Vec<_> = container.cgroups().into_iter().map(|(_, dir)| dir).collect();
    container.delete();
    own
}

fn paths(crun: &Crun) {
    let root = match crun.view() {
        Some(view) => vec![view.cgroup().to_path_buf()],
        None => kit::leftovers::hierarchies().into_iter().map(|(_, mount)| mount).collect(),
    };
    let name = new_id();
    for (path, below) in [
        (format!("/crun-tests/{name}"), format!("crun-tests/{name}")),
        (format!("crun-tests/{name}"), format!("crun-tests/{name}")),
        (format!("/{name}/"), name.clone()),
        (format!("//crun-tests/./{name}"), format!("crun-tests/{name}")),
        (format!("/../../../../{name}"), name.clone()),
        (format!("../../crun-tests/../{name}"), name.clone()),
    ] {
        let own = with_path(crun, &path);
        let found = root.iter().filter(|root| own.contains(&root.join(&below))).count();
        assert!(found >= 1, "{path}: {own:?} has none of {root:?} with {below}");
        assert_eq!(
            own.iter().find(|dir| dir.to_string_lossy().contains(&name) && dir.exists()),
            None,
            "{path}"
        );
    }
    for mount in root {
        let _ = fs::remove_dir(mount.join("crun-tests")); // unless another test is using it
    }
}

#[test]
fn the_path_is_absolute_or_relative_below_the_root_and_never_above() {
    paths(&runtime!());
}

#[test]
fn the_path_is_absolute_or_relative_below_the_root_on_version_2() {
    paths(&runtime_on_v2!());
}

#[test]
fn a_cgroup_that_cannot_be_created_is_an_error() {
    let crun = runtime!();
    // Below a file there can be no directory.
    for path in ["/cgroup.procs/below", "tasks/below/../../cgroup.procs/x/y"] {
        let line = crun.run(&sleeper().set("/linux/cgroupsPath", json!(path))).error();
        assert!(line.contains("cgroup.procs") && line.ends_with("Not a directory"), "{line}");
    }
}

#[test]
fn a_cgroup_made_inside_is_removed_with_its_processes() {
    for crun in [Crun::new(), Crun::on_v2()] {
        let crun = match crun {
            Ok(crun) => crun,
            Err(reason) => return skipped(reason),
        };
        let container =
            crun.start(&Bundle::new().namespace("pid", None).sh("sleep 88 & sleep 89 & echo up; wait"));
        container.wait_output("up");
        for dir in is_member(&container) {
            let below = dir.join("one/two");
            fs::create_dir_all(&below).unwrap();
            // cpuset on version 1 takes no process before it has processors and memory.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read_to_string(dir.join(file)) {
                    drop([&dir.join("one"), &below].map(|dir| fs::write(dir.join(file), &value)));
                }
            }
            let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
            fs::write(below.join("cgroup.procs"), procs.lines().last().unwrap()).unwrap();
            assert_eq!(fs::read_to_string(below.join("cgroup.procs")).unwrap().lines().count(), 1);
        }
        assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "");
        container.deleted();
    }
}

#[test]
fn processes_that_outlive_the_first_one_are_ended_by_delete() {
    let crun = runtime!();
    let container =
        crun.start(&Bundle::new().namespace("pid", None).sh("(trap '' TERM HUP; sleep 88) & echo up"));
    container.wait_output("up");
    container.wait();
    assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
    container.deleted();
}

#[test]
fn the_cgroups_are_shown_inside() {
    let crun = runtime_on_v2!();
    let text = crun.run(&Bundle::new().sh("cat /sys/fs/cgroup/cgroup.procs; touch /sys/fs/cgroup/x")).stdout;
    assert!(text.starts_with("1\n"), "{text}");
    let crun = runtime!();
    let output = crun.run(
        &Bundle::new()
            .sh("find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -exec cat {} +; mkdir /sys/fs/cgroup/x"),
    );
    assert!(
        output.stdout.lines().any(|line| line == "1") && output.stderr.contains("Read-only file system"),
        "{output}"
    );
}

#[test]
fn without_a_cgroup_manager_the_payload_stays_in_the_callers_cgroup() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    let bundle =
        Bundle::new().unset("/linux/resources").namespace("cgroup", None).args(["cat", "/proc/self/cgroup"]);
    assert_eq!(crun.run(&bundle).ok(), fs::read_to_string("/proc/self/cgroup").unwrap());
    let container = crun.start(&sleeper().unset("/linux/resources"));
    container.kill("KILL");
    container.wait();
}

#[test]
fn without_a_cgroup_manager_no_cgroup_filesystem_is_needed() {
    let crun = match Crun::without_cgroups() {
        Ok(crun) => crun.with("--cgroup-manager=disabled"),
        Err(reason) => return skipped(reason),
    };
    let is_cgroup = |mount: &Value| mount["type"] == "cgroup";
    let bundle = Bundle::new()
        .unset("/linux/resources")
        .edit(|config| config["mounts"].as_array_mut().unwrap().retain(|mount| !is_cgroup(mount)))
        .namespace("cgroup", None)
        .sh("echo up; sleep 88; true");
    let container = crun.create(&bundle);
    container.start();
    container.wait_output("up");
    assert_eq!(container.status(), "running");
    assert_eq!(container.cmd(["exec", "ID", "echo", "here"]).ok(), "here\n");
    assert_eq!(container.cmd(["kill", "--all", "ID", "KILL"]).ok(), "");
    container.wait();
    assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
    container.deleted();
    crun.start(&bundle).delete();
}

#[test]
fn without_a_cgroup_manager_limits_are_an_error() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    crun.run(&with_resources(json!({"pids": {"limit": 5}})).args(["true"]))
        .error_with(["cannot set limits without cgroups"]);
}

#[test]
fn without_a_cgroup_manager_a_force_delete_ends_every_process() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    let container = crun.start(&Bundle::new().unset("/linux/resources").sh("sleep 88 & echo up; wait"));
    container.wait_output("up");
    let pid = container.pid();
    container.delete();
    let runs = || fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty());
    wait_for("the first process to go", || (!runs()).then_some(()));
}
