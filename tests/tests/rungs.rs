//! Old kernels and filters: the container is the same on every rung of each ladder, whatever calls are missing.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::mountinfo::{self, Mount};
use kit::{runtime, runtime_on_v2};
use serde_json::json;

/// What can be told of a container's mounts that is not a number of this very mount.
fn essence(text: &str) -> Vec<Mount> {
    let mut mounts = mountinfo::parse(text);
    for mount in &mut mounts {
        for tag in &mut mount.tags {
            *tag = tag.split(':').next().unwrap().to_owned();
        }
        // A detached clone and a bind of a path show the same file; the tmpfs of either has a size of its own accord.
        mount.filesystem_options.sort();
        mount.options.sort();
    }
    mounts.sort();
    mounts
}

/// A bundle with some of everything that is mounted, made or hidden.
fn rich_bundle() -> (tempfile::TempDir, Bundle) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("data/below")).unwrap();
    fs::write(dir.path().join("file"), "file\n").unwrap();
    symlink("/etc/os-release", dir.path().join("link")).unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let bundle = Bundle::new()
        .mount("/data", "bind", &at("data"), ["bind", "ro", "nosuid", "noatime"])
        .mount("/data/below", "tmpfs", "inner", ["size=64k", "mode=700"])
        .mount("/var/lib/../cache/file", "bind", &at("file"), ["rbind", "rw", "nodev"])
        .mount("/host", "bind", "/dev", ["rbind", "rslave"])
        .mount("/copied", "bind", &at("link"), ["bind", "copy-symlink"])
        .mount("/itself", "bind", &at("link"), ["bind", "src-nofollow"])
        .mount("/over", "bind", &at("file"), ["bind", "dest-nofollow"])
        .mount("/up", "tmpfs", "up", ["tmpcopyup", "noexec", "sync"])
        .mount("/taken", "tmpfs", "taken", ["ro"])
        .mount("/run", "tmpfs", "run", ["size=64k"])
        .mount("/run", "tmpfs", "run", ["remount", "size=128k", "nosuid"])
        .mount("/var/dangling/deep", "tmpfs", "deep", ["shared"])
        .set(
            "/linux/devices",
            json!([{"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "uid": 3}]),
        )
        .set(
            "/linux/maskedPaths",
            json!(["/etc", "/proc/kcore", "/sys/firmware", "/var/secret", "/not/there"]),
        )
        .set("/linux/readonlyPaths", json!(["/proc/sys", "/usr", "/not/there"]))
        .set("/process/cwd", json!("/made/for/me"));
    let rootfs = bundle.rootfs();
    symlink("/target", rootfs.join("over")).unwrap();
    symlink("/run/elsewhere", rootfs.join("var/dangling")).unwrap();
    fs::write(rootfs.join("var/secret"), "hidden words").unwrap();
    fs::create_dir(rootfs.join("up")).unwrap();
    fs::write(rootfs.join("up/copied"), "copied\n").unwrap();
    fs::create_dir(rootfs.join("taken")).unwrap();
    std::os::unix::fs::chown(rootfs.join("taken"), Some(5), Some(6)).unwrap();
    (dir, bundle)
}

/// What is seen inside beside the mounts.
const LOOK: &str = "cd /; ls -ln /dev /dev/net /data /etc /var /run /up /taken / 2>&1 | grep -v -e ' proc$' -e ' sys$' | sed 's/[A-Z][a-z][a-z] *[0-9]* [0-9:]*//'; \
    cat /var/cache/file /over /up/copied /var/secret /dev/null; readlink /copied /itself; \
    stat -c '%n %a %u:%g' /taken /up /data/below /run; touch /data/x /taken/x /usr/x /proc/sys/x 2>&1; head -c1 /proc/kcore";

fn shown(crun: &Crun, bundle: &Bundle) -> (Vec<Mount>, String) {
    let mounts = crun.run(&bundle_with(bundle, "cat /proc/self/mountinfo"));
    let look = crun.run(&bundle_with(bundle, LOOK));
    (essence(&mounts.ok()), look.stdout)
}

fn bundle_with(bundle: &Bundle, script: &str) -> Bundle {
    bundle.clone().sh(script)
}

#[test]
fn a_container_is_the_same_on_every_rung() {
    let crun = runtime!();
    let (_dir, bundle) = rich_bundle();
    let expected = shown(&crun, &bundle);
    assert!(expected.1.contains("copied\n") && !expected.1.contains("hidden words"), "{}", expected.1);
    for (name, crun) in crun.rungs().into_iter().skip(1) {
        let found = shown(&crun, &bundle);
        assert_eq!(found.0, expected.0, "{name}");
        assert_eq!(found.1, expected.1, "{name}");
    }
}

#[test]
fn no_descriptor_of_the_host_is_left_open_without_close_range() {
    let crun = runtime!().without(["close_range"]);
    let text = crun.run(&Bundle::new().args(["ls", "/proc/self/fd"])).ok();
    // The three standard ones, and that of the directory being read.
    assert_eq!(text, "0\n1\n2\n3\n");
}

#[test]
fn a_container_in_a_user_namespace_looks_the_same_on_every_rung() {
    let crun = runtime!();
    let mapping = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    let bundle = Bundle::new()
        .namespace("user", Some(""))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping)
        .sh("ls -A /proc/acpi /sys/firmware; head -c1 /proc/kcore; echo x >/proc/sysrq-trigger; echo y >/dev/null; \
             stat -c '%n %t:%T' /dev/*; echo end");
    let (expected, words) = (crun.run(&bundle), "/dev/null 1:3\n");
    assert!(expected.stdout.contains(words) && expected.stdout.contains("end"), "{expected}");
    for (name, crun) in crun.rungs().into_iter().skip(1) {
        let found = crun.run(&bundle);
        assert_eq!((&found.stdout, &found.stderr), (&expected.stdout, &expected.stderr), "{name}");
    }
}

#[test]
fn the_hosts_root_can_be_bound_on_every_rung_although_a_mount_namespace_is_pinned_in_it() {
    let crun = runtime_on_v2!();
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs tmpfs {0}; mount --make-private {0}; touch {0}/pin; unshare --mount={0}/pin true",
        dir.path().display()
    );
    if !crun.view().unwrap().command("sh").args(["-ec", &script]).output().unwrap().status.success() {
        // Linux 6.18 compares the ages of namespaces that were made on different processors, and is not always right.
        return kit::crun::skipped("this kernel does not let a mount namespace be pinned here");
    }
    let bundle = Bundle::new().mount("/host", "bind", "/", ["rbind", "ro"]).sh(
        "test -e /host/proc/version && test -d /host/sys/kernel && grep -c ' /host ' /proc/self/mountinfo",
    );
    assert_eq!(crun.run(&bundle).ok(), "1\n");
    for (name, crun) in crun.rungs().into_iter().skip(1) {
        assert_eq!(crun.run(&bundle).ok(), "1\n", "{name}");
    }
}

#[test]
fn a_container_on_pure_v2_is_the_same_on_every_rung() {
    let crun = runtime_on_v2!();
    let bundle = Bundle::new();
    let expected = shown(&crun, &bundle);
    for (name, crun) in crun.rungs().into_iter().skip(1) {
        assert_eq!(shown(&crun, &bundle).0, expected.0, "{name}");
    }
}
