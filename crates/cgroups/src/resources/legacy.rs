//! Limits in terms of the v1 controllers (the kernel's cgroup-v1/*.rst).

use super::{Cpu, IfMissing, Memory, Moment, Resources, Write, rdma};
use crate::error::{Error, Result};
use crate::layout::Layout;

pub(super) fn writes(resources: &Resources, moment: Moment, layout: &Layout) -> Result<Vec<Write>> {
    if !resources.unified.is_empty() {
        return Err(Error::plain("linux.resources.unified: needs a cgroup v2 host"));
    }
    let mut writes = Vec::new();
    if let Some(memory) = &resources.memory {
        memory_writes(memory, moment, &mut writes)?;
    }
    if let Some(cpu) = &resources.cpu {
        cpu_writes(cpu, &mut writes)?;
    }
    if let Some(limit) = resources.pids.and_then(super::Pids::value) {
        writes.push(Write::new("pids", "pids.max", limit));
    }
    if let Some(block_io) = &resources.block_io {
        block_io.legacy_writes(&mut writes)?;
    }
    // The controllers that come last are often left to the v2 tree beside the v1 hierarchies.
    let suffix = if layout.is_unified_for("hugetlb") { "max" } else { "limit_in_bytes" };
    for limit in &resources.hugepage_limits {
        limit.writes(suffix, &mut writes)?;
    }
    if let Some(network) = &resources.network {
        network.legacy_writes(&mut writes)?;
    }
    rdma::writes(resources, &mut writes)?;
    Ok(writes)
}

fn memory_writes(memory: &Memory, moment: Moment, writes: &mut Vec<Write>) -> Result<()> {
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    if let (Some(limit), Some(swap)) = (memory.limit, set(memory.swap))
        && swap > 0
        && limit > swap
    {
        return Err(Error::plain("cannot set memory+swap limit less than the memory limit"));
    }
    // Before there is anything below the cgroup; an older kernel without it, or a newer with nothing else, has no say.
    if memory.use_hierarchy == Some(true) {
        writes.push(Write::new("memory", "memory.use_hierarchy", 1).if_missing(IfMissing::Ignore));
    }
    // The limit of memory can never be above that of memory and swap, so which of the two comes first depends on
    // whether they grow or shrink.
    if let Some(limit) = set(memory.limit) {
        writes.push(Write::new("memory", "memory.limit_in_bytes", at_least_none(limit)).interdependent());
    }
    let lifts = moment == Moment::Update && memory.limit.is_some_and(|limit| limit < 0);
    if let Some(swap) = set(memory.swap).or(lifts.then_some(-1)) {
        let write = Write::new("memory", "memory.memsw.limit_in_bytes", at_least_none(swap));
        writes.push(write.if_missing(missing_swap_file(memory, swap)).interdependent());
    }
    for (value, file, if_missing) in [
        (memory.reservation, "memory.soft_limit_in_bytes", IfMissing::Fail),
        // The kernel has no limit on kernel memory any more since 5.4 and ignores, refuses or lacks the file.
        (memory.kernel, "memory.kmem.limit_in_bytes", IfMissing::Ignore),
        (memory.kernel_tcp, "memory.kmem.tcp.limit_in_bytes", IfMissing::Fail),
    ] {
        if let Some(value) = set(value) {
            writes.push(Write::new("memory", file, at_least_none(value)).if_missing(if_missing));
        }
    }
    if let Some(swappiness) = memory.swappiness {
        writes.push(Write::new("memory", "memory.swappiness", swappiness));
    }
    match memory.disable_oom_killer {
        Some(true) => writes.push(Write::new("memory", "memory.oom_control", 1)),
        Some(false) if moment == Moment::Update => {
            writes.push(Write::new("memory", "memory.oom_control", 0));
        }
        _ => {}
    }
    Ok(())
}

/// The kernel knows −1 for no limit, and no other number below 0.
fn at_least_none(value: i64) -> i64 {
    value.max(-1)
}

