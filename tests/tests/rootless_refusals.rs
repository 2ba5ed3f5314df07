//! Where a machine does not let somebody run a container, the error says what is in the way and what to change.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Stdio;

use kit::bundle::Bundle;
use kit::crun::{Crun, skipped};
use kit::user::UID;
use kit::{runtime, runtime_of_user, runtime_on_v2};
use serde_json::json;

fn bundle() -> Bundle {
    Bundle::new().of_user().args(["true"])
}

fn home(crun: &Crun) -> PathBuf {
    crun.state_dir().parent().unwrap().join("home")
}

#[test]
fn a_limit_that_allows_no_user_namespaces_is_named() {
    let limit = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"";
    let crun = runtime_of_user!().through(["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"]);
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let bundle = bundle()
        .namespace("user", Some(""))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    crun.run(&bundle).error_with([
        "create the container's process (the sysctl `user.max_user_namespaces` is 0",
        "sysctl -w",
        "No space left on device",
    ]);
}

#[test]
fn who_has_no_id_in_a_user_namespace_is_told_so() {
    let crun = runtime_of_user!().through(["unshare", "--user"]);
    crun.run(&bundle()).error_with([
        "create the container's process (the user of this process has no id in the user namespace it is in",
        "Operation not permitted",
    ]);
}

#[test]
fn the_directory_that_keeps_the_user_from_the_bundle_is_named() {
    let crun = runtime_of_user!();
    let (closed, bundle) = (tempfile::tempdir().unwrap(), bundle());
    fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
    let words =
        format!("the directory `{}` of 0:0 with mode 0700 is closed to user {UID}", closed.path().display());
    let inside = closed.path().join("x");
    fs::create_dir(&inside).unwrap();
    crun.cmd(["run", "--bundle", inside.to_str().unwrap(), "x"]).error_with([&words, "Permission denied"]);
    let source = inside.to_str().unwrap();
    for bundle in [
        bundle.clone().set("/root/path", json!(source)),
        bundle.clone().mount("/run", "bind", source, ["rbind"]),
    ] {
        crun.run(&bundle).error_with([&words, "Permission denied"]);
    }
}

#[test]
fn a_root_filesystem_that_keeps_the_containers_root_out_is_named() {
    let crun = runtime!();
    let bundle = Bundle::new().in_user_namespace().args(["true"]);
    chown(bundle.rootfs(), Some(0), Some(0)).unwrap();
    fs::set_permissions(bundle.rootfs(), Permissions::from_mode(0o700)).unwrap();
    crun.run(&bundle).error_with([
        "rootfs` of 0:0 with mode 0700 is closed to user 100000, who is root of the container)",
        "`chown 100000:100000`",
        "Permission denied",
    ]);
}

#[test]
fn a_program_on_a_mount_with_noexec_is_explained() {
    let crun = runtime_on_v2!();
    let bundle = Bundle::new().args(["true"]);
    let path = bundle.rootfs().display().to_string();
    let script = format!("mount --bind {path} {path} && mount -o remount,bind,noexec {path}");
    assert!(crun.view().unwrap().command("sh").args(["-c", &script]).status().unwrap().success());
    // The mount is the view's, so it stays.
    let path = bundle.save().to_str().unwrap();
    crun.cmd(["run", "--bundle", path, "x"]).error_with([
        "true",
        "lies on a mount with noexec",
        "Permission denied",
    ]);
}

#[test]
fn state_of_root_is_told_from_that_of_the_user() {
    let crun = runtime_of_user!();
    let given = crun.clone().with("--root=/run/crun-of-root");
    let container = runtime!().with("--root=/run/crun-of-root").start(&Bundle::new().sh("sleep 99; true"));
    for command in [["state", container.id()], ["kill", container.id()]] {
        given.cmd(command).error_with([
            "/run/crun-of-root",
            "of 0:0 with mode 0700",
            "XDG_RUNTIME_DIR",
            "--root",
        ]);
    }
    given.cmd(["list"]).error_with(["/run/crun-of-root", "of 0:0 with mode 0700"]);
    container.delete();
    fs::remove_dir_all("/run/crun-of-root").unwrap();
}

