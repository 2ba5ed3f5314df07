//! When a container's processes get a CPU and how their I/O is served: `process.scheduler` and `process.ioPriority`, as the
//! kernel tells of them (proc_pid_stat(5)) and from inside.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::skipped;
use kit::{runtime, runtime_on_v2};
use serde_json::{Value, json};

const OTHER: i64 = 0;
const FIFO: i64 = 1;
const RR: i64 = 2;
const BATCH: i64 = 3;
const IDLE: i64 = 5;
const DEADLINE: i64 = 6;

fn scheduled(scheduler: Value) -> Bundle {
    Bundle::new().set("/process/scheduler", scheduler).args(["sleep", "99"])
}

fn with_io(priority: Value) -> Bundle {
    Bundle::new().set("/process/ioPriority", priority)
}

/// Policy, nice value and real-time priority in a text of /proc/PID/stat.
fn scheduling(stat: &str) -> (i64, i64, i64) {
    // Behind the program's name comes the third field.
    let (_, rest) = stat.rsplit_once(") ").expect("a program's name");
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields[number - 3].parse().unwrap();
    (field(41), field(19), field(40))
}

fn of_init(container: &Container) -> (i64, i64, i64) {
    scheduling(&fs::read_to_string(container.proc().join("stat")).unwrap())
}

/// Whether processes of the caller's cgroup may be of a real-time policy: on version 1 that takes a budget.
fn has_real_time() -> bool {
    let tried = Command::new("chrt").args(["--fifo", "1", "true"]).output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        skipped("no process may be of a real-time policy here (or there is no chrt)");
    }
    can
}

fn process_file(process: Value) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut whole = json!({"args": ["/bin/cat", "/proc/self/stat"], "cwd": "/"});
    whole.as_object_mut().unwrap().extend(process.as_object().unwrap().clone());
    fs::write(&file, whole.to_string()).unwrap();
    file
}

#[test]
fn the_process_has_the_policy_and_the_nice_value_of_the_configuration() {
    let crun = runtime!();
    for (scheduler, policy, nice) in [
        (json!({"policy": "SCHED_OTHER", "nice": 5}), OTHER, 5),
        (json!({"policy": "SCHED_OTHER", "nice": -20}), OTHER, -20),
        (json!({"policy": "SCHED_BATCH", "nice": 19}), BATCH, 19),
        (json!({"policy": "SCHED_IDLE"}), IDLE, 0),
    ] {
        let container = crun.start(&scheduled(scheduler.clone()));
        assert_eq!(of_init(&container), (policy, nice, 0), "{scheduler}");
    }
}

#[test]
fn the_process_has_the_real_time_priority_of_the_configuration() {
    let crun = runtime_on_v2!();
    if !has_real_time() {
        return;
    }
    for (name, policy) in [("SCHED_FIFO", FIFO), ("SCHED_RR", RR)] {
        let container = crun.start(&scheduled(json!({"policy": name, "priority": 7})));
        assert_eq!(of_init(&container), (policy, 0, 7));
    }
}

#[test]
fn a_created_container_has_its_policy_before_it_is_started() {
    let crun = runtime!();
    let container = crun.create(&scheduled(json!({"policy": "SCHED_BATCH", "nice": 3})));
    assert_eq!(of_init(&container), (BATCH, 3, 0));
    container.start();
    assert_eq!(of_init(&container), (BATCH, 3, 0));
}

#[test]
fn on_cgroup_v1_real_time_takes_a_share_of_it() {
    let crun = runtime!();
    let cgroup = crun.start(&Bundle::new().args(["sleep", "99"])).cgroup("cpu");
    if !cgroup.is_some_and(|dir| dir.join("cpu.rt_runtime_us").exists()) {
        return skipped("real time needs no budget here");
    }
    let bundle = scheduled(json!({"policy": "SCHED_FIFO", "priority": 1}));
    crun.run(&bundle).error_with(["`SCHED_FIFO`", "realtimeRuntime", "Operation not permitted"]);
    let container = crun.start(&bundle.set("/linux/resources/cpu", json!({"realtimeRuntime": 10_000})));
    assert_eq!(of_init(&container), (FIFO, 0, 1));
}

