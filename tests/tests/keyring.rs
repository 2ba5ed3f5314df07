//! The session keyrings of a container's processes: none of them is the caller's, whose keys are the host's.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::time::Duration;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, wait_for};
use kit::runtime;
use serde_json::json;

/// A container whose processes see the keys they may look at.
fn running(crun: &Crun, options: &[&str]) -> Container {
    let bundle = Bundle::new().set("/linux/maskedPaths", json!([])).args(["sleep", "99"]);
    let container = crun.container(&bundle);
    let dir = bundle.save().to_str().unwrap();
    let args = [&["run", "--detach", "--bundle", dir], options, &[container.id()]].concat();
    let _ = crun.cmd(args).ok();
    container
}

/// The names of the keyrings that bear the container's, each as often as there is one. Root may look at all of its own.
fn of_container(container: &Container, keys: &str) -> usize {
    keys.lines().filter(|line| line.contains(&format!(" {}:", container.id()))).count()
}

#[test]
fn exec_has_a_keyring_of_its_own_that_goes_with_it() {
    let crun = runtime!();
    let container = running(&crun, &[]);
    let exec = || of_container(&container, &container.cmd(["exec", "ID", "cat", "/proc/keys"]).ok());
    assert_eq!(exec(), 2);
    // The kernel takes a keyring that nobody holds any more away in its own time, and whoever looks makes another one.
    wait_for("the keyrings of exec to go", || {
        std::thread::sleep(Duration::from_millis(200));
        (exec() == 2).then_some(())
    });
    let others = running(&crun, &["--no-new-keyring"]);
    let text = others.cmd(["exec", "ID", "cat", "/proc/keys"]).ok();
    assert_eq!(of_container(&others, &text), 1);
}
