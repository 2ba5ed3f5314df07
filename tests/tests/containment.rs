//! Everything stays inside the root filesystem, whatever links and paths say.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kit::bundle::Bundle;
use kit::crun::{Crun, new_id};
use kit::running::Output;
use kit::runtime;
use serde_json::json;

#[test]
fn a_destination_through_an_absolute_link_stays_in_the_root() {
    let crun = runtime!();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    let bundle = Bundle::new().mount("/link/sub", "tmpfs", "tmpfs", []).args(["cat", "/proc/self/mountinfo"]);
    symlink(target, bundle.rootfs().join("link")).unwrap();
    fs::create_dir_all(bundle.rootfs().join(target.trim_start_matches('/'))).unwrap();
    let text = crun.run(&bundle).ok();
    assert!(text.contains(&format!(" {target}/sub ")), "{text}");
    assert!(!outside.path().join("sub").exists());
    assert!(bundle.rootfs().join(target.trim_start_matches('/')).join("sub").is_dir());
}

#[test]
fn a_destination_through_a_link_to_nowhere_makes_nothing_outside() {
    let crun = runtime!();
    let outside = tempfile::tempdir().unwrap();
    let bundle = Bundle::new().mount("/link/sub", "tmpfs", "tmpfs", []).args(["true"]);
    symlink(outside.path(), bundle.rootfs().join("link")).unwrap();
    // C crun refuses, runc makes the directories inside: both are right.
    let output = crun.run(&bundle);
    assert!(output.code <= 1, "{output}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_destination_with_dots_stays_in_the_root() {
    let crun = runtime!();
    let name = kit::crun::new_id();
    for destination in [format!("/../../../../{name}"), format!("/etc/../../{name}"), format!("up/{name}")] {
        let bundle =
            Bundle::new().mount(&destination, "tmpfs", "tmpfs", []).args(["cat", "/proc/self/mountinfo"]);
        symlink("../../../..", bundle.rootfs().join("up")).unwrap();
        let text = crun.run(&bundle).ok();
        assert!(text.contains(&format!(" /{name} ")), "{destination}: {text}");
        assert!(!Path::new("/").join(&name).exists());
        assert!(bundle.rootfs().join(&name).is_dir());
    }
}

#[test]
fn proc_is_not_mounted_on_a_link() {
    let crun = runtime!();
    for name in ["proc", "sys"] {
        let bundle = Bundle::new().args(["true"]);
        fs::remove_dir(bundle.rootfs().join(name)).unwrap();
        fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
        symlink("elsewhere", bundle.rootfs().join(name)).unwrap();
        crun.run(&bundle).error_with([name]);
    }
}

#[test]
fn a_link_in_place_of_dev_does_not_lead_outside() {
    let crun = runtime!();
    let outside = tempfile::tempdir().unwrap();
    let bundle = Bundle::new()
        .edit(|config| {
            config["mounts"]
                .as_array_mut()
                .unwrap()
                .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"))
        })
        .args(["true"]);
    fs::remove_dir(bundle.rootfs().join("dev")).unwrap();
    symlink(outside.path(), bundle.rootfs().join("dev")).unwrap();
    // Whether it is refused or resolved inside, nothing may appear outside.
    let output = crun.run(&bundle);
    assert!(output.code <= 1, "{output}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn without_a_mount_namespace_the_payload_is_still_confined_to_the_root() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .namespace("mount", None)
        .edit(|config| {
            config["mounts"] = json!([]);
            config["root"]["readonly"] = json!(false);
            let linux = config["linux"].as_object_mut().unwrap();
            linux.remove("maskedPaths");
            linux.remove("readonlyPaths");
        })
        .sh("cat /etc/os-release");
    let output = crun.run(&bundle);
    assert_eq!(output.stdout, "NAME=busybox\nID=busybox\n", "{output}");
}

#[test]
fn mounts_made_inside_do_not_appear_outside() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .caps(["CAP_SYS_ADMIN"])
        .writable()
        .sh("mkdir /m; mount -t tmpfs tmpfs /m && echo mounted; read x </dev/zero");
    let container = crun.start(&bundle);
    container.wait_output("mounted");
    let outside = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!outside.contains(bundle.dir().to_str().unwrap()), "{outside}");
}

