//! Containers in units of a real systemd. Where pid 1 is another, these tests are skipped: `cargo xtask lane systemd`.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, new_id, skipped, wait_for};
use serde_json::{Value, json};

/// The runtime with the systemd driver; returns from the test where there is no systemd.
macro_rules! runtime_on_systemd {
    () => {
        match Path::new("/run/systemd/private").exists() {
            true => kit::runtime!().with("--systemd-cgroup"),
            false => return skipped("systemd is not the init of this machine"),
        }
    };
}

fn systemctl<const N: usize>(args: [&str; N]) -> String {
    let output = Command::new("systemctl").args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A property of a unit.
fn property(unit: &str, name: &str) -> String {
    systemctl(["show", "--value", "--property", name, unit])
}

fn assert_gone(unit: &str) {
    let state = || format!("{} {}", property(unit, "LoadState"), property(unit, "ActiveState"));
    wait_for("the unit to be gone", || (state() == "not-found inactive").then_some(()));
    assert!(!Path::new("/sys/fs/bpf/crun").join(unit.replace('.', "_")).exists(), "the pin of {unit}");
}

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

/// A bundle with a unit of its own name in a slice, and the name.
fn in_slice(bundle: Bundle) -> (Bundle, String) {
    let id = new_id();
    let path = format!("machine.slice:test:{id}");
    (bundle.set("/linux/cgroupsPath", json!(path)), format!("test-{id}.scope"))
}

fn status(crun: &Crun, container: &Container) -> Value {
    let file = crun.state_dir().join(container.id()).join("status");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The directory of the cgroup a container's processes are in.
fn directory(crun: &Crun, container: &Container) -> PathBuf {
    let path = status(crun, container)["cgroup-path"].as_str().unwrap().to_owned();
    Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))
}

#[test]
fn a_container_is_in_a_scope_of_its_slice_and_its_processes_are_in_a_cgroup_below() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(sleeper());
    let container = crun.start(&bundle);
    let path = format!("/machine.slice/{unit}/container");
    let status = status(&crun, &container);
    assert_eq!(status["cgroup-path"], json!(path));
    assert_eq!((&status["scope"], &status["systemd-cgroup"]), (&json!(unit), &json!(true)));
    assert_eq!(container.state()["systemd-scope"], json!(unit));
    let own = fs::read_to_string(container.proc().join("cgroup")).unwrap();
    assert!(own.lines().any(|line| line == format!("0::{path}")), "{own}");
    for (name, value) in [
        ("ActiveState", "active"),
        ("Slice", "machine.slice"),
        ("Delegate", "yes"),
        ("Description", "libcrun container"),
        ("DefaultDependencies", "no"),
        ("TasksAccounting", "yes"),
    ] {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    container.delete();
    assert_gone(&unit);
}

#[test]
fn the_cgroup_namespace_begins_at_the_containers_own_cgroup() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) =
        in_slice(Bundle::new().sh("grep ^0: /proc/self/cgroup; ls /sys/fs/cgroup | grep -c scope"));
    let output = crun.run(&bundle);
    assert_eq!(output.stdout, "0::/\n0\n", "{output}");
    assert_gone(&unit);
}

#[test]
fn a_container_without_a_path_has_a_scope_of_its_name() {
    let crun = runtime_on_systemd!();
    let container = crun.start(&sleeper());
    let unit = format!("crun-{}.scope", container.id());
    assert_eq!(status(&crun, &container)["cgroup-path"], json!(format!("/system.slice/{unit}/container")));
    container.delete();
    assert_gone(&unit);
}

#[test]
fn the_cgroup_below_has_the_name_of_the_annotation_and_there_may_be_none() {
    let crun = runtime_on_systemd!();
    for (subgroup, end) in [("payload", "/payload"), ("a/b", "/a/b"), ("", "")] {
        let (bundle, unit) =
            in_slice(sleeper().set("/annotations/run.oci.systemd.subgroup", json!(subgroup)));
        let container = crun.start(&bundle);
        let path = format!("/machine.slice/{unit}{end}");
        assert_eq!(status(&crun, &container)["cgroup-path"], json!(path));
        let own = fs::read_to_string(container.proc().join("cgroup")).unwrap();
        assert!(own.lines().any(|line| line == format!("0::{path}")), "{own}");
        container.delete();
        assert_gone(&unit);
    }
}

