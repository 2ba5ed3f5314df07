//! `pause` and `resume`: what stands still, what goes on, and what can be done meanwhile.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, new_id, signal, skipped, wait_for};
use kit::view::View;
use kit::{runtime, runtime_on_v2};
use serde_json::json;
use tempfile::TempDir;

/// A payload that writes a line every few milliseconds.
fn ticker() -> Bundle {
    Bundle::new().sh("while :; do echo tick; sleep 0.01; done")
}

fn ticks(container: &Container) -> usize {
    container.stdout().lines().count()
}

/// Asserts that nothing is written any more.
fn assert_still(container: &Container) {
    let before = ticks(container);
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(ticks(container), before, "it goes on");
}

fn assert_goes_on(container: &Container) {
    let before = ticks(container);
    wait_for("a tick", || (ticks(container) > before).then_some(()));
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&ticker());
        assert_goes_on(&container);
        assert_eq!(container.cmd(["pause", "ID"]).ok(), "", "{layout}");
        assert_eq!(container.status(), "paused", "{layout}");
        let list = crun.cmd(["list", "--format", "json"]).json();
        assert_eq!(list[0]["status"], "paused", "{layout}");
        assert_still(&container);
        assert_eq!(container.cmd(["resume", "ID"]).ok(), "", "{layout}");
        assert_eq!(container.status(), "running", "{layout}");
        assert_goes_on(&container);
    }
}

#[test]
fn pausing_what_is_paused_and_resuming_what_runs_is_no_error() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&ticker());
        assert_eq!(container.cmd(["resume", "ID"]).ok(), "", "{layout}");
        for _ in 0..2 {
            assert_eq!(container.cmd(["pause", "ID"]).ok(), "", "{layout}");
            assert_eq!(container.status(), "paused", "{layout}");
        }
    }
}

#[test]
fn a_second_argument_is_accepted_and_ignored_as_by_the_c_crun() {
    let crun = runtime!();
    let container = crun.start(&ticker());
    assert_eq!(container.cmd(["pause", "ID", "other"]).ok(), "");
    assert_eq!(container.cmd(["resume", "ID", "other"]).ok(), "");
    container.cmd(["pause", "ID", "b", "c"]).error_with(["`pause` requires a maximum of 2 arguments"]);
}

#[test]
fn only_a_container_that_runs_can_be_paused_or_resumed() {
    let crun = runtime!();
    let container = crun.start(&ticker());
    container.kill("KILL");
    container.wait();
    for command in ["pause", "resume"] {
        let not_running = format!("the container `{}` is not running", container.id());
        assert_eq!(container.cmd([command, "ID"]).error(), not_running);
        crun.cmd([command, "nobody"]).error_with(["container `nobody` does not exist"]);
    }
}

#[test]
fn a_container_without_a_cgroup_cannot_be_paused() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    let container = crun.start(&ticker().unset("/linux/resources"));
    for command in ["pause", "resume", "ps"] {
        assert_eq!(container.cmd([command, "ID"]).error(), "the container is not using cgroups");
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn nothing_can_be_run_in_a_paused_container() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&ticker());
        assert_eq!(container.cmd(["pause", "ID"]).ok(), "", "{layout}");
        container.cmd(["exec", "ID", "true"]).error_with(["is paused"]);
        container.cmd(["delete", "ID"]).error_with(["is not in `created` or `stopped` state"]);
    }
}

#[test]
fn a_created_container_can_be_paused_and_goes_on_to_its_program_when_resumed() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.create(&ticker());
        assert_eq!(container.cmd(["pause", "ID"]).ok(), "", "{layout}");
        assert_eq!(container.status(), "paused", "{layout}");
        container.start();
        assert_eq!(container.status(), "paused", "{layout}");
        assert_eq!(container.stdout(), "", "{layout}");
        assert_eq!(container.cmd(["resume", "ID"]).ok(), "", "{layout}");
        assert_goes_on(&container);
        assert_eq!(container.status(), "running", "{layout}");
    }
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    for (layout, crun) in Crun::on_every_layout() {
        for pid_namespace in [Some(""), None] {
            for command in ["delete --force ID", "kill ID KILL", "kill --all ID KILL"] {
                let bundle = ticker().namespace("pid", pid_namespace);
                let container = crun.start(&bundle);
                assert_eq!(container.cmd(["pause", "ID"]).ok(), "", "{layout}");
                let words = command.split(' ').map(|word| if word == "ID" { container.id() } else { word });
                assert_eq!(crun.cmd(words.collect::<Vec<_>>()).ok(), "", "{layout}: {command}");
                if command.starts_with("kill") {
                    container.wait();
                    assert_eq!(container.cmd(["delete", "ID"]).ok(), "", "{layout}: {command}");
                }
                container.deleted();
            }
        }
    }
}

