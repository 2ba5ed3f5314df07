//! Several in one cgroup: what ends one container leaves the others alone.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use kit::bundle::Bundle;
use kit::bystander::Bystander;
use kit::container::Container;
use kit::crun::{Crun, new_id, skipped, wait_for};
use kit::runtime;
use serde_json::json;

/// Runs a test on this machine as it is, and where there is only version 2.
fn everywhere(test: impl Fn(&Crun)) {
    for crun in [Crun::new(), Crun::on_v2()] {
        match crun {
            Ok(crun) => test(&crun),
            Err(reason) => return skipped(reason),
        }
    }
}

fn sleeper(path: &str) -> Bundle {
    Bundle::new().args(["sleep", "99"]).set("/linux/cgroupsPath", json!(path))
}

/// The directories of a container's cgroup that go by this name.
fn directories(container: &Container, path: &str) -> Vec<PathBuf> {
    let all = container.cgroups().into_iter().map(|(_, dir)| dir);
    let own: Vec<_> = all.filter(|dir| dir.ends_with(path.trim_start_matches('/'))).collect();
    assert!(!own.is_empty());
    own
}

fn assert_gone(directories: &[PathBuf]) {
    assert_eq!(directories.iter().find(|dir| dir.exists()), None);
}

/// A process of the test's own, in the directories of a container's cgroup.
fn stranger(directories: &[PathBuf]) -> Bystander {
    let stranger = Bystander::asleep();
    for directory in directories {
        fs::write(directory.join("cgroup.procs"), stranger.id().to_string()).unwrap();
    }
    stranger
}

#[test]
fn a_container_survives_the_deletion_of_another_in_its_cgroup() {
    everywhere(|crun| {
        let path = format!("/{}", new_id());
        let (first, second) = (crun.start(&sleeper(&path)), crun.start(&sleeper(&path)));
        let directories = directories(&second, &path);
        for directory in &directories {
            fs::create_dir(directory.join("below")).unwrap();
        }
        let args = first.args(["delete", "--force", "ID"]);
        let output = crun.clone().with("--log-level=warning").cmd(args);
        assert_eq!(output.code, 0, "{output}");
        assert!(output.stderr.contains(&format!("the cgroup `{path}` is left")), "{output}");
        first.deleted();
        assert_eq!(second.status(), "running");
        assert!(directories.iter().all(|directory| directory.join("below").is_dir()));
        second.delete();
        assert_gone(&directories);
    });
}

#[test]
fn without_pid_namespaces_too_and_the_last_one_deleted_ends_what_all_have_left() {
    everywhere(|crun| {
        let path = format!("/{}", new_id());
        let bundle = || sleeper(&path).namespace("pid", None).sh("sleep 98 & echo up; sleep 97; true");
        let (first, second) = (crun.start(&bundle()), crun.start(&bundle()));
        for container in [&first, &second] {
            container.wait_output("up");
        }
        let directories = directories(&second, &path);
        let processes = || fs::read_to_string(directories[0].join("cgroup.procs")).unwrap().lines().count();
        wait_for("all processes", || (processes() == 6).then_some(()));
        assert_eq!(first.cmd(["delete", "--force", "ID"]).ok(), "");
        assert_eq!(second.status(), "running");
        wait_for("the end of the first container's first process", || (processes() == 5).then_some(()));
        second.delete();
        assert_gone(&directories);
        first.deleted();
    });
}

#[test]
fn a_container_survives_a_run_in_its_cgroup_and_a_start_that_fails_there() {
    everywhere(|crun| {
        let parent = format!("/{}", new_id());
        let container = crun.start(&sleeper(&format!("{parent}/one")));
        for path in [format!("{parent}/one"), format!("{parent}/two"), format!("{parent}/one/below")] {
            assert_eq!(crun.run(&sleeper(&path).args(["true"])).ok(), "", "{path}");
            crun.run(&sleeper(&path).args(["/no/such/program"])).error_with(["not found"]);
            assert_eq!(container.status(), "running", "{path}");
        }
        let directories = directories(&container, &format!("{parent}/one"));
        container.delete();
        assert_gone(&directories);
        for directory in directories {
            fs::remove_dir(directory.parent().unwrap()).unwrap();
        }
    });
}

#[test]
fn a_cgroup_with_processes_hands_nothing_on_not_even_what_can_tell_threads_apart() {
    let crun = runtime!();
    let path = format!("/{}", new_id());
    let container = crun.start(&sleeper(&path));
    let Some(directory) = container.cgroup("pids").filter(|directory| directory.join("cgroup.type").exists())
    else {
        return skipped("there is no pids controller of version 2 here");
    };
    let below = sleeper(&format!("{path}/below")).set("/linux/resources/pids", json!({"limit": 10}));
    crun.run(&below).error_with(["+pids", &format!("{path}/cgroup.subtree_control"), "busy"]);
    assert_eq!(fs::read_to_string(directory.join("cgroup.type")).unwrap(), "domain\n");
    assert_eq!(container.status(), "running");
}

#[test]
fn a_container_survives_the_removal_of_what_a_killed_runtime_left() {
    everywhere(|crun| {
        let path = format!("/{}", new_id());
        let container = crun.start(&sleeper(&path));
        let half = crun.state_dir().join("half");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("config.json"), sleeper(&path).config().to_string()).unwrap();
        assert_eq!(crun.cmd(["delete", "--force", "half"]).ok(), "");
        assert_eq!(container.status(), "running");
    });
}

#[test]
fn a_process_that_is_not_the_containers_survives_its_deletion() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let directories = directories(&container, container.id());
    let mut stranger = stranger(&directories);
    assert_eq!(container.cmd(["kill", "--all", "ID", "KILL"]).ok(), "");
    container.wait();
    assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
    assert!(stranger.is_alive());
    drop(stranger);
    for directory in &directories {
        remove(directory);
    }
    container.deleted();
}

/// Removes a cgroup whose last process may still be on its way out.
fn remove(directory: &Path) {
    wait_for("the cgroup to be empty", || fs::remove_dir(directory).ok());
}
