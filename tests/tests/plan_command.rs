//! `crun plan` as a command: its options, its mistakes, and that it does nothing.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::Crun;
use kit::planned::{about, list, text, with};
use kit::{runtime, runtime_of_user, runtime_on_v2};
use serde_json::json;

/// Everything below a directory, with what would change if it was touched.
fn listing(directory: &Path, all: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let data = fs::symlink_metadata(&path).unwrap();
        let (mode, size) = (data.mode(), data.size());
        // Files are shared with other bundles, by links that come and go.
        let changed = if data.is_dir() { (data.mtime(), data.mtime_nsec()) } else { (data.mtime(), 0) };
        all.push(format!("{} {mode:o} {size} {changed:?}", path.display()));
        if data.is_dir() {
            listing(&path, all);
        }
    }
}

#[test]
fn nothing_is_done_and_nothing_left() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .mount("/mnt", "bind", "/usr/share", ["rbind", "ro"])
        .mount("/not/there", "tmpfs", "tmpfs", [])
        .in_user_namespace()
        .set("/process/cwd", json!("/not/there"));
    let container = crun.container(&bundle);
    let directory = bundle.save();
    let look = || {
        let mut all = Vec::new();
        listing(directory, &mut all);
        all
    };
    let before = look();
    for options in [&["--format=json"][..], &[], &["--no-pivot", "--preserve-fds=2", "--no-new-keyring"]] {
        let id = format!("--id={}", container.id());
        let args = [&["plan", &id], options, &["-b", directory.to_str().unwrap()]].concat();
        assert!(!crun.cmd(args).ok().is_empty());
    }
    assert_eq!(look(), before);
    assert!(!crun.state_dir().exists() || fs::read_dir(crun.state_dir()).unwrap().next().is_none());
    container.deleted();
}

