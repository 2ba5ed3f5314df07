//! Too little memory for the start of a container: the cause is named, and nothing is left.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::crun::{Crun, skipped};
use kit::running::Output;
use serde_json::json;

fn limited(bytes: u64) -> Bundle {
    Bundle::new().set("/linux/resources", json!({"memory": {"limit": bytes, "swap": bytes}})).args(["true"])
}

/// The layouts on which memory is limited.
fn layouts() -> Vec<(&'static str, Crun)> {
    let is_limited = |(layout, crun): &(&str, Crun)| {
        let container = crun.start(&Bundle::new().args(["sleep", "9"]));
        let found = container.cgroup("memory").is_some_and(|dir| dir.ends_with(container.id()));
        if !found {
            skipped(format!("{layout}: there is no memory controller"));
        }
        found
    };
    Crun::on_every_layout().into_iter().filter(is_limited).collect()
}

fn start(crun: &Crun, command: &[&str], bytes: u64) -> Output {
    let container = crun.container(&limited(bytes));
    let args = command.iter().map(std::ffi::OsString::from).chain(container.args(["-b", "BUNDLE", "ID"]));
    let output = crun.cmd(args);
    if output.code == 1 {
        container.assert_nothing_left();
    }
    output
}

#[test]
fn a_limit_of_one_page_is_named_as_the_cause_whatever_the_command() {
    for (layout, crun) in layouts() {
        for command in [&["run"][..], &["run", "--detach"], &["create"]] {
            let line = start(&crun, command, 4096).error();
            assert!(
                line.starts_with("OOM: the memory limit could be too low: "),
                "{layout}: {command:?}: {line}"
            );
        }
    }
}

#[test]
fn wherever_memory_runs_out_during_the_start_it_is_named_as_the_cause() {
    for (layout, crun) in layouts() {
        let mut failures = 0;
        for pages in (1..80).step_by(6) {
            let output = start(&crun, &["run", "--detach"], pages * 4096);
            if output.code != 0 {
                failures += 1;
                let line = output.error();
                assert!(
                    line.starts_with("OOM: the memory limit could be too low: "),
                    "{layout}: {pages}: {line}"
                );
            }
        }
        assert!(failures > 0, "{layout}: no limit was too low");
    }
}
