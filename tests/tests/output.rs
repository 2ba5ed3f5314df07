//! What the commands print: JSON shapes, tables, files.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;

use kit::bundle::{Bundle, default_config};
use kit::runtime;
use serde_json::{Value, json};

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// `YYYY-MM-DDTHH:MM:SS.uuuuuuZ`
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    shape == "9999-99-99T99:99:99.999999Z"
}

#[test]
fn state_prints_every_member_engines_read() {
    let crun = runtime!();
    let container = crun.start(&sleeper().set("/annotations", json!({"org.example.key": "v/1"})));
    let text = container.cmd(["state", "ID"]).ok();
    assert!(text.starts_with("{\n") && text.ends_with("}\n"), "{text:?}");
    let state: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state["id"], container.id());
    assert_eq!(state["status"], "running");
    assert_eq!(state["ociVersion"].as_str().unwrap().split('.').next(), Some("1"));
    assert_eq!(state["bundle"], container.args(["BUNDLE"])[0].to_str().unwrap());
    assert!(state["rootfs"].as_str().unwrap().ends_with("rootfs"), "{state}");
    assert_eq!(state["owner"], "root");
    assert_eq!(state["annotations"], json!({"org.example.key": "v/1"}));
    assert!(is_time(state["created"].as_str().unwrap()), "{state}");
    let pid = state["pid"].as_u64().unwrap();
    assert!(fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().starts_with("sleep\0"));
}

#[test]
fn state_leaves_out_annotations_when_there_are_none() {
    let crun = runtime!();
    let state = crun.create(&sleeper()).state();
    let known =
        ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "systemd-scope", "owner"];
    assert!(keys(&state).is_subset(&known.into()), "{state}");
}

#[test]
fn the_status_file_has_the_members_other_programs_read() {
    let crun = runtime!();
    let container = crun.create(&sleeper());
    let dir = crun.state_dir().join(container.id());
    let status: Value = serde_json::from_slice(&fs::read(dir.join("status")).unwrap()).unwrap();
    assert_eq!(status["pid"], container.pid());
    assert_eq!(status["bundle"], container.args(["BUNDLE"])[0].to_str().unwrap());
    assert_eq!(status["rootfs"], "rootfs");
    assert_eq!((&status["owner"], &status["detached"]), (&json!("root"), &json!(true)));
    assert_eq!((&status["systemd-cgroup"], &status["scope"]), (&json!(false), &json!("")));
    assert!(status["cgroup-path"].as_str().unwrap().ends_with(container.id()), "{status}");
    assert!(is_time(status["created"].as_str().unwrap()), "{status}");
    let stat = fs::read_to_string(container.proc().join("stat")).unwrap();
    let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
    assert_eq!(status["process-start-time"].to_string(), start);
    let links: Vec<String> = serde_json::from_str(status["external_descriptors"].as_str().unwrap()).unwrap();
    assert_eq!((links.len(), links[0].as_str()), (3, "/dev/null"), "{links:?}");
}

#[test]
fn the_state_directory_is_private_and_holds_the_configuration_and_the_fifo() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let crun = runtime!();
    let bundle = sleeper();
    let container = crun.create(&bundle);
    let dir = crun.state_dir().join(container.id());
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o700);
    let fifo = fs::symlink_metadata(dir.join("exec.fifo")).unwrap();
    assert!(fifo.file_type().is_fifo());
    assert_eq!(fifo.permissions().mode() & 0o7777, 0o600);
    let saved: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    assert_eq!(&saved, bundle.config());
    container.start();
    assert!(!dir.join("exec.fifo").exists());
}

#[test]
fn list_prints_a_table() {
    let crun = runtime!();
    let (running, created) = (crun.start(&sleeper()), crun.create(&sleeper()));
    let table = crun.cmd(["list"]).ok();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut lines = table.lines();
    assert_eq!(words(lines.next().unwrap()), ["NAME", "PID", "STATUS", "BUNDLE", "PATH", "CREATED", "OWNER"]);
    let rows: Vec<_> = lines.map(words).collect();
    assert_eq!(rows.len(), 2, "{table}");
    for (container, status) in [(&running, "running"), (&created, "created")] {
        let row = rows.iter().find(|row| row[0] == container.id()).expect("a row");
        let (pid, state) = (container.pid().to_string(), container.state());
        let expected = [
            container.id(),
            &pid,
            status,
            state["bundle"].as_str().unwrap(),
            state["created"].as_str().unwrap(),
            "root",
        ];
        assert_eq!(row, &expected);
    }
}

