//! `events`: the contract of runc, which containerd and monitoring tools decode.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped, wait_for};
use kit::running::Running;
use kit::{runtime, runtime_on_v2};
use serde_json::{Value, json};

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

fn statistics(container: &Container) -> Value {
    let text = container.cmd(["events", "--stats", "ID"]).ok();
    assert_eq!(text.lines().count(), 1, "{text}");
    let event: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(container.id())));
    event["data"].clone()
}

/// Whether containers get these controllers on this machine: without, a limit is an error.
fn here(crun: &Crun, controllers: &[&str]) -> bool {
    let container = crun.start(&sleeper());
    controllers.iter().all(|controller| has(&container, controller))
}

/// Whether the controller counts in a cgroup of the container's own.
fn has(container: &Container, controller: &str) -> bool {
    let found = container.cgroup(controller).is_some_and(|dir| dir.ends_with(container.id()));
    if !found {
        skipped(format!("there is no {controller} controller here"));
    }
    found
}

fn watch(container: &Container, crun: &Crun, interval: &str) -> Running {
    crun.spawn(crun.command(container.args(["events", "--interval", interval, "ID"])))
}

/// Waits until it waits itself, which it does with descriptors open for what it waits for: from then on nothing escapes it.
fn wait_watching(watching: &Running) {
    let proc = PathBuf::from(format!("/proc/{}", watching.runtime()));
    let has_pidfd = || {
        let mut open = fs::read_dir(proc.join("fd")).ok()?.flatten();
        open.any(|fd| fs::read_link(fd.path()).is_ok_and(|file| file.ends_with("anon_inode:[pidfd]")))
            .then_some(())
    };
    wait_for("`events` to wait", || {
        has_pidfd()?;
        let stat = fs::read_to_string(proc.join("stat")).ok()?;
        stat.contains(") S ").then_some(())
    });
}

#[test]
fn every_section_is_there_whatever_is_measured() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&sleeper());
        let data = statistics(&container);
        let keys: Vec<_> = data.as_object().unwrap().keys().map(String::as_str).collect();
        let sections =
            ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"];
        assert_eq!(keys, sections, "{layout}");
        for usage in ["usage", "swap", "kernel", "kernelTCP"] {
            let usage = &data["memory"][usage];
            assert!(usage["limit"].is_u64() && usage["failcnt"].is_u64(), "{layout}: {usage}");
        }
        assert!(data["cpu"]["usage"]["kernel"].is_u64() && data["cpu"]["usage"]["user"].is_u64(), "{layout}");
        assert_eq!(data["pids"]["current"], 1, "{layout}");
        assert_eq!(data["network_interfaces"], Value::Null, "{layout}");
    }
}

#[test]
fn what_a_container_uses_shows() {
    let crun = runtime!();
    if !here(&crun, &["memory", "pids"]) {
        return;
    }
    let limits = json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 20}});
    let script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; \
                  dd if=/dev/zero of=/dev/shm/x bs=1M count=8 2>/dev/null; echo up; exec sleep 99";
    let container = crun.start(&Bundle::new().set("/linux/resources", limits).sh(script));
    container.wait_output("up");
    let data = statistics(&container);
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 1_000_000, "{data}");
    let memory = &data["memory"];
    assert_eq!(memory["usage"]["limit"], 67_108_864, "{data}");
    assert!(memory["usage"]["usage"].as_u64().unwrap() >= 8 << 20, "{data}");
    assert!(memory["usage"]["max"].as_u64() >= memory["usage"]["usage"].as_u64(), "{data}");
    assert!(memory["cache"].as_u64().unwrap() >= 8 << 20, "{data}");
    assert!(memory["raw"]["pgfault"].as_u64().unwrap() > 0, "{data}");
    assert_eq!(data["pids"], json!({"current": 1, "limit": 20}));
}

