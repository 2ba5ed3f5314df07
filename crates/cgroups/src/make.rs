//! Making a cgroup's directories, and in them what a process needs to be let in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, chmodat, mkdirat, statat};
use rustix::io::Errno;

use crate::cgroup::{Member, mount_point};
use crate::error::{Error, Result};
use crate::files::{open_below, read_small, write_value};
use crate::layout::Hierarchy;
use crate::path::CgroupPath;
use crate::remove::{self, Leftovers, WhenBusy};

/// Makes each level of `path` that is missing; returns how many of the last ones are new, and the last one opened.
pub(crate) fn make_directories(
    root: &OwnedFd,
    hierarchy: &Hierarchy,
    path: &CgroupPath,
) -> Result<(usize, OwnedFd)> {
    make_levels(root.as_fd(), path, |level| format!("{}/{level}", mount_point(hierarchy)))
}

/// The same below any cgroup; `named` gives a level the name it has in errors.
pub(crate) fn make_levels(
    root: BorrowedFd<'_>,
    path: &CgroupPath,
    named: impl Fn(&str) -> String,
) -> Result<(usize, OwnedFd)> {
    // The error is the one to be told, not what fails in taking back what was made.
    let when_busy = WhenBusy { leftovers: &|| Leftovers::Leave, kill: &|_| Ok(()) };
    let take_back = |level: &str, created| {
        let _ = remove::levels(root, level, created, &when_busy);
    };
    let mut created = 0;
    for level in path.levels() {
        match make_directory(root, level) {
            Ok(()) => created += 1,
            Err(Errno::EXIST) => created = 0,
            Err(errno) => {
                take_back(parent_of(level), created);
                return Err(Error::at("create the cgroup", named(level), errno));
            }
        }
    }
    match open_below(root, path.below_root()) {
        Ok(directory) => Ok((created, directory)),
        Err(errno) => {
            take_back(path.below_root(), created);
            Err(Error::at("open", named(path.below_root()), errno))
        }
    }
}

/// Makes a directory that everybody inside can read, whatever the umask of the caller.
fn make_directory(root: BorrowedFd<'_>, path: &str) -> core::result::Result<(), Errno> {
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

/// v1: a new cpuset is empty and takes no process until it has CPUs and memory nodes, so each level copies its
/// parent's (cgroup-v1/cpusets.rst).
pub(crate) fn inherit_cpuset(member: &Member, path: &CgroupPath) -> Result<()> {
    let fail = |level: &str, errno| {
        Error::at("initialise the cpuset", format!("{}/{level}", mount_point(&member.hierarchy)), errno)
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
