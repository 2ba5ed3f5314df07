//! Whether a cgroup has run out of memory.

use std::os::fd::AsFd;

use crate::cgroup::Cgroup;
use crate::files::read_small;

impl Cgroup {
    /// Whether a process of the cgroup found no memory and was killed for it, or was about to be.
    #[must_use]
    pub fn has_run_out_of_memory(&self) -> bool {
        let has_event = |text: &str, names: &[&str]| {
            text.lines()
                .filter_map(|line| line.split_once(' '))
                .any(|(name, count)| names.contains(&name) && count.trim() != "0")
        };
        self.members.iter().any(|member| {
            let (file, names): (_, &[_]) = if member.hierarchy.unified {
                ("memory.events", &["oom", "oom_kill"])
            } else if member.hierarchy.controllers.iter().any(|name| name == "memory") {
                ("memory.oom_control", &["oom_kill"])
            } else {
                return false;
            };
            read_small(member.directory.as_fd(), file).is_ok_and(|text| has_event(&text, names))
        })
    }
}
