//! Attacks on who a process is: ids that turn into root's, rights that come along, and a look at the runtime while it is on
//! its way in.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::time::Duration;

use kit::bundle::Bundle;
use kit::bystander::Bystander;
use kit::container::Container;
use kit::crun::wait_for;
use kit::running::Output;
use kit::runtime;
use serde_json::{Value, json};

#[test]
fn the_number_that_stands_for_no_id_makes_nobody_root() {
    let crun = runtime!();
    const NONE: u32 = u32::MAX;
    let reason = format!("{NONE} is nobody's id");
    for (user, path) in [
        (json!({"uid": NONE, "gid": 0}), "process.user.uid"),
        (json!({"uid": 1, "gid": NONE}), "process.user.gid"),
        (json!({"uid": 1, "gid": 1, "additionalGids": [NONE]}), "process.user.additionalGids"),
    ] {
        crun.run(&Bundle::new().set("/process/user", user).args(["id"])).error_with([path, &reason]);
    }
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    for user in ["4294967295", "1:4294967295"] {
        container.cmd(["exec", "--user", user, "ID", "id"]).error_with(["process.user", &reason]);
    }
}

/// Looks through the /proc entry of a process of the same user: what it executes, has open, was started with.
const LOOK: &str = "cd /proc/$0; for link in exe root cwd fd/0; do readlink $link; done; cat environ; true";

/// A shell in the container that looks through process `pid`; what it says, and how often it was not allowed to.
fn look(container: &Container, pid: &str) -> (String, usize) {
    let output = container.cmd(["exec", "ID", "sh", "-c", LOOK, pid]);
    let denied = output.stderr.matches("Permission denied").count();
    (output.stdout, denied)
}

/// Once it is its program, it can be: so the look is one.
fn wait_until_seen(container: &Container, pid: &str) {
    wait_for("the program to be seen", || {
        let (seen, denied) = look(container, pid);
        (seen.contains("busybox") && denied == 0).then_some(())
    });
}

#[test]
fn a_process_that_waits_for_its_start_cannot_be_looked_through_by_another_of_the_container() {
    let crun = runtime!();
    let container = crun.create(&Bundle::new().args(["sleep", "99"]));
    // `readlink` says nothing where it may not look.
    assert_eq!(look(&container, "1"), (String::new(), 1));
    container.start();
    wait_until_seen(&container, "1");
}

#[test]
fn a_process_that_joins_other_processes_cannot_be_looked_through_by_them() {
    let crun = runtime!();
    let first = crun.start(&Bundle::new().args(["sleep", "99"]));
    let pids = first.proc().join("ns/pid");
    let second = crun.create(&Bundle::new().namespace("pid", pids.to_str()).args(["sleep", "99"]));
    let status = fs::read_to_string(second.proc().join("status")).unwrap();
    let pid = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    let pid = pid.split_whitespace().last().unwrap();
    assert_eq!(look(&first, pid), (String::new(), 1), "process {pid}");
    second.start();
    wait_until_seen(&first, pid);
}

/// CVE-2016-3697: a number is a number, also where the image's users have it as a name.
#[test]
fn a_user_that_is_named_like_a_number_does_not_lend_its_id() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["sleep", "99"]);
    let passwd = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&passwd).unwrap();
    fs::write(&passwd, "1000:x:0:0:root:/root:/bin/sh\nroot:x:1000:1000::/:/bin/sh\n").unwrap();
    let container = crun.start(&bundle);
    assert_eq!(container.cmd(["exec", "--user", "1000", "ID", "id", "-u"]).ok(), "1000\n");
    let process = json!({"args": ["id", "-u"], "cwd": "/", "user": {"uid": 1000, "gid": 0}});
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), process.to_string()).unwrap();
    let output = container.cmd(["exec", "--process", file.path().to_str().unwrap(), "ID"]);
    assert_eq!(output.ok(), "1000\n");
}

/// CVE-2026-30892: `-u UID` without a colon.
#[test]
fn a_user_without_a_group_is_that_user_and_never_root() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let ids = |user| container.cmd(["exec", "--user", user, "ID", "sh", "-c", "echo $(id -u):$(id -g)"]);
    for (user, expected) in [("1", "1:0\n"), ("1:2", "1:2\n"), ("0:5", "0:5\n"), ("65534", "65534:0\n")] {
        assert_eq!(ids(user).ok(), expected);
    }
    for user in ["", ":", "1:", ":1", "1 ", " 1", "1\n", "1,2", "0x0", "-0", "1:0:0", "nobody"] {
        ids(user).error_with(["invalid user"]);
    }
}

