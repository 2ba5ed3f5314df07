//! Cgroups: membership, limits read from outside and felt inside, paths, removal. Limits run on the machine's own layout,
//! whatever it is; the rest also in a private place with pure version 2.

#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, new_id, skipped, wait_for};
use kit::{runtime, runtime_on_v2};
use serde_json::{Value, json};

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

fn with_resources(resources: Value) -> Bundle {
    Bundle::new().set("/linux/resources", resources)
}

/// The content of the first of these files that exists in the container's cgroup of the controller: version 1 and 2
/// name them differently. `None` where there is no such controller.
fn read(container: &Container, controller: &str, files: [&str; 2]) -> Option<String> {
    let dir = container.cgroup(controller)?;
    assert!(dir.ends_with(container.id()), "{}", dir.display());
    let text = files.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok());
    Some(text.unwrap_or_else(|| panic!("none of {files:?} in {}", dir.display())).trim().to_owned())
}

/// Asserts what [`read`] finds: the first value is for version 1, the second for version 2.
fn check(crun: &Crun, resources: Value, controller: &str, files: [&str; 2], values: [&str; 2]) {
    if has(crun, controller) {
        let container = crun.start(&with_resources(resources).args(["sleep", "99"]));
        let found = read(&container, controller, files).unwrap();
        assert!(values.contains(&found.as_str()), "{files:?}: {found}, not {values:?}");
    }
}

/// Whether containers have this controller here; says so if not.
fn has(crun: &Crun, controller: &str) -> bool {
    let found = crun.start(&sleeper()).cgroup(controller).is_some();
    if !found {
        skipped(format!("there is no {controller} controller here"));
    }
    found
}

/// The cgroups of the container's own that its first process is in.
fn is_member(container: &Container) -> Vec<PathBuf> {
    let own: Vec<_> = container
        .cgroups()
        .into_iter()
        .map(|(_, dir)| dir)
        .filter(|dir| dir.ends_with(container.id()))
        .collect();
    assert!(!own.is_empty(), "{:?}", container.cgroups());
    own
}

fn member_and_removed(crun: &Crun) {
    let container = crun.create(&sleeper());
    let own = is_member(&container);
    container.start();
    for dir in &own {
        assert_eq!(
            fs::read_to_string(dir.join("cgroup.procs")).unwrap().lines().count(),
            1,
            "{}",
            dir.display()
        );
    }
    container.delete();
    assert_eq!(own.iter().find(|dir| dir.exists()), None);
}

#[test]
fn a_container_is_alone_in_a_cgroup_of_its_name_that_is_removed_with_it() {
    member_and_removed(&runtime!());
}

#[test]
fn a_container_is_alone_in_a_cgroup_of_its_name_on_version_2() {
    let crun = runtime_on_v2!();
    member_and_removed(&crun);
    let text =
        crun.run(&Bundle::new().namespace("cgroup", None).args(["grep", "^0::", "/proc/self/cgroup"])).ok();
    assert!(text.starts_with("0::/t") && text.ends_with("z\n"), "{text}");
}

#[test]
fn the_limits_are_in_every_hierarchy_that_has_the_controller() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    for controller in ["memory", "pids", "cpu", "cpuset", "devices", "freezer"] {
        match container.cgroup(controller) {
            Some(dir) => assert!(dir.ends_with(container.id()), "{controller}: {}", dir.display()),
            None => skipped(format!("there is no {controller} controller here")),
        }
    }
}

#[test]
fn the_memory_limit_is_set() {
    let crun = runtime!();
    let memory = json!({"memory": {"limit": 33_554_432, "swap": 67_108_864, "reservation": 16_777_216}});
    check(&crun, memory.clone(), "memory", ["memory.limit_in_bytes", "memory.max"], ["33554432", "33554432"]);
    check(
        &crun,
        memory.clone(),
        "memory",
        ["memory.memsw.limit_in_bytes", "memory.swap.max"],
        ["67108864", "33554432"],
    );
    check(&crun, memory, "memory", ["memory.soft_limit_in_bytes", "memory.low"], ["16777216", "16777216"]);
    check(
        &crun,
        json!({"memory": {"limit": -1}}),
        "memory",
        ["memory.limit_in_bytes", "memory.max"],
        ["9223372036854771712", "max"],
    );
}

#[test]
fn a_payload_over_its_memory_limit_is_killed() {
    let crun = runtime!();
    if !has(&crun, "memory") {
        return;
    }
    let memory = json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}});
    let output = crun.run(&with_resources(memory).sh("tail /dev/zero; echo $?"));
    assert_eq!(output.stdout, "137\n", "{output}");
    let memory = json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}});
    assert_eq!(crun.run(&with_resources(memory).args(["tail", "/dev/zero"])).code, 137);
}

