//! What goes wrong half way: whatever cannot be had, nothing is left behind, and the caller is told.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::{runtime, runtime_on_v2};

/// Runs out of descriptors at every point there is.
fn exhaust(crun: &Crun) {
    let with = |limit: u32, args| crun.clone().after(&format!("ulimit -Sn {limit}")).cmd(args);
    let container = crun.container(&Bundle::new().args(["sleep", "99"]));
    let run = container.args(["run", "--detach", "-b", "BUNDLE", "ID"]);
    let failures = (4..).find(|limit| {
        let output = with(*limit, run.clone());
        if output.code != 0 {
            assert!(output.stderr.contains("Too many open files"), "{output}");
            container.assert_nothing_left();
        }
        output.code == 0
    });
    assert!(failures > Some(10), "the limits were not low enough: {failures:?}");
    let exec = container.args(["exec", "ID", "true"]);
    let failures = (4..).find(|limit| {
        let output = with(*limit, exec.clone());
        assert!(output.code == 0 || output.stderr.contains("Too many open files"), "{output}");
        assert_eq!(container.status(), "running");
        output.code == 0
    });
    assert!(failures > Some(6), "the limits were not low enough: {failures:?}");
}

#[test]
fn a_start_that_runs_out_of_descriptors_leaves_nothing() {
    exhaust(&runtime!());
}

#[test]
fn a_start_that_runs_out_of_descriptors_leaves_nothing_on_version_2() {
    exhaust(&runtime_on_v2!());
}
