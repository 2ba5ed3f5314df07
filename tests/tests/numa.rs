//! From which memory nodes a container gets its memory: `linux.memoryPolicy`, looked at in /proc/PID/numa_maps, and the
//! cpuset's nodes.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped};
use kit::runtime;
use serde_json::{Value, json};

/// The policy of each mapping, and the nodes its pages are on (proc_pid_numa_maps(5)).
const MAPS: &str = "/proc/self/numa_maps";

/// Whether this kernel knows memory nodes; says so if not.
fn has_nodes() -> bool {
    let found = Path::new(MAPS).exists();
    if !found {
        skipped("this kernel knows no memory nodes");
    }
    found
}

fn with_policy(policy: Value) -> Bundle {
    Bundle::new().set("/linux/memoryPolicy", policy)
}

fn sleeper(policy: Value) -> Bundle {
    with_policy(policy).args(["sleep", "99"])
}

/// The policy in a text of `numa_maps`.
fn policy_of(maps: &str) -> String {
    let (_, behind) = maps.split_once(' ').expect("an address");
    // The words of a mode may be several: `weighted interleave:0`.
    let end = behind.find(" file=").or_else(|| behind.find(" heap")).expect("the mapping's kind");
    behind[..end].to_owned()
}

/// The policy of a process of this bundle.
fn policy(crun: &Crun, bundle: Bundle) -> String {
    policy_of(&crun.run(&bundle.args(["cat", MAPS])).ok())
}

#[test]
fn the_process_has_the_policy_of_the_configuration() {
    let crun = runtime!();
    if !has_nodes() {
        return;
    }
    for (mode, nodes, shown) in [
        ("MPOL_DEFAULT", "", "default"),
        ("MPOL_LOCAL", "", "local"),
        ("MPOL_PREFERRED", "", "local"),
        ("MPOL_BIND", "0", "bind:0"),
        ("MPOL_INTERLEAVE", "0", "interleave:0"),
        ("MPOL_WEIGHTED_INTERLEAVE", "0", "weighted interleave:0"),
        ("MPOL_PREFERRED", "0", "prefer:0"),
        ("MPOL_PREFERRED_MANY", "0", "prefer (many):0"),
    ] {
        let policy = policy(&crun, with_policy(json!({"mode": mode, "nodes": nodes})));
        assert_eq!(policy, shown, "{mode} {nodes}");
    }
    let without_nodes = with_policy(json!({"mode": "MPOL_LOCAL"}));
    assert_eq!(policy(&crun, without_nodes), "local");
}

#[test]
fn the_flags_of_a_policy_are_set() {
    let crun = runtime!();
    if !has_nodes() {
        return;
    }
    for (flag, shown) in [
        ("MPOL_F_STATIC_NODES", "bind=static:0"),
        ("MPOL_F_RELATIVE_NODES", "bind=relative:0"),
        ("MPOL_F_NUMA_BALANCING", "bind=balancing:0"),
    ] {
        let bundle = with_policy(json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}));
        assert_eq!(policy(&crun, bundle), shown);
    }
}

#[test]
fn nodes_that_are_not_there_are_left_out_where_others_are() {
    let crun = runtime!();
    if !has_nodes() {
        return;
    }
    // Beyond 64 nodes, too: the mask is not one word.
    let bundle = with_policy(json!({"mode": "MPOL_BIND", "nodes": "0,63-64,200"}));
    assert_eq!(policy(&crun, bundle), "bind:0");
}

#[test]
fn a_container_without_a_policy_has_the_default() {
    let crun = runtime!();
    if has_nodes() {
        assert_eq!(policy(&crun, Bundle::new()), "default");
    }
}

#[test]
fn a_user_namespace_makes_no_difference_to_the_policy() {
    let crun = runtime!();
    if has_nodes() {
        let bundle = with_policy(json!({"mode": "MPOL_BIND", "nodes": "0"})).in_user_namespace();
        assert_eq!(policy(&crun, bundle), "bind:0");
    }
}