#[test]
fn the_pids_limit_is_set_and_felt() {
    let crun = runtime!();
    check(&crun, json!({"pids": {"limit": 17}}), "pids", ["pids.max", "pids.max"], ["17", "17"]);
    check(&crun, json!({"pids": {"limit": -1}}), "pids", ["pids.max", "pids.max"], ["max", "max"]);
    if !has(&crun, "pids") {
        return;
    }
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 9 & done; echo no limit";
    let output = crun.run(&with_resources(json!({"pids": {"limit": 5}})).sh(script));
    assert!(output.stderr.contains("can't fork") && output.stdout.is_empty(), "{output}");
}

#[test]
fn the_cpu_limits_are_set() {
    let crun = runtime!();
    let cpu = json!({"cpu": {"shares": 512, "quota": 50_000, "period": 200_000}});
    check(&crun, cpu.clone(), "cpu", ["cpu.cfs_quota_us", "cpu.max"], ["50000", "50000 200000"]);
    check(&crun, cpu.clone(), "cpu", ["cpu.cfs_period_us", "cpu.max"], ["200000", "50000 200000"]);
    check(&crun, cpu, "cpu", ["cpu.shares", "cpu.weight"], ["512", "59"]);
}

#[test]
fn the_cpuset_is_set_and_felt() {
    let crun = runtime!();
    check(
        &crun,
        json!({"cpu": {"cpus": "0", "mems": "0"}}),
        "cpuset",
        ["cpuset.cpus", "cpuset.cpus"],
        ["0", "0"],
    );
    if !has(&crun, "cpuset") {
        return;
    }
    let bundle = with_resources(json!({"cpu": {"cpus": "0"}})).args([
        "grep",
        "Cpus_allowed_list",
        "/proc/self/status",
    ]);
    assert_eq!(crun.run(&bundle).ok(), "Cpus_allowed_list:\t0\n");
}

#[test]
fn a_limit_that_cannot_be_set_is_an_error() {
    let crun = runtime!();
    if !has(&crun, "cpuset") {
        return;
    }
    crun.run(&with_resources(json!({"cpu": {"cpus": "4000"}})).args(["true"])).error_with(["cpuset.cpus"]);
    crun.run(&with_resources(json!({"memory": {"swap": 1_000_000}})).args(["true"]))
        .error_with(["swap", "limit"]);
}

/// Runs in the cgroup path and returns the last component that the payload's cgroup has.
fn with_path(crun: &Crun, path: &str) -> Vec<PathBuf> {
    let container = crun.start(&sleeper().set("/linux/cgroupsPath", json!(path)));
    let own: Vec<_> = container.cgroups().into_iter().map(|(_, dir)| dir).collect();
    container.delete();
    own
}

fn paths(crun: &Crun) {
    let root = match crun.view() {
        Some(view) => vec![view.cgroup().to_path_buf()],
        None => kit::leftovers::hierarchies().into_iter().map(|(_, mount)| mount).collect(),
    };
    let name = new_id();
    for (path, below) in [
        (format!("/crun-tests/{name}"), format!("crun-tests/{name}")),
        (format!("crun-tests/{name}"), format!("crun-tests/{name}")),
        (format!("/{name}/"), name.clone()),
        (format!("//crun-tests/./{name}"), format!("crun-tests/{name}")),
        (format!("/../../../../{name}"), name.clone()),
        (format!("../../crun-tests/../{name}"), name.clone()),
    ] {
        let own = with_path(crun, &path);
        let found = root.iter().filter(|root| own.contains(&root.join(&below))).count();
        assert!(found >= 1, "{path}: {own:?} has none of {root:?} with {below}");
        assert_eq!(
            own.iter().find(|dir| dir.to_string_lossy().contains(&name) && dir.exists()),
            None,
            "{path}"
        );
    }
    for mount in root {
        let _ = fs::remove_dir(mount.join("crun-tests")); // unless another test is using it
    }
}

#[test]
fn the_path_is_absolute_or_relative_below_the_root_and_never_above() {
    paths(&runtime!());
}

#[test]
fn the_path_is_absolute_or_relative_below_the_root_on_version_2() {
    paths(&runtime_on_v2!());
}

#[test]
fn a_cgroup_that_cannot_be_created_is_an_error() {
    let crun = runtime!();
    for path in ["/cgroup.procs/below".to_owned(), format!("/{}", "x".repeat(300))] {
        crun.run(&sleeper().set("/linux/cgroupsPath", json!(path))).error_with([&path]);
    }
}