#[test]
fn processes_in_cgroups_that_the_container_made_are_paused_too() {
    let crun = runtime_on_v2!();
    let script = "mkdir /sys/fs/cgroup/a; (echo 0 >/sys/fs/cgroup/a/cgroup.procs; exec sleep 98) & \
                  while :; do echo tick; sleep 0.01; done";
    let bundle = ticker().sh(script).edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let cgroup = mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap();
        cgroup["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]);
    });
    let container = crun.start(&bundle);
    container.wait_output("tick");
    assert_eq!(container.cmd(["pause", "ID"]).ok(), "");
    let (_, cgroup) = container.cgroups().into_iter().find(|(list, _)| list.is_empty()).unwrap();
    assert!(fs::read_to_string(cgroup.join("a/cgroup.events")).unwrap().contains("frozen 1"));
    assert_eq!(container.cmd(["resume", "ID"]).ok(), "");
    assert_goes_on(&container);
}

/// Two processes that wait, deep in the kernel: the one for an answer of a file system in user space that nobody serves,
/// the other, which looks for the same name, for the first one. They wait as long as the value lives.
struct Stuck {
    keeper: Child,
    place: TempDir,
}

/// Whether a process waits in the kernel, where no signal reaches it.
fn is_stuck(pid: &String) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") D "))
}

impl Stuck {
    /// `None` where there is no such file system.
    fn new(view: &View) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let script = format!(
            "exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none {0} || exit
             stat {0}/x & stat {0}/x & wait",
            place.path().display()
        );
        let keeper = view.command("sh").args(["-c", &script]).stderr(Stdio::null()).spawn().unwrap();
        let mut stuck = Self { keeper, place };
        let up = wait_for("the process that is stuck", || match stuck.keeper.try_wait().unwrap() {
            Some(_) => Some(false),
            None => (stuck.pids().len() == 2 && stuck.pids().iter().all(is_stuck)).then_some(true),
        });
        if !up {
            skipped("there is no fuse here");
        }
        up.then_some(stuck)
    }

    /// Their pids outside.
    fn pids(&self) -> Vec<String> {
        let cmdline = format!("stat\0{}/x\0", self.place.path().display());
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let found =
            processes.filter(|proc| fs::read_to_string(proc.join("cmdline")).is_ok_and(|c| c == cmdline));
        found.map(|proc| proc.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn put_into(&self, cgroup: &Path) {
        for pid in self.pids() {
            fs::write(cgroup.join("cgroup.procs"), pid).unwrap();
        }
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        for pid in self.pids() {
            signal(pid.parse().unwrap(), 9);
        }
        let _ = self.keeper.wait();
    }
}

#[test]
fn what_cannot_be_frozen_in_time_goes_on() {
    for (layout, crun) in [("version 1", Crun::on_v1()), ("version 2", Crun::on_v2())] {
        let crun = match crun {
            Ok(crun) => crun,
            Err(reason) => {
                skipped(format!("{layout}: {reason}"));
                continue;
            }
        };
        let Some(stuck) = Stuck::new(crun.view().unwrap()) else { continue };
        let container = crun.start(&ticker());
        let mut cgroups = container.cgroups().into_iter().map(|(_, dir)| dir);
        let (file, thawed) =
            if layout == "version 1" { ("freezer.state", "THAWED\n") } else { ("cgroup.freeze", "0\n") };
        let cgroup = cgroups.find(|dir| dir.join(file).exists()).unwrap();
        stuck.put_into(&cgroup);
        container.cmd(["pause", "ID"]).error_with(["cannot freeze", container.id(), "within 10 s"]);
        assert_eq!(container.status(), "running", "{layout}");
        assert_eq!(fs::read_to_string(cgroup.join(file)).unwrap(), thawed);
        assert_goes_on(&container);
        drop(stuck);
    }
}

#[test]
fn where_the_cgroups_cannot_be_written_the_file_is_named() {
    let crun = runtime_on_v2!();
    let container = crun.start(&ticker());
    let view = crun.view().unwrap();
    let read_only = |options: &str| {
        let done = view.command("mount").args(["-o", options, "/sys/fs/cgroup"]).status().unwrap();
        assert!(done.success());
    };
    read_only("remount,bind,ro");
    container.cmd(["pause", "ID"]).error_with(["cgroup.freeze", container.id(), "Read-only file system"]);
    let other = new_id();
    let bundle = ticker();
    crun.cmd(["run", "-b", bundle.save().to_str().unwrap(), &other]).error_with([
        "create the cgroup",
        &other,
        "Read-only file system",
    ]);
    read_only("remount,bind,rw");
    assert_eq!(container.status(), "running");
}
