//! Namespaces: each type new, left out, or joined by path, and what is set up in a new one.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kit::bundle::Bundle;
use kit::bystander::Bystander;
use kit::{runtime, runtime_on_v2};
use serde_json::json;

/// The type in config.json, and the name in /proc/PID/ns.
const TYPES: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("mount", "mnt"),
];

fn own(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_str().unwrap().to_owned()
}

fn inside(name: &str) -> Bundle {
    Bundle::new().args(["readlink", &format!("/proc/self/ns/{name}")])
}

#[test]
fn every_namespace_of_the_default_bundle_is_new() {
    let crun = runtime!();
    for (_, name) in TYPES {
        let link = crun.run(&inside(name)).ok();
        assert!(link.starts_with(&format!("{name}:[")), "{link}");
        assert_ne!(link.trim(), own(name));
    }
}

#[test]
fn a_namespace_that_is_not_listed_is_the_callers() {
    let crun = runtime!();
    for (kind, name) in TYPES {
        if kind == "mount" {
            continue; // see rootfs.rs
        }
        let mut bundle = inside(name).namespace(kind, None);
        if kind == "uts" {
            bundle = bundle.unset("/hostname");
        }
        if kind == "network" || kind == "ipc" {
            // sysfs and mqueue are tied to those, and can be mounted all the same by real root.
            assert!(bundle.config()["mounts"].as_array().unwrap().len() > 2);
        }
        assert_eq!(crun.run(&bundle).ok().trim(), own(name), "{kind}");
    }
}

#[test]
fn a_namespace_with_a_path_is_joined() {
    let crun = runtime!();
    let first = crun.start(&Bundle::new().args(["sleep", "99"]));
    for (kind, name) in TYPES {
        if kind == "mount" {
            continue; // below: the bundle's root has to be seen in it
        }
        let path = first.proc().join("ns").join(name);
        let mut bundle = inside(name).namespace(kind, path.to_str());
        if kind == "uts" {
            bundle = bundle.unset("/hostname");
        }
        let expected = fs::read_link(&path).unwrap();
        assert_eq!(crun.run(&bundle).ok().trim(), expected.to_str().unwrap(), "{kind}");
    }
}

/// A process with a mount namespace of its own.
struct Neighbour(Bystander);

impl Neighbour {
    fn new() -> Self {
        let script = ["--mount", "sh", "-c", "echo; exec sleep 99"];
        let mut process = Bystander::new(Command::new("unshare").args(script).stdout(Stdio::piped()));
        process.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(process)
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.0.id().to_string()).join(name)
    }

    fn mounts(&self) -> String {
        fs::read_to_string(self.proc("mountinfo")).unwrap()
    }
}

#[test]
fn in_a_joined_mount_namespace_the_container_has_its_own_root_and_mounts() {
    let (crun, neighbour) = (runtime!(), Neighbour::new());
    let path = neighbour.proc("ns/mnt");
    let bundle = Bundle::new().namespace("mount", path.to_str()).mount("/tmp", "tmpfs", "tmpfs", []);
    let script = "readlink /proc/self/ns/mnt; touch /tmp/x; touch /x 2>&1; stat -fc %T /proc /dev/shm";
    let expected = format!(
        "{}\ntouch: /x: Read-only file system\nproc\ntmpfs\n",
        fs::read_link(&path).unwrap().display()
    );
    let container = crun.start(&bundle.sh(&format!("{script}; echo done; exec sleep 99")));
    container.wait_output("done");
    assert_eq!(container.stdout(), format!("{expected}done\n"));
    assert_eq!(crun.cmd(["exec", container.id(), "sh", "-c", script]).ok(), expected);
    drop(neighbour);
}

#[test]
fn those_whose_mount_namespace_is_joined_keep_their_root_and_the_host_its_mounts() {
    let (crun, neighbour) = (runtime!(), Neighbour::new());
    let identity = || fs::metadata(neighbour.proc("root/.")).map(|root| (root.dev(), root.ino())).unwrap();
    let (root, path) = (identity(), neighbour.proc("ns/mnt"));
    let bundle = Bundle::new().namespace("mount", path.to_str());
    let rootfs = bundle.rootfs();
    let _container = crun.start(&bundle.args(["sleep", "99"]));
    let of_rootfs = |mounts: &str| mounts.contains(rootfs.to_str().unwrap());
    assert!(of_rootfs(&neighbour.mounts()));
    assert!(!of_rootfs(&fs::read_to_string("/proc/self/mountinfo").unwrap()));
    assert_eq!(identity(), root);
    drop(neighbour);
}

