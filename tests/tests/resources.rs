//! Limits of every kind as a container meets them: on block devices, huge pages, time, processes; and what is said where one
//! cannot be had. On the machine's own layout of cgroups, and on version 2 where the reason is the same with no controller.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped};
use kit::loop_device::LoopDevice;
use kit::{cpu, runtime, runtime_on_v2};
use serde_json::{Value, json};

fn with_resources(resources: Value) -> Bundle {
    Bundle::new().set("/linux/resources", resources)
}

/// Whether containers have this controller here; says so if not.
fn has(crun: &Crun, controller: &str) -> bool {
    let found = crun.start(&Bundle::new().args(["sleep", "99"])).cgroup(controller).is_some();
    if !found {
        skipped(format!("there is no {controller} controller here"));
    }
    found
}

/// The name block devices' controller has here; says so if there is none.
fn block_controller(crun: &Crun) -> Option<&'static str> {
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let found = ["blkio", "io"].into_iter().find(|name| container.cgroup(name).is_some());
    if found.is_none() {
        skipped("there is no controller for block devices here");
    }
    found
}

/// The content of the first of these files that exists in the container's cgroup of the controller.
fn read<const N: usize>(container: &Container, controller: &str, files: [&str; N]) -> Option<String> {
    let dir = container.cgroup(controller)?;
    files.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok()).map(|text| text.trim().to_owned())
}

#[test]
fn with_a_limit_of_ten_the_eleventh_process_fails() {
    let crun = runtime!();
    if !has(&crun, "pids") {
        return;
    }
    // The shell is the first; it ends when it cannot fork.
    let script = "for i in $(seq 2 20); do sleep 99 & echo $i; done; echo no limit";
    let output = crun.run(&with_resources(json!({"pids": {"limit": 10}})).sh(script));
    assert!(output.stdout.ends_with("\n10\n") && output.stderr.contains("can't fork"), "{output}");
}

#[test]
fn a_quota_is_what_a_busy_process_gets() {
    let crun = runtime!();
    if !has(&crun, "cpu") {
        return;
    }
    let limit = json!({"cpu": {"quota": 20_000, "period": 100_000}});
    let container = crun.start(&with_resources(limit).sh("while :; do :; done"));
    cpu::assert_share(&container, 0.2);
}

#[test]
fn a_process_sees_only_the_cpus_of_its_cpuset() {
    let crun = runtime!();
    if !has(&crun, "cpuset") {
        return;
    }
    let nproc = |resources| crun.run(&with_resources(resources).args(["nproc"])).ok();
    assert_eq!(nproc(json!({"cpu": {"cpus": "0", "mems": "0"}})), "1\n");
    let all = std::thread::available_parallelism().unwrap();
    assert_eq!(nproc(json!({})), format!("{all}\n"));
}

#[test]
fn idle_burst_and_quota_are_set() {
    let crun = runtime!();
    if !has(&crun, "cpu") {
        return;
    }
    let limits = json!({"cpu": {"idle": 1, "quota": 50_000, "burst": 10_000}});
    let container = crun.start(&with_resources(limits).args(["sleep", "99"]));
    let Some(idle) = read(&container, "cpu", ["cpu.idle"]) else {
        return skipped("this kernel has no cpu.idle");
    };
    assert_eq!(idle, "1");
    assert_eq!(read(&container, "cpu", ["cpu.cfs_burst_us", "cpu.max.burst"]).unwrap(), "10000");
    let quota = read(&container, "cpu", ["cpu.cfs_quota_us", "cpu.max"]).unwrap();
    assert_eq!(quota.split(' ').next(), Some("50000"));
}

/// The seconds a container takes to read 1.5 MiB of a device, with these limits for it.
fn time_to_read(crun: &Crun, device: &LoopDevice, block_io: &Value) -> f64 {
    let bundle = Bundle::new()
        .set("/linux/devices", json!([device.node("/dev/disk")]))
        .edit(|config| {
            config["linux"]["resources"]["devices"].as_array_mut().unwrap().push(device.rule());
            config["linux"]["resources"]["blockIO"] = block_io.clone();
        })
        .sh("time dd if=/dev/disk of=/dev/null bs=64k count=24 iflag=direct");
    let output = crun.run(&bundle);
    assert!(output.code == 0 && output.stderr.contains("24+0 records in"), "{output}");
    let real = output.stderr.lines().find_map(|line| line.strip_prefix("real")).expect("the time");
    let (minutes, seconds) = real.trim().split_once("m ").unwrap();
    minutes.parse::<f64>().unwrap() * 60.0 + seconds.trim_end_matches('s').parse::<f64>().unwrap()
}

