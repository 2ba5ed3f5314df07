//! Kernel parameters of the container's namespaces: which are set, which are refused, and where they are not written to.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::{runtime, runtime_on_v2};
use serde_json::{Value, json};

/// A container that shows the parameter at this path.
fn showing(path: &str) -> Bundle {
    Bundle::new().args(["cat", &format!("/proc/sys/{path}")])
}

fn with(bundle: Bundle, sysctls: Value) -> Bundle {
    bundle.set("/linux/sysctl", sysctls)
}

/// Runs and creates the bundle: both have to fail with this line, and to leave nothing.
fn refused(crun: &Crun, bundle: &Bundle, line: &str) {
    assert_eq!(crun.run(bundle).error(), line);
    let container = crun.container(bundle);
    assert_eq!(container.cmd(["create", "-b", "BUNDLE", "ID"]).error(), line);
    container.deleted();
}

/// A parameter of each kind: name, value, path, and what is read.
const OF_EACH_NAMESPACE: [(&str, &str, &str, &str); 7] = [
    ("kernel.msgmax", "9000", "kernel/msgmax", "9000"),
    ("kernel.sem", "250 31000 100 127", "kernel/sem", "250\t31000\t100\t127"),
    ("fs.mqueue.msg_max", "11", "fs/mqueue/msg_max", "11"),
    ("net.ipv4.ip_forward", "1", "net/ipv4/ip_forward", "1"),
    ("net/ipv4/ip_default_ttl", "77", "net/ipv4/ip_default_ttl", "77"),
    ("net.ipv4.ping_group_range", "0 7", "net/ipv4/ping_group_range", "0\t7"),
    ("kernel.domainname", "example.org", "kernel/domainname", "example.org"),
];

#[test]
fn parameters_of_the_containers_namespaces_are_set_there_and_nowhere_else() {
    let crun = runtime!();
    let outside = |path: &str| fs::read_to_string(format!("/proc/sys/{path}")).unwrap();
    for (name, value, path, seen) in OF_EACH_NAMESPACE {
        let before = outside(path);
        let text = crun.run(&with(showing(path), json!({name: value}))).ok();
        assert_eq!(text.trim_end(), seen, "{name}");
        assert_eq!(outside(path), before, "{name}");
    }
}

#[test]
fn all_parameters_are_set_together_on_every_kernel() {
    let crun = runtime!();
    let sysctls: Value =
        OF_EACH_NAMESPACE.iter().map(|(name, value, ..)| ((*name).to_owned(), json!(value))).collect();
    let paths: Vec<_> = OF_EACH_NAMESPACE.iter().map(|(_, _, path, _)| format!("/proc/sys/{path}")).collect();
    let expected: String = OF_EACH_NAMESPACE.iter().map(|(.., seen)| format!("{seen}\n")).collect();
    for (rung, crun) in crun.rungs() {
        let bundle = with(Bundle::new().sh(&format!("cat {}", paths.join(" "))), sysctls.clone());
        assert_eq!(crun.run(&bundle).ok(), expected, "{rung}");
    }
}

#[test]
fn parameters_are_set_in_a_user_namespace_too_which_has_some_of_its_own() {
    let crun = runtime!();
    for (name, value, path, seen) in OF_EACH_NAMESPACE {
        let text = crun.run(&with(showing(path).in_user_namespace(), json!({name: value}))).ok();
        assert_eq!(text.trim_end(), seen, "{name}");
    }
    let path = "user/max_user_namespaces";
    let bundle = with(showing(path).in_user_namespace(), json!({"user.max_user_namespaces": "5"}));
    assert_eq!(crun.run(&bundle).ok(), "5\n");
}

#[test]
fn root_of_a_user_namespace_alone_sets_parameters_of_its_containers() {
    let crun = match runtime!().as_mapped_root() {
        Ok(crun) => crun,
        Err(reason) => return kit::crun::skipped(reason),
    };
    for (name, value, path, seen) in OF_EACH_NAMESPACE {
        let text = crun.run(&with(showing(path).of_mapped_root(), json!({name: value}))).ok();
        assert_eq!(text.trim_end(), seen, "{name}");
    }
}

#[test]
fn parameters_of_a_joined_namespace_are_set_in_it() {
    let crun = runtime!();
    let holder = crun.start(&Bundle::new().args(["sleep", "99"]));
    let path = holder.proc().join("ns/net");
    let joining = showing("net/ipv4/ip_forward").namespace("network", path.to_str());
    assert_eq!(crun.run(&with(joining, json!({"net.ipv4.ip_forward": "1"}))).ok(), "1\n");
    assert_eq!(holder.cmd(["exec", "ID", "cat", "/proc/sys/net/ipv4/ip_forward"]).ok(), "1\n");
}