#[test]
fn list_prints_json() {
    let crun = runtime!();
    assert_eq!(crun.cmd(["list", "-f", "json"]).json(), json!([]));
    let container = crun.create(&sleeper());
    container.kill("KILL");
    container.wait();
    let list = crun.cmd(["list", "--format=json"]).json();
    let state = container.state();
    let expected = json!([{"id": container.id(), "pid": 0, "status": "stopped", "bundle": state["bundle"],
        "created": state["created"], "owner": "root"}]);
    assert_eq!(list, expected);
}

#[test]
fn list_quiet_prints_only_names() {
    let crun = runtime!();
    let (one, two) = (crun.create(&sleeper()), crun.create(&sleeper()));
    let text = crun.cmd(["list", "--quiet"]).ok();
    assert_eq!(text.lines().collect::<BTreeSet<_>>(), [one.id(), two.id()].into());
}

#[test]
fn list_of_an_unused_state_directory_is_empty() {
    let crun = runtime!();
    assert_eq!(crun.cmd(["list", "-q"]).ok(), "");
    assert!(crun.cmd(["list"]).ok().starts_with("NAME "));
}

#[test]
fn list_refuses_an_unknown_format() {
    let crun = runtime!();
    crun.cmd(["list", "-f", "bogus"]).error_with(["bogus"]);
}

#[test]
fn list_shows_the_other_containers_when_one_is_damaged() {
    let crun = runtime!();
    let container = crun.create(&sleeper());
    let dir = crun.state_dir().join("damaged");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("status"), "{").unwrap();
    let output = crun.cmd(["list", "-q"]);
    assert!(output.stdout.contains(container.id()), "{output}");
    assert_eq!(crun.cmd(["delete", "-f", "damaged"]).ok(), "");
    assert!(!dir.exists());
}

#[test]
fn features_names_what_this_runtime_can_do() {
    let crun = runtime!();
    let features = crun.cmd(["features"]).json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(features["ociVersionMax"].as_str().unwrap().starts_with("1."));
    let set = |pointer: &str| -> BTreeSet<String> {
        let list =
            features.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("no {pointer}"));
        list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    for name in ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"] {
        assert!(set("/linux/namespaces").contains(name), "{name}");
    }
    for name in ["bind", "rbind", "ro", "rro", "nosuid", "noatime", "private"] {
        assert!(set("/mountOptions").contains(name), "{name}");
    }
    let caps = set("/linux/capabilities");
    assert!(caps.len() >= 41 && caps.contains("CAP_CHECKPOINT_RESTORE"), "{caps:?}");
    let modes = set("/linux/memoryPolicy/modes");
    assert!(modes.len() == 7 && modes.contains("MPOL_WEIGHTED_INTERLEAVE"), "{modes:?}");
    assert!(set("/linux/memoryPolicy/flags").contains("MPOL_F_STATIC_NODES"));
    let cgroup = &features["linux"]["cgroup"];
    assert_eq!((&cgroup["v1"], &cgroup["v2"]), (&json!(true), &json!(true)));
}

#[test]
fn version_prints_the_lines_engines_parse() {
    let crun = runtime!();
    for option in ["--version", "-v", "-V"] {
        let text = crun.cmd([option]).ok();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("crun version ") && lines[0].len() > "crun version ".len(), "{text}");
        assert!(lines[1].starts_with("commit: "), "{text}");
        assert!(
            lines.contains(&"spec: 1.0.0") || lines.iter().any(|line| line.starts_with("spec: 1.")),
            "{text}"
        );
        assert!(lines.iter().any(|line| line.starts_with("rundir: ")), "{text}");
        assert!(lines.last().unwrap().starts_with('+'), "{text}");
    }
}

