//! `update`: other limits for a container that runs, as engines and people give them; felt inside; all of them or none.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::PathBuf;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped, wait_for};
use kit::running::Output;
use kit::{cpu, runtime, runtime_on_v2};
use serde_json::{Value, json};

fn sleeper(crun: &Crun) -> Container {
    crun.start(&Bundle::new().args(["sleep", "99"]))
}

/// `update --resources - ID`, with the object on the standard input.
fn update(crun: &Crun, container: &Container, resources: &Value) -> Output {
    update_by(crun, ["update", "--resources", "-", container.id()], resources)
}

fn update_by<const N: usize>(crun: &Crun, args: [&str; N], resources: &Value) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), resources.to_string()).unwrap();
    let mut command = crun.command(args);
    command.stdin(File::open(file.path()).unwrap());
    crun.spawn(command).wait()
}

/// The content of the first of these files that exists: version 1 and 2 name them differently.
fn read<const N: usize>(container: &Container, controller: &str, files: [&str; N]) -> String {
    let dir = container.cgroup(controller).unwrap();
    let text = files.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok());
    text.unwrap_or_else(|| panic!("none of {files:?} in {}", dir.display())).trim().to_owned()
}

/// Whether the container has these controllers; says so if not.
fn has<const N: usize>(container: &Container, controllers: [&str; N]) -> bool {
    let missing = controllers.into_iter().find(|name| container.cgroup(name).is_none());
    if let Some(missing) = missing {
        skipped(format!("there is no {missing} controller here"));
    }
    missing.is_none()
}

/// The memory limit and that of memory and swap (version 2: of swap alone).
fn memory_limits(container: &Container) -> [String; 2] {
    [["memory.limit_in_bytes", "memory.max"], ["memory.memsw.limit_in_bytes", "memory.swap.max"]]
        .map(|files| read(container, "memory", files))
}

fn is_v1(container: &Container, controller: &str) -> bool {
    !container.cgroup(controller).unwrap().join("cgroup.controllers").exists()
}

#[test]
fn a_lower_memory_limit_kills_what_goes_beyond_it() {
    let crun = runtime!();
    let container = sleeper(&crun);
    if !has(&container, ["memory"]) {
        return;
    }
    let hog =
        || container.cmd(["exec", "ID", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]).code;
    assert_eq!(hog(), 0);
    let _ = container.cmd(["update", "--memory", "32m", "--memory-swap", "32m", "ID"]).ok();
    assert_eq!(hog(), 137);
}

#[test]
fn memory_and_swap_grow_and_shrink_together() {
    let crun = runtime!();
    let container = sleeper(&crun);
    if !has(&container, ["memory"]) {
        return;
    }
    const MIB: u64 = 1 << 20;
    for (memory, total) in [(64, 128), (256, 512), (32, 32), (512, 512), (16, 600), (16, 16)] {
        let (option, both) = (format!("{memory}m"), format!("{total}M"));
        let _ = container.cmd(["update", "--memory", &option, "--memory-swap", &both, "ID"]).ok();
        let swap = if is_v1(&container, "memory") { total } else { total - memory };
        assert_eq!(memory_limits(&container), [memory * MIB, swap * MIB].map(|bytes| bytes.to_string()));
    }
    let _ = container.cmd(["update", "--memory", "-1", "ID"]).ok();
    let unlimited = if is_v1(&container, "memory") { "9223372036854771712" } else { "max" };
    assert_eq!(memory_limits(&container), [unlimited, unlimited]);
}