#[test]
fn what_the_process_makes_is_reset_on_request() {
    let crun = runtime!();
    // Of a shared policy only a nice value below 0 is (sched(7)).
    let scheduler = json!({"policy": "SCHED_BATCH", "nice": -5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    let bundle = Bundle::new().set("/process/scheduler", scheduler);
    let output =
        crun.run(&bundle.sh("read own < /proc/self/stat; echo $own; cat /proc/self/stat; true")).ok();
    let (own, made) = output.split_once('\n').unwrap();
    assert_eq!((scheduling(own), scheduling(made)), ((BATCH, -5, 0), (BATCH, 0, 0)));
}

#[test]
fn the_process_has_its_deadline_also_where_its_caller_is_pinned_to_a_cpu() {
    let scheduler = json!({
        "policy": "SCHED_DEADLINE", "runtime": 40_000_000, "deadline": 100_000_000, "period": 200_000_000,
        "flags": ["SCHED_FLAG_RESET_ON_FORK"],
    });
    let crun = runtime_on_v2!();
    if !has_real_time() {
        return;
    }
    for crun in [crun.clone(), crun.after("taskset -pc 0 $$ >/dev/null")] {
        let bundle = Bundle::new().set("/process/scheduler", scheduler.clone());
        let output = crun.run(&bundle.args(["cat", "/proc/self/stat", "/proc/self/sched"])).ok();
        let (stat, details) = output.split_once('\n').unwrap();
        assert_eq!(scheduling(stat).0, DEADLINE);
        // What is left of the runtime in this period.
        let line = details.lines().find(|line| line.starts_with("dl.runtime")).unwrap_or_default();
        let left: i64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((1..=40_000_000).contains(&left), "{line}");
    }
}

#[test]
fn a_user_namespace_takes_no_right_to_a_policy_from_the_runtime() {
    let crun = runtime_on_v2!();
    let bundle = scheduled(json!({"policy": "SCHED_OTHER", "nice": -11})).in_user_namespace();
    assert_eq!(of_init(&crun.start(&bundle)), (OTHER, -11, 0));
    if has_real_time() {
        let bundle = scheduled(json!({"policy": "SCHED_RR", "priority": 3})).in_user_namespace();
        assert_eq!(of_init(&crun.start(&bundle)), (RR, 0, 3));
    }
    let bundle = with_io(json!({"class": "IOPRIO_CLASS_RT", "priority": 2})).in_user_namespace();
    assert_eq!(crun.run(&bundle.args(["ionice"])).ok(), "realtime: prio 2\n");
}

#[test]
fn io_has_the_class_and_the_priority_of_the_configuration() {
    let crun = runtime!();
    for (priority, shown) in [
        (json!({"class": "IOPRIO_CLASS_RT", "priority": 0}), "realtime: prio 0\n"),
        (json!({"class": "IOPRIO_CLASS_BE", "priority": 7}), "best-effort: prio 7\n"),
        (json!({"class": "IOPRIO_CLASS_IDLE", "priority": 3}), "idle\n"),
        (json!({"class": "IOPRIO_CLASS_IDLE"}), "idle\n"),
    ] {
        assert_eq!(crun.run(&with_io(priority).args(["ionice"])).ok(), shown);
    }
}

#[test]
fn exec_is_scheduled_as_the_containers_own_process() {
    let crun = runtime!();
    let bundle = scheduled(json!({"policy": "SCHED_BATCH", "nice": 4}));
    let bundle = bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    let container = crun.start(&bundle);
    let stat = container.cmd(["exec", "ID", "cat", "/proc/self/stat"]).ok();
    assert_eq!(scheduling(&stat), (BATCH, 4, 0));
    assert_eq!(container.cmd(["exec", "ID", "ionice"]).ok(), "best-effort: prio 6\n");
}

#[test]
fn exec_of_a_process_object_is_scheduled_as_that_says() {
    let crun = runtime!();
    let container = crun.start(&scheduled(json!({"policy": "SCHED_BATCH", "nice": 4})));
    let exec = |process: Value| {
        let file = process_file(process);
        container.cmd(["exec", "--process", file.path().to_str().unwrap(), "ID"])
    };
    let stat = exec(json!({"scheduler": {"policy": "SCHED_IDLE"}})).ok();
    assert_eq!(scheduling(&stat), (IDLE, 0, 0));
    assert_eq!(scheduling(&exec(json!({})).ok()), (OTHER, 0, 0));
    let shown = exec(json!({"args": ["/bin/ionice"], "ioPriority": {"class": "IOPRIO_CLASS_IDLE"}})).ok();
    assert_eq!(shown, "idle\n");
    exec(json!({"scheduler": {"policy": "SCHED_X"}})).error_with(["process.scheduler.policy: `SCHED_X`"]);
    exec(json!({"scheduler": {"policy": "SCHED_ISO"}})).error_with(["`SCHED_ISO`", "Invalid argument"]);
    exec(json!({"ioPriority": {"class": "X"}})).error_with(["process.ioPriority.class: `X`"]);
    assert_eq!(container.status(), "running");
}

#[test]
fn mistakes_are_found_before_anything_is_made() {
    let crun = runtime!();
    for (scheduler, words) in [
        (json!({"policy": "SCHED_NORMAL"}), ["policy: `SCHED_NORMAL` is none of", "SCHED_OTHER"]),
        (json!({"nice": 5}), [": missing field", "policy"]),
        (json!({"policy": "SCHED_OTHER", "nice": 40}), ["nice: 40", "-20 to 19"]),
        (json!({"policy": "SCHED_OTHER", "priority": 1}), ["priority: 1", "SCHED_FIFO"]),
        (json!({"policy": "SCHED_DEADLINE", "runtime": 9, "deadline": 5}), ["runtime: 9", "deadline 5"]),
        (json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]}), ["flags[0]: `SCHED_FLAG_X`", "KEEP"]),
        (json!({"policy": "SCHED_OTHER", "nice": "5"}), ["nice: invalid type", "i32"]),
    ] {
        let line = crun.run(&scheduled(scheduler)).error();
        assert!(line.contains("process.scheduler"), "{line}");
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
    crun.run(&with_io(json!({"class": "IOPRIO_CLASS_BE", "priority": 8})).args(["true"]))
        .error_with(["process.ioPriority.priority: 8", "0 to 7"]);
}

#[test]
fn a_policy_that_the_kernel_refuses_leaves_nothing() {
    let crun = runtime!();
    let bundle = scheduled(json!({"policy": "SCHED_ISO"})).writable();
    let bundle = bundle.mount("/made/for/it", "tmpfs", "tmpfs", []);
    let line = crun.run(&bundle).error();
    assert_eq!(
        line,
        "process.scheduler: set the policy `SCHED_ISO` (Linux has reserved the name and does not implement it): Invalid \
         argument"
    );
    assert!(!bundle.rootfs().join("made").exists());
    let container = crun.container(&bundle);
    assert_eq!(container.cmd(["create", "--bundle", "BUNDLE", "ID"]).error(), line);
    container.deleted();
    assert!(!Path::new(&bundle.rootfs().join("made")).exists());
}
