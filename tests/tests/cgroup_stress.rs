//! Cgroups under stress: many containers at once, forks that never end, cgroups that a container has nested, others that
//! remove them at the same time. Afterwards there is no process and no cgroup.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, new_id, skipped, wait_for};
use kit::runtime_on_v2;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use serde_json::json;

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "999"])
}

/// The container's own directories.
fn directories(container: &Container) -> Vec<PathBuf> {
    let all = container.cgroups().into_iter().map(|(_, dir)| dir);
    all.filter(|dir| dir.ends_with(container.id())).collect()
}

fn has_pids(crun: &Crun) -> bool {
    let container = crun.start(&sleeper());
    container.cgroup("pids").is_some_and(|dir| dir.ends_with(container.id()))
}

/// What is done to the containers, in turn.
const ENDS: [&[&str]; 6] = [
    &["delete --force ID"],
    &["pause ID", "delete --force ID"],
    &["kill --all ID KILL", "delete --force ID"],
    &["pause ID", "kill --all ID KILL", "delete --force ID"],
    &["pause ID", "resume ID", "kill ID KILL", "delete --force ID"],
    &["pause ID", "kill ID KILL", "delete --force ID"],
];

fn end(crun: &Crun, container: Container, ends: &[&str]) {
    for command in ends {
        let words = command.split(' ').map(|word| if word == "ID" { container.id() } else { word });
        assert_eq!(crun.cmd(words.collect::<Vec<_>>()).ok(), "", "{command}");
    }
    container.deleted();
}

#[test]
fn of_fifty_containers_nothing_is_left_whatever_ends_them() {
    for (layout, crun) in Crun::on_every_layout() {
        let bombs = has_pids(&crun);
        if !bombs {
            skipped(format!("{layout}: no fork bombs, because there is no pids controller"));
        }
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= 50 {
                    break;
                }
                let pid_namespace = if number.is_multiple_of(2) { Some("") } else { None };
                // As many bombs at a time as there are workers: each takes all the processor it gets.
                let bundle = match number % 5 {
                    0 if bombs => Bundle::new().fork_bomb(40),
                    _ => Bundle::new().sh("sleep 998 & sleep 997 & echo up; exec sleep 996"),
                };
                let container = crun.start(&bundle.namespace("pid", pid_namespace));
                container.wait_output("up");
                end(&crun, container, ENDS[number % ENDS.len()]);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(work);
            }
        });
        assert_eq!(crun.cmd(["list", "--quiet"]).ok(), "", "{layout}");
    }
}

#[test]
fn fifty_containers_at_the_same_time_are_paused_resumed_and_deleted() {
    for (layout, crun) in Crun::on_every_layout() {
        let containers: Vec<_> = (0..50).map(|_| crun.create(&sleeper())).collect();
        for status in ["pause", "resume", "pause"] {
            for container in &containers {
                assert_eq!(container.cmd([status, "ID"]).ok(), "", "{layout}");
            }
        }
        let list = crun.cmd(["list", "--format", "json"]).json();
        let list = list.as_array().unwrap();
        assert!(
            list.len() == 50 && list.iter().all(|entry| entry["status"] == "paused"),
            "{layout}: {list:?}"
        );
        assert_eq!(crun.cmd(["delete", "--force", "--regex", "."]).ok(), "", "{layout}");
        for container in containers {
            container.deleted();
        }
    }
}

/// A container that may make cgroups below its own (version 2).
fn with_writable_cgroup(script: &str) -> Bundle {
    Bundle::new().sh(script).edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let cgroup = mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap();
        cgroup["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]);
    })
}

#[test]
fn cgroups_that_a_container_has_nested_go_with_it_and_so_do_their_processes() {
    let crun = runtime_on_v2!();
    let script = "cd /sys/fs/cgroup; for i in 1 2 3 4 5; do mkdir -p a/$i/x/y; \
                  (echo 0 >a/$i/x/y/cgroup.procs; exec sleep 999) & done; sleep 0.1; echo 1 >a/3/cgroup.freeze; \
                  echo up; exec sleep 998";
    for pid_namespace in [Some(""), None] {
        for ends in ENDS {
            let container = crun.start(&with_writable_cgroup(script).namespace("pid", pid_namespace));
            container.wait_output("up");
            wait_for("all processes", || {
                let pids = container.cmd(["ps", "-f", "json", "ID"]).json();
                (pids.as_array().unwrap().len() == 6).then_some(())
            });
            end(&crun, container, ends);
        }
    }
}

#[test]
fn neither_depth_nor_names_keep_a_cgroup_from_being_removed() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&sleeper());
        let name = std::ffi::OsStr::from_bytes(b"no \xff text");
        for directory in directories(&container) {
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
            let mut here = openat(CWD, &directory, flags, Mode::empty()).unwrap();
            // More than fit into a path, and than a process may have descriptors.
            for _ in 0..450 {
                mkdirat(&here, name, Mode::RWXU).unwrap();
                here = openat(&here, name, flags, Mode::empty()).unwrap();
            }
        }
        let few = crun.clone().after("ulimit -n 60");
        let args = container.args(["delete", "--force", "ID"]);
        assert_eq!(few.cmd(args).ok(), "", "{layout}");
        container.deleted();
    }
}

/// Removes and makes cgroups below these as long as the deletion takes.
fn interfere(directories: &[PathBuf], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for directory in directories {
            for name in ["a/b", "a", "c"] {
                let _ = fs::remove_dir(directory.join(name));
            }
            for name in ["c", "a", "a/b"] {
                let _ = fs::create_dir(directory.join(name));
            }
        }
    }
}