#[test]
fn a_new_limit_of_processes_is_felt() {
    let crun = runtime!();
    // A shell that waits for a process, and sees to those that others leave.
    let container = crun.start(&Bundle::new().sh("sleep 99; :"));
    if !has(&container, ["pids"]) {
        return;
    }
    let count = || {
        let script = "for i in 4 5 6 7 8 9; do sleep 5 & echo $i; done; kill $(jobs -p); echo no limit";
        container.cmd(["exec", "ID", "sh", "-c", script]).stdout
    };
    assert!(count().ends_with("no limit\n"));
    let two_are_left = || (read(&container, "pids", ["pids.current"]) == "2").then_some(());
    wait_for("the others to be gone", two_are_left);
    let _ = container.cmd(["update", "--pids-limit=6", "ID"]).ok();
    assert!(count().ends_with("\n6\n"));
    let _ = container.cmd(["update", "--pids-limit", "-1", "ID"]).ok();
    assert_eq!(read(&container, "pids", ["pids.max"]), "max");
}

#[test]
fn a_new_quota_is_what_a_busy_process_gets() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().sh("while :; do :; done"));
    if !has(&container, ["cpu"]) {
        return;
    }
    for (quota, share) in [("10000", 0.1), ("30000", 0.3)] {
        let _ = container.cmd(["update", "--cpu-quota", quota, "--cpu-period", "100000", "ID"]).ok();
        cpu::assert_share(&container, share);
    }
}

/// Quota and period.
fn bandwidth(container: &Container) -> (String, String) {
    if is_v1(container, "cpu") {
        let read = |file| read(container, "cpu", [file]);
        return (read("cpu.cfs_quota_us"), read("cpu.cfs_period_us"));
    }
    let text = read(container, "cpu", ["cpu.max"]);
    let (quota, period) = text.split_once(' ').unwrap();
    (quota.to_owned(), period.to_owned())
}

#[test]
fn a_quota_keeps_the_period_and_a_period_the_quota() {
    let crun = runtime!();
    let container = sleeper(&crun);
    if !has(&container, ["cpu"]) {
        return;
    }
    for (option, value, expected) in [
        ("--cpu-quota", "50000", ("50000", "100000")),
        ("--cpu-period", "200000", ("50000", "200000")),
        ("--cpu-quota", "20000", ("20000", "200000")),
    ] {
        let _ = container.cmd(["update", option, value, "ID"]).ok();
        let (quota, period) = bandwidth(&container);
        assert_eq!((&*quota, &*period), expected, "{option}");
    }
}

#[test]
fn a_burst_follows_the_quota_up_and_down() {
    let crun = runtime!();
    let container = sleeper(&crun);
    if !has(&container, ["cpu"]) {
        return;
    }
    for (quota, burst) in [("50000", "50000"), ("10000", "10000"), ("80000", "80000"), ("5000", "0")] {
        let _ = container.cmd(["update", "--cpu-quota", quota, "--cpu-burst", burst, "ID"]).ok();
        assert_eq!(bandwidth(&container).0, quota);
        assert_eq!(read(&container, "cpu", ["cpu.cfs_burst_us", "cpu.max.burst"]), burst);
    }
    container.cmd(["update", "--cpu-burst", "6000", "ID"]).error_with(["write `6000` to ", "burst"]);
}

#[test]
fn every_option_that_this_host_can_do_is_set() {
    let crun = runtime!();
    let container = sleeper(&crun);
    if !has(&container, ["cpu", "cpuset", "memory", "pids"]) {
        return;
    }
    let _ = container
        .cmd([
            "update",
            "--cpu-share",
            "512",
            "--cpuset-cpus",
            "0",
            "--cpuset-mems=0",
            "--memory",
            "0.5g",
            "--memory-res",
            "64m",
            "--pids-limit",
            "33",
            "ID",
        ])
        .ok();
    assert!(["512", "59"].contains(&&*read(&container, "cpu", ["cpu.shares", "cpu.weight"])));
    assert_eq!(read(&container, "cpuset", ["cpuset.cpus"]), "0");
    assert_eq!(memory_limits(&container)[0], "536870912");
    assert_eq!(read(&container, "memory", ["memory.soft_limit_in_bytes", "memory.low"]), "67108864");
    assert_eq!(read(&container, "pids", ["pids.max"]), "33");
    assert_eq!(container.cmd(["exec", "ID", "nproc"]).ok(), "1\n");
}