#[test]
fn a_limit_of_reads_slows_them_down() {
    let crun = runtime!();
    if block_controller(&crun).is_none() {
        return;
    }
    let device = match LoopDevice::new(4 << 20) {
        Ok(device) => device,
        Err(reason) => return skipped(reason),
    };
    let free = time_to_read(&crun, &device, &json!({}));
    if free > 0.5 {
        return skipped(format!("this machine is too slow to tell: it takes {free} s without a limit"));
    }
    // 1.5 MiB at 1 MiB in a second, 24 reads at 16 in a second; the first part is free.
    for (key, rate) in [("throttleReadBpsDevice", 1 << 20), ("throttleReadIOPSDevice", 16)] {
        let throttle = json!([{"major": LoopDevice::MAJOR, "minor": device.minor(), "rate": rate}]);
        let limited = time_to_read(&crun, &device, &json!({key: throttle}));
        assert!(limited > 0.8, "{key}: {limited} s, without a limit {free} s");
    }
}

#[test]
fn rates_and_weights_of_block_devices_are_set() {
    let crun = runtime!();
    let Some(controller) = block_controller(&crun) else { return };
    let device = match LoopDevice::new(1 << 20) {
        Ok(device) => device,
        Err(reason) => return skipped(reason),
    };
    let rate = |rate: u64| json!([{"major": LoopDevice::MAJOR, "minor": device.minor(), "rate": rate}]);
    let limits = json!({"blockIO": {
        "throttleReadBpsDevice": rate(1000), "throttleWriteBpsDevice": rate(2000),
        "throttleReadIOPSDevice": rate(30), "throttleWriteIOPSDevice": rate(40),
    }});
    let container = crun.start(&with_resources(limits).args(["sleep", "99"]));
    let name = format!("{}:{}", LoopDevice::MAJOR, device.minor());
    if controller == "io" {
        let line = read(&container, "io", ["io.max"]).unwrap();
        assert_eq!(line, format!("{name} rbps=1000 wbps=2000 riops=30 wiops=40"));
    } else {
        for (file, value) in [("read_bps", 1000), ("write_bps", 2000), ("read_iops", 30), ("write_iops", 40)]
        {
            let line = read(&container, "blkio", [&format!("blkio.throttle.{file}_device")]).unwrap();
            assert_eq!(line, format!("{name} {value}"));
        }
    }
}

#[test]
fn the_weight_is_set_in_the_file_there_is() {
    let crun = runtime!();
    let Some(controller) = block_controller(&crun) else { return };
    let files = ["blkio.bfq.weight", "blkio.weight", "io.bfq.weight", "io.weight"];
    let sleeper = crun.start(&Bundle::new().args(["sleep", "99"]));
    let limits = json!({"blockIO": {"weight": 10}});
    if read(&sleeper, controller, files).is_none() {
        crun.run(&with_resources(limits).args(["true"])).error_with(["weight", "No such file or directory"]);
        return;
    }
    let container = crun.start(&with_resources(limits).args(["sleep", "99"]));
    let found = read(&container, controller, files).unwrap();
    assert!(["10", "default 10", "default 1"].contains(&found.as_str()), "{found}");
}

/// The size of the huge pages there are, as the kernel writes it in the names of files.
fn huge_page_size() -> Option<&'static str> {
    let free = |name: &str| Path::new("/sys/kernel/mm/hugepages").join(name).join("free_hugepages");
    let has_some = |name: &str| fs::read_to_string(free(name)).is_ok_and(|count| count.trim() != "0");
    [("hugepages-2048kB", "2MB"), ("hugepages-32768kB", "32MB")]
        .into_iter()
        .find(|(name, _)| has_some(name))
        .map(|(_, size)| size)
}

#[test]
fn huge_pages_beyond_the_limit_cannot_be_had() {
    let crun = runtime!();
    if !has(&crun, "hugetlb") {
        return;
    }
    let Some(size) = huge_page_size() else {
        return skipped("no huge pages are set aside here (vm.nr_hugepages)");
    };
    let bytes: u64 = size.trim_end_matches("MB").parse::<u64>().unwrap() << 20;
    let limits = json!({"hugepageLimits": [{"pageSize": size, "limit": bytes}]});
    let script =
        format!("fallocate -l {bytes} /huge/a && echo one; fallocate -l {bytes} /huge/b || echo no more");
    let bundle = with_resources(limits).mount("/huge", "hugetlbfs", "huge", []);
    assert_eq!(crun.run(&bundle.clone().sh(&script)).stdout, "one\nno more\n");
    let container = crun.start(&bundle.args(["sleep", "99"]));
    for file in [format!("hugetlb.{size}.max"), format!("hugetlb.{size}.rsvd.max")] {
        let legacy = file.replace(".max", ".limit_in_bytes");
        assert_eq!(read(&container, "hugetlb", [&*legacy, &*file]).unwrap(), bytes.to_string(), "{file}");
    }
}

