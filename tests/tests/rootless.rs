//! An ordinary user runs containers, with no help but that of `newuidmap(1)` and `newgidmap(1)`.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::Stdio;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped, wait_for};
use kit::runtime_of_user;
use kit::user::{SUBIDS, UID};
use serde_json::json;

fn bundle() -> Bundle {
    Bundle::new().of_user()
}

fn sleeper() -> Bundle {
    bundle().sh("echo up; sleep 99; true")
}

/// Without a right to a cgroup, and with one.
fn everywhere() -> Vec<Crun> {
    let all = [Crun::new().and_then(Crun::as_user), Crun::as_user_with_cgroup()];
    all.into_iter().filter_map(|crun| crun.map_err(skipped).ok()).collect()
}

fn started(crun: &Crun, bundle: &Bundle) -> Container {
    let container = crun.start(bundle);
    container.wait_output("up");
    container
}

#[test]
fn a_container_lives_through_its_whole_life() {
    for crun in everywhere() {
        Container::lives_through_its_whole_life(&crun, &sleeper(), UID);
        assert_eq!(crun.run(&bundle().sh("echo $$; ls /sys/fs/cgroup >/dev/null")).ok(), "1\n");
    }
}

#[test]
fn a_container_has_the_users_own_id_as_root_and_the_subordinate_ones_above() {
    let crun = runtime_of_user!();
    let (first, count) = SUBIDS;
    let text = crun.run(&bundle().args(["cat", "/proc/self/uid_map", "/proc/self/gid_map"])).ok();
    let rows: Vec<Vec<u32>> = text
        .lines()
        .map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect())
        .collect();
    let map = [vec![0, UID, 1], vec![1, first, count]];
    assert_eq!(rows, [map.clone(), map].concat());
}

#[test]
fn in_a_cgroup_of_the_users_a_container_is_paused_listed_and_killed() {
    let crun = match Crun::as_user_with_cgroup() {
        Ok(crun) => crun,
        Err(reason) => return skipped(reason),
    };
    let container = started(&crun, &sleeper());
    let own = container.cgroups().into_iter().find(|(list, _)| list.is_empty()).unwrap().1;
    assert!(own.ends_with(format!("user/{}", container.id())), "{}", own.display());
    assert_eq!(container.cmd(["exec", "ID", "grep", "^0:", "/proc/self/cgroup"]).ok(), "0::/\n");
    let list = container.cmd(["ps", "ID"]).ok();
    assert!(list.starts_with("PID\n") && list.contains(&container.pid().to_string()), "{list}");
    assert_eq!(container.cmd(["pause", "ID"]).ok(), "");
    assert_eq!(container.status(), "paused");
    assert_eq!(container.cmd(["resume", "ID"]).ok(), "");
    assert!(container.cmd(["events", "--stats", "ID"]).ok().contains("\"type\""));
    assert_eq!(container.cmd(["kill", "--all", "ID", "KILL"]).ok(), "");
    container.wait();
    container.delete();
    assert!(!own.exists());
}

#[test]
fn without_a_right_to_a_cgroup_a_container_has_none_unless_it_asks_for_something() {
    let crun = runtime_of_user!();
    let container = started(&crun, &sleeper());
    assert!(container.cgroups().iter().all(|(_, directory)| !directory.ends_with(container.id())));
    container.cmd(["pause", "ID"]).error_with(["the container is not using cgroups"]);
    container.delete();
    let elsewhere = sleeper().set("/linux/cgroupsPath", json!("/some/where"));
    crun.run(&elsewhere).error_with(["create the cgroup `", "Permission denied"]);
    let limited = sleeper().set("/linux/resources/pids", json!({"limit": 5}));
    crun.run(&limited).error_with([
        "create the cgroup `",
        "the limits take a cgroup that has been given to this user",
        "Permission denied",
    ]);
}

#[test]
fn what_only_the_user_can_reach_is_bound_for_ids_that_cannot() {
    let crun = runtime_of_user!();
    let home = crun.state_dir().parent().unwrap().join("home");
    let source = home.join("volume");
    fs::create_dir_all(source.join("below")).unwrap();
    fs::write(source.join("file"), "mine\n").unwrap();
    // Nobody in the container is the user, whose home is closed to everybody else.
    let map = json!([{"containerID": 0, "hostID": SUBIDS.0, "size": 1000}]);
    let bundle = bundle()
        .namespace("user", Some(""))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .mount("/run", "bind", source.to_str().unwrap(), ["rbind", "rro"])
        .sh("cat /run/file; ls /run; touch /run/x; id -u");
    let output = crun.run(&bundle);
    assert_eq!(output.stdout, "mine\nbelow\nfile\n0\n", "{output}");
    assert!(output.stderr.contains("Read-only"), "{output}");
}

