//! A process in a user namespace: the runtime does for it what takes a privilege outside.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::runtime;
use serde_json::{Value, json};

/// A limit on open descriptors.
fn descriptors(number: u32) -> Value {
    json!([{"type": "RLIMIT_NOFILE", "soft": number, "hard": number}])
}

#[test]
fn limits_too_small_for_the_set_up_are_set_for_the_payload() {
    let crun = runtime!();
    let bundle = Bundle::new().in_user_namespace().set("/process/rlimits", descriptors(4));
    assert_eq!(crun.run(&bundle.clone().sh("ulimit -n; ulimit -Hn")).ok(), "4\n4\n");
    let container = crun.create(&bundle.sh("ulimit -n; ulimit -Hn; read x </dev/zero"));
    container.start();
    container.wait_output("4\n4\n");
}

#[test]
fn exec_sets_the_limits_of_its_process() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().in_user_namespace().args(["sleep", "99"]));
    let file = tempfile::NamedTempFile::new().unwrap();
    for number in [4, 99] {
        let process = json!({"args": ["sh", "-c", "ulimit -n; ulimit -Hn"], "cwd": "/", "rlimits": descriptors(number)});
        fs::write(&file, process.to_string()).unwrap();
        let text = container.cmd(["exec", "--process", file.path().to_str().unwrap(), "ID"]).ok();
        assert_eq!(text, format!("{number}\n{number}\n"));
    }
}

#[test]
fn clocks_have_the_offsets_that_are_asked_for() {
    let crun = runtime!();
    let offsets = json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 77, "nanosecs": 5}});
    let bundle =
        Bundle::new().in_user_namespace().namespace("time", Some("")).set("/linux/timeOffsets", offsets);
    let container = crun.start(&bundle.clone().sh("echo up; cut -d. -f1 /proc/uptime; exec sleep 99"));
    container.wait_output("up");
    let text = container.cmd(["exec", "ID", "cat", "/proc/self/timens_offsets"]).ok();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["monotonic", "77", "5"], ["boottime", "1000000", "0"]]);
    let uptime = container.cmd(["exec", "ID", "cut", "-d.", "-f1", "/proc/uptime"]).ok();
    assert!(uptime.trim().parse::<u64>().unwrap() >= 1_000_000, "{uptime}");
    drop(container);
    let far = json!({"boottime": {"secs": -1_000_000_000}});
    crun.run(&bundle.args(["true"]).set("/linux/timeOffsets", far))
        .error_with(["create the time namespace with linux.timeOffsets", "out of range"]);
}
