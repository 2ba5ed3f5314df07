//! Ending what runs in a cgroup and removing its directories.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::cgroup::parent_of;
use crate::files::{open_below, read_small, write_value};

/// How often a busy cgroup is tried again before it is an error: with the pauses of [`pause`] about five seconds.
const ATTEMPTS: u32 = 520;

/// The pause after a failed attempt: short at first, because a killed process is usually gone at once.
fn pause(attempt: u32) -> Duration {
    Duration::from_micros(if attempt < 20 { 200 } else { 10_000 })
}

/// Removes the last `count` levels of `path`, from the end, each with everything below it and in it. Parents are
/// left alone when something else lives in them.
pub(crate) fn levels(root: BorrowedFd<'_>, path: &str, count: usize) -> Result<(), Errno> {
    let mut level = path;
    for index in 0..count {
        match remove_tree(root, level) {
            Err(Errno::BUSY | Errno::NOTEMPTY) if index > 0 => return Ok(()),
            other => other?,
        }
        level = parent_of(level);
    }
    Ok(())
}

/// Removes one cgroup with all below it, killing what is left in them.
fn remove_tree(root: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    for attempt in 0..ATTEMPTS {
        match unlinkat(root, path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) => {}
            Err(errno) => return Err(errno),
        }
        // The first failure may only mean that the last process is still on its way out.
        if attempt > 0 {
            empty_out(root, path)?;
        }
        std::thread::sleep(pause(attempt));
    }
    Err(Errno::BUSY)
}

/// Kills the processes of a cgroup and removes the cgroups below it.
fn empty_out(root: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let directory = match open_below(root, path) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    signal_all(Some(directory.as_fd()), Signal::KILL.as_raw())?;
    for child in children(directory.as_fd())? {
        remove_tree(root, &format!("{path}/{child}"))?;
    }
    Ok(())
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
