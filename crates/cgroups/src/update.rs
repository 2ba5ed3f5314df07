//! Other limits for a cgroup that has some already.

use std::os::fd::AsFd;

use crate::cgroup::Cgroup;
use crate::devices;
use crate::error::Result;
use crate::files::read_small;
use crate::layout::{Hierarchy, Layout};
use crate::path::CgroupPath;
use crate::resources::{Cpu, Resources, Write};

/// Tells who manages a cgroup what is written into it.
pub type Manager<'m> = dyn Fn(&[Write]) -> Result<()> + 'm;

/// Changes the limits of the cgroup at `path`, all of them or none. What `resources` does not speak of stays as it is;
/// its device rules only take away (see [`Cgroup::tighten_devices`]).
///
/// A cgroup that somebody else manages has a `manager`, which is told the writes once the kernel has taken them. Returns
/// what was written.
///
/// # Errors
/// When limits contradict each other or cannot be had on this host; names the file and the value that were refused.
/// The limits are the former ones then.
pub fn update(
    layout: &Layout,
    path: &CgroupPath,
    resources: &Resources,
    manager: Option<&Manager<'_>>,
) -> Result<Vec<Write>> {
    let mut writes = resources.changes(layout)?;
    let rules = devices::rules(&resources.devices)?;
    let mut controllers: Vec<&str> = writes.iter().map(|write| write.controller).collect();
    controllers.extend((!rules.is_empty()).then_some("devices"));
    if controllers.is_empty() {
        return Ok(writes);
    }
    let cgroup = Cgroup::open(&needed(layout, &controllers), path)?;
    if let Some(cpu) = &resources.cpu {
        cgroup.complete_bandwidth(cpu, &mut writes);
    }
    if let Some(memory) = &resources.memory {
        cgroup.has_room_for(memory, &writes)?;
    }
    let exchange = cgroup.exchange(&writes)?;
    // The devices last, because what is taken away does not come back.
    let rest = || {
        if let Some(tell) = manager {
            tell(&writes)?;
            // It writes the limits, too, as exactly as it knows them.
            cgroup.apply(&writes)?;
        }
        cgroup.tighten_devices(&rules)
    };
    match rest() {
        Ok(()) => Ok(writes),
        Err(error) => Err(exchange.take_back(error)),
    }
}

/// Only the hierarchies that have these controllers.
fn needed(layout: &Layout, controllers: &[&str]) -> Layout {
    let is_needed = |hierarchy: &&Hierarchy| {
        controllers.iter().any(|controller| {
            if hierarchy.unified { layout.is_unified_for(controller) } else { hierarchy.has(controller) }
        })
    };
    Layout { hierarchies: layout.hierarchies.iter().filter(is_needed).cloned().collect() }
}

impl Cgroup {
    /// v2 has quota and period in one file. Where only one of them is given, it comes with the other as it is.
    fn complete_bandwidth(&self, cpu: &Cpu, writes: &mut [Write]) {
        let is_set =
            [cpu.quota.is_some_and(|quota| quota != 0), cpu.period.is_some_and(|period| period != 0)];
        let Some(member) = self.unified().filter(|_| is_set[0] != is_set[1]) else { return };
        if let Some(write) = writes.iter_mut().find(|write| write.file == "cpu.max")
            && let Ok(present) = read_small(member.directory.as_fd(), "cpu.max")
        {
            write.value = completed(&write.value, &present, is_set[0]);
        }
    }
}

/// `QUOTA PERIOD` with one of them from `value`, the quota or else the period, and the other from what is there.
fn completed(value: &str, present: &str, quota: bool) -> String {
    let (first, last) = if quota { (value, present) } else { (present, value) };
    match (first.split_whitespace().next(), last.split_whitespace().last()) {
        (Some(quota), Some(period)) => format!("{quota} {period}"),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_period_keeps_the_quota_and_a_new_quota_the_period() {
        assert_eq!(completed("5000", "max 20000\n", true), "5000 20000");
        assert_eq!(completed("max", "5000 20000\n", true), "max 20000");
        assert_eq!(completed("5000", "", true), "5000");
        assert_eq!(completed("max 20000", "50000 100000\n", false), "50000 20000");
        assert_eq!(completed("max 20000", "max 100000\n", false), "max 20000");
        assert_eq!(completed("max 20000", "", false), "max 20000");
    }

    #[test]
    fn only_the_hierarchies_that_are_written_to_are_opened() {
        let hierarchy = |name: &str| Hierarchy {
            directory: name.to_owned(),
            unified: name == "unified",
            controllers: if name == "unified" { vec![] } else { vec![name.to_owned()] },
        };
        let layout = Layout { hierarchies: ["unified", "memory", "pids"].map(hierarchy).to_vec() };
        assert_eq!(needed(&layout, &["pids"]).hierarchies, [hierarchy("pids")]);
        assert_eq!(needed(&layout, &["pids", "devices"]).hierarchies, ["unified", "pids"].map(hierarchy));
        assert_eq!(needed(&Layout::unified(), &["pids"]), Layout::unified());
    }
}
