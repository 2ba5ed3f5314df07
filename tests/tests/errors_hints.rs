//! What an error says beyond its line: a hint that was found out after the failure, and the members of a JSON log.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::bundle::Bundle;
use kit::bystander::Bystander;
use kit::crun::{Crun, new_id, skipped};
use kit::{golden, runtime, runtime_on_v2};
use libcrun::{Code, Error, StateRoot, explain};
use serde_json::{Value, json};

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

/// A program in the root filesystem, with this content.
fn with_program(content: &[u8]) -> Bundle {
    let bundle = Bundle::new().args(["/program"]);
    program_in(&bundle.rootfs(), content);
    bundle
}

fn program_in(directory: &Path, content: &[u8]) {
    let path = directory.join("program");
    fs::write(&path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Asserts a hint with these words at the failing start of a container.
fn hints<const N: usize>(crun: &Crun, bundle: &Bundle, words: [&str; N]) {
    let hint = crun.run(bundle).hint();
    for word in words {
        assert!(hint.contains(word), "`{word}` is not in `{hint}`");
    }
}

#[test]
fn an_unknown_container_leads_to_one_with_a_name_like_it() {
    let crun = runtime!();
    let container = crun.create(&sleeper());
    let wrong = format!("{}y", container.id());
    let hint = crun.cmd(["state", &wrong]).hint();
    assert_eq!(hint, format!("there is `{}` (crun explain container-not-found)", container.id()));
    // With nothing like it there is nothing to say.
    assert_eq!(crun.cmd(["state", "qqqqq"]).stderr.lines().count(), 1);
}

#[test]
fn a_container_below_another_root_is_found_there() {
    let crun = runtime!();
    let container = crun.create(&sleeper());
    let place = Crun::place();
    std::os::unix::fs::symlink(crun.state_dir(), place.path().join("crun")).unwrap();
    let other = runtime!().env("XDG_RUNTIME_DIR", place.path().to_str().unwrap());
    let hint = other.cmd(["kill", container.id()]).hint();
    assert!(hint.starts_with(&format!("one of that name is below `--root {}/crun`", place.path().display())));
}

#[test]
fn a_name_that_is_taken_says_what_has_it() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    let hint = container.cmd(["create", "-b", "BUNDLE", "ID"]).hint();
    let id = container.id();
    let root = crun.state_dir();
    let command = format!("`crun --root {} delete --force {id}`", root.display());
    assert!(hint.starts_with(&format!("it is running: {command} removes it")), "{hint}");
    // What is said is true.
    let words = command.trim_matches('`').split(' ').skip(3).collect::<Vec<_>>();
    assert_eq!(crun.cmd(words).ok(), "");
    container.deleted();
}

#[test]
fn what_a_container_is_in_the_way_of_is_said_with_what_helps() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    assert!(container.cmd(["delete", "ID"]).hint().contains("delete --force"));
    assert_eq!(container.cmd(["pause", "ID"]).ok(), "");
    assert!(container.cmd(["exec", "ID", "true"]).hint().contains(" resume "));
    assert_eq!(container.cmd(["resume", "ID"]).ok(), "");
}

#[test]
fn a_root_filesystem_that_is_missing_is_told_by_what_is_there() {
    let crun = runtime!();
    hints(&crun, &Bundle::new().set("/root/path", json!("rootf")), ["has no `rootf`, but `rootfs`"]);
}

#[test]
fn a_bundle_that_is_missing_is_told_by_how_far_its_path_goes() {
    let crun = runtime!();
    let place = Crun::place();
    fs::create_dir(place.path().join("bundle")).unwrap();
    let path = place.path().join("bundel/web");
    let hint = crun.cmd(["run", "-b", path.to_str().unwrap(), &new_id()]).hint();
    assert!(hint.contains("has no `bundel`, but `bundle`"), "{hint}");
}

