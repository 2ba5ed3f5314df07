//! `crun check`: what it says beforehand is what a start would find.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use kit::bundle::Bundle;
use kit::crun::{Crun, new_id, skipped};
use kit::running::Output;
use kit::user::{SUBIDS, UID};
use kit::{leftovers, runtime, runtime_of_user};
use serde_json::{Value, json};

/// What is said of a bundle.
fn checked(crun: &Crun, bundle: &Bundle) -> Output {
    crun.cmd(["check", "--format=json", bundle.save().to_str().unwrap()])
}

/// The findings of a group, by name.
fn findings(report: &Value, group: &str) -> Vec<Value> {
    let groups = report["groups"].as_array().unwrap();
    let group = groups.iter().find(|known| known["name"] == group);
    group.map(|group| group["findings"].as_array().unwrap().clone()).unwrap_or_default()
}

fn finding(report: &Value, group: &str, name: &str) -> Value {
    let all = findings(report, group);
    let found = all.iter().find(|finding| finding["name"] == name);
    found.unwrap_or_else(|| panic!("no finding {name} in {all:#?}")).clone()
}

/// The report on a bundle with which something is wrong.
fn report(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Asserts that what is wrong with a bundle is found, with these words, and stops a start.
#[track_caller]
fn hinders(crun: &Crun, bundle: &Bundle, name: &str, words: &str) {
    let output = checked(crun, bundle);
    assert_eq!((output.code, output.stderr.as_str()), (1, ""), "{output}");
    let found = finding(&report(&output), "bundle", name);
    assert!(found["verdict"] == "missing" && found["remedy"].is_string(), "{found}");
    assert!(found["found"].as_str().unwrap().contains(words), "{words}: {found}");
    let created = crun.run(bundle);
    assert_eq!(created.code, 1, "{name} was no obstacle: {created}");
}

#[test]
fn a_machine_that_runs_containers_is_said_to() {
    let crun = runtime!();
    let report = crun.cmd(["check", "--format", "json"]).json();
    assert_ne!(report["verdict"], "missing", "{report:#}");
    assert_eq!((&report["uid"], &report["rootless"]), (&json!(0), &json!(false)));
    assert_eq!(report["kernel"], fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim_end());
    assert_eq!(finding(&report, "namespaces", "new-namespaces")["verdict"], "ok");
    assert_eq!(findings(&report, "bundle"), [json!(null); 0]);
    drop(crun.run(&Bundle::new().args(["true"])).ok());
}

#[test]
fn every_finding_that_is_not_fine_has_a_remedy_and_every_name_stands_once() {
    let crun = runtime!();
    let report = crun.cmd(["check", "--format", "json"]).json();
    for group in report["groups"].as_array().unwrap() {
        let findings = group["findings"].as_array().unwrap();
        let names: BTreeSet<_> = findings.iter().map(|finding| finding["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), findings.len(), "{group:#}");
        for finding in findings {
            assert_eq!(finding["verdict"] == "ok", finding.get("remedy").is_none(), "{finding}");
        }
    }
}

#[test]
fn for_a_person_there_are_groups_words_and_remedies_below() {
    let crun = runtime!().without(["openat2"]);
    let text = crun.cmd(["check"]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("Linux ") && lines[0].ends_with(", for root"), "{text}");
    assert_eq!(&lines[1..3], ["", "kernel"]);
    let at =
        lines.iter().position(|line| line.starts_with("  limited  openat2 ")).expect("a line for openat2");
    assert!(lines[at].contains("not there: they are looked up step by step"), "{text}");
    assert!(
        lines[at + 1].trim_start().starts_with("remedy: a kernel with it (Linux 5.6), or a seccomp filter"),
        "{text}"
    );
    assert!(lines[at + 1].starts_with("           "), "{text}");
    assert!(lines.last().unwrap().starts_with("ok, with limits: "), "{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn calls_that_are_taken_away_are_missed() {
    let crun = runtime!().without(["clone3"]);
    let output = crun.cmd(["check", "--format=json"]);
    assert_eq!(output.code, 1, "{output}");
    let report = report(&output);
    assert_eq!(finding(&report, "kernel", "clone3")["verdict"], "missing");
    assert_eq!(finding(&report, "kernel", "clone-into-cgroup")["verdict"], "limited");
    assert_eq!(finding(&report, "namespaces", "new-namespaces")["verdict"], "missing");
    assert_eq!(report["verdict"], "missing");
}

#[test]
fn a_bundle_that_runs_is_fine() {
    for (layout, crun) in Crun::on_every_layout() {
        let bundle = Bundle::new().args(["true"]).set("/process/terminal", json!(false));
        let output = checked(&crun, &bundle);
        assert_eq!(output.code, 0, "{layout}: {output}");
        let all = findings(&report(&output), "bundle");
        assert!(
            all.len() >= 10 && all.iter().all(|finding| finding["verdict"] == "ok"),
            "{layout}: {all:#?}"
        );
        drop(crun.run(&bundle).ok());
    }
}

#[test]
fn what_the_plan_refuses_is_told_in_the_words_of_a_start_and_all_of_it() {
    let crun = runtime!();
    let refused: [(&str, &str, Value); 6] = [
        ("linux.intelRdt", "/linux/intelRdt", json!({"closID": "x"})),
        ("process.capabilities", "/process/capabilities", json!({"bounding": ["CAP_FOO"]})),
        ("process.rlimits[0]", "/process/rlimits", json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}])),
        ("linux.sysctl.vm.swappiness", "/linux/sysctl", json!({"vm.swappiness": "1"})),
        ("linux.seccomp", "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_X"})),
        ("hooks.poststop[0]", "/hooks/poststop", json!([{"path": "relative"}])),
    ];
    let mut all = Bundle::new().args(["true"]).mount("/a", "", "", []).mount("/b", "bind", "", ["bind"]);
    for (name, pointer, value) in &refused {
        let bundle = Bundle::new().args(["true"]).set(pointer, value.clone());
        let found = finding(&report(&checked(&crun, &bundle)), "bundle", name);
        assert_eq!(found["found"], crun.run(&bundle).error(), "{name}");
        all = all.set(pointer, value.clone());
    }
    let output = checked(&crun, &all);
    let report = report(&output);
    for name in refused.iter().map(|(name, ..)| *name).chain(["mounts[7]", "mounts[8]"]) {
        let found = finding(&report, "bundle", name);
        assert!(found["verdict"] == "missing" && found["remedy"].is_string(), "{found}");
    }
    assert_eq!(output.code, 1);
}

