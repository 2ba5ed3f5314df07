//! Ending what runs in a cgroup and removing its directories.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use crate::files::open_below;
use crate::make::parent_of;
use crate::processes::processes;
use crate::walk::walk;

/// What is done about processes that are in a cgroup when it is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// They are killed.
    Kill,
    /// They are somebody else's, and the cgroup is left to them.
    Leave,
}

/// What to do when a cgroup does not go at once.
pub(crate) struct WhenBusy<'a> {
    /// Asked only then.
    pub(crate) leftovers: &'a dyn Fn() -> Leftovers,
    /// Kills the processes in this directory and below it, also frozen ones.
    pub(crate) kill: &'a dyn Fn(BorrowedFd<'_>) -> Result<(), Errno>,
}

/// How often a busy cgroup is tried again before it is an error: with the pauses of [`pause`] about five seconds.
const ATTEMPTS: u32 = 520;

/// How often before whoever is still in it counts as somebody who stays: about a tenth of a second.
const ATTEMPTS_BESIDE_OTHERS: u32 = 30;

/// The pause after a failed attempt: short at first, because a killed process is usually gone at once.
fn pause(attempt: u32) -> Duration {
    Duration::from_micros(if attempt < 20 { 200 } else { 10_000 })
}

/// Removes the last `count` levels of `path`, from the end, each with everything below it. Only the last one may be emptied
/// of processes; parents are left alone when something else lives in them.
pub(crate) fn levels(
    root: BorrowedFd<'_>,
    path: &str,
    count: usize,
    when_busy: &WhenBusy<'_>,
) -> Result<(), Errno> {
    let mut level = path;
    for index in 0..count {
        if index == 0 {
            remove_tree(root, level, when_busy)?;
        } else {
            match unlinkat(root, level, AtFlags::REMOVEDIR) {
                Err(Errno::BUSY | Errno::NOTEMPTY) => return Ok(()),
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        level = parent_of(level);
    }
    Ok(())
}

/// Removes one cgroup with all below it.
fn remove_tree(root: BorrowedFd<'_>, path: &str, when_busy: &WhenBusy<'_>) -> Result<(), Errno> {
    for attempt in 0..ATTEMPTS {
        match unlinkat(root, path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) => {}
            Err(errno) => return Err(errno),
        }
        // The first failure may only mean that the last process is still on its way out.
        if attempt > 0 {
            empty_out(root, path, attempt, when_busy)?;
        }
        std::thread::sleep(pause(attempt));
    }
    Err(Errno::BUSY)
}

/// Sees to the processes of a cgroup and removes the cgroups below it.
fn empty_out(root: BorrowedFd<'_>, path: &str, attempt: u32, when_busy: &WhenBusy<'_>) -> Result<(), Errno> {
    let directory = match open_below(root, path) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    match (when_busy.leftovers)() {
        Leftovers::Kill => (when_busy.kill)(directory.as_fd())?,
        // As long as somebody is there, the cgroups below are theirs too, also those that are empty.
        Leftovers::Leave if !processes(directory.as_fd())?.is_empty() => {
            return if attempt < ATTEMPTS_BESIDE_OTHERS { Ok(()) } else { Err(Errno::BUSY) };
        }
        Leftovers::Leave => {}
    }
    walk(
        directory.as_fd(),
        |_| Ok(()),
        |parent, name| match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            // Still busy, or busy again: the next attempt sees to it.
            Ok(()) | Err(Errno::NOENT | Errno::NODEV | Errno::BUSY | Errno::NOTEMPTY) => Ok(()),
            Err(errno) => Err(errno),
        },
    )
}
