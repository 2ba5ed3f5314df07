//! Making the controllers of the v2 tree available in a cgroup: each level above has to hand them on
//! (cgroup-v2.rst, "Enabling and Disabling").
//!
//! Nobody waits for a controller that is not used. What cannot be had when the cgroup is made is tried again, with
//! patience, when a limit needs it, and only then it is an error.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::cgroup::{Cgroup, Member};
use crate::error::{Error, Result};
use crate::files::{open_below, read_small, write_value};
use crate::path::CgroupPath;

/// The v2 controllers a container gets when the host has them.
pub const CONTROLLERS: [&str; 7] = ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids"];

/// How often, a millisecond apart, a level is tried again that has processes in it: they may be on their way out, as
/// those are that an engine or systemd has just put into cgroups of their own.
const ATTEMPTS: u32 = 1000;

fn has(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|word| word == name)
}

/// Makes the controllers of the root available in the container's cgroup, unless they are already.
pub(crate) fn enable_controllers(member: &Member, path: &CgroupPath) -> Result<()> {
    let here = read_list(member.directory.as_fd(), || member.file(path, "cgroup.controllers"))?;
    if CONTROLLERS.iter().all(|name| has(&here, name)) {
        return Ok(());
    }
    let at_root = read_list(member.root.as_fd(), || member.file(&CgroupPath::root(), "cgroup.controllers"))?;
    let missing: Vec<&str> =
        CONTROLLERS.into_iter().filter(|name| has(&at_root, name) && !has(&here, name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for level in levels_above(path) {
        let level = open_level(member, level)?;
        let _ = enable(level.as_fd(), &missing);
    }
    Ok(())
}

/// Lets the cgroups directly below `directory` use all that this one can; `named` is what its files are called.
pub(crate) fn hand_on(directory: BorrowedFd<'_>, named: impl Fn(&str) -> String) -> Result<()> {
    let here = read_list(directory, || named("cgroup.controllers"))?;
    let wanted: Vec<&str> = CONTROLLERS.into_iter().filter(|name| has(&here, name)).collect();
    if !wanted.is_empty() {
        let _ = enable(directory, &wanted);
    }
    Ok(())
}

impl Cgroup {
    /// Makes a controller available that a limit needs, if the host has it.
    ///
    /// # Errors
    /// Names the level that does not hand it on.
    pub(crate) fn insist_on(&self, controller: &str) -> Result<()> {
        let Some(member) = self.unified() else { return Err(self.unavailable(controller)) };
        let at_root =
            read_list(member.root.as_fd(), || member.file(&CgroupPath::root(), "cgroup.controllers"))?;
        if !has(&at_root, controller) {
            return Err(self.unavailable(controller));
        }
        for level in levels_above(&self.path) {
            let directory = open_level(member, level)?;
            enable_patiently(directory.as_fd(), controller).map_err(|errno| {
                let file = member.file(&CgroupPath::new(Some(level), ""), "cgroup.subtree_control");
                Error::at(&format!("write `+{controller}` to"), file, errno)
            })?;
        }
        Ok(())
    }
}

fn enable_patiently(directory: BorrowedFd<'_>, controller: &str) -> core::result::Result<(), Errno> {
    for _ in 1..ATTEMPTS {
        match enable(directory, &[controller]) {
            Err(Errno::BUSY) => std::thread::sleep(Duration::from_millis(1)),
            other => return other,
        }
    }
    enable(directory, &[controller])
}

/// Hands controllers on, all in one write where that goes. One that cannot be had (a threaded cgroup, realtime
/// processes, which the cpu controller does not take) must not take the others with it. `EBUSY` where processes are.
fn enable(directory: BorrowedFd<'_>, names: &[&str]) -> core::result::Result<(), Errno> {
    if holds_processes(directory) {
        return Err(Errno::BUSY);
    }
    let all: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
    let write = |value: &str| write_value(directory, "cgroup.subtree_control", value.as_bytes());
    match write(&all.join(" ")) {
        Err(_) if all.len() > 1 => {
            let mut first_error = Ok(());
            for one in &all {
                first_error = first_error.and(write(one));
            }
            first_error
        }
        other => other,
    }
}

/// Whether there are processes in the cgroup itself, unless it is the root of all. The kernel refuses to hand on most
/// controllers then, but hands on those that can tell threads apart (cpu, cpuset, pids): with that the cgroup becomes the
/// root of a threaded subtree, and those below take no process any more (cgroup-v2.rst, "Threads").
fn holds_processes(directory: BorrowedFd<'_>) -> bool {
    let is_domain = read_small(directory, "cgroup.type").is_ok_and(|kind| kind.trim() == "domain");
    is_domain && read_small(directory, "cgroup.procs").is_ok_and(|list| !list.is_empty())
}

/// The levels that have to hand a controller on: all from the root to the cgroup's parent.
fn levels_above(path: &CgroupPath) -> impl Iterator<Item = &str> {
    std::iter::once("").chain(path.levels().filter(|level| *level != path.below_root()))
}

fn open_level(member: &Member, level: &str) -> Result<std::os::fd::OwnedFd> {
    open_below(member.root.as_fd(), level)
        .map_err(|errno| Error::at("open", member.directory_named(level), errno))
}

fn read_list(directory: BorrowedFd<'_>, named: impl Fn() -> String) -> Result<String> {
    read_small(directory, "cgroup.controllers").map_err(|errno| Error::at("read", named(), errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_above_a_cgroup_hands_its_controllers_on_but_not_itself() {
        let path = CgroupPath::new(Some("/a/b/c"), "");
        assert_eq!(levels_above(&path).collect::<Vec<_>>(), ["", "a", "a/b"]);
    }
}
