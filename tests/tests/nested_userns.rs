//! A runtime that is root of a user namespace only, as an engine without root runs one: with no right to any cgroup of this
//! machine, and with a cgroup of version 2 of its own.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped};
use kit::mapped_root::{FIRST, USER};
use serde_json::json;

macro_rules! or_skip {
    ($crun:expr) => {
        match $crun {
            Ok(crun) => crun,
            Err(reason) => return skipped(reason),
        }
    };
}

fn without_cgroup() -> Result<Crun, String> {
    Crun::new()?.as_mapped_root()
}

/// Without a right to a cgroup, and with one.
fn everywhere() -> Vec<Crun> {
    let tell = |crun: Result<Crun, String>| crun.map_err(skipped).ok();
    [without_cgroup(), Crun::as_mapped_root_with_cgroup()].into_iter().filter_map(tell).collect()
}

fn bundle() -> Bundle {
    Bundle::new().of_mapped_root()
}

fn sleeper() -> Bundle {
    bundle().sh("echo up; sleep 99; true")
}

fn unified_directory(container: &Container) -> PathBuf {
    container.cgroups().into_iter().find(|(list, _)| list.is_empty()).unwrap().1
}

#[test]
fn a_container_lives_through_its_whole_life() {
    for crun in everywhere() {
        Container::lives_through_its_whole_life(&crun, &sleeper(), USER);
        assert_eq!(crun.run(&bundle().sh("echo $$; ls /sys/fs/cgroup >/dev/null")).ok(), "1\n");
    }
}

#[test]
fn its_devices_are_those_of_the_host() {
    for crun in everywhere() {
        let script = "head -c1 /dev/zero | wc -c; echo x >/dev/null && head -c1 /dev/urandom | wc -c; \
            grep ' /dev/null ' /proc/self/mounts; ls -l /dev/tty | cut -c1";
        let text = crun.run(&bundle().sh(script)).ok();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines[0], lines[1], lines[3]), ("1", "1", "c"), "{text}");
        let options = lines[2].split(' ').nth(3).unwrap();
        assert!(options.contains("nosuid") && options.contains("noexec"), "{text}");
    }
}

#[test]
fn a_container_in_a_user_namespace_of_its_own_lives_too() {
    for crun in everywhere() {
        let map = json!([{"containerID": 0, "hostID": 1, "size": 1000}]);
        let bundle = sleeper()
            .namespace("user", Some(""))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map);
        std::os::unix::fs::chown(bundle.rootfs(), Some(FIRST), Some(FIRST)).unwrap();
        let container = crun.start(&bundle);
        container.wait_output("up");
        let uid = fs::read_to_string(container.proc().join("status")).unwrap();
        assert!(uid.contains(&format!("\nUid:\t{FIRST}\t{FIRST}\t")), "{uid}");
        assert_eq!(container.cmd(["exec", "ID", "id", "-u"]).ok(), "0\n");
        container.delete();
    }
}

#[test]
fn the_namespaces_of_another_container_can_be_joined() {
    for crun in everywhere() {
        // Both processes have these words, also the one that is not yet its program.
        let first = crun.start(&sleeper().sh("sleep 99 & echo up; wait"));
        first.wait_output("up");
        let path = |kind: &str| {
            let pid = first.state()["pid"].to_string();
            format!("/proc/{pid}/ns/{kind}")
        };
        let bundle = bundle()
            .namespace("pid", Some(&path("pid")))
            .namespace("network", Some(&path("net")))
            .namespace("ipc", Some(&path("ipc")))
            .sh("ps | grep -c 'sleep 9[9]'; ls /sys/class/net");
        assert_eq!(crun.run(&bundle).ok(), "2\nlo\n");
        first.delete();
    }
}

#[test]
fn without_a_right_to_cgroups_a_container_has_none_unless_it_asks_for_something() {
    let crun = or_skip!(without_cgroup());
    let container = crun.start(&sleeper());
    container.wait_output("up");
    assert!(container.cgroups().iter().all(|(_, directory)| !directory.ends_with(container.id())));
    container.cmd(["pause", "ID"]).error_with(["the container is not using cgroups"]);
    container.cmd(["ps", "ID"]).error_with(["the container is not using cgroups"]);
    container.delete();
    // It cannot do without what it asks for.
    for (pointer, value) in [
        ("/linux/cgroupsPath", json!("/some/where")),
        ("/linux/resources/pids", json!({"limit": 5})),
        ("/linux/resources/memory", json!({"limit": 100_000_000})),
    ] {
        let line = crun.run(&sleeper().set(pointer, value)).error();
        assert!(
            line.starts_with("create the cgroup `/sys/fs/cgroup/") && line.ends_with("Permission denied"),
            "{line}"
        );
    }
}

#[test]
fn without_a_cgroup_of_its_own_a_container_sees_those_of_the_host_read_only() {
    let crun = or_skip!(without_cgroup());
    let text = crun
        .run(&bundle().namespace("cgroup", None).sh(
            "grep ' /sys/fs/cgroup' /proc/self/mounts | cut -d' ' -f4 | cut -d, -f1; mkdir /sys/fs/cgroup/x 2>&1; true",
        ))
        .ok();
    assert!(!text.contains("rw") && text.contains("ro\n") && text.contains("Read-only"), "{text}");
    let writable = bundle().namespace("cgroup", None).edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["nosuid"]}));
    });
    let text = crun.run(&writable.sh("grep ' /sys/fs/cgroup' /proc/self/mounts | cut -d' ' -f4")).ok();
    assert!(!text.is_empty() && text.lines().all(|line| line.starts_with("ro,")), "{text}");
}