#[test]
fn a_cgroup_that_is_to_be_the_containers_own_lies_below_that_of_its_processes() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) =
        in_slice(sleeper().in_user_namespace().set("/annotations/run.oci.delegate-cgroup", json!("mine")));
    let container = crun.start(&bundle);
    let own = fs::read_to_string(container.proc().join("cgroup")).unwrap();
    assert!(own.lines().any(|line| line == format!("0::/machine.slice/{unit}/container/mine")), "{own}");
    let owner = |dir: &Path| std::os::unix::fs::MetadataExt::uid(&fs::metadata(dir).unwrap());
    let directory = directory(&crun, &container);
    assert_eq!((owner(&directory), owner(&directory.join("mine"))), (0, 100_000));
    container.delete();
    assert_gone(&unit);
}

#[test]
fn a_created_container_is_in_its_unit_before_it_is_started() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(Bundle::new().args(["true"]));
    let container = crun.create(&bundle);
    assert_eq!(property(&unit, "ActiveState"), "active");
    container.start();
    container.wait();
    container.delete();
    assert_gone(&unit);
}

#[test]
fn a_container_may_be_a_slice() {
    let crun = runtime_on_systemd!();
    let unit = format!("test-{}.slice", new_id());
    let bundle = sleeper().set("/linux/cgroupsPath", json!(format!("test.slice:x:{unit}")));
    let container = crun.start(&bundle);
    assert_eq!(status(&crun, &container)["cgroup-path"], json!(format!("/test.slice/{unit}/container")));
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert!(property(&unit, "Wants").contains("test.slice"));
    container.delete();
    // What is called a slice is one, even if nobody has ever made it.
    wait_for("the slice to end", || (property(&unit, "ActiveState") == "inactive").then_some(()));
    assert!(!Path::new("/sys/fs/cgroup/test.slice").join(&unit).exists());
}

#[test]
fn annotations_are_properties_of_the_unit() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(
        sleeper()
            .set("/annotations/org.systemd.property.TimeoutStopSec", json!("7"))
            .set("/annotations/org.systemd.property.CollectMode", json!("'inactive-or-failed'"))
            .set("/annotations/org.systemd.property.Documentation", json!("['man:a(1)', 'man:b(1)']"))
            .set("/annotations/org.systemd.property.Description", json!("\"said \\u0062y name\"")),
    );
    let container = crun.start(&bundle);
    assert_eq!(property(&unit, "TimeoutStopUSec"), "7s");
    assert_eq!(property(&unit, "CollectMode"), "inactive-or-failed");
    let documentation = property(&unit, "Documentation");
    assert!(documentation.contains("man:a(1)") && documentation.contains("man:b(1)"), "{documentation}");
    assert_eq!(property(&unit, "Description"), "said by name");
    container.delete();
}

#[test]
fn a_property_nobody_knows_fails_the_start_and_leaves_nothing() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(sleeper().set("/annotations/org.systemd.property.FooBar", json!("'x'")));
    let output = crun.run(&bundle);
    let expected = format!("error `start` systemd unit `{unit}`: it does not know the property `FooBar`\n");
    assert_eq!(output.stderr, expected);
    assert_gone(&unit);
}

#[test]
fn a_start_that_fails_late_leaves_no_unit() {
    let crun = runtime_on_systemd!();
    for bundle in [
        Bundle::new().args(["/nonexistent"]),
        Bundle::new().mount("/x", "nosuchfs", "x", []),
        Bundle::new().set("/process/cwd", json!("/nonexistent/dir")).set("/process/user/uid", json!(99)),
    ] {
        let (bundle, unit) = in_slice(bundle);
        let _ = crun.run(&bundle);
        assert_gone(&unit);
    }
}

#[test]
fn a_unit_that_somebody_else_has_is_left_to_them() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(sleeper());
    let name = format!("--unit={unit}");
    let mut other =
        Command::new("systemd-run").args(["--scope", "-q", &name, "sleep", "99"]).spawn().unwrap();
    wait_for("the other unit", || (property(&unit, "ActiveState") == "active").then_some(()));
    let output = crun.run(&bundle);
    assert!(
        output.stderr.starts_with(&format!("error `start` systemd unit `{unit}`: Unit {unit} was")),
        "{output}"
    );
    assert_eq!(property(&unit, "ActiveState"), "active");
    systemctl(["stop", &unit]);
    other.wait().unwrap();
}

