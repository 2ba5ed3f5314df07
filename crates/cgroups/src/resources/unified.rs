//! Limits in terms of the v2 controllers (the kernel's cgroup-v2.rst).

use std::borrow::Cow;

use super::{Cpu, IfMissing, Memory, Moment, Resources, Write, invalid, rdma};
use crate::error::{Error, Result};

pub(super) fn writes(resources: &Resources, moment: Moment) -> Result<Vec<Write>> {
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
        block_io.unified_writes(&mut writes)?;
    }
    for limit in &resources.hugepage_limits {
        limit.writes("max", &mut writes)?;
    }
    if let Some(network) = &resources.network {
        network.unified_writes()?;
    }
    rdma::writes(resources, &mut writes)?;
    unified_writes(resources, &mut writes)?;
    Ok(writes)
}

/// The v2 way to say "no limit" is the word `max`.
fn max_or(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn memory_writes(memory: &Memory, moment: Moment, writes: &mut Vec<Write>) -> Result<()> {
    for (set, name) in [
        (memory.kernel.is_some(), "kernel"),
        (memory.kernel_tcp.is_some(), "kernelTCP"),
        (memory.swappiness.is_some(), "swappiness"),
        (memory.disable_oom_killer == Some(true), "disableOOMKiller"),
        (memory.use_hierarchy.is_some(), "useHierarchy"),
    ] {
        if set {
            return Err(invalid(&format!("memory.{name}"), "cannot be set with cgroup v2"));
        }
    }
    if let Some(limit) = memory.limit.filter(|limit| *limit != 0) {
        writes.push(Write::new("memory", "memory.max", max_or(limit)));
    }
    if let Some(swap) = total_swap(memory, moment) {
        let value = swap_only(memory.limit, swap)?;
        let if_missing = if value == "max" || value == "0" { IfMissing::Ignore } else { IfMissing::Fail };
        writes.push(Write::new("memory", "memory.swap.max", value).if_missing(if_missing));
    }
    if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
        writes.push(Write::new("memory", "memory.low", max_or(reservation)));
    }
    Ok(())
}

/// The limit of memory and swap together. Lifting that of memory lifts it, too.
fn total_swap(memory: &Memory, moment: Moment) -> Option<i64> {
    let lifts = moment == Moment::Update && memory.limit.is_some_and(|limit| limit < 0);
    memory.swap.filter(|swap| *swap != 0).or(lifts.then_some(-1))
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
        return Err(Error::plain("linux.resources.cpu: realtime limits not supported on cgroup v2"));
    }
    let (shares, idle) = cpu.shares_and_idle()?;
    if let Some(idle) = idle {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    if let Some(shares) = shares {
        writes.push(Write::new("cpu", "cpu.weight", weight(shares)));
    }
    if let Some(limit) = bandwidth(cpu) {
        writes.push(Write::new("cpu", "cpu.max", limit).interdependent());
    }
    if let Some(burst) = cpu.burst {
        writes.push(Write::new("cpu", "cpu.max.burst", burst).interdependent());
    }
    for (list, file) in [(&cpu.cpus, "cpuset.cpus"), (&cpu.mems, "cpuset.mems")] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            writes.push(Write::new("cpuset", file, list));
        }
    }
    Ok(())
}

/// `QUOTA PERIOD`. Without a period the kernel keeps its present one, which is the default in a new cgroup.
fn bandwidth(cpu: &Cpu) -> Option<String> {
    let quota = cpu.quota.filter(|quota| *quota != 0).map(max_or);
    match (quota, cpu.period.filter(|period| *period != 0)) {
        (None, None) => None,
        (Some(quota), None) => Some(quota),
        (quota, Some(period)) => Some(format!("{} {period}", quota.as_deref().unwrap_or("max"))),
    }
}