#[test]
fn nothing_of_the_hosts_mounts_is_left_inside() {
    let crun = runtime!();
    let text = crun.run(&Bundle::new().args(["cat", "/proc/self/mountinfo"])).ok();
    let points: Vec<_> = text.lines().map(|line| line.split(' ').nth(4).unwrap()).collect();
    assert_eq!(points.iter().filter(|point| **point == "/").count(), 1, "{text}");
    let known = ["/", "/proc", "/dev", "/sys"];
    let stray =
        |p: &&&str| !known.contains(*p) && !["/proc/", "/dev/", "/sys/"].iter().any(|k| p.starts_with(k));
    assert_eq!(points.iter().find(stray), None, "{text}");
}

/// Runs the bundle with many descriptors of the caller's kept open. That nothing is left of it is looked at elsewhere.
fn try_run(crun: &Crun, bundle: &Bundle) -> Output {
    crun.cmd(["run", "--preserve-fds", "48", "--bundle", bundle.save().to_str().unwrap(), &new_id()])
}

#[test]
fn no_directory_of_the_host_can_be_entered_through_a_descriptor() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["pwd"]);
    for fd in 3..48 {
        let cwd = json!(format!("/proc/self/fd/{fd}"));
        let output = try_run(&crun, &bundle.clone().set("/process/cwd", cwd));
        assert_ne!(output.code, 0, "descriptor {fd}: {output}");
    }
}

/// A program of the host, and the paths by which a descriptor of a host directory would lead to it (CVE-2024-21626).
fn ways_out() -> (tempfile::TempDir, Vec<String>) {
    let outside = tempfile::tempdir().unwrap();
    let program = outside.path().join("busybox");
    fs::copy(kit::rootfs::busybox_rootfs().unwrap().join("bin/busybox"), &program).unwrap();
    let way = |fd| {
        format!("/proc/self/fd/{fd}/{}{}", "../".repeat(12), program.strip_prefix("/").unwrap().display())
    };
    let ways = (3..48).map(way).collect();
    (outside, ways)
}

#[test]
fn no_program_of_the_host_can_be_named_through_a_descriptor() {
    let crun = runtime!();
    let (_outside, ways) = ways_out();
    for way in ways {
        let output = crun.run(&Bundle::new().args([way.as_str(), "true"]));
        assert_ne!(output.code, 0, "{way} led out: {output}");
    }
}

#[test]
fn a_limit_on_descriptors_keeps_none_of_the_hosts_open() {
    let crun = runtime!();
    let (_outside, ways) = ways_out();
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3}]);
    let bundle = Bundle::new().set("/process/rlimits", limit);
    for way in ways {
        let output = try_run(&crun, &bundle.clone().args([way.as_str(), "true"]));
        assert_ne!(output.code, 0, "{way} led out: {output}");
    }
}

#[test]
fn no_interpreter_of_the_host_can_be_named_through_a_descriptor() {
    use std::os::unix::fs::PermissionsExt;
    let crun = runtime!();
    let (_outside, ways) = ways_out();
    for way in ways {
        let bundle = Bundle::new().args(["/entry"]);
        fs::write(bundle.rootfs().join("entry"), format!("#!{way} true\n")).unwrap();
        fs::set_permissions(bundle.rootfs().join("entry"), fs::Permissions::from_mode(0o755)).unwrap();
        let output = crun.run(&bundle);
        assert_ne!(output.code, 0, "{way} led out: {output}");
    }
}

#[test]
fn exec_cannot_name_a_program_of_the_host_through_a_descriptor() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let (_outside, ways) = ways_out();
    for way in ways {
        let output = container.cmd(["exec", "ID", way.as_str(), "true"]);
        assert_ne!(output.code, 0, "{way} led out: {output}");
    }
}
