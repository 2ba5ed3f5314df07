//! The runtime killed at a moment of the test's choosing: it must not leave a process that waits for it for ever. Without
//! a cgroup nobody could find it.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use kit::bundle::Bundle;
use kit::crun::wait_for;
use kit::runtime;
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Whether a process has ended; one that nobody has waited for yet has no command line any more.
fn has_ended(pid: &str) -> bool {
    fs::read(Path::new("/proc").join(pid).join("cmdline")).map_or(true, |line| line.is_empty())
}

/// The pid in a container's status, once there is one.
fn wait_for_pid(status: &Path) -> String {
    wait_for("the status", || {
        let status: serde_json::Value = serde_json::from_slice(&fs::read(status).ok()?).ok()?;
        Some(status["pid"].to_string())
    })
}

#[test]
fn a_container_whose_creator_was_killed_does_not_wait_for_its_start() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    let container = crun.container(&Bundle::new().args(["true"]));
    // A FIFO that nobody reads holds the runtime up where all is done but the last word.
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("pid");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let args = ["create", "-b", "BUNDLE", "--pid-file", fifo.to_str().unwrap(), "ID"];
    let mut running = crun.spawn(crun.command(container.args(args)));
    let pid = wait_for_pid(&crun.state_dir().join(container.id()).join("status"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!has_ended(&pid));
    assert!(running.kill(), "the runtime was not held up");
    wait_for("the end of the container's process", || has_ended(&pid).then_some(()));
}