/// As the CRI plugin of containerd sends it for a resized pod: everything, most of it as it was.
fn from_containerd() -> Value {
    json!({
        "devices": [{"allow": false, "access": "rwm"}],
        "memory": {"limit": 268_435_456, "swap": 268_435_456},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 123}
    })
}

/// As CRI-O sends it: what is not set is zero or empty, the lists are null.
fn from_crio() -> Value {
    json!({
        "devices": null,
        "memory": {"limit": 268_435_456, "reservation": 0, "swap": 0},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "", "mems": ""},
        "pids": {"limit": 0},
        "hugepageLimits": null,
        "unified": null,
        "rdma": null
    })
}

#[test]
fn engines_send_the_limits_on_the_standard_input() {
    let crun = runtime!();
    let container = sleeper(&crun);
    if !has(&container, ["cpu", "cpuset", "memory", "pids"]) {
        return;
    }
    let id = container.id();
    assert_eq!(update_by(&crun, ["update", "--resources=-", id], &from_containerd()).ok(), "");
    assert_eq!(read(&container, "pids", ["pids.max"]), "123");
    assert_eq!(update_by(&crun, ["update", "--resources", "-", id], &from_crio()).ok(), "");
    assert_eq!(read(&container, "pids", ["pids.max"]), "123");
    assert_eq!(memory_limits(&container)[0], "268435456");
    assert_eq!(bandwidth(&container), ("50000".to_owned(), "100000".to_owned()));
}

#[test]
fn a_file_takes_the_place_of_the_options() {
    let crun = runtime!();
    let container = sleeper(&crun);
    if !has(&container, ["pids"]) {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), r#"{"pids":{"limit":44}}"#).unwrap();
    let path = file.path().to_str().unwrap();
    let _ = container.cmd(["update", "-r", path, "--pids-limit", "55", "ID"]).ok();
    assert_eq!(read(&container, "pids", ["pids.max"]), "44");
}

#[test]
fn when_the_third_limit_is_refused_the_first_two_are_as_before() {
    let crun = runtime!();
    let container = sleeper(&crun);
    if !has(&container, ["memory", "cpu", "cpuset"]) {
        return;
    }
    let _ = container
        .cmd(["update", "--memory", "512m", "--memory-swap", "600m", "--cpu-share", "300", "ID"])
        .ok();
    let look = || {
        let shares = read(&container, "cpu", ["cpu.shares", "cpu.weight"]);
        (memory_limits(&container), shares, read(&container, "cpuset", ["cpuset.cpus"]))
    };
    let before = look();
    for memory in [(128, 128), (800, 900)] {
        let (limit, swap) = (memory.0 << 20, memory.1 << 20);
        let limits =
            json!({"memory": {"limit": limit, "swap": swap}, "cpu": {"shares": 700, "cpus": "4000"}});
        update(&crun, &container, &limits).error_with(["write `4000` to `/sys/fs/cgroup/", "/cpuset.cpus`"]);
        assert_eq!(look(), before);
    }
}

#[test]
fn on_version_2_the_same_holds_for_files_named_by_the_engine() {
    let crun = runtime_on_v2!();
    let container = sleeper(&crun);
    let dir = container.cgroups().into_iter().find(|(list, _)| list.is_empty()).unwrap().1;
    let look = || {
        ["cgroup.max.depth", "cgroup.max.descendants"]
            .map(|name| fs::read_to_string(dir.join(name)).unwrap().trim().to_owned())
    };
    let limits = |third: &str| json!({"unified": {"cgroup.max.depth": "3", "cgroup.max.descendants": "4", third: "x"}});
    update(&crun, &container, &limits("cgroup.nonsense")).error_with(["cgroup.nonsense`: No such file"]);
    assert_eq!(look(), ["max", "max"]);
    update(&crun, &container, &limits("nonsense.max")).error_with(["controller `nonsense` is not available"]);
    assert_eq!(look(), ["max", "max"]);
    update(&crun, &container, &limits("cgroup.type")).error_with(["write `x` to `", "cgroup.type`"]);
    assert_eq!(look(), ["max", "max"]);
    let fine = json!({"unified": {"cgroup.max.depth": "3", "cgroup.max.descendants": "4"}});
    assert_eq!(update(&crun, &container, &fine).ok(), "");
    assert_eq!(look(), ["3", "4"]);
}