#[test]
fn a_cgroup_is_made_beside_that_of_the_runtime_where_it_is_the_users() {
    let crun = or_skip!(Crun::as_mapped_root_with_cgroup());
    let container = crun.start(&sleeper());
    container.wait_output("up");
    let own = unified_directory(&container);
    assert!(own.ends_with(format!("user/{}", container.id())), "{}", own.display());
    assert_eq!(container.cmd(["exec", "ID", "grep", "^0:", "/proc/self/cgroup"]).ok(), "0::/\n");
    assert!(container.cmd(["ps", "ID"]).ok().starts_with("PID\n"));
    assert_eq!(container.cmd(["pause", "ID"]).ok(), "");
    assert_eq!(container.status(), "paused");
    assert_eq!(container.cmd(["resume", "ID"]).ok(), "");
    assert_eq!(container.cmd(["kill", "--all", "ID", "KILL"]).ok(), "");
    container.wait();
    container.delete();
    assert!(!own.exists());
}

/// What a runtime leaves that is killed before it has written down what it has made.
#[test]
fn what_a_killed_runtime_has_left_beside_is_removed() {
    let crun = or_skip!(Crun::as_mapped_root_with_cgroup());
    let container = crun.start(&sleeper());
    container.wait_output("up");
    let own = unified_directory(&container);
    fs::remove_file(crun.state_dir().join(container.id()).join("status")).unwrap();
    assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "");
    assert!(!own.exists());
    container.deleted();
}

#[test]
fn a_cgroup_that_the_configuration_names_is_used_where_it_is_the_users_and_an_error_elsewhere() {
    let crun = or_skip!(Crun::as_mapped_root_with_cgroup());
    let container = crun.start(&sleeper().set("/linux/cgroupsPath", json!("/user/pod/one")));
    container.wait_output("up");
    assert!(unified_directory(&container).ends_with("user/pod/one"));
    container.delete();
    let line = crun.run(&sleeper().set("/linux/cgroupsPath", json!("/elsewhere/one"))).error();
    assert_eq!(line, "create the cgroup `/sys/fs/cgroup/elsewhere`: Permission denied");
    // Nobody may make device programs there; the rules of the default configuration are left out.
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "r"}]);
    assert_eq!(crun.run(&bundle().args(["true"]).set("/linux/resources/devices", rules)).ok(), "");
}

#[test]
fn a_cgroup_of_the_users_can_be_given_on() {
    let crun = or_skip!(Crun::as_mapped_root_with_cgroup());
    let container = crun.start(&sleeper().set("/annotations/run.oci.delegate-cgroup", json!("payload")));
    container.wait_output("up");
    assert!(unified_directory(&container).ends_with(format!("{}/payload", container.id())));
    container.delete();
}

#[test]
fn what_only_the_hosts_root_may_do_is_left_out_or_refused_by_name() {
    let crun = or_skip!(without_cgroup());
    let text = crun
        .run(&bundle().set("/process/oomScoreAdj", json!(-500)).args(["cat", "/proc/self/oom_score_adj"]));
    assert!(text.ok().trim().parse::<i32>().unwrap() >= 0);
    assert_eq!(
        crun.run(&bundle().set("/process/oomScoreAdj", json!(700)).args(["cat", "/proc/self/oom_score_adj"]))
            .ok(),
        "700\n"
    );
    let offsets = json!({"boottime": {"secs": 100}});
    let bundle_in_time = bundle().namespace("time", Some("")).set("/linux/timeOffsets", offsets);
    let text = crun.run(&bundle_in_time.args(["cat", "/proc/self/timens_offsets"])).ok();
    assert!(text.contains("boottime") && text.contains(" 100 "), "{text}");
    let node = json!([{"path": "/dev/none", "type": "c", "major": 60, "minor": 1}]);
    let line = crun.run(&bundle().set("/linux/devices", node)).error();
    assert!(line.contains("/dev/none") && line.ends_with("No such file or directory"), "{line}");
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap() + 1;
    let limits = json!([{"type": "RLIMIT_NOFILE", "hard": most, "soft": most}]);
    let line = crun.run(&bundle().set("/process/rlimits", limits)).error();
    assert!(line.contains("RLIMIT_NOFILE") && line.ends_with("Operation not permitted"), "{line}");
}

#[test]
fn no_cgroup_filesystem_is_needed() {
    let crun = or_skip!(Crun::without_cgroups().and_then(Crun::as_mapped_root));
    let plain = || {
        sleeper().edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            // The view has hidden a part of it, and what is not all to be seen cannot be mounted in a user namespace.
            mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys"));
        })
    };
    let container = crun.start(&plain());
    container.wait_output("up");
    assert_eq!(container.cmd(["exec", "ID", "echo", "here"]).ok(), "here\n");
    container.delete();
    let limited = plain().set("/linux/resources/pids", json!({"limit": 5}));
    crun.run(&limited).error_with(["/sys/fs/cgroup"]);
}

#[test]
fn on_older_kernels_it_is_the_same() {
    for crun in everywhere() {
        for (name, crun) in crun.mount_rungs() {
            let script = "echo x >/dev/null && ls -l /dev/zero | cut -c1 && [ -e /sys/fs/cgroup/. ]";
            assert_eq!(crun.run(&bundle().sh(script)).ok(), "c\n", "{name}");
            let shared =
                bundle().namespace("cgroup", None).sh("mkdir /sys/fs/cgroup/x 2>/dev/null || echo no");
            assert_eq!(crun.run(&shared).ok(), "no\n", "{name}");
        }
    }
}