#[test]
fn a_quota_that_is_felt_shows() {
    let crun = runtime!();
    let quota = json!({"cpu": {"quota": 5_000, "period": 100_000}});
    if !here(&crun, &["cpu"]) {
        return;
    }
    let container = crun.start(&Bundle::new().set("/linux/resources", quota).sh("while :; do :; done"));
    // The time is counted when the wait is over, which is after the period has been.
    wait_for("a wait that is over", || {
        let throttling = statistics(&container)["cpu"]["throttling"].clone();
        let is_felt = |name: &str| throttling[name].as_u64().is_some_and(|value| value > 0);
        (is_felt("periods") && is_felt("throttledPeriods") && is_felt("throttledTime")).then_some(())
    });
}

#[test]
fn interfaces_of_its_network_namespace_show_and_those_of_the_host_do_not() {
    let crun = runtime!();
    let shared = crun.start(&sleeper().namespace("network", None).unset("/linux/resources"));
    assert_eq!(statistics(&shared)["network_interfaces"], Value::Null);
    let own = crun.start(&sleeper());
    let pid = own.pid().to_string();
    let made = std::process::Command::new("nsenter")
        .args(["-t", &pid, "-n", "ip", "link", "add", "test0", "type", "dummy"])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return skipped("no interface can be made here");
    }
    let interfaces = &statistics(&own)["network_interfaces"];
    assert_eq!(interfaces.as_array().unwrap().len(), 1, "{interfaces}");
    assert_eq!((&interfaces[0]["Name"], &interfaces[0]["TxBytes"]), (&json!("test0"), &json!(0)));
}

#[test]
fn created_and_paused_containers_have_statistics_and_stopped_ones_none() {
    let crun = runtime!();
    let container = crun.create(&sleeper());
    let _ = statistics(&container);
    assert_eq!(container.cmd(["pause", "ID"]).ok(), "");
    let _ = statistics(&container);
    container.kill("KILL");
    container.wait();
    let stopped = format!("container with id {} is not running", container.id());
    for args in [&["events", "ID"][..], &["events", "--stats", "ID"]] {
        let args = args.iter().map(|arg| if *arg == "ID" { container.id() } else { arg });
        assert_eq!(crun.cmd(args.collect::<Vec<_>>()).error(), stopped);
    }
    crun.cmd(["events", "--stats", "nobody"]).error_with(["container `nobody` does not exist"]);
}

#[test]
fn the_interval_is_a_duration_above_zero() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    for interval in ["0", "0s", "-1s"] {
        let error = container.cmd(["events", "--stats", "--interval", interval, "ID"]).error();
        assert_eq!(error, "duration interval must be greater than 0", "{interval}");
    }
    container.cmd(["events", "--interval", "5", "ID"]).error_with(["--interval", "`5` is not a duration"]);
    let _ = container.cmd(["events", "--stats", "--interval", "1m30s", "ID"]).ok();
}

#[test]
fn statistics_come_at_every_interval_until_the_container_ends() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&sleeper());
        let start = Instant::now();
        let watching = watch(&container, &crun, "100ms");
        wait_for("three lines", || (watching.stdout().lines().count() >= 3).then_some(()));
        assert!(start.elapsed() >= Duration::from_millis(300), "{layout}");
        container.kill("KILL");
        for line in watching.wait().ok().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["type"], "stats", "{layout}: {line}");
        }
    }
}

#[test]
fn the_end_is_not_kept_waiting_by_a_long_interval() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&sleeper());
        let watching = watch(&container, &crun, "1h");
        wait_watching(&watching);
        container.delete();
        assert_eq!(watching.wait().ok(), "", "{layout}");
    }
}

#[test]
fn processes_that_outlive_the_first_one_keep_it_going() {
    for (layout, crun) in Crun::on_every_layout() {
        let bundle = Bundle::new().namespace("pid", None);
        let container = crun.start(&bundle.sh("(sleep 97; true) & echo up; exec sleep 98"));
        container.wait_output("up");
        let watching = watch(&container, &crun, "50ms");
        wait_for("a line", || (!watching.stdout().is_empty()).then_some(()));
        // Not SIGKILL, which would end them all.
        container.kill("TERM");
        container.wait();
        let before = watching.stdout().lines().count();
        wait_for("another line", || (watching.stdout().lines().count() > before + 6).then_some(()));
        assert_eq!(container.cmd(["kill", "--all", "ID", "KILL"]).ok(), "", "{layout}");
        assert_eq!(watching.wait().code, 0, "{layout}");
    }
}

