//! The root filesystem: mounts of each type, devices, masked and read-only paths, and destinations that stay inside.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::runtime;
use serde_json::json;

/// The line of the topmost mount at `point` in the payload's mountinfo: `options type source super-options`.
fn mount_at(crun: &Crun, bundle: Bundle, point: &str) -> String {
    let text = crun.run(&bundle.args(["cat", "/proc/self/mountinfo"])).ok();
    let line = text
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(point))
        .unwrap_or_else(|| panic!("no {point} in {text}"));
    let (left, right) = line.split_once(" - ").unwrap();
    format!("{} {right}", left.split(' ').nth(5).unwrap())
}

/// Whether `line` of [`mount_at`] has all these words.
fn has<const N: usize>(line: &str, words: [&str; N]) -> bool {
    let found: Vec<_> = line.split([' ', ',']).collect();
    words.iter().all(|word| found.contains(word))
}

#[test]
fn each_filesystem_of_the_default_bundle_is_mounted_with_its_options() {
    let crun = runtime!();
    let check = |point: &str, words: &[&str]| {
        let line = mount_at(&crun, Bundle::new(), point);
        let found: Vec<_> = line.split([' ', ',']).collect();
        assert!(words.iter().all(|word| found.contains(word)), "{point}: {line} should have {words:?}");
    };
    check("/proc", &["rw", "proc"]);
    check("/dev", &["nosuid", "tmpfs", "size=65536k", "mode=755"]);
    check("/dev/pts", &["nosuid", "noexec", "devpts", "ptmxmode=666", "mode=620", "gid=5"]);
    check("/dev/shm", &["nosuid", "nodev", "noexec", "tmpfs", "shm", "size=65536k"]);
    check("/dev/mqueue", &["nosuid", "nodev", "noexec", "mqueue"]);
    check("/sys", &["ro", "nosuid", "nodev", "noexec", "sysfs"]);
    check("/sys/fs/cgroup", &["ro", "nosuid", "nodev", "noexec"]);
}

#[test]
fn a_read_only_root_cannot_be_written() {
    let crun = runtime!();
    let output = crun.run(&Bundle::new().sh("touch /new"));
    assert!(output.code == 1 && output.stderr.contains("Read-only file system"), "{output}");
    assert!(has(&mount_at(&crun, Bundle::new(), "/"), ["ro"]));
}

#[test]
fn a_writable_root_is_written_through() {
    let crun = runtime!();
    let bundle = Bundle::new().writable().sh("echo hello >/new");
    assert_eq!(crun.run(&bundle).ok(), "");
    assert_eq!(fs::read_to_string(bundle.rootfs().join("new")).unwrap(), "hello\n");
}

#[test]
fn the_default_devices_are_there_and_work() {
    let crun = runtime!();
    let devices = [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ];
    for (name, numbers) in devices {
        let bundle = Bundle::new().sh(&format!("stat -c '%F %t:%T %a %u' /dev/{name}"));
        assert_eq!(crun.run(&bundle).ok(), format!("character special file {numbers} 666 0\n"), "{name}");
    }
    let script = "echo x >/dev/null && head -c2 /dev/zero | od -An -tx1 && head -c1 /dev/urandom | wc -c; echo y >/dev/full";
    let output = crun.run(&Bundle::new().sh(script));
    assert_eq!(output.stdout, " 00 00\n1\n");
    assert!(output.stderr.contains("No space left"), "{output}");
}

#[test]
fn the_usual_links_are_in_dev() {
    let crun = runtime!();
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ];
    for (name, target) in links {
        assert_eq!(
            crun.run(&Bundle::new().args(["readlink", &format!("/dev/{name}")])).ok(),
            format!("{target}\n")
        );
    }
}

#[test]
fn a_configured_device_is_made() {
    let crun = runtime!();
    let devices = json!([
        {"path": "/dev/other-zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 12, "gid": 34},
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666},
        {"path": "/dev/pipe", "type": "p"},
    ]);
    let script = "stat -c '%F %t:%T %a %u:%g' /dev/other-zero; stat -c '%F' /dev/pipe";
    let text = crun.run(&Bundle::new().set("/linux/devices", devices).sh(script)).ok();
    assert_eq!(text, "character special file 1:5 640 12:34\nfifo\n");
}

#[test]
fn a_bind_mount_shows_the_source() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "content").unwrap();
    let source = dir.path().to_str().unwrap();
    for options in [["bind", "rw"], ["rbind", "rw"]] {
        let bundle = Bundle::new()
            .mount("/new/dir", "bind", source, options)
            .sh("cat /new/dir/file; echo more >/new/dir/out");
        assert_eq!(crun.run(&bundle).ok(), "content");
        assert_eq!(fs::read_to_string(dir.path().join("out")).unwrap(), "more\n");
    }
}

#[test]
fn a_bind_mount_of_a_file_makes_its_target() {
    let crun = runtime!();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "content").unwrap();
    let bundle = Bundle::new().mount("/deep/er/file", "bind", file.path().to_str().unwrap(), ["bind", "ro"]);
    assert_eq!(crun.run(&bundle.args(["cat", "/deep/er/file"])).ok(), "content");
}

#[test]
fn a_read_only_bind_mount_cannot_be_written_and_has_its_flags() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let bind = || {
        Bundle::new().mount(
            "/mnt",
            "bind",
            dir.path().to_str().unwrap(),
            ["bind", "ro", "nosuid", "nodev", "noexec", "noatime"],
        )
    };
    let output = crun.run(&bind().sh("touch /mnt/x"));
    assert!(output.stderr.contains("Read-only file system"), "{output}");
    assert!(!dir.path().join("x").exists());
    let line = mount_at(&crun, bind(), "/mnt");
    assert!(has(&line, ["ro", "nosuid", "nodev", "noexec", "noatime"]), "{line}");
}

