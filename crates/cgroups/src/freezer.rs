//! Freezing and thawing the processes of a cgroup.

use std::os::fd::AsFd;

use crate::cgroup::{Cgroup, Member};
use crate::files::read_small;
use crate::remove;

impl Cgroup {
    /// Whether the processes are frozen (`crun pause`).
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let frozen = |member: &Member| {
            if member.hierarchy.controllers.iter().any(|name| name == "freezer") {
                read_small(member.directory.as_fd(), "freezer.state")
                    .is_ok_and(|state| state.trim() == "FROZEN")
            } else if member.hierarchy.unified {
                read_small(member.directory.as_fd(), "cgroup.events")
                    .is_ok_and(|events| events.lines().any(|line| line == "frozen 1"))
            } else {
                false
            }
        };
        self.members.iter().any(frozen)
    }

    /// Thaws the processes that the v1 freezer has frozen, so that a signal that ends them does. That of v2 lets it through
    /// (cgroup-v2.rst, `cgroup.freeze`).
    pub fn thaw(&self) {
        let is_freezer = |member: &&Member| member.hierarchy.controllers.iter().any(|name| name == "freezer");
        for member in self.members.iter().filter(is_freezer) {
            remove::thaw(member.directory.as_fd());
        }
    }
}
