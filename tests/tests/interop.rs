//! C crun 1.28 and this runtime over one state directory: containers of the one are listed, inspected, killed and deleted
//! by the other. Both run in a private place with pure cgroup v2, in the root filesystem that has C crun.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::sync::Arc;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped, wait_for};
use kit::rootfs::peers_root;
use kit::view::View;

/// Where this runtime appears next to C crun.
const OURS: &str = "/tmp/ours/crun";

/// This runtime and C crun over the same state.
struct Pair {
    ours: Crun,
    theirs: Crun,
    bundles: std::path::PathBuf,
}

fn pair() -> Result<Pair, String> {
    let root = peers_root().ok_or("there is no root filesystem with C crun")?;
    let work = Crun::place();
    let view =
        View::builder().root(root).bind(work.path(), work.path()).bind(kit::crun::binary(), OURS).enter();
    let view = Arc::new(view.map_err(|error| format!("{error:#}"))?);
    let theirs = Crun::in_view(&view, "/usr/bin/crun", &work);
    Ok(Pair { ours: Crun::in_view(&view, OURS, &work), theirs, bundles: work.path().to_path_buf() })
}

impl Pair {
    fn bundle(&self, script: &str) -> Bundle {
        Bundle::new_in(&self.bundles).sh(script)
    }
}

macro_rules! pair {
    () => {
        match pair() {
            Ok(pair) => pair,
            Err(reason) => return skipped(reason),
        }
    };
}

/// What both runtimes say about a container has to be the same.
fn same_story(pair: &Pair, container: &Container) {
    let id = container.id();
    let (mut ours, mut theirs) = (pair.ours.cmd(["state", id]).json(), pair.theirs.cmd(["state", id]).json());
    for value in [&mut ours, &mut theirs] {
        value.as_object_mut().unwrap().remove("ociVersion");
    }
    assert_eq!(ours, theirs);
    let list = |crun: &Crun| crun.cmd(["list", "-f", "json"]).json();
    assert_eq!(list(&pair.ours), list(&pair.theirs));
    assert_eq!(pair.ours.cmd(["list", "-q"]).ok(), pair.theirs.cmd(["list", "-q"]).ok());
    let words =
        |crun: &Crun| crun.cmd(["list"]).ok().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&pair.ours), words(&pair.theirs));
}

/// The whole life of a container made by `maker`, led by `other`.
fn life(pair: &Pair, maker: &Crun, other: &Crun) {
    let bundle = pair.bundle("trap 'echo got it; exit' TERM; echo up; while :; do sleep 0.02; done");
    let container = maker.create(&bundle);
    same_story(pair, &container);
    assert_eq!(other.cmd(["start", container.id()]).ok(), "");
    container.wait_output("up");
    same_story(pair, &container);
    other.cmd(["delete", container.id()]).error_with(["is not in `created` or `stopped` state"]);
    assert_eq!(other.cmd(["kill", container.id(), "TERM"]).ok(), "");
    container.wait_output("got it");
    container.wait();
    same_story(pair, &container);
    other.cmd(["start", container.id()]).error_with(["is not running"]);
    assert_eq!(other.cmd(["delete", container.id()]).ok(), "");
    container.deleted();
}

#[test]
fn this_runtime_leads_a_container_of_c_crun() {
    let pair = pair!();
    life(&pair, &pair.theirs, &pair.ours);
}

#[test]
fn c_crun_leads_a_container_of_this_runtime() {
    let pair = pair!();
    life(&pair, &pair.ours, &pair.theirs);
}

#[test]
fn each_deletes_a_created_container_of_the_other() {
    let pair = pair!();
    for (maker, other) in [(&pair.ours, &pair.theirs), (&pair.theirs, &pair.ours)] {
        let container = maker.create(&pair.bundle("sleep 99"));
        assert_eq!(other.cmd(["delete", container.id()]).ok(), "");
        container.deleted();
    }
}

#[test]
fn each_deletes_a_running_container_of_the_other_by_force() {
    let pair = pair!();
    for (maker, other) in [(&pair.ours, &pair.theirs), (&pair.theirs, &pair.ours)] {
        let bundle = pair.bundle("sleep 98 & sleep 97 & trap '' TERM; echo up; wait").namespace("pid", None);
        let container = maker.start(&bundle);
        container.wait_output("up");
        assert_eq!(other.cmd(["delete", "--force", container.id()]).ok(), "");
        container.deleted();
    }
}

#[test]
fn each_kills_every_process_of_a_container_of_the_other() {
    let pair = pair!();
    for (maker, other) in [(&pair.ours, &pair.theirs), (&pair.theirs, &pair.ours)] {
        let bundle = pair.bundle("(trap '' TERM; sleep 98) & echo up; wait").namespace("pid", None);
        let container = maker.start(&bundle);
        container.wait_output("up");
        assert_eq!(other.cmd(["kill", "--all", container.id(), "KILL"]).ok(), "");
        container.wait();
        assert_eq!(other.cmd(["delete", container.id()]).ok(), "");
        container.deleted();
    }
}

#[test]
fn each_runs_a_program_in_a_container_of_the_other() {
    let pair = pair!();
    for (maker, other) in [(&pair.ours, &pair.theirs), (&pair.theirs, &pair.ours)] {
        let container = maker.start(&pair.bundle("echo up; sleep 99; true").env("FROM=config"));
        container.wait_output("up");
        let output = other.cmd([
            "exec",
            container.id(),
            "sh",
            "-c",
            "echo $FROM; tr '\\0' ' ' </proc/1/cmdline; exit 5",
        ]);
        assert_eq!((output.code, output.stdout.split(' ').next()), (5, Some("config\nsh")), "{output}");
    }
}

