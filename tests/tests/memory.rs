//! How much memory a start takes: of the runtime's code only what it runs becomes resident.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::crun::wait_for;
use kit::runtime;

/// What the kernel counted at most, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_foreground_run_stays_below_two_mebibytes() {
    let crun = runtime!();
    let container = crun.container(&Bundle::new().sh("echo up; exec sleep 600"));
    let running = crun.spawn(crun.command(container.args(["run", "-b", "BUNDLE", "ID"])));
    wait_for("the payload", || running.stdout().contains("up").then_some(()));
    let peak = peak(running.pid());
    assert_eq!(container.cmd(["kill", "ID", "KILL"]).ok(), "");
    assert_eq!(running.wait().code, 128 + 9);
    assert!(peak < 2048, "{peak} KiB: did the linker use crates/crun/start.ld (`cargo xtask order`)?");
}