#[test]
fn the_remains_of_a_failed_unit_are_no_obstacle() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(Bundle::new().args(["true"]));
    let name = format!("--unit={unit}");
    let limit = "--property=RuntimeMaxSec=100ms";
    let _ =
        Command::new("systemd-run").args(["--scope", "-q", &name, limit, "sleep", "99"]).status().unwrap();
    wait_for("the unit to fail", || (property(&unit, "ActiveState") == "failed").then_some(()));
    let output = crun.run(&bundle);
    assert_eq!(output.code, 0, "{output}");
    assert_gone(&unit);
}

#[test]
fn what_a_container_leaves_running_ends_with_its_unit() {
    let crun = runtime_on_systemd!();
    let script = "sleep 99 & setsid sleep 99 & wait";
    for forever in [true, false] {
        let script = if forever { script } else { "setsid sleep 99 & :" };
        let (bundle, unit) = in_slice(Bundle::new().sh(script).namespace("pid", None));
        let container = crun.start(&bundle);
        if !forever {
            container.wait();
            assert_eq!(property(&unit, "ActiveState"), "active");
        }
        let start = std::time::Instant::now();
        container.delete();
        assert_gone(&unit);
        assert!(start.elapsed() < kit::lane::patience(std::time::Duration::from_secs(10)));
    }
}

#[test]
fn a_paused_container_is_deleted_with_its_unit() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(sleeper());
    let container = crun.start(&bundle);
    fs::write(directory(&crun, &container).join("cgroup.freeze"), "1").unwrap();
    wait_for("the container to be paused", || (container.status() == "paused").then_some(()));
    container.delete();
    assert_gone(&unit);
}

#[test]
fn a_unit_that_is_gone_already_is_no_obstacle_to_deletion() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(sleeper());
    let container = crun.start(&bundle);
    systemctl(["kill", "--signal=KILL", &unit]);
    container.wait();
    systemctl(["stop", &unit]);
    let output = container.cmd(["delete", "ID"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output}");
    container.deleted();
    assert_gone(&unit);
}

#[test]
fn a_process_that_joins_is_in_the_containers_cgroup() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(sleeper());
    let container = crun.start(&bundle);
    let joined = container.args(["exec", "--detach", "ID", "sleep", "98"]);
    assert_eq!(crun.cmd(joined).code, 0);
    let procs = directory(&crun, &container).join("cgroup.procs");
    assert!(procs.starts_with(format!("/sys/fs/cgroup/machine.slice/{unit}/container")));
    assert_eq!(fs::read_to_string(procs).unwrap().lines().count(), 2);
}

/// The kernel's log cannot be opened by default; the other is what the rule is about.
fn with_a_device() -> Bundle {
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
    ]);
    Bundle::new()
        .set("/linux/resources/devices", rules)
        .set(
            "/linux/devices",
            json!([
                {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438},
                {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 438},
            ]),
        )
        .args(["sleep", "99"])
}

fn can_open(container: &Container, device: &str) -> bool {
    let script = format!("exec 3<>{device}");
    container.cmd(["exec", "ID", "sh", "-c", &script]).code == 0
}

#[test]
fn devices_stay_as_they_are_when_systemd_goes_over_its_units() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(with_a_device());
    let container = crun.start(&bundle);
    let has_bpffs = Command::new("mountpoint").args(["-q", "/sys/fs/bpf"]).status().unwrap().success();
    let pin = PathBuf::from(format!("/sys/fs/bpf/crun/{}", unit.replace('.', "_")));
    assert_eq!(pin.exists(), has_bpffs);
    if has_bpffs {
        assert_eq!(property(&unit, "BPFProgram"), format!("device:{}", pin.display()));
    } else {
        assert_eq!(property(&unit, "DevicePolicy"), "strict");
    }
    for round in 0..3 {
        assert!(can_open(&container, "/dev/fuse"), "round {round}");
        assert!(!can_open(&container, "/dev/kmsg"), "round {round}");
        assert!(can_open(&container, "/dev/null"), "round {round}");
        systemctl(["daemon-reload"]);
    }
    container.delete();
    assert!(!pin.exists());
    assert_gone(&unit);
}

