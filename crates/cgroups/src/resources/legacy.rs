//! Limits in terms of the v1 controllers (the kernel's cgroup-v1/*.rst).

use super::{Cpu, IfMissing, Memory, Resources, Write};
use crate::error::{Error, Result};

pub(super) fn writes(resources: &Resources) -> Result<Vec<Write>> {
    if !resources.unified.is_empty() {
        return Err(Error::plain("linux.resources.unified: needs a cgroup v2 host"));
    }
    let mut writes = Vec::new();
    if let Some(memory) = &resources.memory {
        memory_writes(memory, &mut writes)?;
    }
    if let Some(cpu) = &resources.cpu {
        cpu_writes(cpu, &mut writes);
    }
    if let Some(pids) = resources.pids.filter(|pids| pids.limit != 0) {
        let limit = if pids.limit < 0 { "max".to_owned() } else { pids.limit.to_string() };
        writes.push(Write::new("pids", "pids.max", limit));
    }
    Ok(writes)
}

fn memory_writes(memory: &Memory, writes: &mut Vec<Write>) -> Result<()> {
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    if let (Some(limit), Some(swap)) = (memory.limit, set(memory.swap))
        && swap > 0
        && limit > swap
    {
        return Err(Error::plain("cannot set memory+swap limit less than the memory limit"));
    }
    for (value, file, if_missing) in [
        (memory.limit, "memory.limit_in_bytes", IfMissing::Fail),
        // Without swap accounting the file is missing, and so is anything that "no limit" could lift.
        (memory.swap, "memory.memsw.limit_in_bytes", missing_swap_file(memory)),
        (memory.reservation, "memory.soft_limit_in_bytes", IfMissing::Fail),
        // The kernel has no limit on kernel memory any more since 5.4 and ignores or lacks the file.
        (memory.kernel, "memory.kmem.limit_in_bytes", IfMissing::Ignore),
        (memory.kernel_tcp, "memory.kmem.tcp.limit_in_bytes", IfMissing::Fail),
    ] {
        if let Some(value) = set(value) {
            writes.push(Write { if_missing, ..Write::new("memory", file, value) });
        }
    }
    if let Some(swappiness) = memory.swappiness {
        writes.push(Write::new("memory", "memory.swappiness", swappiness));
    }
    if memory.disable_oom_killer == Some(true) {
        writes.push(Write::new("memory", "memory.oom_control", 1));
    }
    Ok(())
}

fn missing_swap_file(memory: &Memory) -> IfMissing {
    match (memory.swap, memory.limit) {
        (Some(swap), _) if swap < 0 => IfMissing::Ignore,
        (Some(swap), Some(limit)) if swap == limit => IfMissing::Ignore,
        _ => IfMissing::Fail,
    }
}

fn cpu_writes(cpu: &Cpu, writes: &mut Vec<Write>) {
    // The period comes first: a quota is checked against the period that is in force.
    for (value, file) in [
        (cpu.shares.map(i128::from), "cpu.shares"),
        (cpu.period.map(i128::from), "cpu.cfs_period_us"),
        (cpu.quota.map(i128::from), "cpu.cfs_quota_us"),
        (cpu.realtime_period.map(i128::from), "cpu.rt_period_us"),
        (cpu.realtime_runtime.map(i128::from), "cpu.rt_runtime_us"),
    ] {
        if let Some(value) = value.filter(|value| *value != 0) {
            writes.push(Write::new("cpu", file, value));
        }
    }
    if let Some(burst) = cpu.burst {
        writes.push(Write::new("cpu", "cpu.cfs_burst_us", burst));
    }
    if let Some(idle) = cpu.idle {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    for (list, file) in [(&cpu.cpus, "cpuset.cpus"), (&cpu.mems, "cpuset.mems")] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            writes.push(Write::new("cpuset", file, list));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resources: &Resources) -> Vec<String> {
        let writes = writes(resources).unwrap();
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
    fn unified_files_need_a_v2_host() {
        let mut resources = Resources::default();
        resources.unified.insert("memory.high".into(), "1".into());
        assert!(writes(&resources).unwrap_err().message.contains("cgroup v2"));
    }
}
