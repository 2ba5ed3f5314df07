//! The binary under the name of runc: what Docker and containerd rely on, without a runc to compare with (for that see
//! `runc_peer.rs`).

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, new_id, skipped};
use serde_json::{Value, json};

/// The binary under test by a link of another name, and by its own over the same state.
struct Named {
    runc: Crun,
    crun: Crun,
    dir: PathBuf,
}

fn named() -> Result<Named, String> {
    let crun = Crun::new()?;
    let dir = crun.state_dir().with_file_name("bin");
    fs::create_dir(&dir).unwrap();
    let link = dir.join("runc");
    symlink(kit::crun::binary(), &link).unwrap();
    Ok(Named { runc: crun.clone().program(&link), crun, dir })
}

macro_rules! named {
    () => {
        match named() {
            Ok(named) => named,
            Err(reason) => return skipped(reason),
        }
    };
}

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

/// The message of an error, as the standard error shows it.
fn message(line: &str) -> String {
    let (_, said) = line.split_once(" level=error msg=").unwrap_or_else(|| panic!("no message: {line}"));
    serde_json::from_str(said).unwrap_or_else(|_| said.to_owned())
}

fn refused(container: &Container, command: &str) -> String {
    message(&container.crun().cmd([command, container.id()]).error())
}

#[test]
fn the_name_it_is_called_by_decides_who_it_is() {
    let Named { runc, crun, .. } = named!();
    assert!(runc.cmd(["--version"]).ok().starts_with("runc version "));
    assert!(crun.cmd(["--version"]).ok().starts_with("crun version "));
    assert!(runc.cmd(["features"]).json()["annotations"]["org.opencontainers.runc.version"].is_string());
}

#[test]
fn a_container_lives_and_what_it_is_not_in_the_state_for_is_refused_in_the_words_of_runc() {
    let Named { runc, .. } = named!();
    let container = runc.create(&sleeper());
    let id = container.id();
    let bundle = sleeper();
    let again = runc.cmd(["create", "--bundle", bundle.save().to_str().unwrap(), id]);
    assert_eq!(message(&again.error()), "runc create failed: container with given ID already exists");
    container.start();
    assert_eq!(refused(&container, "start"), "cannot start an already running container");
    assert_eq!(
        refused(&container, "delete"),
        format!("cannot delete container {id} that is not stopped: running")
    );
    assert_eq!(refused(&container, "resume"), "container not paused");
    container.kill("sigkill");
    container.wait();
    assert_eq!(refused(&container, "start"), "cannot start a container that has stopped");
    assert_eq!(refused(&container, "kill"), "container not running");
    assert_eq!(refused(&container, "pause"), "container not running");
    assert_eq!(runc.cmd(["kill", "--all", id, "KILL"]).ok(), "");
    assert_eq!(runc.cmd(["delete", id]).ok(), "");
    assert_eq!(refused(&container, "delete"), "container does not exist");
    assert_eq!(runc.cmd(["delete", "--force", id]).ok(), "");
    container.deleted();
}

#[test]
fn the_state_is_told_without_a_line_break_at_its_end() {
    let Named { runc, .. } = named!();
    let bundle = sleeper().set("/annotations", json!({"a": "b"}));
    let container = runc.create(&bundle);
    let text = runc.cmd(["state", container.id()]).ok();
    assert!(text.ends_with('}'), "{text:?}");
    let state: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state["rootfs"], json!(bundle.rootfs()));
    assert_eq!((&state["status"], &state["annotations"]["a"]), (&json!("created"), &json!("b")));
    let list = runc.cmd(["list", "--format=json"]).json();
    assert_eq!(list[0], state);
    assert!(runc.cmd(["list"]).ok().starts_with("ID          "));
}