#[test]
fn a_device_with_a_dot_in_its_name_can_be_named() {
    let crun = runtime!();
    let holder = crun.start(&Bundle::new().args(["sleep", "99"]));
    let net = holder.proc().join("ns/net");
    let script = format!("nsenter --net={} ip link add a.1 type dummy", net.display());
    let made = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    if !made.status.success() {
        return kit::crun::skipped(String::from_utf8_lossy(&made.stderr));
    }
    for name in ["net.ipv4.conf.a/1.forwarding", "net/ipv4/conf/a.1/forwarding"] {
        let bundle = showing("net/ipv4/conf/a.1/forwarding").namespace("network", net.to_str());
        assert_eq!(crun.run(&with(bundle, json!({name: "1"}))).ok(), "1\n", "{name}");
    }
}

#[test]
fn what_belongs_to_no_namespace_of_the_container_is_refused_by_name() {
    let crun = runtime!();
    for name in ["vm.swappiness", "kernel.core_pattern", "fs.file-max", "net", "net/../kernel/core_pattern"] {
        let line = format!("the sysctl `{name}` is not namespaced");
        refused(&crun, &with(Bundle::new(), json!({name: "1"})), &line);
    }
    let without = |kind: &str| {
        let bundle = Bundle::new().namespace(kind, None).unset("/hostname");
        // Nothing else of the container may be in need of the namespace.
        bundle.edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["type"] == "proc");
        })
    };
    for (kind, title, name) in [
        ("ipc", "IPC", "kernel.msgmax"),
        ("ipc", "IPC", "fs.mqueue.msg_max"),
        ("network", "network", "net.ipv4.ip_forward"),
        ("uts", "UTS", "kernel.domainname"),
        ("user", "user", "user.max_user_namespaces"),
    ] {
        let line = format!("the sysctl `{name}` requires a new {title} namespace");
        refused(&crun, &with(without(kind), json!({name: "1"})), &line);
    }
}

#[test]
fn a_name_has_one_place_in_the_configuration() {
    let crun = runtime!();
    let line = "the sysctl `kernel.hostname` conflicts with OCI field `hostname`";
    refused(&crun, &with(Bundle::new(), json!({"kernel.hostname": "x"})), line);
    let line = "the sysctl `kernel.domainname` conflicts with OCI field `domainname`";
    let both = Bundle::new().set("/domainname", json!("a"));
    refused(&crun, &with(both, json!({"kernel.domainname": "b"})), line);
}

#[test]
fn what_the_kernel_does_not_take_is_said_with_its_reason() {
    let crun = runtime!();
    for (name, value, line) in [
        ("kernel.msgmax", "abc", "set the sysctl `kernel.msgmax` to `abc`: Invalid argument"),
        ("kernel.msgmax", "1 2", "set the sysctl `kernel.msgmax` to `1 2`: Invalid argument"),
        (
            "net.no_such",
            "1",
            "set the sysctl `net.no_such` to `1` (this kernel has none of that name in the container's namespaces): \
             No such file or directory",
        ),
    ] {
        refused(&crun, &with(Bundle::new(), json!({name: value})), line);
    }
}

#[test]
fn what_is_mounted_over_the_hosts_parameters_is_not_written() {
    let crun = runtime_on_v2!();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("msgmax");
    fs::write(&file, "unwritten").unwrap();
    let script = format!("mount --bind {} /proc/sys/kernel", dir.path().display());
    assert!(crun.view().unwrap().command("sh").args(["-ec", &script]).status().unwrap().success());
    for (rung, crun) in crun.mount_rungs() {
        let line = crun.run(&with(Bundle::new(), json!({"kernel.msgmax": "1"}))).error();
        let hint = "(something is mounted over a part of `/proc` on the host): Invalid cross-device link";
        assert_eq!(line, format!("set the sysctl `kernel.msgmax` to `1` {hint}"), "{rung}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "unwritten", "{rung}");
    }
}

#[test]
fn a_volume_over_the_containers_proc_is_not_written() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("sys/kernel")).unwrap();
    let file = dir.path().join("sys/kernel/msgmax");
    fs::write(&file, "unwritten").unwrap();
    for (rung, crun) in crun.mount_rungs() {
        for (destination, source) in [("/proc", dir.path().to_owned()), ("/proc/sys", dir.path().join("sys"))]
        {
            let bundle = Bundle::new().mount(destination, "bind", source.to_str().unwrap(), ["bind", "rw"]);
            let bundle =
                with(bundle.args(["cat", "/proc/sys/kernel/msgmax"]), json!({"kernel.msgmax": "9000"}));
            assert_eq!(crun.run(&bundle).ok(), "unwritten", "{rung}: {destination}");
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "unwritten");
}
