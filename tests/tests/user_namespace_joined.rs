//! User namespaces that exist: joined by a container or a process, with or without the namespaces they own.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::runtime;
use serde_json::{Value, json};

fn sleeper(bundle: Bundle) -> Bundle {
    bundle.sh("echo up; exec sleep 99")
}

fn pid(container: &Container) -> String {
    container.state()["pid"].to_string()
}

fn path(container: &Container, kind: &str) -> String {
    format!("/proc/{}/ns/{kind}", pid(container))
}

/// As this test sees it.
fn hosts_network() -> String {
    format!("/proc/{}/ns/net", std::process::id())
}

fn mapping(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

#[test]
fn the_namespaces_of_a_container_and_those_of_the_host_can_be_joined_together() {
    let crun = runtime!();
    let first = crun.start(&sleeper(Bundle::new().in_user_namespace()));
    first.wait_output("up");
    // What belongs to the host can only be joined before the user namespace, what belongs to that also afterwards.
    let bundle = Bundle::new()
        .in_user_namespace()
        .unset("/linux/uidMappings")
        .unset("/linux/gidMappings")
        .namespace("user", Some(&path(&first, "user")))
        .namespace("ipc", Some(&path(&first, "ipc")))
        .namespace("network", Some(&hosts_network()))
        .edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys"));
        })
        .sh("for kind in user ipc net; do readlink /proc/self/ns/$kind; done");
    let text = crun.run(&bundle).ok();
    let link = |path: String| fs::read_link(path).unwrap().display().to_string();
    let expected = [link(path(&first, "user")), link(path(&first, "ipc")), link(hosts_network())];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn the_runtimes_own_user_namespace_need_not_be_joined() {
    let crun = runtime!();
    let container = crun.start(&sleeper(Bundle::new().namespace("user", Some("/proc/self/ns/user"))));
    container.wait_output("up");
    assert_eq!(container.cmd(["exec", "ID", "id", "-u"]).ok(), "0\n");
}

#[test]
fn what_is_joined_has_to_be_a_namespace_of_its_type() {
    let crun = runtime!();
    let file = tempfile::NamedTempFile::new().unwrap();
    let name = file.path().display().to_string();
    let (network, missing) = (hosts_network(), "/no/such".to_owned());
    let cases = [
        ("uts", &network, "it is a network namespace, and a uts namespace is asked for"),
        ("network", &name, "the file is no namespace, and a network namespace is asked for"),
        ("user", &network, "it is a network namespace, and a user namespace is asked for"),
        ("ipc", &missing, "No such file or directory"),
    ];
    for (kind, path, words) in cases {
        crun.run(&Bundle::new().args(["true"]).namespace(kind, Some(path))).error_with([path, words]);
    }
}

#[test]
fn a_process_can_only_be_somebody_whom_the_user_namespace_has() {
    let crun = runtime!();
    let bundle = Bundle::new().in_user_namespace();
    crun.run(&bundle.clone().set("/process/user", json!({"uid": 65_536, "gid": 0}))).error_with([
        "process.user.uid: 65536 is not mapped in the container's user namespace, whose ids are 0-65535",
    ]);
    let groups = json!({"uid": 0, "gid": 0, "additionalGids": [5, 70_000]});
    crun.run(&bundle.clone().set("/process/user", groups))
        .error_with(["process.user.additionalGids[1]: 70000 is not mapped"]);
    let container = crun.start(&sleeper(bundle.clone()));
    container.wait_output("up");
    container.cmd(["exec", "--user", "7:70000", "ID", "true"]).error_with(["process.user.gid: 70000"]);
    assert_eq!(container.cmd(["exec", "--user", "65535:7", "ID", "id", "-u"]).ok(), "65535\n");
    let joined = Bundle::new()
        .namespace("user", Some(&path(&container, "user")))
        .set("/process/user", json!({"uid": 70_000, "gid": 0}));
    crun.run(&joined).error_with(["process.user.uid: 70000 is not mapped"]);
}

#[test]
fn a_user_namespace_may_be_without_root() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .writable()
        .namespace("user", Some(""))
        .set("/linux/uidMappings", mapping(1000, 101_000, 10))
        .set("/linux/gidMappings", mapping(2000, 102_000, 10))
        .set("/process/user", json!({"uid": 1001, "gid": 2003}))
        .edit(|config| {
            // Their options name the group 5.
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev/pts");
        });
    for path in [bundle.dir().to_owned(), bundle.rootfs()] {
        std::os::unix::fs::chown(path, Some(101_001), Some(102_003)).unwrap();
    }
    let container = crun.start(&sleeper(bundle));
    container.wait_output("up");
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", "id -u; id -g"]).ok(), "1001\n2003\n");
    container.cmd(["exec", "--user", "0", "ID", "true"]).error_with([
        "process.user.uid: 0 is not mapped in the container's user namespace, whose ids are 1000-1009",
    ]);
    let mounts = tempfile::NamedTempFile::new().unwrap();
    let list = json!([{"destination": "/added", "type": "bind", "source": "/etc", "options": ["bind"]}]);
    fs::write(&mounts, list.to_string()).unwrap();
    assert_eq!(container.cmd(["mounts", "add", "ID", mounts.path().to_str().unwrap()]).ok(), "");
    assert!(container.cmd(["exec", "ID", "ls", "/added"]).ok().contains("passwd"));
}