#[test]
fn a_state_directory_that_cannot_be_made_is_explained() {
    let crun = runtime_of_user!();
    let bundle = bundle();
    let path = bundle.save().to_str().unwrap();
    for root in ["/run/nobodys/crun", "/proc/crun"] {
        let option = format!("--root={root}");
        let line = crun.clone().with(&option).cmd(["run", "--bundle", path, "x"]).error();
        assert!(line.contains(root), "{line}");
    }
    crun.with("--root=/run/nobodys/crun").cmd(["run", "--bundle", path, "x"]).error_with([
        "mkdir `/run/nobodys/crun`",
        "the directory `/run` of 0:0",
        &format!("set XDG_RUNTIME_DIR to a directory of your own, such as /run/user/{UID}"),
        "Permission denied",
    ]);
}

#[test]
fn a_state_directory_of_the_users_own_is_not_called_closed_and_what_failed_is_not_advised() {
    let crun = runtime_of_user!();
    let script = format!(
        "mount -t tmpfs -o ro,mode=700,uid={UID},gid={UID} none /mnt && \
         exec setpriv --reuid {UID} --regid {UID} --clear-groups \"$@\""
    );
    let read_only = runtime!()
        .program(&crun.state_dir().parent().unwrap().join("crun"))
        .through(["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .with("--root=/mnt/state");
    let bundle = bundle();
    let path = bundle.save().to_str().unwrap();
    let output = read_only.cmd(["run", "--bundle", path, "x"]);
    assert!(!output.stderr.contains("is closed to"), "{output}");
    output.error_with(["/mnt/state", "Read-only file system", "is read-only"]);
    let usual = format!("/run/user/{UID}");
    if fs::metadata(&usual).is_ok() {
        return skipped(format!("there is a {usual}"));
    }
    let hint = crun.with(&format!("--root={usual}/crun")).cmd(["run", "--bundle", path, "x"]).hint();
    assert!(hint.starts_with(&format!("a login makes `{usual}`")), "{hint}");
}

#[test]
fn the_state_is_below_the_runtime_directory_and_the_users_alone() {
    let crun = runtime_of_user!();
    let bundle = bundle().sh("sleep 99; true");
    let program = crun.state_dir().parent().unwrap().join("crun");
    let command = |arguments: &[&str]| {
        let mut command = crun.beside(program.to_str().unwrap());
        command.args(arguments);
        command
    };
    let id = kit::crun::new_id();
    let mut run = command(&["run", "--detach", "--bundle", bundle.save().to_str().unwrap(), &id]);
    // What the container has open would keep this waiting.
    assert!(run.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let state = home(&crun).parent().unwrap().join("run/crun");
    for directory in [state.clone(), state.join(&id)] {
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o700);
    }
    let list = command(&["list"]).output().unwrap();
    assert!(String::from_utf8(list.stdout).unwrap().contains(&id));
    assert!(command(&["delete", "--force", &id]).status().unwrap().success());
    assert!(!state.join(&id).exists());
}

#[test]
fn root_can_do_everything_to_a_users_container() {
    let crun = runtime_of_user!();
    let container = crun.start(&bundle().sh("echo up; sleep 99; true"));
    container.wait_output("up");
    let state = crun.state_dir();
    let root = match Crun::new() {
        Ok(root) => root.with(&format!("--root={}", state.display())),
        Err(reason) => return skipped(reason),
    };
    assert_eq!(root.cmd(["state", container.id()]).json()["owner"], "somebody");
    // Also of one whose configuration does not say that it has a user namespace.
    let text = root.cmd(["exec", container.id(), "cat", "/proc/self/uid_map"]).ok();
    assert!(text.contains(&UID.to_string()), "{text}");
    assert_eq!(root.cmd(["kill", container.id(), "KILL"]).ok(), "");
    container.wait();
    assert_eq!(root.cmd(["delete", container.id()]).ok(), "");
    container.deleted();
}