/// Whether systemd can limit memory here.
fn has_memory_controller() -> bool {
    fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default().contains("memory")
}

#[test]
fn limits_are_the_units_and_survive_a_reload_and_are_updated_in_both_places() {
    let crun = runtime_on_systemd!();
    if !has_memory_controller() {
        return skipped("no memory controller in the v2 tree");
    }
    let limits = json!({
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 512, "quota": 12_345, "period": 100_000, "cpus": "0"},
        "pids": {"limit": 20},
        "unified": {"memory.high": "60000000"},
    });
    let (bundle, unit) = in_slice(sleeper().set("/linux/resources", limits));
    let container = crun.start(&bundle);
    let scope = directory(&crun, &container).parent().unwrap().to_owned();
    let file = |name: &str| fs::read_to_string(scope.join(name)).unwrap().trim_end().to_owned();
    for (name, value) in [
        ("MemoryMax", "67108864"),
        ("MemorySwapMax", "33554432"),
        ("MemoryLow", "33554432"),
        ("MemoryHigh", "60000000"),
        ("TasksMax", "20"),
        ("CPUWeight", "59"),
        ("CPUQuotaPerSecUSec", "130ms"),
        ("AllowedCPUs", "0"),
    ] {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    assert_eq!((file("memory.max").as_str(), file("pids.max").as_str()), ("67108864", "20"));
    assert_eq!(file("cpu.max"), "12345 100000");
    assert_eq!(container.cmd(["update", "--memory", "128m", "--pids-limit", "30", "ID"]).ok(), "");
    assert_eq!(
        (property(&unit, "MemoryMax").as_str(), property(&unit, "TasksMax").as_str()),
        ("134217728", "30")
    );
    assert_eq!((file("memory.max").as_str(), file("pids.max").as_str()), ("134217728", "30"));
    systemctl(["daemon-reload"]);
    assert_eq!((file("memory.max").as_str(), file("pids.max").as_str()), ("134217728", "30"));
    container.delete();
    assert_gone(&unit);
}

#[test]
fn limits_are_seen_from_within_the_container_as_they_are() {
    let crun = runtime_on_systemd!();
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let (one, other, file) = if controllers.contains("memory") {
        let limit = |bytes: u64| json!({"memory": {"limit": bytes}});
        (limit(64 << 20), limit(128 << 20), "memory.max")
    } else if controllers.contains("hugetlb") {
        let limit = |bytes: u64| json!({"hugepageLimits": [{"pageSize": "2MB", "limit": bytes}]});
        (limit(64 << 20), limit(128 << 20), "hugetlb.2MB.max")
    } else {
        return skipped("no controller of memory in the v2 tree");
    };
    let (bundle, _) = in_slice(sleeper().set("/linux/resources", one));
    let container = crun.start(&bundle);
    let seen = || container.cmd(["exec", "ID", "cat", &format!("/sys/fs/cgroup/{file}")]).ok();
    assert_eq!(seen(), "67108864\n");
    let dir = tempfile::tempdir().unwrap();
    let resources = dir.path().join("resources.json");
    fs::write(&resources, other.to_string()).unwrap();
    assert_eq!(container.cmd(["update", "--resources", resources.to_str().unwrap(), "ID"]).ok(), "");
    assert_eq!(seen(), "134217728\n");
    container.delete();
}

#[test]
fn a_limit_that_cannot_be_had_fails_the_start_and_leaves_no_unit() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(sleeper().set("/linux/resources/unified", json!({"nosuch.max": "1"})));
    let output = crun.run(&bundle);
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("nosuch"), "{output}");
    assert_gone(&unit);
}