#[test]
fn what_is_not_there_on_the_host_or_in_the_rootfs_is_found() {
    let crun = runtime!();
    let bundle = || Bundle::new().args(["true"]);
    let program = "process.args[0]";
    let not_found = "executable file `nothing` not found in $PATH: No such file or directory";
    let mapping = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let idmapped = bundle().mount("/mnt", "bind", "/proc/sys", ["bind"]).edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let last = mounts.last_mut().unwrap();
        (last["uidMappings"], last["gidMappings"]) = (mapping.clone(), mapping);
    });
    for (name, words, bundle) in [
        ("root.path", "rootfs path", bundle().set("/root/path", json!("/nowhere"))),
        (
            "mounts[7]",
            "mounts[7]: /mnt: open the source `/nowhere`: No such file",
            bundle().mount("/mnt", "bind", "/nowhere", ["bind"]),
        ),
        ("mounts[7]", "no filesystem `nofs`", bundle().mount("/mnt", "nofs", "x", [])),
        ("mounts[7]", "mounts[7]: /mnt: id-map the mount of the proc filesystem: Invalid argument", idmapped),
        (program, not_found, bundle().args(["nothing"])),
        (program, "the path `/bin` is not a regular file", bundle().args(["/bin"])),
        (
            "linux.namespaces.network",
            "open the namespace `/nowhere`: No such file",
            bundle().namespace("network", Some("/nowhere")),
        ),
        (
            "linux.namespaces.network",
            "it is a uts namespace",
            bundle().namespace("network", Some("/proc/self/ns/uts")),
        ),
        (
            "hooks.prestart[0]",
            "prestart hook failed",
            bundle().set("/hooks/prestart", json!([{"path": "/nowhere"}])),
        ),
        (
            "hooks.startContainer[0]",
            "startContainer hook failed",
            bundle().set("/hooks/startContainer", json!([{"path": "/nowhere"}])),
        ),
        (
            "linux.sysctl.net.core.nothing",
            "set the sysctl `net.core.nothing` to `1`: No such file",
            bundle().set("/linux/sysctl", json!({"net.core.nothing": "1"})),
        ),
    ] {
        hinders(&crun, &bundle, name, words);
    }
}

