//! Writing limits into a cgroup.

use rustix::io::Errno;
use std::os::fd::AsFd;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::files::write_value;
use crate::layout::MOUNT_POINT;
use crate::resources::{IfMissing, Write};

impl Cgroup {
    /// Writes the limits, in order.
    ///
    /// # Errors
    /// Names the file and the value that were refused, or the controller this host does not have.
    pub fn apply(&self, writes: &[Write]) -> Result<()> {
        for write in writes {
            self.apply_one(write)?;
        }
        Ok(())
    }

    fn apply_one(&self, write: &Write) -> Result<()> {
        let optional = write.if_missing == IfMissing::Ignore;
        let Some(member) = self.member_for(write.controller) else {
            return if optional { Ok(()) } else { Err(self.unavailable(write.controller)) };
        };
        let attempt = || write_value(member.directory.as_fd(), &write.file, write.value.as_bytes());
        let controller = write.file.split('.').next().unwrap_or_default();
        let written = match attempt() {
            Err(Errno::NOENT) if !optional && member.hierarchy.unified => {
                self.insist_on(controller)?;
                attempt()
            }
            other => other,
        };
        match written {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) if optional => Ok(()),
            Err(Errno::NOENT) => Err(self.unavailable(controller)),
            Err(errno) => {
                let file = member.file(&self.path, &write.file);
                Err(Error::kernel(format!("write `{}` to `{file}`", write.value), errno))
            }
        }
    }

    pub(crate) fn unavailable(&self, controller: &str) -> Error {
        Error::plain(format!("controller `{controller}` is not available under {MOUNT_POINT}{}", self.path))
    }
}
