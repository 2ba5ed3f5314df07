//! What is told of commands that succeed all the same (`--log-level=warning`).

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::crun::{Crun, skipped, wait_for};
use kit::runtime_on_v2;
use serde_json::json;

/// A program that is at home somewhere, of which there is nothing to tell.
fn bundle() -> Bundle {
    Bundle::new().env("HOME=/").args(["true"])
}

fn telling(crun: Crun) -> Crun {
    crun.with("--log-level=warning")
}

/// Asserts that running the bundle succeeds and tells this, and nothing if nobody wants to know.
fn assert_told<const N: usize>(crun: &Crun, bundle: &Bundle, expected: [&str; N]) {
    let quiet = crun.run(bundle);
    assert!(quiet.code == 0 && quiet.stderr.is_empty(), "{quiet}");
    let output = telling(crun.clone()).run(bundle);
    assert_eq!(output.code, 0, "{output}");
    let lines: Vec<_> = output.stderr.lines().collect();
    assert_eq!(lines.len(), N, "{output}");
    for (line, words) in lines.iter().zip(expected) {
        assert!(line.contains(words), "`{words}`: {output}");
    }
}

#[test]
fn there_is_nothing_to_tell_of_what_is_as_it_was_asked_for() {
    let crun = runtime_on_v2!();
    assert_told(&crun, &bundle(), []);
    let mut container = telling(crun).container(&bundle().args(["sleep", "99"]));
    container.make("create", []);
    container.start();
    for words in
        [vec!["exec", "ID", "true"], vec!["update", "--pids-limit=0", "ID"], vec!["delete", "--force", "ID"]]
    {
        let words: Vec<_> =
            words.into_iter().map(|word| if word == "ID" { container.id() } else { word }).collect();
        assert_eq!(container.crun().cmd(&words).ok(), "", "{words:?}");
    }
    container.deleted();
}

#[test]
fn what_is_set_in_the_environment_is_told() {
    let crun = runtime_on_v2!();
    let home = "cannot detect HOME environment variable, setting default";
    assert_told(&crun, &Bundle::new().args(["true"]), [home]);
    let pid = "setting LISTEN_PID=1 since no previous configuration was found";
    assert_told(&crun.clone().env("LISTEN_FDS", "1").after("exec 3</dev/null"), &bundle(), [pid]);
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let output = telling(crun).cmd(container.args(["exec", "ID", "true"]));
    assert_eq!((output.code, output.stderr.as_str()), (0, &*format!("{home}\n")), "{output}");
}

#[test]
fn system_calls_that_nobody_knows_are_told() {
    let crun = runtime_on_v2!();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["frobnicate", "getcwd"], "action": "SCMP_ACT_ERRNO"}]});
    let bundle = bundle().set("/linux/seccomp", profile);
    assert_told(&crun, &bundle, ["unknown seccomp syscall `frobnicate` ignored"]);
}

#[test]
fn devices_that_are_not_restricted_are_told() {
    let crun = runtime_on_v2!().with("--cgroup-manager=disabled");
    let expected = "linux.resources.devices: the container is kept from no device by its cgroup: it has none";
    assert_told(&crun, &bundle(), [expected]);
}

#[test]
fn what_an_ordinary_users_container_has_more_and_less_is_told() {
    let crun = match Crun::as_user_with_cgroup() {
        Ok(crun) => crun,
        Err(reason) => return skipped(reason),
    };
    let bundle = bundle().namespace("user", None).set("/process/oomScoreAdj", json!(-500)).of_user();
    assert_told(
        &crun,
        &bundle,
        [
            "non root user need to have an 'user' namespace",
            "only root of the host can do that",
            "process.oomScoreAdj: -500 ignored",
        ],
    );
}

#[test]
fn that_a_container_has_no_cgroup_is_told() {
    let crun = match Crun::new().and_then(Crun::as_mapped_root) {
        Ok(crun) => crun,
        Err(reason) => return skipped(reason),
    };
    let bundle = bundle().of_mapped_root().unset("/linux/cgroupsPath");
    let output = telling(crun).run(&bundle);
    assert_eq!(output.code, 0, "{output}");
    assert!(output.stderr.contains("the container has no cgroup of its own: "), "{output}");
}

#[test]
fn version_1_of_cgroups_is_told_and_what_its_kernel_does_not_have_any_more() {
    let crun = match Crun::on_v1() {
        Ok(crun) => crun,
        Err(reason) => return skipped(reason),
    };
    let deprecated = "cgroup v1 is deprecated";
    assert_told(&crun, &bundle(), [deprecated]);
    let kernel = "linux.resources.memory.kernel: 67108864 ignored: this kernel has no limit on kernel memory";
    let limited = bundle().set("/linux/resources/memory", json!({"kernel": 67_108_864}));
    assert_told(&crun, &limited, [deprecated, kernel]);
    let container = crun.start(&bundle().args(["sleep", "99"]));
    let update = ["update", "--kernel-memory=64m", "ID"];
    assert_eq!(container.cmd(update).ok(), "");
    let output = telling(crun).cmd(container.args(update));
    assert_eq!((output.code, output.stderr.as_str()), (0, &*format!("{kernel}\n")), "{output}");
}

#[test]
fn warnings_are_told_while_the_container_runs_and_when_its_start_fails() {
    let crun = telling(runtime_on_v2!());
    let container = crun.container(&Bundle::new().args(["sleep", "99"]));
    let log = tempfile::NamedTempFile::new().unwrap();
    let crun = crun.with(&format!("--log={}", log.path().display()));
    let running = crun.spawn(crun.command(container.args(["run", "--bundle", "BUNDLE", "ID"])));
    let said = || fs::read_to_string(log.path()).unwrap().contains("HOME").then_some(());
    wait_for("a warning", said);
    container.wait_program("sleep");
    container.kill("KILL");
    assert_eq!(running.wait().code, 137);
    fs::write(log.path(), "").unwrap();
    assert_eq!(crun.run(&Bundle::new().args(["/no/such/program"])).code, 1);
    let log = fs::read_to_string(log.path()).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
}