/// Containerd reads the last object of level `error`, with its time.
#[test]
fn an_error_is_one_object_in_the_log() {
    let Named { runc, dir, .. } = named!();
    let log = dir.join("log.json");
    let bundle = Bundle::new().args(["nosuch"]);
    let container = runc.container(&bundle);
    let options = ["--log", log.to_str().unwrap(), "--log-format", "json", "create", "-b"];
    let output = runc.cmd([&options[..], &[bundle.save().to_str().unwrap(), container.id()]].concat());
    let expected = "runc create failed: unable to start container process: error during container init: \
                    exec: \"nosuch\": executable file not found in $PATH";
    assert_eq!((output.code, output.stderr.trim_end()), (1, expected), "{output}");
    let text = fs::read_to_string(log).unwrap();
    assert!(text.starts_with("{\"level\":\"error\",\"msg\":\"") && text.ends_with("Z\"}\n"), "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["msg"], expected);
    container.deleted();
}

#[test]
fn nothing_is_logged_of_what_succeeds() {
    let Named { runc, dir, .. } = named!();
    let log = dir.join("log.json");
    let output = runc.cmd(["--log", log.to_str().unwrap(), "--log-format", "json", "list"]);
    assert_eq!((output.code, fs::read_to_string(log).unwrap().as_str()), (0, ""));
}

#[test]
fn exec_tells_its_own_failures_from_those_of_the_program() {
    let Named { runc, .. } = named!();
    let container = runc.start(&sleeper());
    let id = container.id();
    for (args, code, said) in [
        (&["sh", "-c", "exit 7"][..], 7, ""),
        (&["sh", "-c", "kill -9 $$"], 137, ""),
        (
            &["nosuch"],
            255,
            "unable to start container process: exec: \"nosuch\": executable file not found in $PATH",
        ),
        (
            &["/etc/passwd"],
            255,
            "unable to start container process: exec: \"/etc/passwd\": permission denied",
        ),
        (&["/etc"], 255, "unable to start container process: exec: \"/etc\": is a directory"),
        (&[], 255, "exec args cannot be empty"),
    ] {
        let output = runc.cmd([&["exec", id][..], args].concat());
        let expected = if said.is_empty() { String::new() } else { format!("exec failed: {said}") };
        let told = if output.stderr.is_empty() { String::new() } else { message(output.stderr.trim_end()) };
        assert_eq!((output.code, told), (code, expected), "{output}");
    }
}

#[test]
fn what_stands_behind_the_container_of_exec_is_the_programs() {
    let Named { runc, .. } = named!();
    let container = runc.start(&sleeper());
    let output = runc.cmd(["exec", "-tty=false", "-e", "A=b", container.id(), "echo", "--help", "-t"]);
    assert_eq!(output.ok(), "--help -t\n");
}

#[test]
fn a_program_has_the_limits_of_the_containers_process_and_by_the_own_name_those_of_the_caller() {
    let Named { runc, crun, .. } = named!();
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]);
    let bundle = sleeper().set("/process/rlimits", limit).set("/process/oomScoreAdj", json!(321));
    let container = runc.start(&bundle);
    let script = "ulimit -n; cat /proc/self/oom_score_adj";
    let args = ["exec", container.id(), "sh", "-c", script];
    assert_eq!(runc.cmd(args).ok(), "77\n321\n");
    assert_ne!(crun.cmd(args).ok(), "77\n321\n");
}