#[test]
fn a_runtime_that_is_killed_at_any_moment_loses_no_unit() {
    let crun = runtime_on_systemd!();
    for step in 0..40 {
        let (bundle, unit) = in_slice(sleeper());
        let container = crun.container(&bundle);
        let args = container.args(["run", "--bundle", "BUNDLE", "ID"]);
        let mut running = crun.spawn(crun.command(args));
        std::thread::sleep(std::time::Duration::from_micros(200 * step));
        assert!(running.kill());
        let output = container.cmd(["delete", "--force", "ID"]);
        assert_eq!(output.code, 0, "{output}");
        container.deleted();
        assert_gone(&unit);
    }
}

#[test]
fn many_containers_at_once_are_in_units_of_their_own() {
    let crun = runtime_on_systemd!();
    let containers: Vec<_> = (0..12).map(|_| in_slice(Bundle::new().args(["true"]))).collect();
    std::thread::scope(|scope| {
        for (bundle, unit) in &containers {
            let crun = &crun;
            scope.spawn(move || {
                let output = crun.run(bundle);
                assert_eq!(output.code, 0, "{output}");
                assert_gone(unit);
            });
        }
    });
}

#[test]
fn the_unit_of_a_container_with_a_user_namespace_is_the_systems() {
    let crun = runtime_on_systemd!();
    let (bundle, unit) = in_slice(Bundle::new().in_user_namespace().sh("grep ^0: /proc/self/cgroup"));
    let output = crun.run(&bundle);
    assert_eq!(output.stdout, "0::/\n", "{output}");
    assert_gone(&unit);
}

#[test]
fn systemd_can_be_asked_directly_where_there_is_no_bus() {
    let crun = runtime_on_systemd!();
    let hidden = "mount --bind /var/empty /run/dbus 2>/dev/null || mount -t tmpfs none /run/dbus";
    let crun =
        crun.after(&format!("[ \"$HIDDEN\" ] || exec unshare -m -- env HIDDEN=1 \"$0\" \"$@\"\n{hidden}"));
    let (bundle, unit) = in_slice(Bundle::new().sh("grep ^0: /proc/self/cgroup"));
    let output = crun.run(&bundle);
    assert_eq!((output.code, output.stdout.as_str()), (0, "0::/\n"), "{output}");
    assert_gone(&unit);
}

/// What a program of the lane's user says, or root of its user namespace.
fn says(mut command: Command) -> String {
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout.trim_end().to_owned()
}

#[test]
fn the_units_of_a_user_namespaces_root_are_made_by_the_users_systemd() {
    let session = kit::user_session!();
    let id = new_id();
    let root = format!("{}/{id}", kit::lane::RUNTIME_DIR);
    let bundle = sleeper()
        .set("/linux/cgroupsPath", json!(format!("user.slice:test:{id}")))
        .namespace("network", None)
        .set(
            "/mounts/5",
            json!({"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro"]}),
        );
    let directory = bundle.save().to_str().unwrap().to_owned();
    let crun = |args: &[&str]| {
        let mut command = session.mapped_root(kit::crun::binary());
        command.args(["--systemd-cgroup", "--root", &root]).args(args).stdin(std::process::Stdio::null());
        command
    };
    // The container keeps the streams it is given.
    let said = tempfile::NamedTempFile::new().unwrap();
    let started = crun(&["run", "--detach", "--bundle", &directory, &id])
        .stdout(std::process::Stdio::null())
        .stderr(said.reopen().unwrap())
        .status()
        .unwrap();
    assert!(started.success(), "{}", fs::read_to_string(&said).unwrap());
    let unit = format!("test-{id}.scope");
    let show = |name: &str| {
        let mut command = session.command("systemctl");
        command.args(["--user", "show", "--value", "--property", name, &unit]);
        says(command)
    };
    let path = format!("/user.slice/user-1000.slice/user@1000.service/user.slice/{unit}");
    assert_eq!((show("ActiveState").as_str(), show("Slice").as_str()), ("active", "user.slice"));
    assert_eq!(show("ControlGroup"), path);
    let status = fs::read(Path::new(&root).join(&id).join("status")).unwrap();
    let status: Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["cgroup-path"], json!(format!("{path}/container")));
    let _ = says(crun(&["delete", "--force", &id]));
    wait_for("the unit to be gone", || (show("LoadState") == "not-found").then_some(()));
    assert!(!Path::new("/sys/fs/cgroup").join(&path[1..]).exists());
    fs::remove_dir_all(&root).unwrap();
}
