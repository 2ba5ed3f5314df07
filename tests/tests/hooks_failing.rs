//! Hooks that fail, hang, flood or fork: what becomes of the container, and what is said about it.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use kit::bundle::Bundle;
use kit::crun::{Crun, signal, wait_for};
use kit::hooks::{KINDS, add, inside, log, outside};
use kit::runtime;
use serde_json::{Value, json};

fn hook(bundle: &Bundle, kind: &str, script: &str) -> Value {
    if kind == "startContainer" { inside(kind, script) } else { outside(bundle, kind, script) }
}

fn with(bundle: &Bundle, kind: &str, script: &str) -> Bundle {
    add(bundle.clone(), kind, hook(bundle, kind, script))
}

/// A bundle whose program says that it runs, and whose poststop hook says that the container is gone.
fn bundle() -> Bundle {
    let bundle = log(Bundle::new().sh("echo program >>/log/log; exec sleep 99"));
    with(&bundle, "poststop", "echo poststop >>$LOG")
}

fn logged(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.dir().join("log/log")).unwrap_or_default()
}

/// Runs the container by `create` and `start`, or by `run`; the error, after which nothing is left.
fn failure(crun: &Crun, bundle: &Bundle, command: &str) -> String {
    let container = crun.container(bundle);
    let _ = fs::remove_file(bundle.dir().join("log/log"));
    let mut output = match command {
        "create" => container.cmd(["create", "-b", "BUNDLE", "ID"]),
        "run" => container.cmd(["run", "-b", "BUNDLE", "ID"]),
        _ => container.cmd(["run", "--detach", "-b", "BUNDLE", "ID"]),
    };
    if command == "create" && output.code == 0 {
        output = container.cmd(["start", "ID"]);
    }
    let error = output.error();
    container.deleted();
    error
}

/// The kinds whose failure is the end of the container.
const FATAL: [&str; 5] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"];

#[test]
fn a_failing_hook_is_the_end_of_the_container_and_what_it_said_is_told() {
    let crun = runtime!();
    for (kind, command) in FATAL.iter().flat_map(|kind| ["create", "run", "run -d"].map(|way| (*kind, way))) {
        let bundle = with(&bundle(), kind, "echo some; echo words >&2; exit 3");
        let bundle = with(&bundle, kind, "echo next >>$LOG");
        let error = failure(&crun, &bundle, command);
        let expected = format!(
            "{kind} hook failed with exit code 3: error executing hook `/bin/sh` (hooks.{kind}[0]): some; words"
        );
        assert_eq!(error, expected, "{command}");
        let log = logged(&bundle);
        assert!(log.ends_with("poststop\n") && !log.contains("next"), "{kind}, {command}: {log}");
        assert!(kind == "poststart" || !log.contains("program"), "{kind}, {command}: {log}");
    }
}

#[test]
fn a_failing_poststop_hook_is_a_warning_and_those_after_it_are_run() {
    let crun = runtime!();
    let telling = crun.clone().with("--log-level=warning");
    let bundle = log(Bundle::new().sh("exit 7"));
    let bundle = with(&with(&bundle, "poststop", "echo words; exit 3"), "poststop", "echo next >>$LOG");
    let said =
        "poststop hook failed with exit code 3: error executing hook `/bin/sh` (hooks.poststop[0]): words\n";
    let run = telling.run(&bundle);
    assert!(run.code == 7 && run.stderr.ends_with(said) && logged(&bundle) == "next\n", "{run}");
    let container = crun.create(&bundle);
    let deleted = telling.cmd(container.args(["delete", "ID"]));
    assert_eq!((deleted.code, deleted.stderr.as_str(), logged(&bundle).as_str()), (0, said, "next\nnext\n"));
    container.deleted();
}

#[test]
fn a_hook_that_is_not_there_or_cannot_be_executed_is_named() {
    let crun = runtime!();
    let bundle = bundle();
    fs::write(bundle.dir().join("text"), "no program").unwrap();
    fs::write(bundle.rootfs().join("text"), "no program").unwrap();
    let text = bundle.dir().join("text").to_str().unwrap().to_owned();
    for kind in FATAL {
        let text = if kind == "startContainer" { "/text" } else { &text };
        for (path, reason) in [("/no/such/hook", "No such file or directory"), (text, "Permission denied")] {
            let bundle = add(bundle.clone(), kind, json!({"path": path}));
            let error = failure(&crun, &bundle, "create");
            let expected =
                format!("{kind} hook failed: error executing hook `{path}` (hooks.{kind}[0]): {reason}");
            assert_eq!(error, expected);
        }
    }
}

#[test]
fn a_hook_without_an_absolute_path_is_refused_before_anything_is_done() {
    let crun = runtime!();
    let bundle = with(&bundle(), "prestart", "echo prestart >>$LOG");
    let bundle = add(bundle, "startContainer", json!({"path": "bin/true"}));
    let error = failure(&crun, &bundle, "create");
    assert_eq!(error, "hooks.startContainer[0].path: `bin/true` is not an absolute path");
    assert_eq!(logged(&bundle), "");
}

#[test]
fn a_hook_that_was_killed_is_told_by_its_signal() {
    let crun = runtime!();
    for kind in FATAL {
        let error = failure(&crun, &with(&bundle(), kind, "kill -9 $$"), "create");
        assert!(
            error.contains(&format!("{kind} hook failed with exit code 137 (killed by signal 9)")),
            "{error}"
        );
    }
}

/// Whether a process of the host sleeps for so many seconds.
fn sleeps(seconds: &str) -> bool {
    let command = format!("sleep\0{seconds}\0");
    let mut all = fs::read_dir("/proc").unwrap().flatten();
    all.any(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == command.as_bytes()))
}