#[test]
fn a_process_object_takes_nothing_from_the_containers_process() {
    let Named { runc, dir, .. } = named!();
    let bundle = sleeper().set("/process/user", json!({"uid": 7, "gid": 8})).env("A=b");
    let container = runc.start(&bundle);
    let file = dir.join("process.json");
    fs::write(&file, r#"{"args": ["sh", "-c", "id -u; echo $A."], "cwd": "/"}"#).unwrap();
    let output = runc.cmd(["exec", "-p", file.to_str().unwrap(), container.id()]);
    assert_eq!(output.ok(), "0\n.\n");
}

#[test]
fn a_paused_container_is_neither_started_nor_deleted() {
    let Named { runc, .. } = named!();
    let container = runc.create(&sleeper());
    if runc.cmd(["pause", container.id()]).code != 0 {
        return skipped("no freezer");
    }
    assert_eq!(refused(&container, "start"), "cannot start a container in the paused state");
    assert_eq!(refused(&container, "pause"), "container not running");
    let said = format!("cannot delete container {} that is not stopped: paused", container.id());
    assert_eq!(refused(&container, "delete"), said);
    assert_eq!(runc.cmd(["resume", container.id()]).ok(), "");
    container.start();
}

#[test]
fn each_name_leads_containers_made_under_the_other() {
    let Named { runc, crun, .. } = named!();
    for (maker, other) in [(&runc, &crun), (&crun, &runc)] {
        let container = maker.create(&sleeper());
        let id = container.id();
        assert_eq!(other.cmd(["start", id]).ok(), "");
        assert_eq!(other.cmd(["state", id]).json()["status"], "running");
        assert_eq!(maker.cmd(["exec", id, "echo", "in"]).ok(), "in\n");
        assert_eq!(other.cmd(["delete", "--force", id]).ok(), "");
        container.deleted();
    }
}

#[test]
fn a_wrong_command_line_is_answered_with_the_help() {
    let Named { runc, .. } = named!();
    for (args, code, begins) in [
        (&["start"][..], 1, "Incorrect Usage.\n\nNAME:\n   runc start - "),
        (&["list", "-x"], 1, "Incorrect Usage: flag provided but not defined: -x\n\nNAME:\n   runc list - "),
        (&["--x"], 1, "Incorrect Usage. flag provided but not defined: -x\n\nNAME:\n   runc - "),
        (&["nosuch"], 3, ""),
    ] {
        let output = runc.cmd(args);
        assert_eq!(output.code, code, "{output}");
        assert!(output.stdout.starts_with(begins) && !output.stderr.is_empty(), "{output}");
    }
}

#[test]
fn the_root_directory_cannot_be_that_of_the_state() {
    let Named { runc, .. } = named!();
    let said = message(&runc.cmd(["--root", "/", "list"]).error());
    assert_eq!(said, "Option --root argument should not be set to /");
}

#[test]
fn checkpoints_are_refused_and_their_help_is_there() {
    let Named { runc, .. } = named!();
    assert!(runc.cmd(["checkpoint", "--help"]).ok().contains("--image-path value"));
    let container = runc.start(&sleeper());
    let said = message(&runc.cmd(["checkpoint", "--image-path", "/x", container.id()]).error());
    assert_eq!(said, "checkpoint is not supported by this version");
    let id = new_id();
    assert_eq!(message(&runc.cmd(["checkpoint", &id]).error()), "container does not exist");
}

/// The kubelet and cAdvisor look for a container's processes and limits in the unit's cgroup.
#[test]
fn a_unit_has_no_cgroup_below_its_own() {
    let Named { runc, .. } = named!();
    if !Path::new("/run/systemd/private").exists() {
        return skipped("systemd is not the init of this machine");
    }
    let container = runc.with("--systemd-cgroup").start(&sleeper());
    let cgroup = fs::read_to_string(container.proc().join("cgroup")).unwrap();
    assert!(cgroup.trim_end().ends_with(".scope"), "{cgroup}");
}

/// As runc: root's is one for the machine, whatever the environment says.
#[test]
fn the_state_is_kept_in_the_users_own_directory_unless_root_asks() {
    let Named { runc, dir, .. } = named!();
    let user = match runc.as_user() {
        Ok(user) => user,
        Err(reason) => return skipped(reason),
    };
    let program = dir.join("runc");
    fs::remove_file(&program).unwrap();
    fs::copy(kit::crun::binary(), &program).unwrap();
    // What is no directory is named in the error.
    let own = dir.join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("runc"), "").unwrap();
    let variable = format!("XDG_RUNTIME_DIR={}", own.display());
    let user = user.through(["env", &variable]);
    let by_user = user.beside(program.to_str().unwrap()).arg("list").output().unwrap();
    let said = String::from_utf8_lossy(&by_user.stderr);
    assert!(said.contains(own.join("runc").to_str().unwrap()), "{said}");
    let by_root = Command::new(&program).env("XDG_RUNTIME_DIR", &own).arg("list").output().unwrap();
    let said = String::from_utf8_lossy(&by_root.stderr);
    assert!(!said.contains(own.to_str().unwrap()), "{said}");
}