#[test]
fn each_filters_a_program_in_a_container_of_the_other_as_that_did() {
    let pair = pair!();
    let profile = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
    ]});
    for (maker, other) in [(&pair.ours, &pair.theirs), (&pair.theirs, &pair.ours)] {
        let bundle = pair.bundle("echo up; sleep 99; true").set("/linux/seccomp", profile.clone());
        for no_new_privileges in [true, false] {
            let bundle = bundle.clone().set("/process/noNewPrivileges", no_new_privileges.into());
            let container = maker.start(&bundle);
            container.wait_output("up");
            let script = "mkdir /dev/shm/x; grep Seccomp: /proc/self/status";
            let output = other.cmd(["exec", container.id(), "sh", "-c", script]);
            assert_eq!((output.code, output.stdout.as_str()), (0, "Seccomp:\t2\n"), "{output}");
            assert!(output.stderr.contains("not supported"), "{output}");
            assert_eq!(other.cmd(["delete", "--force", container.id()]).ok(), "");
            container.deleted();
        }
    }
}

#[test]
fn each_changes_the_mounts_of_a_container_of_the_other() {
    let pair = pair!();
    let list = pair.bundles.join("list.json");
    std::fs::write(&list, r#"[{"destination": "/new", "type": "tmpfs", "source": "x"}]"#).unwrap();
    let list = list.to_str().unwrap();
    let (ours, theirs) = (&pair.ours, &pair.theirs);
    for (maker, adder, remover) in [(ours, theirs, ours), (theirs, ours, theirs), (theirs, ours, ours)] {
        let container = maker.start(&pair.bundle("sleep 99").writable());
        let is_mounted = || {
            let mounts = std::fs::read_to_string(container.proc().join("mountinfo")).unwrap();
            mounts.contains(" /new ")
        };
        assert_eq!(adder.cmd(["mounts", "add", container.id(), list]).ok(), "");
        assert!(is_mounted());
        assert_eq!(remover.cmd(["mounts", "remove", container.id(), list]).ok(), "");
        assert!(!is_mounted());
    }
}

#[test]
fn each_refuses_a_name_the_other_uses() {
    let pair = pair!();
    for (maker, other) in [(&pair.ours, &pair.theirs), (&pair.theirs, &pair.ours)] {
        let bundle = pair.bundle("sleep 99");
        let container = maker.create(&bundle);
        let dir = bundle.dir().to_str().unwrap();
        other.cmd(["create", "-b", dir, container.id()]).error_with(["already exists"]);
        assert_eq!(container.status(), "created");
    }
}

#[test]
fn both_print_the_same_errors_where_engines_read_them() {
    let pair = pair!();
    let same = |args: &[&str]| {
        let [ours, theirs] = [&pair.ours, &pair.theirs].map(|crun| {
            let output = crun.cmd(args);
            (output.code, output.without_hint())
        });
        assert_eq!(ours, theirs, "{args:?}");
    };
    same(&["state", "unknown"]);
    same(&["start", "unknown"]);
    same(&["kill", "unknown", "TERM"]);
    let bundle = pair.bundle("sleep 99");
    let dir = bundle.save().to_str().unwrap();
    same(&["create", "-b", dir, "a/b"]);
    same(&["create", "-b", dir, ""]);
    let container = pair.ours.create(&bundle);
    same(&["create", "-b", bundle.dir().to_str().unwrap(), container.id()]);
    container.start();
    same(&["start", container.id()]);
    same(&["delete", container.id()]);
    container.kill("KILL");
    container.wait();
    same(&["start", container.id()]);
    same(&["kill", container.id(), "NONSENSE"]);
    wait_for("both to find it dead", || {
        (pair.theirs.cmd(["kill", container.id(), "TERM"]).code == 1).then_some(())
    });
    same(&["kill", container.id(), "TERM"]);
    same(&["exec", container.id(), "true"]);
    let file = |name: &str, text: &str| {
        let path = pair.bundles.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (list, object) = (file("list.json", "[]"), file("object.json", "{}"));
    let running = pair.ours.start(&bundle);
    for action in ["add", "remove"] {
        same(&["mounts", action, "unknown", &list]);
        same(&["mounts", action, running.id(), &object]);
        same(&["mounts", action, running.id(), "/no/such/file"]);
    }
    same(&["mounts", "change", running.id(), &list]);
}

#[test]
fn both_print_the_same_errors_about_executables() {
    let pair = pair!();
    for program in ["no-such", "/no/such", "/etc/passwd"] {
        let bundle = pair.bundle("").args([program]);
        let [ours, theirs] = [&pair.ours, &pair.theirs].map(|crun| {
            let output = crun.run(&bundle);
            (output.code, output.without_hint())
        });
        assert_eq!(ours, theirs, "{program}");
    }
}

#[test]
fn both_write_the_same_default_configuration() {
    let pair = pair!();
    let [ours, theirs] = [(&pair.ours, "ours"), (&pair.theirs, "theirs")].map(|(crun, name)| {
        let dir = pair.bundles.join(name);
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(crun.cmd(["spec", "-b", dir.to_str().unwrap()]).ok(), "");
        let text = std::fs::read_to_string(dir.join("config.json")).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value.as_object_mut().unwrap().remove("ociVersion");
        value
    });
    assert_eq!(ours, theirs);
}
