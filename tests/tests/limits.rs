//! Limits, read from outside and felt inside, on the machine's own layout of cgroups, whatever it is.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped};
use kit::runtime;
use serde_json::{Value, json};

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

fn with_resources(resources: Value) -> Bundle {
    Bundle::new().set("/linux/resources", resources)
}

/// Whether containers have this controller here; says so if not.
fn has(crun: &Crun, controller: &str) -> bool {
    let found = crun.start(&sleeper()).cgroup(controller).is_some();
    if !found {
        skipped(format!("there is no {controller} controller here"));
    }
    found
}

/// The content of the first of these files that exists in the container's cgroup of the controller: version 1 and 2
/// name them differently. `None` where there is no such controller.
fn read(container: &Container, controller: &str, files: [&str; 2]) -> Option<String> {
    let dir = container.cgroup(controller)?;
    assert!(dir.ends_with(container.id()), "{}", dir.display());
    let text = files.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok());
    Some(text.unwrap_or_else(|| panic!("none of {files:?} in {}", dir.display())).trim().to_owned())
}

/// Asserts what [`read`] finds: the first value is for version 1, the second for version 2.
fn check(crun: &Crun, resources: Value, controller: &str, files: [&str; 2], values: [&str; 2]) {
    if has(crun, controller) {
        let container = crun.start(&with_resources(resources).args(["sleep", "99"]));
        let found = read(&container, controller, files).unwrap();
        assert!(values.contains(&found.as_str()), "{files:?}: {found}, not {values:?}");
    }
}

#[test]
fn the_memory_limit_is_set() {
    let crun = runtime!();
    let memory = json!({"memory": {"limit": 33_554_432, "swap": 67_108_864, "reservation": 16_777_216}});
    check(&crun, memory.clone(), "memory", ["memory.limit_in_bytes", "memory.max"], ["33554432", "33554432"]);
    check(
        &crun,
        memory.clone(),
        "memory",
        ["memory.memsw.limit_in_bytes", "memory.swap.max"],
        ["67108864", "33554432"],
    );
    check(&crun, memory, "memory", ["memory.soft_limit_in_bytes", "memory.low"], ["16777216", "16777216"]);
    check(
        &crun,
        json!({"memory": {"limit": -1}}),
        "memory",
        ["memory.limit_in_bytes", "memory.max"],
        ["9223372036854771712", "max"],
    );
}

#[test]
fn a_payload_over_its_memory_limit_is_killed() {
    let crun = runtime!();
    if !has(&crun, "memory") {
        return;
    }
    let memory = json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}});
    let output = crun.run(&with_resources(memory).sh("tail /dev/zero; echo $?"));
    assert_eq!(output.stdout, "137\n", "{output}");
    let memory = json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}});
    assert_eq!(crun.run(&with_resources(memory).args(["tail", "/dev/zero"])).code, 137);
}

#[test]
fn a_memory_limit_too_low_for_the_start_is_named_as_the_cause() {
    let crun = runtime!();
    if !has(&crun, "memory") {
        return;
    }
    for command in [&["run"][..], &["run", "--detach"], &["create"]] {
        let container = crun.container(&with_resources(json!({"memory": {"limit": 4096}})));
        let bundle = container.args(["-b", "BUNDLE", "ID"]);
        let args = command.iter().map(std::ffi::OsString::from).chain(bundle);
        let line = crun.cmd(args).error();
        assert!(line.starts_with("OOM: the memory limit could be too low"), "{line}");
        container.deleted();
    }
}

#[test]
fn the_pids_limit_is_set_and_felt() {
    let crun = runtime!();
    check(&crun, json!({"pids": {"limit": 17}}), "pids", ["pids.max", "pids.max"], ["17", "17"]);
    check(&crun, json!({"pids": {"limit": -1}}), "pids", ["pids.max", "pids.max"], ["max", "max"]);
    if !has(&crun, "pids") {
        return;
    }
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 9 & done; echo no limit";
    let output = crun.run(&with_resources(json!({"pids": {"limit": 5}})).sh(script));
    assert!(output.stderr.contains("can't fork") && output.stdout.is_empty(), "{output}");
}

#[test]
fn the_cpu_limits_are_set() {
    let crun = runtime!();
    let cpu = json!({"cpu": {"shares": 512, "quota": 50_000, "period": 200_000}});
    check(&crun, cpu.clone(), "cpu", ["cpu.cfs_quota_us", "cpu.max"], ["50000", "50000 200000"]);
    check(&crun, cpu.clone(), "cpu", ["cpu.cfs_period_us", "cpu.max"], ["200000", "50000 200000"]);
    check(&crun, cpu, "cpu", ["cpu.shares", "cpu.weight"], ["512", "59"]);
}

#[test]
fn the_cpuset_is_set_and_felt() {
    let crun = runtime!();
    check(
        &crun,
        json!({"cpu": {"cpus": "0", "mems": "0"}}),
        "cpuset",
        ["cpuset.cpus", "cpuset.cpus"],
        ["0", "0"],
    );
    if !has(&crun, "cpuset") {
        return;
    }
    let bundle = with_resources(json!({"cpu": {"cpus": "0"}})).args([
        "grep",
        "Cpus_allowed_list",
        "/proc/self/status",
    ]);
    assert_eq!(crun.run(&bundle).ok(), "Cpus_allowed_list:\t0\n");
}

#[test]
fn a_limit_that_cannot_be_set_is_an_error() {
    let crun = runtime!();
    if !has(&crun, "cpuset") {
        return;
    }
    crun.run(&with_resources(json!({"cpu": {"cpus": "4000"}})).args(["true"])).error_with(["cpuset.cpus"]);
    crun.run(&with_resources(json!({"memory": {"swap": 1_000_000}})).args(["true"])).error_with(["memory"]);
}
