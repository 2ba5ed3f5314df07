//! Hooks: each kind is run at its moment and in its place. What they are given is in `hooks_given`, how they fail in
//! `hooks_failing`.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kit::bundle::Bundle;
use kit::hooks::{KINDS, add, inside, live, log, logged, outside, with_all};
use kit::runtime;
use serde_json::json;

#[test]
fn hooks_are_run_in_the_order_of_the_specification() {
    let crun = runtime!();
    let second = |bundle: Bundle, kind| {
        let hook = outside(&bundle, kind, "echo $KIND again >>$LOG");
        add(bundle, kind, hook)
    };
    for by_run in [false, true] {
        let bundle = with_all(Bundle::new().sh("echo program >>/log/log; echo payload"), "echo $KIND >>$LOG");
        let bundle = second(second(bundle, "prestart"), "poststop");
        live(&crun, &bundle, by_run);
        let mut lines = logged(&bundle);
        // The program runs beside the hooks that follow its start.
        lines.retain(|line| line != "program");
        assert_eq!(
            lines,
            [
                "prestart",
                "prestart again",
                "createRuntime",
                "createContainer",
                "startContainer",
                "poststart",
                "poststop",
                "poststop again"
            ]
        );
    }
}

#[test]
fn create_runs_what_belongs_to_it_and_start_the_rest() {
    let crun = runtime!();
    let bundle = with_all(Bundle::new().args(["sleep", "99"]), "echo $KIND >>$LOG");
    let container = crun.create(&bundle);
    assert_eq!(logged(&bundle), ["prestart", "createRuntime", "createContainer"]);
    assert_eq!(container.status(), "created");
    container.start();
    assert_eq!(logged(&bundle)[3..], ["startContainer", "poststart"]);
    let deleted = container.cmd(["delete", "--force", "ID"]);
    assert_eq!((deleted.ok().as_str(), logged(&bundle).last().unwrap().as_str()), ("", "poststop"));
    container.deleted();
}

#[test]
fn a_start_returns_when_the_program_runs() {
    let crun = runtime!();
    let bundle = log(Bundle::new().args(["sleep", "99"]));
    let hook = outside(
        &bundle,
        "poststart",
        "tr '\\0' ' ' </proc/$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')/cmdline >>$LOG",
    );
    let bundle = add(bundle, "poststart", hook);
    let slow = add(bundle.clone(), "startContainer", inside("startContainer", "sleep 0.3"));
    for bundle in [bundle, slow] {
        let container = crun.create(&bundle);
        container.start();
        assert_eq!(logged(&bundle), ["sleep 99 "]);
        container.delete();
        fs::remove_file(bundle.dir().join("log/log")).unwrap();
    }
}

/// What a hook sees of the host (its files) and of the container (its namespaces).
const LOOK: &str = "for ns in mnt net uts ipc; do echo $KIND $ns $(readlink /proc/self/ns/$ns) >>$LOG; done
    [ -d $BUNDLE ] && echo $KIND host >>$LOG; echo $KIND at $(pwd) >>$LOG; true";

#[test]
fn hooks_are_in_the_namespaces_of_their_kind() {
    let crun = runtime!();
    let bundle = with_all(Bundle::new().args(["sleep", "99"]).set("/process/cwd", json!("/tmp")), LOOK);
    let container = crun.create(&bundle);
    container.start();
    let link = |proc: &Path, name: &str| fs::read_link(proc.join("ns").join(name)).unwrap();
    let (own, host) = (container.proc(), Path::new("/proc/self").to_owned());
    let lines = logged(&bundle);
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let is_inside = matches!(kind, "createContainer" | "startContainer");
        for name in ["mnt", "net", "uts", "ipc"] {
            let expected = link(if is_inside { &own } else { &host }, name);
            let line = format!("{kind} {name} {}", expected.display());
            assert!(lines.contains(&line), "no `{line}` in {lines:#?}");
        }
        assert_eq!(lines.contains(&format!("{kind} host")), kind != "startContainer", "{kind}: {lines:#?}");
        let at = if kind == "startContainer" { "/tmp" } else { bundle.dir().to_str().unwrap() };
        assert!(lines.contains(&format!("{kind} at {at}")), "{kind}: {lines:#?}");
    }
}

#[test]
fn hooks_find_the_container_at_its_path_and_can_add_to_it() {
    let crun = runtime!();
    // Something mounted, as a driver is by its engine's hook, from within and from outside.
    let mount = "mkdir -p $BUNDLE/rootfs/opt/$KIND; mount -t tmpfs $KIND $BUNDLE/rootfs/opt/$KIND; \
        [ -e $BUNDLE/rootfs/proc/1/root ] && echo $KIND >$BUNDLE/rootfs/opt/$KIND/made";
    let enter =
        format!("export PID=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -m -t $PID sh -c '{mount}'");
    for (what, crun) in crun.mount_rungs() {
        let bundle = log(Bundle::new().sh("cat /opt/*/made; grep -c ' /opt/' /proc/self/mountinfo"));
        let bundle = add(bundle.clone(), "prestart", outside(&bundle, "prestart", &enter));
        let bundle = add(bundle.clone(), "createContainer", outside(&bundle, "createContainer", mount));
        assert_eq!(crun.run(&bundle).ok(), "createContainer\nprestart\n2\n", "{what}");
        // Nothing of it was seen by the host.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(bundle.dir().to_str().unwrap()), "{what}: {mounts}");
    }
}