#[test]
fn somebody_who_removes_cgroups_at_the_same_time_is_no_trouble() {
    for (layout, crun) in Crun::on_every_layout() {
        for _ in 0..5 {
            let container = crun.start(&sleeper().namespace("pid", None));
            let directories = directories(&container);
            for name in ["a", "a/b", "c"] {
                directories.iter().for_each(|directory| fs::create_dir(directory.join(name)).unwrap());
            }
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // Only removes: what is made anew for ever can never be removed for good.
                    while !stop.load(Ordering::Relaxed) {
                        for directory in &directories {
                            for name in ["a/b", "a", "c"] {
                                let _ = fs::remove_dir(directory.join(name));
                            }
                        }
                    }
                });
                let deleted = container.cmd(["delete", "--force", "ID"]);
                stop.store(true, Ordering::Relaxed);
                assert_eq!(deleted.ok(), "", "{layout}");
            });
            container.deleted();
        }
    }
}

#[test]
fn somebody_who_makes_cgroups_for_a_while_only_delays_the_deletion() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&sleeper().namespace("pid", None));
        let directories = directories(&container);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| interfere(&directories, &stop));
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                stop.store(true, Ordering::Relaxed);
            });
            assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "", "{layout}");
        });
        // Whoever makes a directory where there was one has to remove it.
        for directory in directories {
            for name in ["a/b", "a", "c", ""] {
                let _ = fs::remove_dir(directory.join(name));
            }
        }
        container.deleted();
    }
}

#[test]
fn a_cgroup_that_is_gone_already_is_no_trouble() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&sleeper());
        let directories = directories(&container);
        container.kill("KILL");
        container.wait();
        for directory in directories {
            wait_for("the cgroup to be empty", || fs::remove_dir(&directory).ok());
        }
        for command in ["ps", "state"] {
            assert_eq!(container.cmd([command, "ID"]).code, 0, "{layout}");
        }
        assert_eq!(container.cmd(["kill", "--all", "ID", "KILL"]).ok(), "", "{layout}");
        assert_eq!(container.cmd(["delete", "ID"]).ok(), "", "{layout}");
        container.deleted();
    }
}

#[test]
fn where_the_cgroups_cannot_be_written_the_container_ends_and_its_cgroup_is_told_of() {
    let crun = runtime_on_v2!();
    let container = crun.start(&sleeper());
    let directories = directories(&container);
    let view = crun.view().unwrap();
    let remount = |how: &str| {
        let options = format!("remount,bind,{how}");
        assert!(view.command("mount").args(["-o", &options, "/sys/fs/cgroup"]).status().unwrap().success());
    };
    remount("ro");
    let output = crun.clone().with("--log-level=warning").cmd(container.args(["delete", "--force", "ID"]));
    remount("rw");
    assert_eq!(output.code, 0, "{output}");
    assert!(
        output.stderr.contains(container.id()) && output.stderr.contains("Read-only file system"),
        "{output}"
    );
    for directory in directories {
        wait_for("the cgroup to be empty", || fs::remove_dir(&directory).ok());
    }
    container.deleted();
}

/// The calls that a command makes, as strace counts them.
fn calls(crun: &Crun, args: &[&str]) -> Option<usize> {
    let trace = crun.state_dir().with_file_name(new_id());
    let answer = crun.state_dir().with_file_name(new_id());
    let command = crun.command(args);
    let mut words = vec![command.get_program().to_owned()];
    words.extend(command.get_args().map(ToOwned::to_owned));
    let mut strace = std::process::Command::new("strace");
    strace.arg("-f").arg("-o").arg(&trace).args(&words).stdout(fs::File::create(&answer).unwrap());
    let ran = strace.status();
    ran.ok().filter(std::process::ExitStatus::success)?;
    // A call that another process interrupts takes a second line.
    let is_call = |line: &&str| !["<unfinished ...>", "+++", "---"].iter().any(|other| line.contains(other));
    Some(fs::read_to_string(trace).unwrap().lines().filter(is_call).count())
}

#[test]
fn listing_takes_the_same_few_calls_for_each_container_and_state_as_many_as_for_one() {
    for (layout, crun) in Crun::on_every_layout() {
        let original = crun.create(&sleeper());
        let Some(state_of_one) = calls(&crun, &["state", original.id()]) else {
            return skipped("strace cannot be run here");
        };
        let list_of_one = calls(&crun, &["list"]).unwrap();
        // Many names for one container: to a list they are as many containers.
        let dir = crun.state_dir();
        let copies: Vec<_> = (0..999).map(|number| dir.join(format!("copy{number}"))).collect();
        for copy in &copies {
            fs::create_dir(copy).unwrap();
            for name in ["status", "config.json"] {
                fs::copy(dir.join(original.id()).join(name), copy.join(name)).unwrap();
            }
        }
        let list_of_all = calls(&crun, &["list"]).unwrap();
        let state_of_all = calls(&crun, &["state", original.id()]).unwrap();
        let for_each = (list_of_all - list_of_one) / copies.len();
        assert!(for_each <= 20, "{layout}: {for_each} calls for each container");
        assert!(state_of_all <= state_of_one + 10, "{layout}: {state_of_all} calls, not {state_of_one}");
        copies.iter().for_each(|copy| fs::remove_dir_all(copy).unwrap());
    }
}