#[test]
fn a_failed_start_leaves_no_mount_in_a_namespace_that_it_joined() {
    let (crun, neighbour) = (runtime!(), Neighbour::new());
    let before = neighbour.mounts();
    let bundle = Bundle::new().namespace("mount", neighbour.proc("ns/mnt").to_str());
    let failed = crun.run(&bundle.mount("/etc/passwd/x", "tmpfs", "tmpfs", []));
    assert!(failed.error().contains("/etc/passwd/x"));
    let paths = |mounts: &str| -> Vec<String> {
        mounts.lines().map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect()
    };
    assert_eq!(paths(&neighbour.mounts()), paths(&before));
}

#[test]
fn nothing_is_mounted_for_a_container_in_the_hosts_mount_namespace() {
    let crun = runtime!();
    let refused = crun.run(&Bundle::new().namespace("mount", Some("/proc/self/ns/mnt"))).error();
    assert!(refused.contains("mounts[0]: /proc: needs a new mount namespace"), "{refused}");
}

#[test]
fn a_payload_in_a_new_pid_namespace_is_pid_1_and_sees_only_its_own() {
    let crun = runtime!();
    let text = crun.run(&Bundle::new().sh("echo $$; ls /proc | grep -c '^[0-9]*$'")).ok();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "1");
    assert!(lines[1].parse::<u32>().unwrap() <= 4, "{text}");
}

#[test]
fn a_payload_in_a_joined_pid_namespace_sees_the_processes_there() {
    let crun = runtime!();
    let first = crun.start(&Bundle::new().args(["sleep", "4321"]));
    let path = first.proc().join("ns/pid");
    let bundle = Bundle::new().namespace("pid", path.to_str()).sh("echo $$; tr '\\0' ' ' </proc/1/cmdline");
    let text = crun.run(&bundle).ok();
    let (pid, command) = text.split_once('\n').unwrap();
    assert_ne!(pid, "1");
    assert_eq!(command, "sleep 4321 ");
}

#[test]
fn a_container_in_a_joined_pid_namespace_can_be_killed_and_deleted_alone() {
    let crun = runtime!();
    let first = crun.start(&Bundle::new().args(["sleep", "4321"]));
    let path = first.proc().join("ns/pid");
    let second = crun.start(&Bundle::new().namespace("pid", path.to_str()).sh("sleep 77 & sleep 78; true"));
    assert_eq!(fs::read_to_string(second.proc().join("comm")).unwrap(), "sh\n");
    second.delete();
    assert_eq!(first.status(), "running");
}

#[test]
fn the_pid_in_the_state_is_the_payload_even_when_a_pid_namespace_is_joined() {
    let crun = runtime!();
    let first = crun.start(&Bundle::new().args(["sleep", "4321"]));
    let path = first.proc().join("ns/pid");
    let second = crun.create(&Bundle::new().namespace("pid", path.to_str()).args(["sleep", "55"]));
    let pid = second.pid();
    second.start();
    kit::crun::wait_for("exec", || {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        (command == "sleep\x0055\0").then_some(())
    });
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let nspid = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    assert_eq!(nspid.split_whitespace().count(), 3, "{nspid}");
}

#[test]
fn the_hostname_is_set_inside_and_not_outside() {
    let crun = runtime!();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(
        crun.run(&Bundle::new().set("/hostname", json!("inner-name")).args(["hostname"])).ok(),
        "inner-name\n"
    );
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[test]
fn the_domainname_is_set_inside_and_not_outside() {
    let crun = runtime!();
    let before = fs::read_to_string("/proc/sys/kernel/domainname").unwrap();
    let bundle = Bundle::new().set("/domainname", json!("inner.example"));
    let seen = crun.run(&bundle.args(["cat", "/proc/sys/kernel/domainname"])).ok();
    assert_eq!(seen, "inner.example\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/domainname").unwrap(), before);
}

#[test]
fn a_hostname_without_a_uts_namespace_is_refused() {
    let crun = runtime!();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    crun.run(&Bundle::new().namespace("uts", None)).error_with(["hostname"]);
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[test]
fn a_new_network_namespace_has_only_a_loopback_that_is_up() {
    let crun = runtime!();
    let script = "ls /sys/class/net; cat /sys/class/net/lo/flags; ping -c1 -W1 127.0.0.1 | grep -c ttl";
    let text = crun.run(&Bundle::new().caps(["CAP_NET_RAW"]).sh(script)).ok();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.last(), Some(&"1"), "{text}");
    assert_eq!(lines[0], "lo", "{text}");
    let flags = u32::from_str_radix(lines[1].trim_start_matches("0x"), 16).unwrap();
    assert_eq!(flags & 1, 1, "IFF_UP in {text}");
}

