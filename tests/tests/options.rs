//! The spelling of options: abbreviations, values, options behind the name.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::runtime;

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

#[test]
fn options_may_follow_the_name() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    assert_eq!(container.cmd(["kill", "ID", "KILL", "--all"]).ok(), "");
    container.wait();
    assert_eq!(container.cmd(["delete", "ID", "--force"]).ok(), "");
    container.deleted();
}

#[test]
fn long_options_may_be_abbreviated_and_take_their_value_either_way() {
    let crun = runtime!();
    let container = crun.container(&sleeper());
    let bundle = container.args(["BUNDLE"])[0].to_str().unwrap().to_owned();
    for option in [
        vec!["--bun", &bundle],
        vec![&format!("--bund={bundle}")],
        vec!["-b", &bundle],
        vec![&format!("-b{bundle}")],
    ] {
        let args = [&["create"], option.as_slice(), &[container.id()]].concat();
        assert_eq!(crun.cmd(args).ok(), "", "{option:?}");
        assert_eq!(container.cmd(["delete", "--for", "ID"]).ok(), "");
    }
}

#[test]
fn one_letter_switches_may_stand_together() {
    let crun = runtime!();
    let containers = [crun.start(&sleeper()), crun.start(&sleeper())];
    let pattern = format!("^({}|{})$", containers[0].id(), containers[1].id());
    assert_eq!(crun.cmd(["delete", "-fr", &pattern]).ok(), "");
    containers.into_iter().for_each(kit::container::Container::deleted);
}

#[test]
fn an_ambiguous_abbreviation_is_an_error() {
    let crun = runtime!();
    let output = crun.cmd(["--log", "x", "--log-", "text", "list"]);
    assert_ne!(output.code, 0, "{output}");
    assert!(output.stderr.contains("--log-"), "{output}");
    let output = crun.cmd(["create", "--no", "x"]);
    assert_ne!(output.code, 0, "{output}");
    assert!(output.stderr.contains("--no"), "{output}");
}

#[test]
fn the_bundle_is_the_current_directory_by_default() {
    let crun = runtime!();
    let bundle = Bundle::new().sh("echo here");
    let container = crun.container(&bundle);
    let mut command = crun.command(container.args(["run", "ID"]));
    command.current_dir(bundle.dir());
    assert_eq!(crun.spawn(command).wait().ok(), "here\n");
}

#[test]
fn another_configuration_file_is_looked_for_in_the_callers_directory() {
    let crun = runtime!();
    let bundle = Bundle::new().sh("echo default");
    let container = crun.container(&bundle);
    let dir = tempfile::tempdir().unwrap();
    let other = bundle.config().to_string().replace("echo default", "echo other");
    std::fs::write(dir.path().join("other.json"), other).unwrap();
    let mut command = crun.command(container.args(["run", "-b", "BUNDLE", "--config", "other.json", "ID"]));
    command.current_dir(dir.path());
    assert_eq!(crun.spawn(command).wait().ok(), "other\n");
}

#[test]
fn two_dashes_end_the_options() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    assert_eq!(container.cmd(["kill", "--", "ID", "KILL"]).ok(), "");
    container.wait();
    assert_eq!(container.status(), "stopped");
}

#[test]
fn the_systemd_and_rootless_and_log_options_are_accepted() {
    let crun = runtime!()
        .with("--rootless=true")
        .with("--log-format=json")
        .with("--debug")
        .with("--log-level=error");
    assert_eq!(crun.cmd(["list", "-q"]).ok(), "");
    assert_eq!(crun.with("--cgroup-manager=cgroupfs").cmd(["list", "-q"]).ok(), "");
}

#[test]
fn the_state_directory_can_be_given_by_the_environment() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let bundle = sleeper();
    let container = crun.container(&bundle);
    // Without --root: $XDG_RUNTIME_DIR/crun.
    let run = |args: Vec<std::ffi::OsString>| {
        let mut command = std::process::Command::new(kit::crun::binary());
        command.args(args).env("XDG_RUNTIME_DIR", dir.path());
        crun.spawn(command).wait()
    };
    assert_eq!(run(container.args(["create", "-b", "BUNDLE", "ID"])).ok(), "");
    assert!(dir.path().join("crun").join(container.id()).join("status").is_file());
    assert_eq!(run(container.args(["delete", "-f", "ID"])).ok(), "");
    container.deleted();
}

#[test]
fn help_is_printed_and_no_error() {
    let crun = runtime!();
    let text = crun.cmd(["--help"]).ok();
    for command in ["create", "delete", "exec", "features", "kill", "list", "run", "spec", "start", "state"] {
        assert!(text.contains(command), "{command}: {text}");
    }
    let text = crun.cmd(["delete", "--help"]).ok();
    assert!(
        text.starts_with("Usage: crun [OPTION...] delete CONTAINER") && text.contains("--force"),
        "{text}"
    );
}

#[test]
fn the_callers_umask_decides_nothing_about_the_state_and_the_cgroup() {
    use std::os::unix::fs::PermissionsExt;
    let crun = runtime!().after("umask 0777");
    let bundle = Bundle::new()
        .set("/process/user", serde_json::json!({"uid": 1000, "gid": 1000}))
        .sh("ls /sys/firmware && echo readable; sleep 99");
    let container = crun.create(&bundle);
    let state = crun.state_dir();
    let own = state.join(container.id());
    let cgroup = container.cgroups().into_iter().find(|(_, dir)| dir.ends_with(container.id())).unwrap().1;
    for (path, mode) in [
        (state.clone(), 0o700),
        (own.clone(), 0o700),
        (own.join("status"), 0o600),
        (own.join("config.json"), 0o600),
        (own.join("exec.fifo"), 0o600),
        (state.join(".empty-directory"), 0o555),
        (cgroup, 0o755),
    ] {
        let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{}: {found:o}", path.display());
    }
    container.start();
    container.wait_output("readable");
}
