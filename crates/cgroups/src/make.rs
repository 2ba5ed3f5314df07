//! Making a cgroup's directories, and in them what a process needs to be let in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, chmodat, mkdirat, statat};
use rustix::io::Errno;

use crate::cgroup::{Member, mount_point};
use crate::error::{Error, Result};
use crate::files::{open_below, read_small, write_value};
use crate::layout::{Hierarchy, MOUNT_POINT};
use crate::path::CgroupPath;
use crate::remove::{self, Leftovers, WhenBusy};

/// The v2 controllers a container gets when the host has them.
const CONTROLLERS: [&str; 7] = ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids"];

/// Makes each level of `path` that is missing; returns how many of the last ones are new, and the last one opened.
pub(crate) fn make_directories(
    root: &OwnedFd,
    hierarchy: &Hierarchy,
    path: &CgroupPath,
) -> Result<(usize, OwnedFd)> {
    // The error is the one to be told, not what fails in taking back what was made.
    let when_busy = WhenBusy { leftovers: &|| Leftovers::Leave, kill: &|_| Ok(()) };
    let take_back = |level: &str, created| {
        let _ = remove::levels(root.as_fd(), level, created, &when_busy);
    };
    let mut created = 0;
    for level in path.levels() {
        match make_directory(root, level) {
            Ok(()) => created += 1,
            Err(Errno::EXIST) => created = 0,
            Err(errno) => {
                take_back(parent_of(level), created);
                let directory = format!("{}/{level}", mount_point(hierarchy));
                return Err(Error::kernel(format!("create the cgroup `{directory}`"), errno));
            }
        }
    }
    match open_below(root.as_fd(), path.below_root()) {
        Ok(directory) => Ok((created, directory)),
        Err(errno) => {
            take_back(path.below_root(), created);
            Err(Error::kernel(format!("open `{}{path}`", mount_point(hierarchy)), errno))
        }
    }
}

/// Makes a directory that everybody inside can read, whatever the umask of the caller.
fn make_directory(root: &OwnedFd, path: &str) -> core::result::Result<(), Errno> {
    const MODE: Mode = Mode::from_raw_mode(0o755);
    mkdirat(root, path, MODE)?;
    match statat(root, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if Mode::from_raw_mode(stat.st_mode) == MODE => Ok(()),
        _ => chmodat(root, path, MODE, AtFlags::empty()),
    }
}

/// The path without its last component.
pub(crate) fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Makes the controllers of the root available in the container's cgroup, unless they are already.
pub(crate) fn enable_controllers(member: &Member, path: &CgroupPath) -> Result<()> {
    let read = |directory: BorrowedFd<'_>, name: &str| {
        read_small(directory, name)
            .map_err(|errno| Error::kernel(format!("read `{}`", member.file(path, name)), errno))
    };
    let here = read(member.directory.as_fd(), "cgroup.controllers")?;
    let has = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
    if CONTROLLERS.iter().all(|name| has(&here, name)) {
        return Ok(());
    }
    let at_root = read(member.root.as_fd(), "cgroup.controllers")?;
    let missing: Vec<&str> =
        CONTROLLERS.into_iter().filter(|name| has(&at_root, name) && !has(&here, name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for level in std::iter::once("").chain(path.levels().filter(|level| *level != path.below_root())) {
        let directory = open_below(member.root.as_fd(), level)
            .map_err(|errno| Error::kernel(format!("open `{MOUNT_POINT}/{level}`"), errno))?;
        for name in &missing {
            // One at a time: a controller that cannot be had here (a threaded parent, realtime processes) must
            // not take the others with it. A limit that then lacks its file is reported by that name.
            let enable = format!("+{name}");
            let _ = write_value(directory.as_fd(), "cgroup.subtree_control", enable.as_bytes());
        }
    }
    Ok(())
}

/// v1: a new cpuset is empty and takes no process until it has CPUs and memory nodes, so each level copies its
/// parent's (cgroup-v1/cpusets.rst).
pub(crate) fn inherit_cpuset(member: &Member, path: &CgroupPath) -> Result<()> {
    let fail = |level: &str, errno| {
        Error::kernel(format!("initialise the cpuset `{}/{level}`", mount_point(&member.hierarchy)), errno)
    };
    for level in path.levels() {
        let directory = open_below(member.root.as_fd(), level).map_err(|errno| fail(level, errno))?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = read_small(directory.as_fd(), file).map_err(|errno| fail(level, errno))?;
            if !own.trim().is_empty() {
                continue;
            }
            let parent =
                open_below(member.root.as_fd(), parent_of(level)).map_err(|errno| fail(level, errno))?;
            let value = read_small(parent.as_fd(), file).map_err(|errno| fail(level, errno))?;
            write_value(directory.as_fd(), file, value.trim().as_bytes())
                .map_err(|errno| fail(level, errno))?;
        }
    }
    Ok(())
}