#[test]
fn it_is_there_for_a_user_without_any_right() {
    let crun = runtime_of_user!();
    let bundle = Bundle::new().set("/process/terminal", json!(true));
    let text = crun.cmd(["plan", bundle.save().to_str().unwrap()]).ok();
    for words in [
        "\nCLONE\n",
        "clone the tree of mounts at",
        "have newuidmap write uid_map",
        "mount the host's /dev/null",
    ] {
        assert!(text.contains(words), "{words:?} in\n{text}");
    }
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn options_change_what_is_planned() {
    let crun = runtime_on_v2!();
    let bundle = Bundle::new();
    let directory = bundle.save().to_str().unwrap().to_owned();
    let plan = |crun: &Crun, options: &[&str]| {
        let args = [&["plan", "--format=json"], options, &[directory.as_str()]].concat();
        crun.cmd(args).json()["actions"].as_array().unwrap().clone()
    };
    assert_eq!(text(with(&plan(&crun, &[]), "root", "call"), "call"), "pivot_root");
    assert_eq!(text(with(&plan(&crun, &["--no-pivot"]), "root", "call"), "call"), "chroot");
    assert_eq!(about(&plan(&crun, &["--no-new-keyring"]), "keyring").len(), 0);
    assert_eq!(about(&plan(&crun, &["--preserve-fds=3"]), "descriptors")[0]["details"]["first"], 6);
    assert_eq!(text(about(&plan(&crun, &["--id=x"]), "keyring")[0], "name"), "x");
    let other = bundle.dir().join("other.json");
    fs::write(&other, bundle.clone().set("/hostname", json!("other")).config().to_string()).unwrap();
    let other = format!("--config={}", other.display());
    assert_eq!(text(about(&plan(&crun, &[&other]), "hostname")[0], "name"), "other");
    let none = plan(&crun.with("--cgroup-manager=disabled"), &[]);
    assert_eq!(about(&none, "cgroup").len(), 0);
}

#[test]
fn a_unit_is_told_with_its_properties() {
    let crun = runtime_on_v2!().with("--systemd-cgroup");
    let bundle = Bundle::new()
        .set("/linux/cgroupsPath", json!("machine.slice:engine:web"))
        .set("/linux/resources/pids", json!({"limit": 7}));
    let plan = kit::planned::plan(&crun, &bundle);
    let unit = with(&plan, "systemd", "unit");
    assert_eq!((text(unit, "unit"), text(unit, "slice")), ("engine-web.scope", "machine.slice"));
    let properties = list(unit, "properties");
    for property in ["Delegate=true", "PIDs=[PID]", "TasksMax=uint64 7", "Slice='machine.slice'"] {
        assert!(properties.iter().any(|known| known == property), "{property} in {properties:?}");
    }
    let limit = with(&plan, "cgroup", "value");
    assert_eq!(text(limit, "file"), "/sys/fs/cgroup/machine.slice/engine-web.scope/pids.max");
}

#[test]
fn a_container_without_a_name_is_called_as_the_directory_of_its_bundle() {
    let crun = runtime!();
    let bundle = Bundle::new();
    let directory = bundle.save();
    let name = |path: &Path| crun.cmd(["plan", "--format=json", path.to_str().unwrap()]).json()["id"].clone();
    assert_eq!(name(directory), *directory.file_name().unwrap().to_str().unwrap());
    let unfit = directory.join("a b");
    fs::create_dir(&unfit).unwrap();
    fs::copy(directory.join("config.json"), unfit.join("config.json")).unwrap();
    assert_eq!(name(&unfit), "ID");
}

/// The error of `plan`, which has to be that of `create`.
fn refusal(container: &Container) -> String {
    let created = container.cmd(["create", "-b", "BUNDLE", "ID"]).error();
    let planned = container.cmd(["plan", "--id", "ID", "BUNDLE"]).error();
    assert_eq!(planned, created);
    planned
}

#[test]
fn what_create_refuses_is_refused_with_the_same_words() {
    let crun = runtime!();
    for (pointer, value, words) in [
        ("/process/cwd", json!("relative"), "process.cwd"),
        ("/process/args", json!([]), "executable path not specified"),
        ("/process/capabilities/bounding", json!(["CAP_NO"]), "unknown capability `CAP_NO`"),
        ("/linux/namespaces", json!([{"type": "moon"}]), "invalid namespace type: `moon`"),
        ("/linux/sysctl", json!({"vm.swappiness": "1"}), "vm.swappiness"),
        ("/linux/cgroupsPath", json!("/"), "the root cgroup cannot be a container's"),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_MOON"}), "SCMP_ACT_MOON"),
        ("/mounts/0/destination", json!("/a/b"), "it must be mounted at the root"),
        ("/linux/intelRdt", json!({"closID": "x"}), "linux.intelRdt"),
    ] {
        let container = crun.container(&Bundle::new().set(pointer, value));
        let said = refusal(&container);
        container.deleted();
        assert!(said.contains(words), "{words:?} in {said}");
    }
}

#[test]
fn what_is_no_bundle_is_refused_as_by_create() {
    let crun = runtime!();
    let bundle = Bundle::new();
    let container = crun.container(&bundle);
    let config = bundle.dir().join("config.json");
    for text in ["", "{", "[]", "{} trailing", "{\"ociVersion\": \"1.0.0\"}"] {
        fs::write(&config, text).unwrap();
        let _ = refusal(&container);
    }
    fs::remove_file(&config).unwrap();
    assert!(refusal(&container).contains("config.json"));
    container.deleted();
    crun.cmd(["plan", "/no/such/bundle"]).error_with(["/no/such/bundle", "No such file or directory"]);
    crun.cmd(["plan", "/dev/null"]).error_with(["/dev/null/config.json", "Not a directory"]);
}

#[test]
fn a_configuration_that_the_user_may_not_read_is_named() {
    let crun = runtime_of_user!();
    let bundle = Bundle::new();
    let directory = bundle.save();
    let config = directory.join("config.json");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    crun.cmd(["plan", directory.to_str().unwrap()]).error_with(["config.json", "Permission denied"]);
}

#[test]
fn mistakes_on_the_command_line_are_told() {
    let crun = runtime!();
    let bundle = Bundle::new();
    let directory = bundle.save().to_str().unwrap();
    crun.cmd(["plan", directory, directory]).error_with(["`plan` requires a maximum of 1 arguments"]);
    crun.cmd(["plan", "-b", directory, directory]).error_with(["the bundle is given twice"]);
    crun.cmd(["plan", "--format=table", directory]).error_with(["invalid format `table`"]);
    crun.cmd(["plan", "--id=a/b", directory]).error_with(["invalid character `/`"]);
    let socket = "--console-socket=/no/such/socket";
    let bundle = bundle.set("/process/terminal", json!(true));
    crun.cmd(["plan", socket, bundle.save().to_str().unwrap()]).error_with(["/no/such/socket"]);
}
