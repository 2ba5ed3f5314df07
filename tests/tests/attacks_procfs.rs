//! Attacks by what stands in for the kernel's files: volumes over `/proc`, null devices that are none, and filesystems of
//! the host that are shown where a container cannot have its own (CVE-2019-16884, CVE-2019-19921, CVE-2025-31133,
//! CVE-2025-52881, CVE-2023-25809). The runtime writes to nothing but the kernel, and shows nothing it should hide.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kit::bundle::Bundle;
use kit::crun::{Crun, binary};
use kit::mountinfo::{self, Mount};
use kit::outside::{Outside, assert_same, listing};
use kit::{runtime, runtime_on_v2};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

/// What runtimes write to, as plain files and as links to the host's secret, for every process there may be.
fn false_proc(outside: &Outside) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let numbers = (1..100).map(|pid| pid.to_string());
    for process in numbers.chain(["self".to_owned(), "thread-self".to_owned()]) {
        fs::create_dir_all(dir.path().join(&process).join("attr/apparmor")).unwrap();
        fs::create_dir_all(dir.path().join(&process).join("task/1")).unwrap();
        symlink(dir.path().join("program/crun"), dir.path().join(&process).join("exe")).unwrap();
        for file in [
            "mountinfo",
            "oom_score_adj",
            "setgroups",
            "uid_map",
            "gid_map",
            "attr/exec",
            "attr/apparmor/exec",
        ] {
            fs::write(dir.path().join(&process).join(file), "unwritten").unwrap();
        }
        symlink(outside.path(), dir.path().join(&process).join("fd")).unwrap();
        symlink(outside.at("secret"), dir.path().join(&process).join("attr/current")).unwrap();
    }
    fs::create_dir(dir.path().join("program")).unwrap();
    fs::copy(binary(), dir.path().join("program/crun")).unwrap();
    fs::create_dir_all(dir.path().join("sys/kernel")).unwrap();
    fs::write(dir.path().join("sys/kernel/hostname"), "unwritten").unwrap();
    symlink(outside.at("secret"), dir.path().join("sys/kernel/domainname")).unwrap();
    symlink(outside.at("secret"), dir.path().join("sysrq-trigger")).unwrap();
    symlink(outside.at("sub"), dir.path().join("kcore")).unwrap();
    dir
}

/// Puts a volume over a part of `/proc`, or all of it.
fn with_volume(bundle: &Bundle, destination: &str, volume: &Path) -> Bundle {
    let source = volume.join(destination.strip_prefix("/proc/").unwrap_or_default());
    bundle
        .clone()
        .mount(destination, "bind", source.to_str().unwrap(), ["bind", "rw"])
        .set("/process/oomScoreAdj", json!(500))
        .args(["sleep", "99"])
}

#[test]
fn a_volume_over_proc_diverts_nothing_that_the_runtime_writes() {
    let crun = runtime!();
    let (outside, bundle) = (Outside::new(), Bundle::new());
    let volume = false_proc(&outside);
    let before = listing(volume.path());
    for (rung, crun) in crun.mount_rungs() {
        for destination in ["/proc", "/proc/self/attr", "/proc/1", "/proc/sys", "/proc/sys/kernel"] {
            let container = crun.start(&with_volume(&bundle, destination, volume.path()));
            let adjustment = fs::read_to_string(container.proc().join("oom_score_adj")).unwrap();
            assert_eq!(adjustment, "500\n", "{rung}: {destination}");
            assert_eq!(container.cmd(["exec", "--cap", "CAP_CHOWN", "ID", "echo", "in"]).ok(), "in\n");
            container.delete();
            assert_same(&listing(volume.path()), &before);
            outside.assert_untouched();
        }
    }
}

#[test]
fn a_tmpfs_over_proc_is_what_the_container_sees_and_no_hindrance() {
    let crun = runtime!();
    let bundle = Bundle::new().set("/process/oomScoreAdj", json!(500)).mount("/proc", "tmpfs", "tmpfs", []);
    for (rung, crun) in crun.mount_rungs() {
        let container = crun.start(&bundle.clone().args(["sleep", "99"]));
        assert_eq!(container.cmd(["exec", "ID", "ls", "-A", "/proc"]).ok(), "", "{rung}");
        let adjustment = fs::read_to_string(container.proc().join("oom_score_adj")).unwrap();
        assert_eq!(adjustment, "500\n", "{rung}");
    }
}

/// An image whose `/dev/null` is something else, with something to hide.
fn with_false_null(bundle: &Bundle, put: impl Fn(&Path)) {
    let null = bundle.rootfs().join("dev/null");
    drop(fs::remove_file(&null));
    put(&null);
}