#[test]
fn a_bind_source_is_relative_to_the_bundle() {
    let crun = runtime!();
    let bundle = Bundle::new().mount("/mnt", "bind", "beside", ["bind"]).args(["cat", "/mnt/file"]);
    fs::create_dir(bundle.dir().join("beside")).unwrap();
    fs::write(bundle.dir().join("beside/file"), "here").unwrap();
    assert_eq!(crun.run(&bundle).ok(), "here");
}

#[test]
fn a_recursive_bind_brings_the_mounts_below_and_a_plain_one_does_not() {
    let crun = runtime!();
    let below = |option: &str| {
        let bundle = Bundle::new()
            .mount("/host", "bind", "/dev", [option, "ro"])
            .sh("grep -c ' /host/pts ' /proc/self/mountinfo");
        crun.run(&bundle).stdout.trim().parse::<u32>().unwrap()
    };
    assert!(below("rbind") >= 1);
    assert_eq!(below("bind"), 0);
}

#[test]
fn rro_makes_the_mounts_below_read_only_too() {
    let crun = runtime!();
    let bundle =
        Bundle::new().mount("/host", "bind", "/dev", ["rbind", "rro"]).args(["cat", "/proc/self/mountinfo"]);
    let text = crun.run(&bundle).ok();
    let lines: Vec<_> =
        text.lines().filter(|line| line.split(' ').nth(4).unwrap().starts_with("/host")).collect();
    assert!(lines.len() >= 2, "{text}");
    assert!(lines.iter().all(|line| line.split([' ', ',']).nth(5) == Some("ro")), "{lines:#?}");
}

#[test]
fn a_tmpfs_has_its_options() {
    let crun = runtime!();
    let tmpfs = || {
        Bundle::new().mount(
            "/mnt",
            "tmpfs",
            "tmpfs",
            ["nosuid", "noexec", "size=64k", "mode=1750", "uid=5", "gid=6"],
        )
    };
    let line = mount_at(&crun, tmpfs(), "/mnt");
    assert!(has(&line, ["rw", "nosuid", "noexec", "tmpfs", "size=64k"]), "{line}");
    assert_eq!(crun.run(&tmpfs().args(["stat", "-c", "%a %u:%g", "/mnt"])).ok(), "1750 5:6\n");
    let output = crun.run(
        &tmpfs().caps(["CAP_DAC_OVERRIDE"]).sh("head -c 100000 /dev/zero >/mnt/big; stat -c %s /mnt/big"),
    );
    assert_eq!(output.stdout, "65536\n", "{output}");
}

#[test]
fn a_tmpfs_without_a_mode_keeps_that_of_the_directory_it_covers() {
    use std::os::unix::fs::PermissionsExt;
    let crun = runtime!();
    let bundle = Bundle::new().mount("/mine", "tmpfs", "tmpfs", []).args(["stat", "-c", "%a", "/mine"]);
    fs::create_dir(bundle.rootfs().join("mine")).unwrap();
    fs::set_permissions(bundle.rootfs().join("mine"), fs::Permissions::from_mode(0o1711)).unwrap();
    assert_eq!(crun.run(&bundle).ok(), "1711\n");
}

#[test]
fn mounts_are_made_in_order_and_below_read_only_ones() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .mount("/a", "tmpfs", "tmpfs", ["ro"])
        .mount("/a/b/c", "tmpfs", "tmpfs", ["rw"])
        .sh("touch /a/b/c/works; ls /a/b/c; touch /a/fails");
    let output = crun.run(&bundle);
    assert_eq!(output.stdout, "works\n");
    assert!(output.stderr.contains("Read-only file system"), "{output}");
}

#[test]
fn a_remount_changes_the_mount_that_is_there() {
    let crun = runtime!();
    let bundle = Bundle::new().mount("/mnt", "tmpfs", "tmpfs", ["rw"]).mount(
        "/mnt",
        "tmpfs",
        "tmpfs",
        ["remount", "ro", "noexec"],
    );
    let line = mount_at(&crun, bundle, "/mnt");
    assert!(has(&line, ["ro", "noexec"]), "{line}");
}

#[test]
fn masked_files_and_directories_are_empty_and_missing_ones_are_skipped() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .set("/linux/maskedPaths", json!(["/secret-file", "/secret-dir", "/not/there", "/proc/kcore"]))
        .sh("cat /secret-file; ls -A /secret-dir; touch /secret-dir/x; echo x >/secret-file; cat /secret-file; head -c1 /proc/kcore");
    fs::write(bundle.rootfs().join("secret-file"), "secret").unwrap();
    fs::create_dir(bundle.rootfs().join("secret-dir")).unwrap();
    fs::write(bundle.rootfs().join("secret-dir/file"), "secret").unwrap();
    let output = crun.run(&bundle.writable());
    assert_eq!(output.stdout, "", "{output}");
    assert!(output.stderr.contains("Read-only file system"), "{output}");
}

#[test]
fn read_only_paths_cannot_be_written_and_missing_ones_are_skipped() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .writable()
        .set("/linux/readonlyPaths", json!(["/fixed", "/not/there", "/proc/sys"]))
        .sh("touch /fixed/new; echo x >/proc/sys/kernel/domainname; touch /free; ls /free");
    fs::create_dir(bundle.rootfs().join("fixed")).unwrap();
    let output = crun.run(&bundle);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.matches("Read-only file system").count()),
        ("/free\n", 2),
        "{output}"
    );
    assert!(!bundle.rootfs().join("fixed/new").exists());
}