#[test]
fn a_memory_limit_below_what_is_used_is_refused_and_kills_nobody() {
    let crun = runtime!();
    let container =
        crun.start(&Bundle::new().sh("dd if=/dev/zero of=/dev/shm/full bs=1M count=48; exec sleep 99"));
    if !has(&container, ["memory"]) {
        return;
    }
    let used =
        || read(&container, "memory", ["memory.usage_in_bytes", "memory.current"]).parse::<u64>().unwrap();
    wait_for("the container to use memory", || (used() > 47 << 20).then_some(()));
    let before = memory_limits(&container);
    for check in [true, false] {
        let limit = json!({"memory": {"limit": 8 << 20, "swap": 8 << 20, "checkBeforeUpdate": check}});
        let line = update(&crun, &container, &limit).error();
        assert!(line.starts_with("cannot set the memory limit lower than its current usage: "), "{line}");
        assert!(line.contains(" bytes are used, write `8388608` to `/sys/fs/cgroup/"), "{line}");
        assert_eq!(memory_limits(&container), before);
    }
    assert!(used() > 47 << 20, "somebody was killed");
}

/// A container that has /dev/kmsg and may use it only by these rules.
fn with_kmsg(crun: &Crun, rules: &Value) -> Container {
    let devices = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
    let bundle = Bundle::new()
        .caps(["CAP_SYSLOG", "CAP_MKNOD", "CAP_DAC_OVERRIDE"])
        .set("/linux/devices", devices)
        .set("/linux/resources/devices", rules.clone())
        .args(["sleep", "99"]);
    crun.start(&bundle)
}

fn can_open_kmsg(container: &Container) -> bool {
    let output = container.cmd(["exec", "ID", "dd", "if=/dev/kmsg", "of=/dev/null", "bs=9000", "count=1"]);
    let denied = output.stderr.contains("Operation not permitted");
    assert!(denied || output.code == 0, "{output}");
    !denied
}

#[test]
fn devices_are_taken_away_and_never_given() {
    let nothing = json!({"allow": false, "access": "rwm"});
    let kmsg = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"});
    let all = json!({"allow": true, "access": "rwm"});
    for crun in [runtime!(), runtime_on_v2!()] {
        let closed = with_kmsg(&crun, &json!([nothing]));
        for rules in [json!([all]), json!([nothing, kmsg]), json!([all, kmsg])] {
            let _ = update(&crun, &closed, &json!({"devices": rules})).ok();
            assert!(!can_open_kmsg(&closed), "{rules}");
        }
        let open = with_kmsg(&crun, &json!([nothing, kmsg]));
        for (rules, expected) in [
            (json!([]), true),
            (json!(null), true),
            (json!([nothing, kmsg]), true),
            (json!([nothing]), false),
            (json!([nothing, kmsg]), false),
        ] {
            let _ = update(&crun, &open, &json!({"devices": rules})).ok();
            assert_eq!(can_open_kmsg(&open), expected, "{rules}");
        }
    }
}

#[test]
fn device_rules_that_make_no_sense_change_nothing() {
    let crun = runtime!();
    let container = sleeper(&crun);
    if !has(&container, ["pids"]) {
        return;
    }
    let wrong = json!({"pids": {"limit": 5}, "devices": [{"allow": false, "access": "x"}]});
    update(&crun, &container, &wrong).error_with(["linux.resources.devices[0].access"]);
    assert_eq!(read(&container, "pids", ["pids.max"]), "max");
}