#[test]
fn a_root_that_a_mount_has_taken_the_place_of_is_entered_after_hooks() {
    let crun = runtime!();
    for (what, crun) in crun.mount_rungs() {
        let bundle = Bundle::new().sh("ls /; wc -l </proc/self/mountinfo");
        let rootfs = bundle.rootfs();
        let bundle = bundle.edit(|config| {
            let over =
                json!({"destination": "/", "type": "bind", "source": rootfs, "options": ["bind", "rw"]});
            config["mounts"].as_array_mut().unwrap().insert(0, over);
        });
        let plain = crun.run(&bundle).ok();
        let bundle = add(bundle.clone(), "createContainer", outside(&bundle, "createContainer", "true"));
        assert_eq!(crun.run(&bundle).ok(), plain, "{what}");
    }
}

#[test]
fn a_prestart_hook_can_connect_the_container_to_a_network() {
    let crun = runtime!();
    // As dockerd's libnetwork-setkey does: one end of a pair goes to the namespace of the pid it reads.
    let pair = "PID=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); N=${PID}
        ip link add v$N type veth peer name p$N || ip tuntap add p$N mode tap || exit 77
        ip link set p$N netns $PID name eth9 && nsenter -n -t $PID ip addr add 10.99.0.2/24 dev eth9";
    let bundle = log(Bundle::new().sh(
        "ls /sys/class/net; ip addr show dev eth9 | grep -o 10.99.0.2; cat /proc/sys/net/ipv4/conf/eth9/forwarding",
    ));
    // It is of the device that the hook brings.
    let bundle = bundle.set("/linux/sysctl", json!({"net.ipv4.conf.eth9.forwarding": "1"}));
    let hook = outside(&bundle, "prestart", pair);
    let output = crun.run(&add(bundle, "prestart", hook));
    if output.stderr.contains("exit code 77") {
        return kit::crun::skipped(format!("no network devices can be made: {}", output.stderr));
    }
    assert_eq!(output.ok(), "eth9\nlo\n10.99.0.2\n1\n");
}

#[test]
fn all_hooks_are_run_in_a_user_namespace() {
    let crun = runtime!();
    let bundle = with_all(Bundle::new().sh("echo payload"), "echo $KIND $(id -u) >>$LOG").in_user_namespace();
    fs::set_permissions(bundle.dir().join("log"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(bundle.dir().join("log/log"), "").unwrap();
    fs::set_permissions(bundle.dir().join("log/log"), fs::Permissions::from_mode(0o666)).unwrap();
    live(&crun, &bundle, false);
    assert_eq!(logged(&bundle), KINDS.map(|kind| format!("{kind} 0")));
}

#[test]
fn hooks_are_run_where_the_root_of_a_user_namespace_may_not_look() {
    let crun = runtime!();
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let bundle = Bundle::new_in(closed.path()).sh("echo payload").in_user_namespace();
    let bundle =
        add(bundle, "createContainer", json!({"path": "/bin/sh", "args": ["sh", "-c", "[ $(pwd) = / ]"]}));
    let bundle = add(bundle, "prestart", json!({"path": "/bin/true"}));
    live(&crun, &bundle, true);
}

#[test]
fn all_hooks_are_run_for_the_root_of_a_user_namespace() {
    let crun = match runtime!().as_mapped_root() {
        Ok(crun) => crun,
        Err(reason) => return kit::crun::skipped(reason),
    };
    let bundle = Bundle::new().of_mapped_root().sh("echo payload").unset("/linux/resources");
    let bundle = with_all(bundle, "echo $KIND >>$LOG");
    fs::set_permissions(bundle.dir().join("log"), fs::Permissions::from_mode(0o777)).unwrap();
    live(&crun, &bundle, false);
    assert_eq!(logged(&bundle), KINDS);
}

#[test]
fn a_process_that_is_executed_later_meets_no_hooks() {
    let crun = runtime!();
    let bundle = with_all(Bundle::new().args(["sleep", "99"]), "echo $KIND >>$LOG");
    let container = crun.start(&bundle);
    let before = logged(&bundle);
    assert_eq!(container.cmd(["exec", "ID", "true"]).ok(), "");
    assert_eq!(logged(&bundle), before);
}

#[test]
fn a_container_without_mounts_of_its_own_has_hooks_too() {
    let crun = runtime!();
    let bundle =
        Bundle::new().sh("echo payload").namespace("mount", None).set("/mounts", json!([])).writable();
    let bundle = bundle.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    fs::create_dir(bundle.rootfs().join("log")).unwrap();
    let script = "echo $KIND >>$LOG";
    let bundle = KINDS.iter().fold(bundle, |bundle, kind| {
        let log = bundle.rootfs().join("log/log");
        let mut hook = inside(kind, script);
        if *kind != "startContainer" {
            hook["env"] =
                json!([format!("LOG={}", log.display()), format!("KIND={kind}"), "PATH=/bin:/usr/bin"]);
        }
        add(bundle, kind, hook)
    });
    live(&crun, &bundle, false);
    let text = fs::read_to_string(bundle.rootfs().join("log/log")).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), KINDS);
}