#[test]
fn a_controller_that_the_host_lacks_is_named_with_the_limit() {
    let crun = kit::runtime_on_v2!();
    let nothing = Bundle::new().args(["true"]).set("/linux/resources/unified", json!({"nothing.max": "1"}));
    hinders(&crun, &nothing, "linux.resources.unified.nothing.max", "there is no nothing controller here");
    let controllers =
        crun.view().unwrap().command("cat").arg("/sys/fs/cgroup/cgroup.controllers").output().unwrap();
    if String::from_utf8(controllers.stdout).unwrap().split_whitespace().any(|name| name == "memory") {
        return skipped("the memory controller is there");
    }
    let bundle = Bundle::new().args(["true"]).set("/linux/resources/memory", json!({"limit": 1 << 30}));
    hinders(
        &crun,
        &bundle,
        "linux.resources.memory.limit",
        "there is no memory controller here: `memory.max` cannot be written",
    );
}

#[test]
fn a_program_that_the_kernel_would_not_execute_is_found() {
    let crun = runtime!();
    let place = |name: &str, mode: u32, content: &[u8]| {
        let bundle = Bundle::new().args([&format!("/{name}")]);
        let path = bundle.rootfs().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        bundle
    };
    let mut foreign = b"\x7fELF\x02\x01\x01".to_vec();
    foreign.resize(64, 0);
    // The number of a machine that nobody has.
    foreign[18..20].copy_from_slice(&0x7777_u16.to_le_bytes());
    for (words, bundle) in [
        ("the path `/locked` exists but it is not executable", place("locked", 0o644, b"#!/bin/sh\n")),
        ("its interpreter `/nowhere` (#!) is not there", place("script", 0o755, b"#!/nowhere -x\n")),
        ("it is for another machine (ELF 30583", place("foreign", 0o755, &foreign)),
        ("it is neither a program nor a script", place("text", 0o755, b"hello\n")),
    ] {
        hinders(&crun, &bundle, "process.args[0]", words);
    }
}

#[test]
fn the_program_is_looked_for_as_the_container_would_and_never_outside() {
    let crun = runtime!();
    let fine = |bundle: &Bundle| finding(&report(&checked(&crun, bundle)), "bundle", "program");
    let bundle = Bundle::new().args(["../bin/true"]).set("/process/cwd", json!("/etc"));
    assert_eq!(fine(&bundle)["verdict"], "ok");
    let bundle = Bundle::new().args(["/way/out"]);
    // The host has that file; the container's root does not.
    let host = bundle.dir().join("host");
    fs::write(&host, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&host, Permissions::from_mode(0o755)).unwrap();
    symlink(bundle.dir(), bundle.rootfs().join("way")).unwrap();
    hinders(&crun, &bundle.clone().args(["/way/host"]), "process.args[0]", "not found");
    let bound = bundle.mount("/way", "bind", "/nowhere", ["bind"]).mount(
        "/opt",
        "bind",
        host.to_str().unwrap(),
        ["bind"],
    );
    assert_eq!(fine(&bound.args(["/opt"]))["verdict"], "ok");
}

#[test]
fn what_may_come_with_a_mount_is_not_called_missing() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["/usr/bin/x"]).mount("/usr", "tmpfs", "tmpfs", []);
    let found = finding(&report(&checked(&crun, &bundle)), "bundle", "process.args[0]");
    assert_eq!(found["verdict"], "limited");
    assert!(found["found"].as_str().unwrap().contains("in what mounts[7] brings"), "{found}");
}

