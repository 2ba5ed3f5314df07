//! Limits in terms of the v2 controllers (the kernel's cgroup-v2.rst).

use std::borrow::Cow;

use super::{Cpu, IfMissing, Memory, Resources, Write};
use crate::error::{Error, Result};

/// The period the kernel uses when none is given, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

pub(super) fn writes(resources: &Resources) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    if let Some(memory) = &resources.memory {
        memory_writes(memory, &mut writes)?;
    }
    if let Some(cpu) = &resources.cpu {
        cpu_writes(cpu, &mut writes)?;
    }
    if let Some(pids) = resources.pids.filter(|pids| pids.limit != 0) {
        writes.push(Write::new("pids", "pids.max", max_or(pids.limit)));
    }
    unified_writes(resources, &mut writes)?;
    Ok(writes)
}

/// The v2 way to say "no limit" is the word `max`.
fn max_or(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn memory_writes(memory: &Memory, writes: &mut Vec<Write>) -> Result<()> {
    for (set, name) in [
        (memory.kernel.is_some(), "kernel"),
        (memory.kernel_tcp.is_some(), "kernelTCP"),
        (memory.swappiness.is_some(), "swappiness"),
        (memory.disable_oom_killer == Some(true), "disableOOMKiller"),
    ] {
        if set {
            return Err(Error::plain(format!("linux.resources.memory.{name}: cannot be set with cgroup v2")));
        }
    }
    if let Some(limit) = memory.limit.filter(|limit| *limit != 0) {
        writes.push(Write::new("memory", "memory.max", max_or(limit)));
    }
    if let Some(swap) = memory.swap.filter(|swap| *swap != 0) {
        let value = swap_only(memory.limit, swap)?;
        let if_missing = if value == "max" || value == "0" { IfMissing::Ignore } else { IfMissing::Fail };
        writes.push(Write { if_missing, ..Write::new("memory", "memory.swap.max", value) });
    }
    if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
        writes.push(Write::new("memory", "memory.low", max_or(reservation)));
    }
    Ok(())
}

/// The configuration counts memory and swap together, cgroup v2 swap alone.
fn swap_only(limit: Option<i64>, total: i64) -> Result<String> {
    if total < 0 {
        return Ok("max".to_owned());
    }
    let Some(limit) = limit.filter(|limit| *limit > 0) else {
        return Err(Error::plain("cannot set swap limit without the memory limit"));
    };
    if total < limit {
        return Err(Error::plain("cannot set memory+swap limit less than the memory limit"));
    }
    Ok((total - limit).to_string())
}

fn cpu_writes(cpu: &Cpu, writes: &mut Vec<Write>) -> Result<()> {
    if cpu.realtime_runtime.is_some_and(|value| value != 0)
        || cpu.realtime_period.is_some_and(|value| value != 0)
    {
        return Err(Error::plain("realtime limits not supported on cgroup v2"));
    }
    if let Some(idle) = cpu.idle {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        writes.push(Write::new("cpu", "cpu.weight", weight(shares)));
    }
    if cpu.quota.is_some_and(|quota| quota != 0) || cpu.period.is_some_and(|period| period != 0) {
        let quota = cpu.quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
        let period = cpu.period.filter(|period| *period != 0).unwrap_or(DEFAULT_PERIOD);
        writes.push(Write::new("cpu", "cpu.max", format!("{quota} {period}")));
    }
    if let Some(burst) = cpu.burst {
        writes.push(Write::new("cpu", "cpu.max.burst", burst));
    }
    for (list, file) in [(&cpu.cpus, "cpuset.cpus"), (&cpu.mems, "cpuset.mems")] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            writes.push(Write::new("cpuset", file, list));
        }
    }
    Ok(())
}

