//! Cgroups and directories of a tool that is running, named by the process that owns them, so that what is left by one
//! that was killed can be told from what is in use, and is removed by the next that comes along.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

/// Makes a cgroup at the root of the unified hierarchy, and removes those with this prefix whose owner is gone.
///
/// # Errors
/// No cgroup2 mount on this machine, or one that cannot be written to.
pub fn cgroup(prefix: &str) -> Result<PathBuf> {
    let base = unified_mount()?;
    abandoned(&base, prefix).iter().for_each(|cgroup| remove_cgroup(cgroup));
    let cgroup = base.join(name(prefix)?);
    fs::create_dir(&cgroup).with_context(|| format!("cannot create the cgroup {}", cgroup.display()))?;
    Ok(cgroup)
}

/// Makes a directory below `base`, and removes those with this prefix whose owner is gone.
///
/// # Errors
/// The file system's.
pub fn directory(base: &Path, prefix: &str) -> Result<PathBuf> {
    for left in abandoned(base, prefix) {
        fs::remove_dir_all(&left).with_context(|| format!("cannot remove {}", left.display()))?;
    }
    let dir = base.join(name(prefix)?);
    fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// A name that says who owns it: a pid and its start time, because pids are used again.
fn name(prefix: &str) -> Result<String> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let me = std::process::id();
    let start = start_time(me).context("cannot read /proc/self/stat")?;
    Ok(format!("{prefix}{me}-{start}-{}", SERIAL.fetch_add(1, Ordering::Relaxed)))
}

/// The entries of a directory that have this prefix and an owner that is gone.
fn abandoned(base: &Path, prefix: &str) -> Vec<PathBuf> {
    let is_abandoned = |name: &str| {
        let mut parts = name.strip_prefix(prefix)?.split('-').map(|part| part.parse().ok());
        let (Some(Some(pid)), Some(Some(start))) = (parts.next(), parts.next()) else { return None };
        (u32::try_from(pid).ok().and_then(start_time) != Some(start)).then_some(())
    };
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().to_str().and_then(is_abandoned).is_some());
    left.map(|entry| entry.path()).collect()
}

/// Where the unified hierarchy is mounted.
fn unified_mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    // proc_pid_mountinfo(5): id parent dev root mount-point options... - type source options
    let unified =
        mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    unified.map(PathBuf::from).context("no cgroup2 file system is mounted here")
}

/// Field 22 of /proc/PID/stat (proc_pid_stat(5)), counted behind the command name, which may hold anything.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Lets the cgroups below use what the host lets this one use. On a hybrid host that is nothing.
pub fn hand_on_controllers(cgroup: &Path) {
    let all = fs::read_to_string(cgroup.join("cgroup.controllers")).unwrap_or_default();
    for name in all.split_whitespace() {
        // One by one: a controller that cannot be had must not take the others with it.
        drop(fs::write(cgroup.join("cgroup.subtree_control"), format!("+{name}")));
    }
}

/// Kills what is in a cgroup and removes it with all below it. A killed process stays in its cgroup until it is dead,
/// which is why removal is tried for a while.
pub fn remove_cgroup(cgroup: &Path) {
    for _ in 0..200 {
        drop(fs::write(cgroup.join("cgroup.kill"), "1"));
        remove_empty(cgroup);
        if !cgroup.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    #[allow(clippy::print_stderr, reason = "nothing else can tell, and it must not go unnoticed")]
    {
        eprintln!("cannot remove the cgroup {}", cgroup.display());
    }
}

fn remove_empty(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    drop(fs::remove_dir(cgroup));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_owner_left_is_removed_and_what_is_in_use_stays() {
        let base = tempfile::tempdir().unwrap();
        let mine = directory(base.path(), "x-").unwrap();
        let reused = base.path().join(format!("x-{}-1-0", std::process::id())); // my pid, another start time
        fs::create_dir_all(reused.join("content")).unwrap();
        fs::create_dir(base.path().join("x-unlike")).unwrap();
        let another = directory(base.path(), "x-").unwrap();
        assert!(mine.is_dir() && another.is_dir() && base.path().join("x-unlike").is_dir());
        assert!(!reused.exists());
    }
}