/// Without swap accounting the file is missing, and so is anything that "no limit" could lift.
fn missing_swap_file(memory: &Memory, swap: i64) -> IfMissing {
    if swap < 0 || memory.limit == Some(swap) { IfMissing::Ignore } else { IfMissing::Fail }
}

/// The most a group can have, and the least (`MAX_SHARES`, `MIN_SHARES`).
const SHARES: (u64, u64) = (2, 1 << 18);

fn cpu_writes(cpu: &Cpu, writes: &mut Vec<Write>) -> Result<()> {
    let (shares, idle) = cpu.shares_and_idle()?;
    if let Some(idle) = idle {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    if let Some(shares) = shares {
        writes.push(Write::new("cpu", "cpu.shares", shares.clamp(SHARES.0, SHARES.1)));
    }
    // A quota is checked against the period that is in force and the parent's share of time, and a burst against the
    // quota, so the order depends on what is there.
    for (value, file) in [
        (cpu.period.map(i128::from), "cpu.cfs_period_us"),
        (cpu.quota.map(at_least_none).map(i128::from), "cpu.cfs_quota_us"),
        (cpu.realtime_period.map(i128::from), "cpu.rt_period_us"),
        (cpu.realtime_runtime.map(at_least_none).map(i128::from), "cpu.rt_runtime_us"),
    ] {
        if let Some(value) = value.filter(|value| *value != 0) {
            writes.push(Write::new("cpu", file, value).interdependent());
        }
    }
    if let Some(burst) = cpu.burst {
        writes.push(Write::new("cpu", "cpu.cfs_burst_us", burst).interdependent());
    }
    for (list, file) in [(&cpu.cpus, "cpuset.cpus"), (&cpu.mems, "cpuset.mems")] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            writes.push(Write::new("cpuset", file, list));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Hierarchy;

    const V1: Layout = Layout { hierarchies: Vec::new() };

    fn written(resources: &Resources) -> Vec<String> {
        let writes = writes(resources, Moment::Start, &V1).unwrap();
        writes.iter().map(|write| format!("{}/{}={}", write.controller, write.file, write.value)).collect()
    }

    #[test]
    fn the_period_is_written_before_the_quota() {
        let cpu = Cpu { quota: Some(5_000), period: Some(10_000), ..Cpu::default() };
        let resources = Resources { cpu: Some(cpu), ..Resources::default() };
        assert_eq!(written(&resources), ["cpu/cpu.cfs_period_us=10000", "cpu/cpu.cfs_quota_us=5000"]);
    }

    #[test]
    fn memory_is_written_before_memory_and_swap() {
        let memory = Memory { limit: Some(100), swap: Some(200), ..Memory::default() };
        let resources = Resources { memory: Some(memory), ..Resources::default() };
        assert_eq!(
            written(&resources),
            ["memory/memory.limit_in_bytes=100", "memory/memory.memsw.limit_in_bytes=200"]
        );
    }

    #[test]
    fn a_controller_of_the_v2_tree_gets_its_limits_there_on_a_hybrid_host() {
        let limit = serde_json::from_str(r#"{"pageSize":"2MB","limit":1}"#).unwrap();
        let resources = Resources { hugepage_limits: vec![limit], ..Resources::default() };
        let first = |layout: &Layout| resources.writes(layout).unwrap()[0].file.clone();
        let mut hybrid = Layout::unified();
        let directory = "cpu".to_owned();
        hybrid.hierarchies.push(Hierarchy {
            controllers: vec![directory.clone()],
            directory,
            unified: false,
        });
        assert_eq!(first(&hybrid), "hugetlb.2MB.max");
        hybrid.hierarchies[1].controllers.push("hugetlb".into());
        assert_eq!(first(&hybrid), "hugetlb.2MB.limit_in_bytes");
        assert_eq!(first(&V1), "hugetlb.2MB.limit_in_bytes");
    }

    #[test]
    fn unified_files_need_a_v2_host() {
        let mut resources = Resources::default();
        resources.unified.insert("memory.high".into(), "1".into());
        assert!(writes(&resources, Moment::Start, &V1).unwrap_err().message.contains("cgroup v2"));
    }
}
