//! A runtime inside of what is a container already.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::crun::{Crun, binary, skipped};
use kit::running::Output;
use kit::{mountinfo, runtime_of_user};
use serde_json::json;

/// What a runtime needs that makes containers, in its own user namespace.
const CAPS: [&str; 15] = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETFCAP",
    "CAP_DAC_OVERRIDE",
    "CAP_CHOWN",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_KILL",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_AUDIT_WRITE",
];

/// A container with the runtime, the bundle `inner` and places to write to. Of its proc and sysfs nothing is hidden, unless
/// the test hides it.
fn outer(inner: &Bundle) -> Bundle {
    let runtime = binary().display().to_string();
    let (lists, none) = (["/linux/maskedPaths", "/linux/readonlyPaths"], json!([]));
    let bundle =
        lists.into_iter().fold(Bundle::new().of_user(), |bundle, list| bundle.set(list, none.clone()));
    bundle
        .caps(CAPS)
        .mount("/tmp", "tmpfs", "tmpfs", ["mode=1777"])
        .mount("/inner", "bind", inner.save().to_str().unwrap(), ["rbind"])
        .mount("/crun", "bind", &runtime, ["bind", "ro"])
}

/// Runs the inner bundle in the outer one.
fn run(crun: &Crun, outer: &Bundle) -> Output {
    crun.run(&outer.clone().args(["/crun", "--root", "/tmp/state", "run", "--bundle", "/inner", "inside"]))
}

/// The bundle in a user namespace, in which 0 is `id` outside.
fn mapped(bundle: Bundle, id: u32) -> Bundle {
    let map = json!([{"containerID": 0, "hostID": id, "size": 1}]);
    bundle.namespace("user", Some("")).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

fn writable_cgroups(bundle: Bundle) -> Bundle {
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let cgroup = mounts.iter_mut().find(|mount| mount["destination"] == "/sys/fs/cgroup").unwrap();
        cgroup["options"] = json!(["nosuid", "noexec", "nodev"]);
    })
}

const WHERE: &str =
    "echo $$ $(id -u); ls /sys/class/net; echo x >/dev/null; grep -c . /proc/self/mountinfo >/dev/null";

#[test]
fn a_privileged_container_with_a_cgroup_of_its_own_makes_containers_with_cgroups() {
    let crun = match Crun::on_v2() {
        Ok(crun) => crun,
        Err(reason) => return skipped(reason),
    };
    let inner = Bundle::new().sh(&format!("{WHERE}; cat /proc/self/cgroup | grep ^0:"));
    assert_eq!(run(&crun, &writable_cgroups(outer(&inner))).ok(), "1 0\nlo\n0::/\n");
    // Through its whole life.
    let inner = Bundle::new().sh("echo up; sleep 99; true");
    let script = "c='/crun --root /tmp/state'; $c run --detach --bundle /inner x >/tmp/out && until grep -q up /tmp/out; do :; done
        $c exec x id -u && $c pause x && $c list | grep -c paused && $c resume x && $c delete --force x && ls /sys/fs/cgroup | grep -c '^x$'";
    let output = crun.run(&writable_cgroups(outer(&inner)).sh(script));
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("0\n1\n0\n", ""), "{output}");
}

#[test]
fn in_a_users_container_root_makes_containers() {
    let crun = runtime_of_user!();
    let inner = Bundle::new().of_user().sh(WHERE);
    assert_eq!(run(&crun, &outer(&inner)).ok(), "1 0\nlo\n");
}

#[test]
fn a_user_namespace_in_that_of_a_users_container_has_a_container_too() {
    let crun = runtime_of_user!();
    let inner = mapped(Bundle::new().of_user().sh(&format!("{WHERE}; tr -s ' ' </proc/self/uid_map")), 0);
    // Root inside is root of the container around it, which is the user.
    assert_eq!(run(&crun, &outer(&inner)).ok(), "1 0\nlo\n 0 0 1\n");
}

#[test]
fn a_user_in_a_users_container_makes_containers() {
    let crun = runtime_of_user!();
    let inner = mapped(Bundle::new().of_user().sh(WHERE), 5);
    // A subordinate id, with no more ids of its own.
    let outer =
        outer(&inner).set("/process/user", json!({"uid": 5, "gid": 5})).unset("/process/capabilities");
    assert_eq!(run(&crun, &outer).ok(), "1 0\nlo\n");
}

#[test]
fn where_a_part_of_proc_is_hidden_around_it_the_reason_is_told() {
    let crun = runtime_of_user!();
    // Where the runtime can put its own proc into a namespace of the container's tree, the kernel does not mind.
    let crun = crun.without(["OPEN_TREE_NAMESPACE"]);
    let inner = mapped(Bundle::new().of_user().args(["true"]), 0);
    let outer = outer(&inner).set("/linux/maskedPaths", json!(["/proc/keys"]));
    run(&crun, &outer).error_with([
        "mounts[0]: /proc: mount the proc filesystem",
        "fully visible",
        "Operation not permitted",
    ]);
}

#[test]
fn where_a_part_of_sysfs_is_hidden_around_it_that_sysfs_is_shown() {
    let crun = runtime_of_user!();
    let inner = mapped(Bundle::new().of_user().args(["cat", "/proc/self/mountinfo"]), 0);
    let outer = outer(&inner).set("/linux/maskedPaths", json!(["/sys/firmware"]));
    let mounts = mountinfo::parse(&run(&crun, &outer).ok());
    let sys = mountinfo::at(&mounts, "/sys");
    assert!(sys.kind == "sysfs" && sys.has("ro"), "{sys:?}");
}

/// The runtime makes what it mounts before the container's process exists, unless it has no right to.
#[test]
fn root_of_a_user_namespace_needs_no_mount_namespace_of_its_own() {
    let crun = runtime_of_user!().through(["unshare", "--user", "--map-root-user"]);
    let bundle = Bundle::new().of_user();
    for directory in ["tree", "tree/below"] {
        fs::create_dir(bundle.dir().join(directory)).unwrap();
    }
    let source = bundle.dir().join("tree").display().to_string();
    let bundle = bundle.mount("/run", "bind", &source, ["rbind", "rro"]);
    let script = "cat /proc/self/mountinfo; ls -d /run/below /dev/null /sys/class/net >&2; cat /proc/keys";
    let output = crun.run(&bundle.sh(script));
    assert_eq!(output.stderr, "/dev/null\n/run/below\n/sys/class/net\n", "{output}");
    let mounts = mountinfo::parse(&output.stdout);
    assert!(mountinfo::at(&mounts, "/run").has("ro"));
    assert_eq!(mountinfo::at(&mounts, "/sys").kind, "sysfs");
}