#[test]
fn a_controller_that_is_not_there_is_named() {
    let crun = runtime_on_v2!();
    let lists = ["/sys/fs/cgroup/unified/cgroup.controllers", "/sys/fs/cgroup/cgroup.controllers"];
    let there = lists.iter().find_map(|list| fs::read_to_string(list).ok()).unwrap();
    for (resources, controller) in [
        (json!({"memory": {"limit": 1 << 30}}), "memory"),
        (json!({"cpu": {"shares": 100}}), "cpu"),
        (json!({"cpu": {"cpus": "0"}}), "cpuset"),
        (json!({"pids": {"limit": 100}}), "pids"),
        (json!({"blockIO": {"weight": 100}}), "io"),
        (json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}), "hugetlb"),
        (json!({"rdma": {"mlx5_0": {"hcaHandles": 1}}}), "rdma"),
        (json!({"unified": {"nonsense.max": "1"}}), "nonsense"),
    ] {
        if !there.split_whitespace().any(|name| name == controller) {
            let expected = format!("controller `{controller}` is not available under /sys/fs/cgroup/");
            crun.run(&with_resources(resources).args(["true"])).error_with([&expected]);
        }
    }
}

#[test]
fn a_missing_file_of_the_cgroup_itself_is_named() {
    let crun = runtime_on_v2!();
    let line = crun.run(&with_resources(json!({"unified": {"cgroup.nonsense": "1"}})).args(["true"])).error();
    assert!(line.starts_with("write `1` to `/sys/fs/cgroup/"), "{line}");
    assert!(line.ends_with("/cgroup.nonsense`: No such file or directory"), "{line}");
}

#[test]
fn a_name_that_leads_elsewhere_is_no_unified_file() {
    let crun = runtime_on_v2!();
    for name in ["../cgroup.procs", "..", "a/b.c", "/cgroup.procs", "memory", "memory."] {
        let expected = format!("linux.resources.unified: `{name}` is not the name of a cgroup file");
        crun.run(&with_resources(json!({"unified": {name: "1"}})).args(["true"])).error_with([&expected]);
    }
}

#[test]
fn what_version_2_cannot_do_is_refused() {
    let crun = runtime_on_v2!();
    for (resources, words) in [
        (json!({"memory": {"kernel": 1}}), "linux.resources.memory.kernel"),
        (json!({"memory": {"kernelTCP": 1}}), "linux.resources.memory.kernelTCP"),
        (json!({"memory": {"swappiness": 1}}), "linux.resources.memory.swappiness"),
        (json!({"memory": {"disableOOMKiller": true}}), "linux.resources.memory.disableOOMKiller"),
        (json!({"memory": {"swap": 1}}), "cannot set swap limit without the memory limit"),
        (json!({"cpu": {"realtimeRuntime": 1}}), "realtime limits not supported"),
        (json!({"blockIO": {"leafWeight": 100}}), "linux.resources.blockIO.leafWeight"),
        (json!({"network": {"classID": 1}}), "network limits not supported"),
    ] {
        crun.run(&with_resources(resources).args(["true"])).error_with([words]);
    }
}

#[test]
fn values_out_of_range_are_refused_on_every_layout() {
    for crun in [runtime!(), runtime_on_v2!()] {
        for (resources, words) in [
            (
                json!({"blockIO": {"weight": 9}}),
                "linux.resources.blockIO.weight: 9 is not within 10 and 1000",
            ),
            (json!({"cpu": {"idle": 2}}), "linux.resources.cpu.idle: 2 is neither 0 nor 1"),
            (json!({"cpu": {"idle": 1, "shares": 5}}), "linux.resources.cpu.idle"),
            (json!({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}), "`../2MB` is not a size"),
            (json!({"memory": {"limit": 100, "swap": 50}}), "less than the memory limit"),
            (json!({"blockIO": {"weight": 70_000}}), "linux.resources.blockIO.weight: invalid value"),
        ] {
            crun.run(&with_resources(resources).args(["true"])).error_with([words]);
        }
    }
}

#[test]
fn limits_need_a_cgroup() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    for resources in [
        json!({"blockIO": {"weight": 100}}),
        json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}),
        json!({"network": {"classID": 1}}),
        json!({"rdma": {"mlx5_0": {"hcaHandles": 1}}}),
    ] {
        crun.run(&with_resources(resources).args(["true"])).error_with(["cannot set limits without cgroups"]);
    }
}