#[test]
fn the_callers_network_is_used_without_a_network_namespace() {
    let crun = runtime!();
    let names = |text: &str| {
        text.lines().skip(2).map(|l| l.split(':').next().unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    let own = || names(&fs::read_to_string("/proc/self/net/dev").unwrap());
    let bundle = Bundle::new().namespace("network", None).args(["cat", "/proc/net/dev"]);
    let (before, seen, after) = (own(), names(&crun.run(&bundle).ok()), own());
    // Others make interfaces and remove them meanwhile.
    let lasting: Vec<_> = before.iter().filter(|name| after.contains(name)).collect();
    assert!(!lasting.is_empty() && lasting.iter().all(|name| seen.contains(name)), "{lasting:?}: {seen:?}");
}

#[test]
fn a_new_cgroup_namespace_hides_the_path() {
    let crun = runtime!();
    let text = crun.run(&Bundle::new().args(["cat", "/proc/self/cgroup"])).ok();
    assert!(text.lines().all(|line| line.ends_with(":/")), "{text}");
    let text = crun.run(&Bundle::new().namespace("cgroup", None).args(["cat", "/proc/self/cgroup"])).ok();
    assert!(text.lines().any(|line| line.contains(":/t")), "{text}");
}

#[test]
fn a_new_time_namespace_has_its_offsets() {
    let crun = runtime!();
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        return kit::crun::skipped("the kernel has no time namespaces");
    }
    let bundle = Bundle::new().namespace("time", Some("")).args(["readlink", "/proc/self/ns/time"]);
    assert_ne!(crun.run(&bundle).ok().trim(), own("time"));
    let bundle = bundle
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}}))
        .args(["cut", "-d.", "-f1", "/proc/uptime"]);
    let seen: u64 = crun.run(&bundle).ok().trim().parse().unwrap();
    assert!(seen >= 1_000_000, "{seen}");
}

#[test]
fn a_time_namespace_is_joined_by_path() {
    let crun = runtime!();
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        return kit::crun::skipped("the kernel has no time namespaces");
    }
    let first = crun.start(&Bundle::new().namespace("time", Some("")).args(["sleep", "99"]));
    let path = first.proc().join("ns/time");
    let bundle = Bundle::new().namespace("time", path.to_str()).args(["readlink", "/proc/self/ns/time"]);
    assert_eq!(crun.run(&bundle).ok().trim(), fs::read_link(&path).unwrap().to_str().unwrap());
}

#[test]
fn a_new_user_namespace_maps_the_ids() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().in_user_namespace().args(["sleep", "99"]));
    assert_ne!(fs::read_link(container.proc().join("ns/user")).unwrap().to_str().unwrap(), own("user"));
    assert_eq!(fs::metadata(container.proc()).unwrap().uid(), 100_000);
    let maps = fs::read_to_string(container.proc().join("uid_map")).unwrap();
    assert_eq!(maps.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
}

#[test]
fn a_user_namespace_is_joined_by_path() {
    let crun = runtime!();
    let mut child = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", "echo up; exec sleep 99"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut up).unwrap();
    let path = format!("/proc/{}/ns/user", child.id());
    let expected = fs::read_link(&path).unwrap();
    // Only one group is mapped there, and it is not that of terminals.
    let bundle = Bundle::new()
        .set("/mounts/2/options", json!(["newinstance", "ptmxmode=0666", "mode=0620"]))
        .namespace("user", Some(&path))
        .args(["readlink", "/proc/self/ns/user"]);
    let output = crun.run(&bundle);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(output.ok().trim(), expected.to_str().unwrap());
}

#[test]
fn a_user_namespace_is_joined_also_where_nothing_else_holds_the_payload_up() {
    let crun = runtime_on_v2!();
    let holder = crun.start(&Bundle::new().in_user_namespace().args(["sleep", "99"]));
    let path = format!("/proc/{}/ns/user", holder.pid());
    let bundle = Bundle::new().namespace("user", Some(&path)).args(["readlink", "/proc/self/ns/user"]);
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
    let expected = fs::read_link(holder.proc().join("ns/user")).unwrap();
    for _ in 0..8 {
        assert_eq!(crun.run(&bundle).ok().trim(), expected.to_str().unwrap());
        crun.run(&bundle.clone().args(["/no/such/program"])).error_with(["not found"]);
    }
}

#[test]
fn a_path_that_is_no_namespace_of_that_type_is_an_error() {
    let crun = runtime!();
    let bundle = Bundle::new().namespace("network", Some("/proc/self/ns/uts"));
    crun.run(&bundle).error_with(["/proc/self/ns/uts"]);
    crun.run(&Bundle::new().namespace("network", Some("/nonexistent/ns")))
        .error_with(["/nonexistent/ns", "No such file"]);
}