#[test]
fn a_source_of_a_mount_that_is_a_dead_link_is_told() {
    let crun = runtime!();
    let place = Crun::place();
    let link = place.path().join("link");
    std::os::unix::fs::symlink("/nowhere/at/all", &link).unwrap();
    let bundle = Bundle::new().mount("/mnt", "bind", link.to_str().unwrap(), ["bind"]);
    hints(&crun, &bundle, ["is a symbolic link to `/nowhere/at/all`, which is not there"]);
}

#[test]
fn a_configuration_that_is_no_json_shows_where_reading_stopped() {
    let crun = runtime!();
    let container = crun.container(&Bundle::new());
    let path = container.args(["BUNDLE"])[0].clone();
    let config = Path::new(&path).join("config.json");
    fs::write(config, "{\n  \"ociVersion\": \"1.0.0\",\n  \"root\" {}\n}").unwrap();
    let hint = container.cmd(["run", "-b", "BUNDLE", "ID"]).hint();
    assert_eq!(hint, "line 3 was read up to `\"root\" {` (crun explain malformed-json)");
}

#[test]
fn a_script_without_its_interpreter_names_it() {
    let crun = runtime!();
    let words = "`/program` is a script, and its interpreter `/usr/bin/python3` is not in the container";
    hints(&crun, &with_program(b"#!/usr/bin/python3 -u\n"), [words, "interpreter-not-found"]);
    let windows = with_program(b"#!/bin/sh\r\necho\r\n");
    hints(&crun, &windows, ["carriage return"]);
}

#[test]
fn a_program_without_its_loader_names_it() {
    let crun = runtime!();
    // Dynamically linked, as on every Debian; busybox needs no loader, and so there is none in the container.
    let program = fs::read("/bin/bash").unwrap();
    hints(
        &crun,
        &with_program(&program),
        ["dynamically linked, and its loader `/lib", "interpreter-not-found"],
    );
}

#[test]
fn a_file_that_is_no_program_is_called_what_it_is() {
    let crun = runtime!();
    hints(&crun, &with_program(b""), ["`/program` is empty", "executable-format"]);
    hints(&crun, &with_program(b"echo hello\n"), ["is a text without `#!`"]);
    hints(&crun, &with_program(b"MZ\x90\0\0"), ["for Windows"]);
    let mut foreign = fs::read("/bin/true").unwrap();
    // e_machine
    let machine: u16 = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
    foreign[18..20].copy_from_slice(&machine.to_le_bytes());
    hints(&crun, &with_program(&foreign), ["is a program for", "and this machine is"]);
}

#[test]
fn exec_says_the_same_of_a_program_in_a_running_container() {
    let crun = runtime!();
    let bundle = sleeper();
    program_in(&bundle.rootfs(), b"#!/opt/lua\n");
    let container = crun.start(&bundle);
    let hint = container.cmd(["exec", "ID", "/program"]).hint();
    assert!(hint.contains("its interpreter `/opt/lua` is not in the container"), "{hint}");
}

#[test]
fn a_command_line_in_the_place_of_a_program_is_recognised() {
    let crun = runtime!();
    hints(&crun, &Bundle::new().args(["sh -c true"]), ["each argument is an entry of its own"]);
    let bundle = Bundle::new().args(["nope"]).set("/process/env", json!(["PATH=/opt/bin:/bin"]));
    hints(&crun, &bundle, ["PATH of process.env is `/opt/bin:/bin`"]);
}

#[test]
fn a_mount_with_noexec_is_named() {
    let crun = runtime!();
    let place = Crun::place();
    program_in(place.path(), b"#!/bin/sh\n");
    let bundle = Bundle::new().args(["/opt/program"]).mount(
        "/opt",
        "bind",
        place.path().to_str().unwrap(),
        ["bind", "noexec"],
    );
    crun.run(&bundle).error_with([
        "at `/opt` has the option noexec",
        "take the option off",
        "executable-denied",
    ]);
}