#[test]
fn unknown_calls_of_a_profile_are_a_limit_and_no_obstacle() {
    let crun = runtime!();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}]});
    let bundle = Bundle::new().args(["true"]).set("/linux/seccomp", profile);
    let output = checked(&crun, &bundle);
    assert_eq!(output.code, 0, "{output}");
    let found = finding(&report(&output), "bundle", "linux.seccomp.syscalls");
    assert_eq!(
        (&found["verdict"], &found["found"]),
        (&json!("limited"), &json!("unknown system calls, left out: no_such_call"))
    );
}

#[test]
fn a_seccomp_agent_that_is_not_there_is_found() {
    let crun = runtime!();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
    let bundle = Bundle::new().args(["true"]).set("/linux/seccomp", profile);
    hinders(&crun, &bundle, "linux.seccomp.listenerPath", "the seccomp receiver `/nowhere`");
}

#[test]
fn who_may_not_enter_the_rootfs_is_named() {
    let crun = runtime!();
    let bundle = Bundle::new().in_user_namespace().args(["true"]);
    std::os::unix::fs::chown(bundle.rootfs(), Some(0), Some(0)).unwrap();
    fs::set_permissions(bundle.rootfs(), Permissions::from_mode(0o700)).unwrap();
    hinders(&crun, &bundle, "root.path", "is closed to user 100000, who is root of the container");
}

#[test]
fn a_manager_that_is_asked_for_and_not_there_is_missing() {
    let crun = runtime!();
    if fs::exists("/run/systemd/private").unwrap() {
        return skipped("there is a systemd");
    }
    let plain = crun.cmd(["check", "--format=json"]).json();
    assert_eq!(finding(&plain, "systemd", "manager")["verdict"], "limited");
    let output = crun.with("--systemd-cgroup").cmd(["check", "--format=json"]);
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(finding(&report(&output), "systemd", "manager")["verdict"], "missing");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_missing() {
    let crun = runtime_of_user!().with("--root=/run/crun-of-root");
    let output = crun.cmd(["check", "--format=json"]);
    assert_eq!(output.code, 1, "{output}");
    let found = finding(&report(&output), "limits", "state-directory");
    assert!(found["found"].as_str().unwrap().contains(&format!("is closed to user {UID}")), "{found}");
}

#[test]
fn an_ordinary_user_is_told_of_its_ids_and_its_cgroup() {
    for (place, crun) in
        [("limited", Crun::new().and_then(Crun::as_user)), ("ok", Crun::as_user_with_cgroup())]
    {
        let crun = match crun {
            Ok(crun) => crun,
            Err(reason) => return skipped(reason),
        };
        let report = crun.cmd(["check", "--format=json"]).json();
        assert_eq!((&report["uid"], &report["rootless"]), (&json!(UID), &json!(true)));
        let made = finding(&report, "namespaces", "new-namespaces");
        let ids = SUBIDS.1 + 1;
        assert_eq!(made["found"], format!("a process was made in them (user ids: {ids}, group ids: {ids})"));
        for name in ["subuid", "newuidmap", "no_new_privs"] {
            assert_eq!(finding(&report, "ids", name)["verdict"], "ok");
        }
        assert_eq!(finding(&report, "cgroups", "place")["verdict"], place, "{report:#}");
        drop(crun.run(&Bundle::new().of_user().args(["true"])).ok());
    }
}

#[test]
fn a_limit_on_user_namespaces_is_found() {
    let limit = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"";
    let crun = runtime_of_user!().through(["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"]);
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let bundle = Bundle::new().of_user().args(["true"]).namespace("user", Some(""));
    let bundle = bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    hinders(&crun, &bundle, "linux.namespaces", "make a process in new namespaces: No space left on device");
    let report = report(&checked(&crun, &bundle));
    for (group, name) in [("bundle", "linux.namespaces"), ("namespaces", "user.max_*_namespaces")] {
        let found = finding(&report, group, name);
        assert!(found["remedy"].as_str().unwrap().contains("sysctl -w user.max_user_namespaces"), "{found}");
    }
}

#[test]
fn a_user_finds_what_only_root_can_give() {
    let crun = runtime_of_user!();
    let bundle = || Bundle::new().of_user().args(["true"]);
    let limits = json!([{"type": "RLIMIT_NOFILE", "soft": 1 << 30, "hard": 1 << 30}]);
    let device = json!([{"type": "c", "path": "/dev/nowhere", "major": 1, "minor": 3}]);
    hinders(
        &crun,
        &bundle().set("/process/rlimits", limits),
        "process.rlimits[0]",
        "set the limit `RLIMIT_NOFILE`: Operation not permitted",
    );
    hinders(
        &crun,
        &bundle().set("/linux/devices", device),
        "linux.devices[0]",
        "open the host's device `/dev/nowhere`: No such file",
    );
    let path = bundle().set("/linux/cgroupsPath", json!("/not/given"));
    hinders(&crun, &path, "linux.cgroupsPath", "this user can make none in");
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
    let inside = closed.path().join("x");
    fs::create_dir(&inside).unwrap();
    let bound = bundle().mount("/mnt", "bind", inside.to_str().unwrap(), ["bind"]);
    hinders(&crun, &bound, "mounts[7]", "Permission denied");
    let report = report(&checked(&crun, &bound));
    assert!(
        finding(&report, "bundle", "mounts[7]")["remedy"]
            .as_str()
            .unwrap()
            .contains("with mode 0700 is closed to user")
    );
}

#[test]
fn a_directory_that_is_no_bundle_is_said_so_in_the_words_of_create() {
    let crun = runtime!();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().to_str().unwrap();
    for (path, content) in
        [(path, None), ("/nowhere", None), (path, Some("{\"ociVersion\":7}")), (path, Some("{"))]
    {
        if let Some(content) = content {
            fs::write(place.path().join("config.json"), content).unwrap();
        }
        let output = crun.cmd(["check", "--format=json", path]);
        assert_eq!(output.code, 1);
        let found = finding(&report(&output), "bundle", "config.json");
        assert_eq!(found["found"], crun.cmd(["create", "--bundle", path, &new_id()]).error());
    }
}

#[test]
fn another_configuration_may_be_given() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["nothing"]);
    let path = bundle.save().to_str().unwrap();
    let other = bundle.dir().join("other.json");
    let good = bundle.clone().args(["true"]);
    fs::write(&other, good.config().to_string()).unwrap();
    assert_eq!(crun.cmd(["check", path]).code, 1);
    assert_eq!(crun.cmd(["check", "--config", other.to_str().unwrap(), path]).code, 0);
}