#[test]
fn each_process_that_is_killed_for_want_of_memory_is_told() {
    for (layout, crun) in Crun::on_every_layout() {
        let limit = json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}});
        let probe = crun.start(&sleeper());
        if !has(&probe, "memory") {
            continue;
        }
        let script = "until [ -e /dev/shm/go ]; do sleep 0.02; done; tail /dev/zero; tail /dev/zero; echo done; exec sleep 99";
        let container = crun.start(&Bundle::new().set("/linux/resources", limit).sh(script));
        let watching = watch(&container, &crun, "1h");
        wait_watching(&watching);
        assert_eq!(container.cmd(["exec", "ID", "touch", "/dev/shm/go"]).ok(), "", "{layout}");
        container.wait_output("done");
        let line = format!("{{\"type\":\"oom\",\"id\":\"{}\"}}\n", container.id());
        wait_for("both kills", || (watching.stdout() == line.repeat(2)).then_some(()));
        container.kill("KILL");
        assert_eq!(watching.wait().stdout, line.repeat(2), "{layout}");
    }
}

#[test]
fn the_kill_that_ends_the_container_is_told_too() {
    for (layout, crun) in Crun::on_every_layout() {
        if !has(&crun.start(&sleeper()), "memory") {
            continue;
        }
        let limit = json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}});
        let script = "until [ -e /dev/shm/go ]; do sleep 0.02; done; exec tail /dev/zero";
        let container = crun.start(&Bundle::new().set("/linux/resources", limit).sh(script));
        let watching = watch(&container, &crun, "1h");
        wait_watching(&watching);
        assert_eq!(container.cmd(["exec", "ID", "touch", "/dev/shm/go"]).ok(), "", "{layout}");
        let told = watching.wait().ok();
        assert_eq!(told, format!("{{\"type\":\"oom\",\"id\":\"{}\"}}\n", container.id()), "{layout}");
    }
}

/// `events` with its output in a pipe.
fn piped(
    crun: &Crun,
    container: &Container,
    interval: &str,
) -> (std::process::Child, BufReader<std::process::ChildStdout>) {
    let mut command = crun.command(container.args(["events", "--interval", interval, "ID"]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let reader = BufReader::new(child.stdout.take().unwrap());
    (child, reader)
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    for interval in ["20ms", "1h"] {
        let (mut child, mut reader) = piped(&crun, &container, interval);
        if interval == "20ms" {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert!(line.starts_with("{\"type\":\"stats\""), "{line}");
        }
        drop(reader);
        let status = wait_for("the end of `events`", || child.try_wait().unwrap());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{interval}");
    }
}

#[test]
fn a_failure_to_write_is_told() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    let mut command = crun.command(container.args(["events", "--interval", "10ms", "ID"]));
    command.stdout(File::options().write(true).open("/dev/full").unwrap()).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("No space left on device"), "{said}");
}

#[test]
fn a_container_without_a_cgroup_has_none() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    let container = crun.start(&sleeper().unset("/linux/resources"));
    let log = tempfile::NamedTempFile::new().unwrap();
    let telling = crun.with(&format!("--log={}", log.path().display())).with("--log-format=json");
    // The same error whoever is asked.
    for command in [&["events", "--stats"][..], &["pause"], &["ps"], &["update", "--pids-limit=5"]] {
        let output = telling.cmd([command, &[container.id()]].concat());
        assert_eq!(output.error(), "the container is not using cgroups", "{command:?}");
    }
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches("\"code\":\"wrong-state\"").count(), 4, "{text}");
}

#[test]
fn pressure_shows_on_version_2() {
    let crun = runtime_on_v2!();
    let container = crun.start(&sleeper());
    let data = statistics(&container);
    if data["cpu"].get("psi").is_none() {
        return skipped("the kernel does not count pressure");
    }
    for section in ["cpu", "memory", "blkio"] {
        for kind in ["some", "full"] {
            let stall = &data[section]["psi"][kind];
            assert!(stall["avg10"].is_number() && stall["total"].is_u64(), "{section}: {stall}");
        }
    }
}
