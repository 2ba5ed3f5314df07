//! Making device rules hold in a cgroup: a program on v2, lines for the controller on v1.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::{Rule, legacy_writes, program};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::files::write_value;

impl Cgroup {
    /// Whether [`Cgroup::restrict_devices`] takes effect in one step. The v1 controller takes rule after rule, and denies
    /// in between what a later one allows, so there it has to be done before a process is in the cgroup.
    #[must_use]
    pub fn restricts_devices_at_once(&self) -> bool {
        self.member_for("devices").is_none_or(|member| member.hierarchy.unified)
    }

    /// Restricts which devices the processes of the cgroup may use; an empty list restricts nothing.
    ///
    /// # Errors
    /// Names what could not be loaded, attached or written.
    pub fn restrict_devices(&self, rules: &[Rule]) -> Result<()> {
        if rules.is_empty() {
            return Ok(());
        }
        if let Some(member) = self.member_for("devices").filter(|member| !member.hierarchy.unified) {
            for (file, line) in legacy_writes(rules) {
                write_value(member.directory.as_fd(), file, line.as_bytes()).map_err(|errno| {
                    Error::kernel(format!("write `{line}` to `{}`", member.file(&self.path, file)), errno)
                })?;
            }
            return Ok(());
        }
        let Some(member) = self.unified() else { return Err(self.unavailable("devices")) };
        let program =
            load(&program(rules)).map_err(|errno| Error::kernel("load the device program", errno))?;
        sys::bpf::attach_cgroup_device(member.directory.as_fd(), program.as_fd()).map_err(|errno| {
            let cgroup = member.file(&self.path, "");
            Error::kernel(format!("attach the device program to `{cgroup}`"), errno)
        })
    }
}

/// Loads a device program. The kernel lets go of checking one for any signal (`EAGAIN`, `bpf(2)`), and on a slow or busy
/// machine that can happen several times in a row.
fn load(program: &[sys::bpf::Instruction]) -> core::result::Result<OwnedFd, Errno> {
    const ATTEMPTS: u32 = 100;
    for _ in 1..ATTEMPTS {
        match sys::bpf::load_cgroup_device(program) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    sys::bpf::load_cgroup_device(program)
}
