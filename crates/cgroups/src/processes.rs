//! The processes of a cgroup: putting them in and finding them.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::files::{read_small, write_value};
use crate::walk::walk;

impl Cgroup {
    /// Puts a process into the cgroup, in every hierarchy but the v2 tree when it was cloned into that already.
    ///
    /// # Errors
    /// Names the file that refused the process.
    pub fn add_process(&self, pid: Pid, already_in_unified: bool) -> Result<()> {
        let value = pid.as_raw_nonzero().to_string();
        for member in &self.members {
            if already_in_unified && member.hierarchy.unified {
                continue;
            }
            write_value(member.home(), "cgroup.procs", value.as_bytes()).map_err(|errno| {
                let file = format!("{}/cgroup.procs", self.path_of(member));
                Error::at(&format!("write `{value}` to"), file, errno)
            })?;
        }
        Ok(())
    }

    /// The processes of the cgroup and of those below it, as the calling process numbers them; those that it cannot
    /// see, because they are outside of its pid namespace, are left out, and so are those that have begun to end.
    ///
    /// # Errors
    /// When the processes cannot be listed.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        let Some(directory) = self.reference_directory() else { return Ok(Vec::new()) };
        processes(directory).map_err(|errno| {
            Error::kernel(format!("list the processes in the cgroup `{}`", self.path), errno)
        })
    }
}

/// The pids in a cgroup and in all below it.
pub(crate) fn processes(directory: BorrowedFd<'_>) -> core::result::Result<Vec<Pid>, Errno> {
    let mut pids = Vec::new();
    let list = |directory: BorrowedFd<'_>| match read_small(directory, "cgroup.procs") {
        // Removed in the meantime, or a threaded cgroup, whose processes its parent lists.
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno),
        Ok(list) => {
            pids.extend(list.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw));
            Ok(())
        }
    };
    walk(directory, list, |_, _| Ok(()))?;
    Ok(pids)
}