/// Waits until nobody sleeps for any of these numbers of seconds: the kernel takes a moment to let go of who was killed.
fn wait_for_end<const N: usize>(seconds: [&str; N]) {
    wait_for("the end of a hook's processes", || (!seconds.into_iter().any(sleeps)).then_some(()));
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_its_children() {
    let crun = runtime!();
    for kind in FATAL {
        let bundle = bundle();
        let mut slow = hook(&bundle, kind, "echo words; sleep 4711 & sleep 4712");
        slow["timeout"] = json!(1);
        let bundle = add(bundle, kind, slow);
        let error = failure(&crun, &bundle, "create");
        let expected =
            format!("{kind} hook failed: timeout expired for `/bin/sh` (hooks.{kind}[0].timeout: 1): words");
        assert_eq!(error, expected);
        wait_for_end(["4711", "4712"]);
    }
    let bundle = log(Bundle::new().args(["true"]));
    let mut slow = hook(&bundle, "poststop", "sleep 4713");
    slow["timeout"] = json!(1);
    let output = crun.with("--log-level=warning").run(&add(bundle, "poststop", slow));
    let expected = "poststop hook failed: timeout expired for `/bin/sh` (hooks.poststop[0].timeout: 1)\n";
    assert!(output.code == 0 && output.stderr.ends_with(expected), "{output}");
    wait_for_end(["4713"]);
}

#[test]
fn a_hook_that_writes_without_end_neither_waits_nor_fills_the_error() {
    let crun = runtime!();
    let flood = "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo last words";
    for kind in FATAL {
        let error = failure(&crun, &with(&bundle(), kind, &format!("{flood}; exit 3")), "create");
        assert!(error.ends_with("x; last words") && error.len() < 5000, "{} {error:.200}", error.len());
    }
    let bundle =
        KINDS.iter().fold(log(Bundle::new().args(["true"])), |bundle, kind| with(&bundle, kind, flood));
    assert_eq!(crun.run(&bundle).ok(), "");
}

#[test]
fn who_a_hook_leaves_behind_with_its_output_open_is_not_waited_for() {
    let crun = runtime!();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let bundle = log(Bundle::new().sh("true"));
        let bundle = with(&bundle, kind, "sleep 999 & echo $! >>$LOG");
        let container = crun.container(&bundle);
        assert_eq!(container.cmd(["run", "-b", "BUNDLE", "ID"]).ok(), "", "{kind}");
        if !matches!(kind, "createContainer" | "startContainer") {
            signal(logged(&bundle).trim().parse().unwrap(), 9);
        }
        container.deleted();
    }
}

#[test]
fn a_signal_to_the_runtime_ends_the_hook_it_waits_for() {
    let crun = runtime!();
    for kind in ["prestart", "poststart"] {
        let bundle = with(&bundle(), kind, "echo up >>$LOG; exec sleep 4714");
        let container = crun.container(&bundle);
        let running = crun.spawn(crun.command(container.args(["run", "-b", "BUNDLE", "ID"])));
        wait_for("the hook", || logged(&bundle).contains("up").then_some(()));
        signal(running.pid(), 15);
        running.wait().error_with([kind, "hook failed", "given up on signal 15"]);
        assert!(logged(&bundle).ends_with("poststop\n"), "{}", logged(&bundle));
        container.deleted();
        wait_for_end(["4714"]);
    }
}

#[test]
fn what_a_program_has_started_before_its_start_failed_ends_with_it() {
    let crun = runtime!();
    // A pid namespace would end with its first process.
    let bundle = log(Bundle::new().sh("sleep 4716 & echo program >>/log/log; wait")).namespace("pid", None);
    let hook = "until grep -q program $LOG; do sleep 0.01; done; echo some; echo words >&2; exit 3";
    let bundle = with(&bundle, "poststart", hook);
    for command in ["run", "run -d"] {
        let _ = failure(&crun, &bundle, command);
        assert!(!sleeps("4716"), "{command}");
    }
}

#[test]
fn a_hook_of_init_ends_with_the_runtime_that_waits_for_it() {
    let crun = runtime!();
    for (kind, namespaces) in [("createContainer", true), ("startContainer", false)] {
        let bundle = with(&bundle(), kind, "echo up >>$LOG; exec sleep 4715");
        let bundle = if namespaces { bundle } else { bundle.namespace("pid", None) };
        let container = crun.container(&bundle);
        let mut running = crun.spawn(crun.command(container.args(["run", "-b", "BUNDLE", "ID"])));
        wait_for("the hook", || logged(&bundle).contains("up").then_some(()));
        assert!(running.kill());
        wait_for_end(["4715"]);
        container.delete();
        assert!(!logged(&bundle).contains("program"));
    }
}

#[test]
fn a_program_that_cannot_be_executed_is_told_by_the_start_that_has_hooks() {
    let crun = runtime!();
    let bundle = bundle().args(["/text"]);
    fs::write(bundle.rootfs().join("text"), "no program").unwrap();
    fs::set_permissions(bundle.rootfs().join("text"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let bundle = with(&bundle, "poststart", "echo poststart >>$LOG");
    let error = failure(&crun, &bundle, "create");
    assert_eq!(error, "exec container process `/text`: Exec format error");
    assert_eq!(logged(&bundle), "poststop\n");
}

#[test]
fn what_hooks_have_made_in_the_root_is_theirs_and_what_init_has_made_is_taken_back() {
    let crun = runtime!();
    let bundle = with(&bundle(), "createContainer", "mkdir $BUNDLE/rootfs/theirs; exit 1");
    let bundle = bundle.set("/process/cwd", json!("/not/there"));
    let _ = failure(&crun, &bundle, "create");
    let has = |name: &str| Path::new(&bundle.rootfs()).join(name).exists();
    assert!(has("theirs") && !has("not"));
}