#[test]
fn a_cgroup_made_inside_is_removed_with_its_processes() {
    for crun in [Crun::new(), Crun::on_v2()] {
        let crun = match crun {
            Ok(crun) => crun,
            Err(reason) => return skipped(reason),
        };
        let container =
            crun.start(&Bundle::new().namespace("pid", None).sh("sleep 88 & sleep 89 & echo up; wait"));
        container.wait_output("up");
        for dir in is_member(&container) {
            let below = dir.join("one/two");
            fs::create_dir_all(&below).unwrap();
            // cpuset on version 1 takes no process before it has processors and memory.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read_to_string(dir.join(file)) {
                    drop([&dir.join("one"), &below].map(|dir| fs::write(dir.join(file), &value)));
                }
            }
            let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
            fs::write(below.join("cgroup.procs"), procs.lines().last().unwrap()).unwrap();
            assert_eq!(fs::read_to_string(below.join("cgroup.procs")).unwrap().lines().count(), 1);
        }
        assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "");
        container.deleted();
    }
}

#[test]
fn processes_that_outlive_the_first_one_are_ended_by_delete() {
    let crun = runtime!();
    let container =
        crun.start(&Bundle::new().namespace("pid", None).sh("(trap '' TERM HUP; sleep 88) & echo up"));
    container.wait_output("up");
    container.wait();
    assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
    container.deleted();
}

/// Device access: only the default devices, and what a rule allows.
fn device_rules(crun: &Crun) {
    let open = |rules: Value| {
        let devices = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
        let bundle = Bundle::new()
            .caps(["CAP_SYSLOG", "CAP_MKNOD", "CAP_DAC_OVERRIDE"])
            .set("/linux/devices", devices)
            .set("/linux/resources/devices", rules)
            .sh("dd if=/dev/kmsg bs=9000 count=1 >/dev/null 2>/tmp/err && echo opened || cat /tmp/err; head -c1 /dev/zero >/dev/null && echo zero")
            .mount("/tmp", "tmpfs", "tmpfs", ["mode=1777"]);
        crun.run(&bundle)
    };
    let output = open(json!([{"allow": false, "access": "rwm"}]));
    assert!(
        output.stdout.contains("Operation not permitted") && output.stdout.ends_with("zero\n"),
        "{output}"
    );
    let kmsg = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"});
    let output = open(json!([{"allow": false, "access": "rwm"}, kmsg]));
    assert_eq!(output.stdout, "opened\nzero\n", "{output}");
    let output = open(json!([{"allow": true, "access": "rwm"}]));
    assert_eq!(output.stdout, "opened\nzero\n", "{output}");
}

#[test]
fn devices_that_are_not_allowed_cannot_be_opened() {
    device_rules(&runtime!());
}

#[test]
fn devices_that_are_not_allowed_cannot_be_opened_on_version_2() {
    device_rules(&runtime_on_v2!());
}

#[test]
fn the_cgroups_are_shown_inside() {
    let crun = runtime_on_v2!();
    let text = crun.run(&Bundle::new().sh("cat /sys/fs/cgroup/cgroup.procs; touch /sys/fs/cgroup/x")).stdout;
    assert!(text.starts_with("1\n"), "{text}");
    let crun = runtime!();
    let output = crun.run(
        &Bundle::new()
            .sh("find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -exec cat {} +; mkdir /sys/fs/cgroup/x"),
    );
    assert!(
        output.stdout.lines().any(|line| line == "1") && output.stderr.contains("Read-only file system"),
        "{output}"
    );
}

#[test]
fn without_a_cgroup_manager_the_payload_stays_in_the_callers_cgroup() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    let bundle =
        Bundle::new().unset("/linux/resources").namespace("cgroup", None).args(["cat", "/proc/self/cgroup"]);
    assert_eq!(crun.run(&bundle).ok(), fs::read_to_string("/proc/self/cgroup").unwrap());
    let container = crun.start(&sleeper().unset("/linux/resources"));
    container.kill("KILL");
    container.wait();
}

#[test]
fn without_a_cgroup_manager_limits_are_an_error() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    crun.run(&with_resources(json!({"pids": {"limit": 5}})).args(["true"]))
        .error_with(["cannot set limits without cgroups"]);
}

#[test]
fn without_a_cgroup_manager_a_force_delete_ends_every_process() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    let container = crun.start(&Bundle::new().unset("/linux/resources").sh("sleep 88 & echo up; wait"));
    container.wait_output("up");
    let pid = container.pid();
    container.delete();
    let runs = || fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty());
    wait_for("the first process to go", || (!runs()).then_some(()));
}
