//! Whether a memory limit has room for what is used already.

use std::os::fd::AsFd;

use crate::apply::below_usage;
use crate::cgroup::{Cgroup, Member};
use crate::error::Result;
use crate::files::read_small;
use crate::resources::{Memory, Write};

/// What is used of memory, and where it could go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Usage {
    used: u64,
    /// Caches, which the kernel gives up when memory is short.
    caches: u64,
    /// Free swap that the cgroup may use.
    swap: u64,
}

impl Usage {
    /// What the kernel cannot push out in any way; the rest of a limit below that is made by killing.
    fn immovable(self) -> u64 {
        self.used.saturating_sub(self.caches).saturating_sub(self.swap)
    }
}

impl Cgroup {
    /// Refuses a limit that what is used does not fit into: any such, where the configuration asks for that, and otherwise
    /// those that the kernel of a v2 host could only enforce by killing. On v1 it refuses them itself.
    pub(crate) fn has_room_for(&self, memory: &Memory, writes: &[Write]) -> Result<()> {
        let Some(limit) = memory.limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0)
        else {
            return Ok(());
        };
        let strict = memory.check_before_update == Some(true);
        let Some(member) = self.member_for("memory").filter(|member| strict || member.hierarchy.unified)
        else {
            return Ok(());
        };
        let file = if member.hierarchy.unified { "memory.current" } else { "memory.usage_in_bytes" };
        // Without the file there is no controller, which the write of the limit is the one to tell.
        let Some(used) = number(member, file).filter(|used| *used > limit) else { return Ok(()) };
        if !strict && usage(member, used, writes).immovable() <= limit {
            return Ok(());
        }
        let name = if member.hierarchy.unified { "memory.max" } else { "memory.limit_in_bytes" };
        let attempt = format!("write `{limit}` to `{}`", member.file(&self.path, name));
        Err(below_usage("memory", &attempt, &used.to_string(), None))
    }
}

fn usage(member: &Member, used: u64, writes: &[Write]) -> Usage {
    let caches = read_small(member.directory.as_fd(), "memory.stat").map_or(0, |text| caches(&text));
    let new = writes.iter().find(|write| write.file == "memory.swap.max").map(|write| write.value.clone());
    let allowed = new.or_else(|| read_small(member.directory.as_fd(), "memory.swap.max").ok());
    let swapped = number(member, "memory.swap.current").unwrap_or(0);
    Usage { used, caches, swap: swap_room(allowed.as_deref(), swapped, free_swap()) }
}

fn number(member: &Member, file: &str) -> Option<u64> {
    read_small(member.directory.as_fd(), file).ok()?.trim().parse().ok()
}

/// What `memory.stat` has in caches that can be given up.
fn caches(stat: &str) -> u64 {
    let is_cache = |name: &str| matches!(name, "active_file" | "inactive_file" | "slab_reclaimable");
    let lines = stat.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| is_cache(name));
    lines.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).fold(0, u64::saturating_add)
}

/// How much more may be swapped out, given `memory.swap.max` (a kernel without it has no swap for cgroups).
fn swap_room(allowed: Option<&str>, swapped: u64, free: u64) -> u64 {
    match allowed.map(str::trim) {
        None => 0,
        Some("max") => free,
        Some(number) => number.parse().unwrap_or(0_u64).saturating_sub(swapped).min(free),
    }
}

fn free_swap() -> u64 {
    let host = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "its width depends on the architecture")]
    u64::try_from(host.freeswap).unwrap_or(u64::MAX).saturating_mul(host.mem_unit.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_and_what_can_be_swapped_out_make_room() {
        let usage = Usage { used: 100, caches: 30, swap: 20 };
        assert_eq!(usage.immovable(), 50);
        assert_eq!(Usage { used: 100, caches: 300, swap: 0 }.immovable(), 0);
    }

    #[test]
    fn memory_of_programs_is_no_cache() {
        let stat =
            "anon 1000\nfile 64\nshmem 4\nactive_file 10\ninactive_file 50\nslab_reclaimable 3\nslab 9\n";
        assert_eq!(caches(stat), 63);
        assert_eq!(caches(""), 0);
    }

    #[test]
    fn swap_is_what_both_the_host_and_the_limit_leave() {
        assert_eq!(swap_room(Some("max\n"), 5, 100), 100);
        assert_eq!(swap_room(Some("50\n"), 20, 100), 30);
        assert_eq!(swap_room(Some("50\n"), 20, 10), 10);
        assert_eq!(swap_room(Some("0"), 20, 100), 0);
        assert_eq!(swap_room(None, 0, 100), 0);
    }
}