/// CVE-2022-27650 and CVE-2022-29162, and CVE-2025-27612 of a relative: what `exec` adds is in no inheritable set, and what
/// it does not add is in none.
#[test]
fn exec_inherits_nothing_and_gets_no_more_than_the_container_and_what_is_added() {
    let crun = runtime!();
    let sets = json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]});
    let container = crun.start(&Bundle::new().set("/process/capabilities", sets).args(["sleep", "99"]));
    let look = "grep -E '^Cap' /proc/self/status | cut -f 2 | tr '\\n' ' '";
    let seen = |output: Output| output.ok().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let set = |bits: u64| format!("{bits:016x}");
    let (kill, both) = (set(1 << 5), set(1 << 5 | 1 << 13));
    let own = seen(container.cmd(["exec", "ID", "sh", "-c", look]));
    assert_eq!(own, [set(0), kill.clone(), kill.clone(), kill, set(0)]);
    let more = seen(container.cmd(["exec", "--cap", "CAP_NET_RAW", "ID", "sh", "-c", look]));
    assert_eq!(more[0], set(0), "inheritable");
    assert_eq!(more[1..4], [both.as_str(), &both, &both]);
}

/// CVE-2021-43784: a path of 64 KiB is one path that is too long, and none of its parts is taken for something else.
#[test]
fn a_path_of_a_namespace_that_is_longer_than_a_message_is_one_path_that_is_too_long() {
    let crun = runtime!();
    for length in [4096, 1 << 16, (1 << 16) + 16, 1 << 20] {
        let path = format!("/proc/1/ns/{}", "x".repeat(length));
        let bundle = Bundle::new().args(["true"]).namespace("network", Some(&path));
        crun.run(&bundle).error_with(["File name too long"]);
    }
}

/// A container's status with another process in it: the test itself, which lives, and started at another time.
fn with_foreign_process(container: &Container, change: impl Fn(&mut Value)) {
    let file = container.crun().state_dir().join(container.id()).join("status");
    let mut status: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    change(&mut status);
    fs::write(&file, status.to_string()).unwrap();
}

#[test]
fn a_process_that_got_the_pid_of_one_that_ended_is_not_taken_for_it() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["true"]));
    container.wait();
    // A start time is told in ticks of 10 ms: a process of the same tick is one that no pid can come back to so soon.
    std::thread::sleep(Duration::from_millis(20));
    let mut bystander = Bystander::asleep();
    with_foreign_process(&container, |status| status["pid"] = json!(bystander.id()));
    assert_eq!(container.status(), "stopped");
    container.cmd(["kill", "ID", "KILL"]).error_with(["No such process"]);
    container.cmd(["exec", "ID", "true"]).error_with(["is not running"]);
    let _ = container.cmd(["kill", "--all", "ID", "KILL"]);
    container.delete();
    assert!(bystander.is_alive(), "a process that is not the container's was killed");
}

#[test]
fn ambient_capabilities_of_the_caller_do_not_come_along() {
    let caller = "[ $AMBIENT ] || AMBIENT=1 exec setpriv --inh-caps +kill --ambient-caps +kill \"$0\" \"$@\"; \
                  grep -q 'CapAmb.*20' /proc/self/status || exit 99; unset AMBIENT";
    let crun = runtime!().after(caller);
    let kill = json!(["CAP_KILL"]);
    let sets = json!({"bounding": kill, "effective": kill, "permitted": kill, "inheritable": kill});
    let bundle = Bundle::new().set("/process/capabilities", sets);
    let look = ["grep", "CapAmb", "/proc/self/status"];
    let none = "CapAmb:\t0000000000000000\n";
    assert_eq!(crun.run(&bundle.clone().args(look)).ok(), none);
    let container = crun.start(&bundle.args(["sleep", "99"]));
    assert_eq!(container.cmd(["exec", "ID", look[0], look[1], look[2]]).ok(), none);
}