/// v1 shares (2 to 262 144, 1 024 by default) as a v2 weight (1 to 10 000, 100 by default), by the formula all
/// runtimes changed to in 2025: it maps the ends and the default onto each other.
pub(super) fn weight(shares: u64) -> u64 {
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

/// `linux.resources.unified`: the file's own words, one write for each line. An empty value empties the file, for which
/// a line without anything has to be written.
fn unified_writes(resources: &Resources, writes: &mut Vec<Write>) -> Result<()> {
    for (file, value) in &resources.unified {
        if !is_file_of_a_controller(file) {
            let what = format!("`{file}` is not the name of a cgroup file in the form CONTROLLER.NAME");
            return Err(invalid("unified", what));
        }
        let lines = value.lines().filter(|line| !line.trim().is_empty());
        let write = |line| Write::new("unified", Cow::Owned(file.clone()), line);
        writes.extend(lines.map(write));
        if value.trim().is_empty() {
            writes.push(write("\n"));
        }
    }
    Ok(())
}

/// Letters, digits and the like between dots: nothing that could lead out of the cgroup's directory.
fn is_file_of_a_controller(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    name.contains('.') && name.split('.').all(is_word)
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
    fn a_quota_alone_leaves_the_period_to_the_kernel_and_a_period_alone_has_no_quota() {
        let quota =
            Resources { cpu: Some(Cpu { quota: Some(50_000), ..Cpu::default() }), ..Resources::default() };
        assert_eq!(written(&quota), [("cpu.max".into(), "50000".into())]);
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
        for name in ["../cgroup.procs", "..", ".", "a..b", "memory.", ".max", "memory", "a/b.c", "", "a b.c"]
        {
            resources.unified = [(name.to_owned(), "1".to_owned())].into();
            let error = resources.writes(&Layout::unified()).unwrap_err();
            assert!(error.message.contains(&format!("`{name}` is not the name")), "{error}");
        }
    }

    #[test]
    fn an_empty_value_of_a_unified_file_is_written_as_an_empty_line() {
        let resources =
            Resources { unified: [("cpuset.cpus".into(), String::new())].into(), ..Resources::default() };
        assert_eq!(written(&resources), [("cpuset.cpus".into(), "\n".into())]);
    }

    #[test]
    fn unified_files_come_last() {
        let mut resources = memory(Memory { limit: Some(100), ..Memory::default() });
        resources.unified.insert("cpu.weight".into(), "7".into());
        resources.rdma.insert("m".into(), serde_json::from_str(r#"{"hcaHandles":1}"#).unwrap());
        assert_eq!(written(&resources).last().unwrap().0, "cpu.weight");
    }

    #[test]
    fn what_v2_has_no_file_for_is_refused_by_name() {
        for (memory, name) in [
            (Memory { kernel: Some(1), ..Memory::default() }, "kernel"),
            (Memory { kernel_tcp: Some(1), ..Memory::default() }, "kernelTCP"),
            (Memory { swappiness: Some(1), ..Memory::default() }, "swappiness"),
            (Memory { disable_oom_killer: Some(true), ..Memory::default() }, "disableOOMKiller"),
            (Memory { use_hierarchy: Some(true), ..Memory::default() }, "useHierarchy"),
        ] {
            let resources = Resources { memory: Some(memory), ..Resources::default() };
            let error = resources.writes(&Layout::unified()).unwrap_err();
            let expected = format!("linux.resources.memory.{name}: cannot be set with cgroup v2");
            assert_eq!(error.message, expected);
        }
    }

    fn cpu(cpu: Cpu) -> Resources {
        Resources { cpu: Some(cpu), ..Resources::default() }
    }

    #[test]
    fn realtime_limits_are_refused() {
        for wrong in [
            Cpu { realtime_runtime: Some(1), ..Cpu::default() },
            Cpu { realtime_period: Some(1), ..Cpu::default() },
        ] {
            let error = cpu(wrong).writes(&Layout::unified()).unwrap_err();
            assert!(error.message.contains("realtime limits not supported"), "{error}");
        }
    }

    #[test]
    fn idle_goes_with_no_shares_and_has_two_values() {
        let both = |idle| cpu(Cpu { shares: Some(100), idle: Some(idle), ..Cpu::default() });
        assert!(both(1).writes(&Layout::unified()).unwrap_err().message.contains("cannot have `shares`"));
        let files: Vec<_> = written(&both(0)).into_iter().map(|(file, _)| file).collect();
        assert_eq!(files, ["cpu.idle", "cpu.weight"]);
        assert!(both(2).writes(&Layout::unified()).unwrap_err().message.contains("cpu.idle: 2"));
    }

    #[test]
    fn lifting_the_memory_limit_lifts_that_of_swap_where_there_was_one() {
        let unlimited = memory(Memory { limit: Some(-1), ..Memory::default() });
        assert_eq!(written(&unlimited).len(), 1);
        let changes = unlimited.changes(&Layout::unified()).unwrap();
        let files: Vec<_> = changes.iter().map(|write| (&*write.file, &*write.value)).collect();
        assert_eq!(files, [("memory.max", "max"), ("memory.swap.max", "max")]);
    }
}