#[test]
fn mounts_are_added_to_a_container_and_taken_off() {
    let crun = runtime_of_user!();
    let container = started(&crun, &sleeper());
    let home = crun.state_dir().parent().unwrap().join("home");
    fs::create_dir(home.join("volume")).unwrap();
    fs::write(home.join("volume/file"), "mine\n").unwrap();
    let list = home.join("mounts.json");
    let mounts = json!([
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]},
        {"destination": "/run", "type": "bind", "source": home.join("volume"), "options": ["rbind", "ro"]},
        {"destination": "/proc", "type": "proc", "source": "proc"},
    ]);
    fs::write(&list, mounts.to_string()).unwrap();
    let list = list.to_str().unwrap();
    assert_eq!(container.cmd(["mounts", "add", "ID", list]).ok(), "");
    let script =
        "cat /run/file; grep -c ' /tmp tmpfs' /proc/mounts; readlink /proc/1/ns/pid >/dev/null && echo own";
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", script]).ok(), "mine\n1\nown\n");
    assert_eq!(container.cmd(["mounts", "remove", "ID", list]).ok(), "");
    let script = "ls -A /run; grep -c ' /tmp tmpfs' /proc/mounts";
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", script]).stdout, "0\n");
}

/// Until then its process has the runtime's memory.
#[test]
fn a_created_container_is_joined_only_after_its_start() {
    let crun = runtime_of_user!();
    let container = crun.create(&sleeper());
    container.cmd(["exec", "ID", "id", "-u"]).error_with(["has to be started before anybody but root"]);
    container.start();
    container.wait_output("up");
    assert_eq!(container.cmd(["exec", "ID", "id", "-u"]).ok(), "0\n");
}

#[test]
fn without_group_5_there_are_terminals_all_the_same() {
    let crun = runtime_of_user!();
    let map = json!([{"containerID": 0, "hostID": UID, "size": 1}]);
    let bundle = bundle()
        .namespace("user", Some(""))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .sh("grep -c '^devpts /dev/pts' /proc/mounts; cat /proc/self/setgroups");
    assert_eq!(crun.run(&bundle).ok(), "1\ndeny\n");
}

#[test]
fn the_oom_killer_is_told_what_an_ordinary_user_may_tell_it() {
    let crun = runtime_of_user!();
    let adjusted = |value: i32| bundle().set("/process/oomScoreAdj", json!(value));
    let show = ["cat", "/proc/self/oom_score_adj"];
    assert_eq!(crun.run(&adjusted(700).args(show)).ok(), "700\n");
    // Lowering it takes root.
    assert!(crun.run(&adjusted(-500).args(show)).ok().trim().parse::<i32>().unwrap() >= 0);
    let container = started(&crun, &adjusted(300).sh("echo up; sleep 99; true"));
    assert_eq!(container.cmd(["exec", "ID", "cat", "/proc/self/oom_score_adj"]).ok(), "0\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&file, json!({"args": show, "cwd": "/", "oomScoreAdj": 900}).to_string()).unwrap();
    let text = container.cmd(["exec", "--process", file.path().to_str().unwrap(), "ID"]).ok();
    assert_eq!(text, "900\n");
}

/// What a container gets hold of, it can write to when no process runs it any more (CVE-2019-5736). Here root tries.
fn assert_is_protected(held: &fs::File) {
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    let written = fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"evil"));
    assert!(written.is_err(), "the runtime could be overwritten");
}

#[test]
fn an_executable_of_the_users_own_is_kept_from_containers() {
    let crun = runtime_of_user!();
    let own = crun.state_dir().parent().unwrap().join("home/crun");
    fs::copy(kit::crun::binary(), &own).unwrap();
    std::os::unix::fs::chown(&own, Some(UID), Some(UID)).unwrap();
    let crun = crun.program(&own);
    let container = crun.create(&sleeper());
    let held = fs::File::open(container.proc().join("exe")).unwrap();
    container.start();
    container.wait_output("up");
    assert_is_protected(&held);
    // A program that is the runtime, and waits for its input.
    let mut command =
        crun.command(["exec", container.id(), "/proc/self/exe", "update", "--resources=-", "x"]);
    command.stdin(Stdio::piped());
    let running = crun.spawn(command);
    let children = format!("/proc/{0}/task/{0}/children", running.pid());
    let held = wait_for("the process in the container", || {
        let pid = fs::read_to_string(&children).ok()?.split_whitespace().next()?.to_owned();
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        words.starts_with(b"/proc/self/exe\0").then(|| fs::File::open(format!("/proc/{pid}/exe")).ok())?
    });
    drop(running);
    assert_is_protected(&held);
}