/// v1 shares (2 to 262 144, 1 024 by default) as a v2 weight (1 to 10 000, 100 by default), by the formula all
/// runtimes changed to in 2025: it maps the ends and the default onto each other.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = f64::from(u32::try_from(shares).unwrap_or(u32::MAX)).log2();
            let weight = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between the two ends the formula stays within 1 and 10 000, and it is rounded up"
            )]
            let weight = weight as u64;
            weight
        }
    }
}

/// `linux.resources.unified`: the file's own words, one write for each line.
fn unified_writes(resources: &Resources, writes: &mut Vec<Write>) -> Result<()> {
    for (file, value) in &resources.unified {
        if file.contains('/') || !file.contains('.') {
            return Err(Error::plain(format!(
                "linux.resources.unified: `{file}` is not the name of a cgroup file"
            )));
        }
        for line in value.lines() {
            writes.push(Write {
                controller: "unified",
                file: Cow::Owned(file.clone()),
                value: line.to_owned(),
                if_missing: IfMissing::Fail,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::resources::Pids;

    fn written(resources: &Resources) -> Vec<(String, String)> {
        let writes = resources.writes(&Layout::unified()).unwrap();
        writes.into_iter().map(|write| (write.file.into_owned(), write.value)).collect()
    }

    fn memory(memory: Memory) -> Resources {
        Resources { memory: Some(memory), ..Resources::default() }
    }

    #[test]
    fn the_default_shares_are_the_default_weight_and_the_ends_are_the_ends() {
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 100, 10_000));
    }

    #[test]
    fn a_weight_never_falls_as_shares_grow() {
        let weights: Vec<_> = (2..20_000).step_by(7).map(weight).collect();
        assert!(weights.is_sorted());
    }

    #[test]
    fn swap_is_written_without_the_memory_it_includes() {
        let both = memory(Memory { limit: Some(100), swap: Some(150), ..Memory::default() });
        assert_eq!(
            written(&both),
            [("memory.max".into(), "100".into()), ("memory.swap.max".into(), "50".into())]
        );
    }

    #[test]
    fn no_limit_is_the_word_max() {
        let unlimited = memory(Memory { limit: Some(-1), swap: Some(-1), ..Memory::default() });
        assert!(written(&unlimited).iter().all(|(_, value)| value == "max"));
    }

    #[test]
    fn swap_below_memory_is_refused() {
        let wrong = memory(Memory { limit: Some(100), swap: Some(99), ..Memory::default() });
        let error = wrong.writes(&Layout::unified()).unwrap_err();
        assert_eq!(error.message, "cannot set memory+swap limit less than the memory limit");
    }

    #[test]
    fn swap_alone_is_refused() {
        let wrong = memory(Memory { swap: Some(99), ..Memory::default() });
        let error = wrong.writes(&Layout::unified()).unwrap_err();
        assert_eq!(error.message, "cannot set swap limit without the memory limit");
    }

    #[test]
    fn a_quota_alone_takes_the_default_period_and_a_period_alone_no_quota() {
        let quota =
            Resources { cpu: Some(Cpu { quota: Some(50_000), ..Cpu::default() }), ..Resources::default() };
        assert_eq!(written(&quota), [("cpu.max".into(), "50000 100000".into())]);
        let period =
            Resources { cpu: Some(Cpu { period: Some(20_000), ..Cpu::default() }), ..Resources::default() };
        assert_eq!(written(&period), [("cpu.max".into(), "max 20000".into())]);
    }

    #[test]
    fn a_pids_limit_of_zero_is_none() {
        let none = Resources { pids: Some(Pids { limit: 0 }), ..Resources::default() };
        assert_eq!(written(&none), []);
    }

    #[test]
    fn unified_files_are_written_line_by_line_and_must_be_bare_names() {
        let mut resources = Resources::default();
        resources.unified.insert("io.max".into(), "8:0 rbps=1\n8:16 rbps=2".into());
        assert_eq!(written(&resources).len(), 2);
        resources.unified.insert("../cgroup.procs".into(), "1".into());
        assert!(resources.writes(&Layout::unified()).unwrap_err().message.contains("../cgroup.procs"));
    }
}