#[test]
fn a_mask_is_the_hosts_null_device_whatever_the_images_is() {
    let crun = runtime!();
    let (outside, bundle) = (Outside::new(), Bundle::new());
    fs::write(bundle.rootfs().join("hidden"), "hidden words").unwrap();
    fs::write(bundle.rootfs().join("victim"), "victim").unwrap();
    let script = "stat -c %F:%t:%T /hidden; head -c 30 /hidden; echo x >/hidden; cat /victim";
    let bundle = bundle.writable().sh(script).set("/linux/maskedPaths", json!(["/hidden"]));
    let secret = outside.at("secret");
    let false_nulls: [&dyn Fn(&Path); 4] = [
        &|null| fs::write(null, "hidden words").unwrap(),
        &|null| symlink("/victim", null).unwrap(),
        &|null| symlink(&secret, null).unwrap(),
        &|null| mknodat(CWD, null, FileType::CharacterDevice, Mode::RWXU, makedev(1, 5)).unwrap(),
    ];
    for put in false_nulls {
        with_false_null(&bundle, put);
        for (rung, crun) in crun.mount_rungs() {
            let output = crun.run(&bundle);
            let expected = "character special file:1:3\nvictim";
            assert_eq!(output.stdout, expected, "{rung}: {output}");
            // Without a filesystem of its own on /dev the image's is in the way of the real one.
            let bundle = bundle.clone().set("/mounts", json!([]));
            crun.run(&bundle).error_with(["create the device `/dev/null`", "File exists"]);
        }
    }
    assert_eq!(fs::read_to_string(bundle.rootfs().join("victim")).unwrap(), "victim");
    outside.assert_untouched();
}

/// Runs a script in the mount namespace of the view, which is not the machine's.
fn in_view(crun: &Crun, script: &str) {
    let output = crun.view().unwrap().command("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_host_whose_null_device_is_none_masks_nothing_and_starts_nothing() {
    let crun = runtime_on_v2!();
    let outside = Outside::new();
    let bundle = Bundle::new().args(["true"]);
    in_view(&crun, &format!("mount --bind {} /dev/null", outside.at("secret")));
    for (rung, crun) in crun.mount_rungs() {
        let line = crun.run(&bundle).error();
        assert!(line.contains("`/dev/null`") || line.contains("mask the path"), "{rung}: {line}");
    }
}

#[test]
fn a_host_whose_proc_is_none_is_written_to_nowhere() {
    let crun = runtime_on_v2!();
    let outside = Outside::new();
    let volume = false_proc(&outside);
    // As much as possible is done without it, so that the runtime gets far.
    let plain = Bundle::new().args(["true"]).namespace("network", None);
    let adjusted = plain.clone().set("/process/oomScoreAdj", json!(500));
    let program = volume.path().join("program");
    in_view(&crun, &format!("mount --bind {0} {0}; mount -o remount,bind,ro {0}", program.display()));
    in_view(&crun, &format!("mount --rbind {} /proc", volume.path().display()));
    let before = listing(volume.path());
    for (rung, crun) in crun.program(&program.join("crun")).mount_rungs() {
        let by_path = matches!(rung, "no mount_setattr" | "no open_tree and the like");
        if !by_path {
            crun.run(&adjusted).error_with(["`/proc` is not the root of a proc filesystem"]);
        }
        assert_eq!(crun.run(&plain).code, i32::from(by_path), "{rung}");
        assert_same(&listing(volume.path()), &before);
    }
    outside.assert_untouched();
}

/// A bundle in a user namespace of the host's own ids, with the network of the host: its sysfs is the host's.
fn with_the_hosts_sysfs(options: Value) -> Bundle {
    let mapping = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    Bundle::new()
        .namespace("user", Some(""))
        .namespace("network", None)
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping)
        .edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys"));
            mounts
                .push(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": options}));
        })
        .caps(["CAP_DAC_OVERRIDE"])
}

fn mounts_of(crun: &Crun, bundle: &Bundle) -> Vec<Mount> {
    mountinfo::parse(&crun.run(&bundle.clone().args(["cat", "/proc/self/mountinfo"])).ok())
}

fn is_protected(crun: &Crun) {
    const EVIL: &str =
        "for cgroup in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $cgroup/evil && echo made; done";
    for options in [json!(["nosuid", "noexec", "nodev", "ro"]), json!(["nosuid", "noexec", "nodev"])] {
        let bundle = with_the_hosts_sysfs(options);
        for (rung, crun) in crun.mount_rungs() {
            let mounts = mounts_of(&crun, &bundle);
            let below: Vec<_> = mounts.iter().filter(|mount| mount.point.starts_with("/sys/fs/")).collect();
            assert!(!below.is_empty(), "{rung}: {mounts:#?}");
            for mount in below {
                assert!(mount.options.iter().any(|option| option == "ro"), "{rung}: {mount:?}");
            }
            let sys = mountinfo::at(&mounts, "/sys");
            assert!(["nosuid", "noexec", "nodev"].iter().all(|option| sys.has(option)), "{rung}: {sys:?}");
            assert_eq!(crun.run(&bundle.clone().sh(EVIL)).stdout, "", "{rung}");
        }
    }
}

#[test]
fn cgroups_of_the_host_cannot_be_written_through_its_sysfs() {
    is_protected(&runtime!());
}

#[test]
fn cgroups_of_the_host_cannot_be_written_through_its_sysfs_on_version_2() {
    is_protected(&runtime_on_v2!());
}
