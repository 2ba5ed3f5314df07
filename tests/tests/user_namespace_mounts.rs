//! Filesystems and devices in a user namespace, where the kernel does not let a container have everything of its own.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::chown;

use kit::bundle::Bundle;
use kit::mountinfo;
use kit::{runtime, runtime_on_v2};
use serde_json::json;

/// A bundle in a user namespace in which 0 stands for 100000.
fn mapped() -> Bundle {
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let bundle = Bundle::new()
        .namespace("user", Some(""))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping);
    let rootfs = bundle.rootfs();
    chown(&rootfs, Some(100_000), Some(100_000)).unwrap();
    for entry in fs::read_dir(&rootfs).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_dir())
    {
        chown(entry.path(), Some(100_000), Some(100_000)).unwrap();
    }
    bundle
}

#[test]
fn the_default_bundle_runs_with_filesystems_of_its_own() {
    let crun = runtime!();
    let mounts = mountinfo::parse(&crun.run(&mapped().args(["cat", "/proc/self/mountinfo"])).ok());
    for (point, kind) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "tmpfs"), ("/dev/mqueue", "mqueue")]
    {
        assert_eq!(mountinfo::at(&mounts, point).kind, kind);
    }
    // The sysfs is that of its own network namespace, and the proc that of its own pid namespace.
    assert_eq!(crun.run(&mapped().sh("ls /sys/class/net; exec readlink /proc/self")).ok(), "lo\n1\n");
}

#[test]
fn where_the_sysfs_of_the_host_is_read_only_the_containers_is_still_its_own() {
    let crun = runtime_on_v2!();
    // As in a container that runs containers.
    let crun = crun.after("mount -o remount,bind,ro /sys");
    assert_eq!(crun.run(&mapped().sh("ls /sys/class/net")).ok(), "lo\n");
    let mounts = mountinfo::parse(&crun.run(&mapped().args(["cat", "/proc/self/mountinfo"])).ok());
    assert!(mountinfo::at(&mounts, "/sys").has("ro"), "{mounts:?}");
}

#[test]
fn with_the_hosts_network_the_hosts_sysfs_is_shown_and_none_of_it_can_be_written() {
    let crun = runtime!();
    let bundle = mapped().namespace("network", None).args(["cat", "/proc/self/mountinfo"]);
    let mounts = mountinfo::parse(&crun.run(&bundle).ok());
    let sys = mountinfo::at(&mounts, "/sys");
    assert!(sys.kind == "sysfs" && sys.has("ro") && sys.has("nosuid"), "{sys:?}");
    for mount in mounts.iter().filter(|mount| mount.point.starts_with("/sys/")) {
        assert!(mount.has("ro"), "{mount:?}");
    }
}

#[test]
fn a_writable_sysfs_of_the_host_still_protects_what_is_mounted_in_it() {
    let crun = runtime_on_v2!();
    let bundle = mapped()
        .namespace("network", None)
        .edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys"));
            mounts.push(
                json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid"]}),
            );
        })
        .args(["cat", "/proc/self/mountinfo"]);
    let mounts = mountinfo::parse(&crun.run(&bundle).ok());
    assert!(mountinfo::at(&mounts, "/sys").has("rw"));
    assert!(mountinfo::at(&mounts, "/sys/fs/cgroup").has("ro"));
}

#[test]
fn with_the_hosts_ipc_the_hosts_message_queues_are_shown_where_it_has_any() {
    let crun = runtime!();
    if !mountinfo::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap())
        .iter()
        .any(|mount| mount.point == "/dev/mqueue")
    {
        // Then there is nothing to be shown but an empty directory, or an error that says so.
        let output = crun.run(&mapped().namespace("ipc", None).args(["true"]));
        assert!(output.code == 0 || output.stderr.contains("mounts[4]: /dev/mqueue"), "{output}");
        return kit::crun::skipped("no mqueue is mounted on /dev/mqueue here");
    }
    let bundle = mapped().namespace("ipc", None).args(["cat", "/proc/self/mountinfo"]);
    let mounts = mountinfo::parse(&crun.run(&bundle).ok());
    assert_eq!(mountinfo::at(&mounts, "/dev/mqueue").kind, "mqueue");
}

#[test]
fn with_the_hosts_cgroup_namespace_the_containers_own_cgroup_is_shown() {
    let crun = runtime_on_v2!();
    let bundle = mapped()
        .namespace("cgroup", None)
        .sh("cat /proc/self/mountinfo; grep -q . /sys/fs/cgroup/cgroup.procs && echo procs; mkdir /sys/fs/cgroup/x");
    let output = crun.run(&bundle);
    assert!(output.stdout.contains("procs\n") && output.stderr.contains("Read-only"), "{output}");
    let lines: Vec<_> = output.stdout.lines().filter(|line| line.contains(" - ")).collect();
    let mounts = mountinfo::parse(&lines.join("\n"));
    assert_eq!(mountinfo::at(&mounts, "/sys/fs/cgroup").kind, "cgroup2");
}

#[test]
fn a_device_has_the_owner_and_the_permissions_that_are_asked_for() {
    let crun = runtime!();
    let devices = json!([
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o644, "uid": 12, "gid": 34},
        {"path": "/dev/deep/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/elsewhere", "type": "b", "major": 7, "minor": 77, "fileMode": 0o600},
    ]);
    let script = "stat -c '%n %F %t:%T %a %u:%g' /dev/mine /dev/deep/pipe /elsewhere /dev/null; head -c1 /dev/mine | od -An -tx1";
    let text = crun.run(&mapped().set("/linux/devices", devices).sh(script)).ok();
    assert_eq!(
        text,
        "/dev/mine character special file 1:5 644 12:34\n/dev/deep/pipe fifo 0:0 622 0:0\n\
         /elsewhere block special file 7:4d 600 0:0\n/dev/null character special file 1:3 666 0:0\n 00\n"
    );
}

#[test]
fn devices_can_be_used_but_what_is_mounted_over_them_stays_inside() {
    let crun = runtime!();
    let bundle = mapped()
        .caps(["CAP_SYS_ADMIN"])
        .sh("echo x >/dev/null && head -c2 /dev/zero | wc -c; mount -t tmpfs over /dev/null 2>/dev/null; \
         mount --bind /etc/os-release /dev/null && cat /dev/null | head -1");
    assert_eq!(crun.run(&bundle).stdout, "2\nNAME=busybox\n");
    let null = fs::metadata("/dev/null").unwrap();
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&null.file_type()));
}

#[test]
fn a_proc_that_is_not_fully_visible_outside_is_explained() {
    // Where the runtime can put its own proc into a namespace of the container's tree, the kernel does not mind.
    let crun = runtime_on_v2!().without(["OPEN_TREE_NAMESPACE"]);
    // Somebody has covered a part of the proc the runtime sees.
    let script = "mount -t tmpfs tmpfs /proc/sys";
    assert!(crun.view().unwrap().command("sh").args(["-c", script]).status().unwrap().success());
    crun.run(&mapped()).error_with([
        "mounts[0]: /proc: mount the proc filesystem",
        "fully visible",
        "Operation not permitted",
    ]);
}