#[test]
fn what_is_executed_in_the_container_has_its_policy_too() {
    let crun = runtime!();
    if !has_nodes() {
        return;
    }
    let container = crun.start(&sleeper(json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"})));
    assert_eq!(policy_of(&container.cmd(["exec", "ID", "cat", MAPS]).ok()), "interleave:0");
    let process = tempfile::NamedTempFile::new().unwrap();
    fs::write(&process, json!({"args": ["/bin/cat", MAPS], "cwd": "/"}).to_string()).unwrap();
    let by_file = container.cmd(["exec", "--process", process.path().to_str().unwrap(), "ID"]).ok();
    assert_eq!(policy_of(&by_file), "interleave:0");
}

#[test]
fn nodes_that_no_memory_can_come_from_are_an_error_that_names_them() {
    let crun = runtime!();
    if !has_nodes() {
        return;
    }
    for nodes in ["777", "1000-1023", "65535"] {
        let policy = json!({"mode": "MPOL_BIND", "nodes": nodes});
        let error = crun.run(&sleeper(policy.clone())).error();
        assert_eq!(
            error,
            format!(
                "linux.memoryPolicy: set the policy `MPOL_BIND` on the nodes `{nodes}` (are they there, and in the \
                 cpuset?): Invalid argument"
            )
        );
        let container = crun.container(&sleeper(policy));
        assert_eq!(container.cmd(["create", "--bundle", "BUNDLE", "ID"]).error(), error);
        container.deleted();
    }
}

#[test]
fn a_policy_that_cannot_be_set_leaves_the_root_filesystem_as_it_was() {
    let crun = runtime!();
    if !has_nodes() {
        return;
    }
    let bundle = sleeper(json!({"mode": "MPOL_BIND", "nodes": "777"})).writable();
    let bundle = bundle.mount("/made/for/it", "tmpfs", "tmpfs", []);
    crun.run(&bundle).error_with(["linux.memoryPolicy"]);
    assert!(!bundle.rootfs().join("made").exists());
}

#[test]
fn mistakes_in_a_policy_are_found_before_anything_is_made() {
    let crun = runtime!();
    for (policy, words) in [
        (json!({"mode": "MPOL_X"}), ["linux.memoryPolicy.mode: `MPOL_X` is none of", "MPOL_BIND"]),
        (json!({"nodes": "0"}), ["linux.memoryPolicy: missing field", "mode"]),
        (json!({"mode": "MPOL_BIND", "nodes": "zero"}), ["linux.memoryPolicy.nodes: `zero`", "0-3,7"]),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}),
            ["linux.memoryPolicy.flags[0]: `MPOL_F_X` is none of", "MPOL_F_STATIC_NODES"],
        ),
        (json!({"mode": "MPOL_BIND", "nodes": 0}), ["linux.memoryPolicy.nodes: invalid type", "string"]),
    ] {
        crun.run(&sleeper(policy)).error_with(words);
    }
}

/// Whether this machine has a node 1; says so if not.
fn has_node_1() -> bool {
    let found = Path::new("/sys/devices/system/node/node1/cpulist").exists();
    if !found {
        skipped("there is one memory node here");
    }
    found
}

/// Whether containers have a cpuset here; says so if not.
fn has_cpuset(crun: &Crun) -> bool {
    let found = crun.start(&Bundle::new().args(["sleep", "99"])).cgroup("cpuset").is_some();
    if !found {
        skipped("there is no cpuset controller here");
    }
    found
}

/// A container that has filled some memory.
fn filled(crun: &Crun, bundle: Bundle) -> Container {
    let container = crun.start(&bundle.sh("x=$(seq 100000); echo up; sleep 99; echo $x"));
    container.wait_output("up");
    container
}

/// The nodes that the pages of the process' own data are on.
fn nodes_of(container: &Container) -> Vec<String> {
    let maps = fs::read_to_string(container.proc().join("numa_maps")).unwrap();
    let own = maps.lines().filter(|line| line.contains(" heap ") || line.contains(" stack "));
    let words = own.flat_map(str::split_whitespace);
    let mut nodes: Vec<_> = words.filter_map(|word| word.strip_prefix('N')?.split('=').next()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.into_iter().map(str::to_owned).collect()
}

#[test]
fn memory_bound_to_a_node_comes_from_there() {
    let crun = runtime!();
    if has_node_1() {
        let bundle = with_policy(json!({"mode": "MPOL_BIND", "nodes": "1"}));
        assert_eq!(nodes_of(&filled(&crun, bundle)), ["1"]);
    }
}

#[test]
fn memory_of_a_cpuset_comes_from_its_nodes() {
    let crun = runtime!();
    if !has_node_1() || !has_cpuset(&crun) {
        return;
    }
    let container = filled(&crun, Bundle::new().set("/linux/resources/cpu", json!({"mems": "1"})));
    let status = fs::read_to_string(container.proc().join("status")).unwrap();
    assert!(status.contains("Mems_allowed_list:\t1\n"), "{status}");
    assert_eq!(nodes_of(&container), ["1"]);
}

#[test]
fn a_policy_outside_of_the_cpuset_is_an_error() {
    let crun = runtime!();
    if !has_node_1() || !has_cpuset(&crun) {
        return;
    }
    let bundle = sleeper(json!({"mode": "MPOL_BIND", "nodes": "0"}));
    crun.run(&bundle.set("/linux/resources/cpu", json!({"mems": "1"}))).error_with(["linux.memoryPolicy"]);
    // Relative to the cpuset the same number is its first node.
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]});
    let bundle = with_policy(policy).set("/linux/resources/cpu", json!({"mems": "1"}));
    assert_eq!(crun.run(&bundle.args(["true"])).ok(), "");
}