#[test]
fn spec_writes_the_default_configuration() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(crun.cmd(["spec", "--bundle", dir.path().to_str().unwrap()]).ok(), "");
    let mut written: Value =
        serde_json::from_slice(&fs::read(dir.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(written["process"]["terminal"], true);
    written["process"]["terminal"] = json!(false);
    let mut expected = default_config();
    for value in [&mut written, &mut expected] {
        // A cgroup namespace is part of it only where the kernel's cgroups are version 2.
        let all = value["linux"]["namespaces"].as_array_mut().unwrap();
        all.retain(|entry| entry["type"] != "cgroup");
        all.sort_by_key(Value::to_string);
        assert!(
            value.as_object_mut().unwrap().remove("ociVersion").unwrap().as_str().unwrap().starts_with("1.")
        );
    }
    assert_eq!(written, expected);
}

#[test]
fn what_spec_writes_runs() {
    let crun = runtime!();
    let bundle = Bundle::new();
    let dir = bundle.dir().to_str().unwrap();
    let container = crun.container(&bundle);
    fs::remove_file(bundle.dir().join("config.json")).unwrap();
    assert_eq!(crun.cmd(["spec", "-b", dir]).ok(), "");
    let text = fs::read_to_string(bundle.dir().join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["hostname"]);
    fs::write(bundle.dir().join("config.json"), config.to_string()).unwrap();
    assert_eq!(container.cmd(["run", "-b", "BUNDLE", "ID"]).ok(), "crun\n");
}

#[test]
fn spec_does_not_overwrite_a_file() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.json");
    fs::write(&file, "mine").unwrap();
    crun.cmd(["spec", "-b", dir.path().to_str().unwrap()]).error_with(["`config.json` already exists"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let mut command = crun.command(["spec", "-f", "other.json"]);
    command.current_dir(dir.path());
    assert_eq!(crun.spawn(command).wait().ok(), "");
    assert!(dir.path().join("other.json").is_file());
}

#[test]
fn spec_leaves_no_half_of_a_file_on_a_full_disk() {
    let crun = runtime!();
    let mounted = tempfile::tempdir().unwrap();
    let dir = mounted.path().to_str().unwrap();
    let script = format!(
        "set -e; mount -t tmpfs -o size=4k none {dir}; head -c 4k /dev/zero >{dir}/other\n\
         trap 'ls {dir}' EXIT; exec() {{ \"$@\"; }}"
    );
    let crun = crun.through(["unshare", "--mount", "--propagation", "private"]).after(&script);
    let output = crun.cmd(["spec", "--bundle", dir]);
    let refused = format!("write `{dir}/config.json`: No space left on device\n");
    assert_eq!((output.code, &*output.stderr, &*output.stdout), (1, &*refused, "other\n"), "{output}");
}

#[test]
fn errors_go_to_the_log_as_one_json_object() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.json");
    for spelling in ["", "file:"] {
        let crun = crun.clone().with(&format!("--log={spelling}{}", log.display())).with("--log-format=json");
        let line = crun.cmd(["state", "unknown"]).error();
        let text = fs::read_to_string(&log).unwrap();
        let object: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(keys(&object), ["code", "errno", "level", "msg", "object", "time"].into());
        // What engines read comes first, in this order.
        let places = ["{\"msg\":", ",\"level\":", ",\"time\":", ",\"code\":"].map(|key| text.find(key));
        assert!(places[0] == Some(0) && places.is_sorted(), "{text}");
        assert_eq!((object["level"].as_str(), object["msg"].as_str()), (Some("error"), Some(line.as_str())));
        assert!(is_time(object["time"].as_str().unwrap()), "{object}");
        fs::remove_file(&log).unwrap();
    }
}

#[test]
fn nothing_is_logged_on_success() {
    let crun = runtime!();
    let log = tempfile::NamedTempFile::new().unwrap();
    let crun = crun.with(&format!("--log={}", log.path().display())).with("--log-format=json");
    assert_eq!(crun.run(&Bundle::new().args(["true"])).ok(), "");
    assert_eq!(fs::read_to_string(&log).unwrap(), "");
}
