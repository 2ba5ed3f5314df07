//! The processes of a cgroup: putting them in, finding and signalling them.

use rustix::process::Pid;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::files::write_value;
use crate::remove;

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
                Error::kernel(format!("write `{value}` to `{file}`"), errno)
            })?;
        }
        Ok(())
    }

    /// Sends `signal` to every process of the cgroup and of those below it.
    ///
    /// # Errors
    /// When the processes cannot be listed or killed.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        remove::signal_all(self.reference_directory(), signal).map_err(|errno| {
            Error::kernel(format!("kill the processes in the cgroup `{}`", self.path), errno)
        })
    }

    /// Whether a process is in the cgroup or below it. One that has ended counts as gone, also while its parent has not
    /// waited for it yet.
    ///
    /// # Errors
    /// When the processes cannot be listed.
    pub fn contains(&self, pid: Pid) -> Result<bool> {
        let Some(directory) = self.reference_directory() else { return Ok(false) };
        remove::processes(directory).map(|pids| pids.contains(&pid)).map_err(|errno| {
            Error::kernel(format!("list the processes in the cgroup `{}`", self.path), errno)
        })
    }
}