#[test]
fn a_limit_on_descriptors_is_named() {
    let crun = runtime!().after("ulimit -n 4");
    let hint = crun.run(&Bundle::new()).hint();
    assert!(hint.contains("this process may have 4 open descriptors (RLIMIT_NOFILE"), "{hint}");
    assert!(hint.ends_with("(crun explain descriptor-limit)"), "{hint}");
}

/// A cgroup of version 1 or 2 with the pids controller, removed when dropped.
struct PidsCgroup(PathBuf);

impl PidsCgroup {
    fn new() -> Option<Self> {
        let v1 = PathBuf::from("/sys/fs/cgroup/pids");
        let controls = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").unwrap_or_default();
        let parent = match v1.is_dir() {
            true => v1,
            false if controls.contains("pids") => PathBuf::from("/sys/fs/cgroup"),
            false => return None,
        };
        let path = parent.join(format!("crun-hints-{}", new_id()));
        fs::create_dir(&path).ok().map(|()| Self(path))
    }
}

impl Drop for PidsCgroup {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

#[test]
fn a_cgroup_that_is_full_of_processes_is_named() {
    let crun = runtime!();
    let Some(cgroup) = PidsCgroup::new() else { return skipped("no controller for the number of processes") };
    let path = cgroup.0.display();
    let crun = crun.after(&format!("echo $$ >{path}/cgroup.procs; echo 1 >{path}/pids.max"));
    // The shell that becomes the runtime is the one process.
    let hint = crun.run(&Bundle::new()).hint();
    assert!(hint.contains(&format!("`{path}/pids.max` is 1, and 1 are there")), "{hint}");
    assert!(hint.ends_with("(crun explain process-limit)"), "{hint}");
}

#[test]
fn a_limit_on_cgroups_is_named() {
    let crun = runtime_on_v2!();
    let make = "mkdir /sys/fs/cgroup/full && echo 0 >/sys/fs/cgroup/full/cgroup.max.descendants";
    assert!(crun.beside("sh").args(["-c", make]).status().unwrap().success());
    let hint = crun.run(&Bundle::new().set("/linux/cgroupsPath", json!("/full/inner"))).hint();
    assert!(hint.contains("`/sys/fs/cgroup/full/cgroup.max.descendants` is 0, and 0 are there"), "{hint}");
    assert!(crun.beside("rmdir").arg("/sys/fs/cgroup/full").status().unwrap().success());
}

/// The runtime with its state on a new tmpfs with these options.
fn with_state_on_tmpfs(options: &str) -> Crun {
    let script = format!("mount -t tmpfs -o {options} none /mnt && exec \"$0\" \"$@\"");
    Crun::new()
        .unwrap()
        .through(["unshare", "--mount", "--propagation", "private", "sh", "-c", &script])
        .with("--root=/mnt/state")
}

#[test]
fn a_filesystem_that_is_full_is_named() {
    let _ = runtime!();
    let hint = with_state_on_tmpfs("nr_inodes=1").run(&Bundle::new()).hint();
    assert!(hint.contains("the filesystem of `/mnt` has no inode left: see `df -i /mnt`"), "{hint}");
    assert!(hint.ends_with("(crun explain no-space)"), "{hint}");
}

#[test]
fn a_filesystem_that_is_read_only_is_named() {
    let _ = runtime!();
    let hint = with_state_on_tmpfs("ro").run(&Bundle::new()).hint();
    assert_eq!(hint, "what is mounted at or above `/mnt` is read-only (crun explain read-only)");
}

#[test]
fn a_socket_that_nobody_listens_on_says_so() {
    let crun = runtime!();
    let place = Crun::place();
    let path = place.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let bundle = Bundle::new().set("/process/terminal", json!(true));
    let container = crun.container(&bundle);
    let option = format!("--console-socket={}", path.display());
    let hint = container.cmd(["create", "-b", "BUNDLE", &option, "ID"]).hint();
    assert!(hint.starts_with("the socket is there, but nobody listens on it"), "{hint}");
}

/// crun ends what it can before it removes a cgroup, and so no test can make one stay. The library is asked instead.
#[test]
fn who_holds_a_cgroup_is_named() {
    let Ok(cgroup) = kit::owned::cgroup("crun-hints-") else { return skipped("no cgroup v2") };
    let holder = Bystander::asleep();
    fs::write(cgroup.join("cgroup.procs"), holder.id().to_string()).unwrap();
    let errno = rustix::fs::rmdir(&cgroup).unwrap_err();
    let error = Error::os(Code::Cgroup, "remove the cgroup", errno).about(cgroup.as_path());
    let error = explain::diagnose(error, &StateRoot::new("/nowhere".into()));
    assert_eq!(error.hint().unwrap(), format!("in it are process {} (sleep)", holder.id()));
    assert_eq!(error.code(), Code::CgroupBusy);
    drop(holder);
    while fs::remove_dir(&cgroup).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_hint_is_safe_for_a_terminal() {
    let crun = runtime!();
    let place = Crun::place();
    fs::create_dir(place.path().join("bun\x1b[2Jdle")).unwrap();
    let path = place.path().join("bun\x1b[3Jdle/x");
    let hint = crun.cmd(["run", "-b", path.to_str().unwrap(), &new_id()]).hint();
    assert!(hint.contains("bun\\u{1b}[2Jdle") && !hint.contains('\x1b'), "{hint:?}");
}

/// What one failing start writes to a JSON log.
fn logged(crun: &Crun, bundle: &Bundle) -> Value {
    let place = Crun::place();
    let log = place.path().join("log");
    let crun = crun.clone().with(&format!("--log={}", log.display())).with("--log-format=json");
    let line = crun.run(bundle).error();
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(object["msg"], line);
    let time = object["time"].as_str().unwrap();
    golden::check_in("json", &text.replace(time, "TIME"));
    object
}

#[test]
fn the_log_has_what_is_known_behind_what_engines_read() {
    let crun = runtime!();
    let object = logged(&crun, &with_program(b"#!/usr/bin/python3\n"));
    assert_eq!(
        (&object["code"], &object["step"], &object["object"], &object["errno"]),
        (&json!("interpreter-not-found"), &json!("exec"), &json!("/program"), &json!("ENOENT"))
    );
    assert!(object["hint"].as_str().unwrap().ends_with("is not in the container"));
    let object = logged(&crun, &Bundle::new().set("/process/user/uid", json!("root")));
    assert_eq!((&object["code"], &object["object"]), (&json!("invalid-config"), &json!("process.user.uid")));
    assert_eq!((object.get("step"), object.get("errno")), (None, None));
    let object = logged(&crun, &Bundle::new().mount("/mnt", "bind", "/nope", ["bind"]));
    assert_eq!((&object["code"], &object["object"]), (&json!("path-not-found"), &json!("/nope")));
    let object = logged(&crun, &Bundle::new().mount("/mnt", "nonesuch", "none", []));
    assert_eq!((&object["code"], &object["errno"]), (&json!("unsupported"), &json!("ENODEV")));
    let object = logged(&crun, &Bundle::new().args(["nope"]));
    assert_eq!(
        (&object["code"], &object["step"], &object["object"]),
        (&json!("executable-not-found"), &json!("find-executable"), &json!("nope"))
    );
}

#[test]
fn explain_lists_the_codes_and_tells_what_each_means() {
    let crun = runtime!();
    let list = crun.cmd(["explain"]).ok();
    for line in list.lines() {
        let (name, summary) = line.split_once(' ').unwrap();
        let text = crun.cmd(["explain", name]).ok();
        assert!(text.starts_with(&format!("{name}\n\n{}\n", summary.trim())), "{text}");
        assert!(text.contains("\n**What to do**\n"), "{text}");
    }
    assert_eq!(list.lines().count(), Code::ALL.len());
    let output = crun.cmd(["explain", "path-deny"]);
    assert!(
        output.stderr.starts_with("unknown error code `path-deny`\nhint: there is `path-denied` "),
        "{output}"
    );
}
