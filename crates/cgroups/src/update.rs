//! Other limits for a cgroup that has some already.

use std::os::fd::AsFd;

use crate::cgroup::Cgroup;
use crate::error::Result;
use crate::files::read_small;
use crate::layout::{Hierarchy, Layout};
use crate::path::CgroupPath;
use crate::resources::{Cpu, Resources, Write};

/// Changes the limits of the cgroup at `path`, all of them or none. What `resources` does not speak of stays as it is.
///
/// # Errors
/// When limits contradict each other or cannot be had on this host; names the file and the value that were refused.
/// The limits are the former ones then.
pub fn update(layout: &Layout, path: &CgroupPath, resources: &Resources) -> Result<()> {
    let mut writes = resources.changes(layout)?;
    if writes.is_empty() {
        return Ok(());
    }
    let cgroup = Cgroup::open(&needed(layout, &writes), path)?;
    if let Some(cpu) = &resources.cpu {
        cgroup.keep_quota(cpu, &mut writes);
    }
    if let Some(memory) = &resources.memory {
        cgroup.has_room_for(memory, &writes)?;
    }
    cgroup.exchange(&writes).map(drop)
}

/// Only the hierarchies that are written to.
fn needed(layout: &Layout, writes: &[Write]) -> Layout {
    let is_written = |hierarchy: &&Hierarchy| {
        let has = |write: &Write| hierarchy.controllers.iter().any(|name| name == write.controller);
        layout.is_unified() || writes.iter().any(has)
    };
    Layout { hierarchies: layout.hierarchies.iter().filter(is_written).cloned().collect() }
}

impl Cgroup {
    /// v2 has quota and period in one file, which takes a quota alone but not a period: that gets the present quota.
    fn keep_quota(&self, cpu: &Cpu, writes: &mut [Write]) {
        let member = self.unified().filter(|_| cpu.quota.is_none_or(|quota| quota == 0));
        let Some(member) = member else { return };
        if let Some(write) = writes.iter_mut().find(|write| write.file == "cpu.max")
            && let Ok(present) = read_small(member.directory.as_fd(), "cpu.max")
        {
            write.value = with_quota_of(&present, &write.value);
        }
    }
}

/// `QUOTA PERIOD` with the former from the one and the latter from the other.
fn with_quota_of(present: &str, value: &str) -> String {
    match (present.split_whitespace().next(), value.split_whitespace().last()) {
        (Some(quota), Some(period)) => format!("{quota} {period}"),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Pids;

    #[test]
    fn a_new_period_keeps_the_quota() {
        assert_eq!(with_quota_of("50000 100000\n", "max 20000"), "50000 20000");
        assert_eq!(with_quota_of("max 100000\n", "max 20000"), "max 20000");
        assert_eq!(with_quota_of("", "max 20000"), "max 20000");
    }

    #[test]
    fn only_the_hierarchies_that_are_written_to_are_opened() {
        let hierarchy = |name: &str| Hierarchy {
            directory: name.to_owned(),
            unified: name == "unified",
            controllers: if name == "unified" { vec![] } else { vec![name.to_owned()] },
        };
        let layout = Layout { hierarchies: ["unified", "memory", "pids"].map(hierarchy).to_vec() };
        let resources = Resources { pids: Some(Pids { limit: 7 }), ..Resources::default() };
        let needed_here = |layout: &Layout| needed(layout, &resources.changes(layout).unwrap());
        assert_eq!(needed_here(&layout).hierarchies, [hierarchy("pids")]);
        assert_eq!(needed_here(&Layout::unified()), Layout::unified());
    }
}
