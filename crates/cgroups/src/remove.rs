//! Ending what runs in a cgroup and removing its directories.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::files::{open_below, read_small, write_value};
use crate::make::parent_of;

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
    /// Thaws the processes in all hierarchies, for those that a v1 freezer keeps from dying.
    pub(crate) thaw: &'a dyn Fn(),
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
        Leftovers::Kill => {
            let killed = signal_all(Some(directory.as_fd()), Signal::KILL.as_raw());
            // Also after an error: what was killed cannot die before.
            (when_busy.thaw)();
            killed?;
        }
        // As long as somebody is there, the cgroups below are theirs too, also those that are empty.
        Leftovers::Leave if !processes(directory.as_fd())?.is_empty() => {
            return if attempt < ATTEMPTS_BESIDE_OTHERS { Ok(()) } else { Err(Errno::BUSY) };
        }
        Leftovers::Leave => {}
    }
    for child in children(directory.as_fd())? {
        remove_tree(root, &format!("{path}/{child}"), when_busy)?;
    }
    Ok(())
}

/// Lets the frozen processes of a v1 freezer cgroup and of those below it go on (cgroup-v1/freezer-subsystem.rst).
/// What fails is left: whether a process dies shows when it is waited for.
pub(crate) fn thaw(directory: BorrowedFd<'_>) {
    let _ = write_value(directory, "freezer.state", b"THAWED");
    for child in children(directory).unwrap_or_default() {
        if let Ok(child) = open_below(directory, &child) {
            thaw(child.as_fd());
        }
    }
}

/// Sends `signal` to every process in a cgroup and below it: SIGKILL in one step where the kernel has
/// `cgroup.kill` (Linux 5.14), otherwise process by process, once: one that is forked meanwhile may
/// be missed.
pub(crate) fn signal_all(directory: Option<BorrowedFd<'_>>, signal: i32) -> Result<(), Errno> {
    let Some(directory) = directory else { return Ok(()) };
    if signal == Signal::KILL.as_raw() && write_value(directory, "cgroup.kill", b"1").is_ok() {
        return Ok(());
    }
    for pid in processes(directory)? {
        match Signal::from_named_raw(signal) {
            Some(signal) => drop(kill_process(pid, signal)),
            None => {
                if let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
                    let _ = sys::signal::send(pidfd.as_fd(), signal);
                }
            }
        }
    }
    Ok(())
}

/// The pids in a cgroup and in all below it.
pub(crate) fn processes(directory: BorrowedFd<'_>) -> Result<Vec<Pid>, Errno> {
    let list = match read_small(directory, "cgroup.procs") {
        // Removed in the meantime, or a threaded cgroup, whose processes its parent lists.
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut pids: Vec<Pid> =
        list.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw).collect();
    for child in children(directory)? {
        if let Ok(child) = open_below(directory, &child) {
            pids.extend(processes(child.as_fd())?);
        }
    }
    Ok(pids)
}

/// The names of the cgroups directly below one.
fn children(directory: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    let entries = match Dir::read_from(directory) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(names),
        other => other?,
    };
    for entry in entries {
        let entry = match entry {
            Err(Errno::NOENT | Errno::NODEV) => break,
            other => other?,
        };
        if entry.file_type() == FileType::Directory
            && let Ok(name) = entry.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