#[test]
fn nothing_is_left_and_nothing_is_made() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["true"]).in_user_namespace().mount("/mnt", "bind", "/tmp", ["bind"]);
    let path = bundle.save().to_str().unwrap().to_owned();
    let everything = || {
        let listing = Command::new("find").arg(&path).args(["-printf", "%p %m %U %T@\n"]).output().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        (String::from_utf8(listing.stdout).unwrap(), mounts)
    };
    let before = everything();
    for _ in 0..3 {
        crun.cmd(["check", &path]);
    }
    assert_eq!(everything(), before);
    assert!(!crun.state_dir().exists(), "the state directory was made");
    assert_eq!(leftovers::find(&new_id(), bundle.dir(), &crun.state_dir(), None), [""; 0]);
    for (_, mount) in leftovers::hierarchies() {
        assert!(!mount.join("check").exists(), "a cgroup was made in {}", mount.display());
    }
}

#[test]
fn wrong_options_and_an_output_that_is_full_are_errors() {
    let crun = runtime!();
    crun.cmd(["check", "--format=xml"]).error_with(["invalid format `xml`"]);
    crun.cmd(["check", "a", "b"]).error_with(["`check` requires a maximum of 1 arguments"]);
    let with_output = |redirect: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$@\" {redirect}"), "sh"]).arg(kit::crun::binary()).arg("check");
        command.stdin(Stdio::null()).output().unwrap()
    };
    // Who closes it wants nothing but the exit status.
    assert_eq!(with_output(">&-").status.code(), Some(0));
    let output = with_output(">/dev/full");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("write to the standard output") && said.lines().count() == 1, "{said}");
}