/// Freezes or thaws by hand.
fn set_frozen(container: &Container, frozen: bool) {
    let write = |path: PathBuf, value: &str| path.exists().then(|| fs::write(path, value).unwrap());
    for (_, dir) in container.cgroups() {
        write(dir.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" });
        write(dir.join("cgroup.freeze"), if frozen { "1" } else { "0" });
    }
}

#[test]
fn a_created_and_a_paused_container_can_be_updated() {
    let crun = runtime!();
    let container = crun.create(&Bundle::new().args(["sleep", "99"]));
    if !has(&container, ["pids"]) {
        return;
    }
    let _ = container.cmd(["update", "--pids-limit", "21", "ID"]).ok();
    assert_eq!(read(&container, "pids", ["pids.max"]), "21");
    container.start();
    set_frozen(&container, true);
    wait_for("the container to be frozen", || (container.status() == "paused").then_some(()));
    let output = container.cmd(["update", "--pids-limit", "22", "ID"]);
    let limit = read(&container, "pids", ["pids.max"]);
    set_frozen(&container, false);
    assert_eq!((output.ok(), limit), (String::new(), "22".to_owned()));
}

#[test]
fn a_container_that_is_not_there_or_has_ended_cannot_be_updated() {
    let crun = runtime!();
    crun.cmd(["update", "--pids-limit", "5", "nobody"]).error_with(["container `nobody` does not exist"]);
    let container = crun.start(&Bundle::new().args(["true"]));
    container.wait();
    let expected = format!("the container `{}` is not running", container.id());
    container.cmd(["update", "--pids-limit", "5", "ID"]).error_with([&expected]);
}

#[test]
fn a_container_without_a_cgroup_cannot_be_updated() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    let container = sleeper(&crun);
    container.cmd(["update", "--pids-limit", "5", "ID"]).error_with(["the container is not using cgroups"]);
}

#[test]
fn what_is_no_object_of_limits_is_refused() {
    let crun = runtime!();
    let container = sleeper(&crun);
    for (text, words) in [
        (json!([]), "load `-`: resources must be an object"),
        (json!("x"), "load `-`: invalid type: string"),
        (json!({"pids": {"limit": "7"}}), "load `-`: pids.limit: invalid type: string"),
        (json!({"cpu": {"shares": -1}}), "load `-`: cpu.shares: invalid value: integer `-1`"),
    ] {
        update(&crun, &container, &text).error_with([words]);
    }
    container.cmd(["update", "-r", "/nonsense", "ID"]).error_with(["open `/nonsense`: No such file"]);
    container.cmd(["update", "--memory", "1x", "ID"]).error_with(["--memory: `1x` is not a size"]);
    container
        .cmd(["update", "--mem-bw-schema", "MB:0=1", "ID"])
        .error_with(["--mem-bw-schema: not supported"]);
}

#[test]
fn without_limits_nothing_happens() {
    for crun in [runtime!(), runtime_on_v2!()] {
        let container = sleeper(&crun);
        assert_eq!(container.cmd(["update", "ID"]).ok(), "");
        assert_eq!(update(&crun, &container, &json!({})).ok(), "");
    }
}

#[test]
fn on_read_only_cgroups_the_file_and_the_reason_are_named() {
    let crun = runtime!();
    let container = sleeper(&crun);
    let Some(dir) = container.cgroup("pids") else { return skipped("there is no pids controller here") };
    let mount = dir.parent().unwrap().display();
    let remount = format!(
        r#"[ "$PRIVATE" ] || PRIVATE=1 exec unshare -m --propagation private "$0" "$@"
mount -o remount,bind,ro {mount} || exit 99"#
    );
    let read_only = crun.clone().after(&remount);
    let line = read_only.cmd(["update", "--pids-limit", "5", container.id()]).error();
    assert_eq!(line, format!("write `5` to `{}/pids.max`: Read-only file system", dir.display()));
    assert_eq!(read(&container, "pids", ["pids.max"]), "max");
}
