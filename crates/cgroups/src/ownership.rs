//! Giving a cgroup to somebody who may then arrange processes in it as they like, but not change its limits
//! (runtime-spec config-linux.md#cgroup-ownership).

use rustix::fs::{AtFlags, Gid, Uid, chownat, fchown};
use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};

/// Where the kernel says which files go with a cgroup.
const LIST: &str = "/sys/kernel/cgroup/delegate";

/// What it would say before Linux 4.15.
const FALLBACK: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Gives the v2 cgroup that processes are put into to a user, and to a group if one is given. A v1 hierarchy stays
    /// whose it is: who owns a cgroup there can do more than is good.
    ///
    /// # Errors
    /// Names the file whose owner could not be changed.
    pub fn give_to(&self, uid: u32, gid: Option<u32>) -> Result<()> {
        let Some(member) = self.unified() else { return Ok(()) };
        let (uid, gid) = (Some(Uid::from_raw(uid)), gid.map(Gid::from_raw));
        let failed = |name: &str, errno| {
            let file = format!("{}{name}", self.path_of(member));
            Error::at("change the owner of", file, errno)
        };
        fchown(member.home(), uid, gid).map_err(|errno| failed("", errno))?;
        let listed = std::fs::read_to_string(LIST);
        let bare = |name: &&str| !name.is_empty() && !name.contains('/');
        for name in listed.as_deref().unwrap_or(FALLBACK).lines().filter(bare) {
            match chownat(member.home(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
                // Listed are the files of all controllers.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(&format!("/{name}"), errno)),
            }
        }
        Ok(())
    }
}
