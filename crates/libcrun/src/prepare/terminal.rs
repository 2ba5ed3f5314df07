//! A terminal of the host's, for a process in a container that has no devpts to make one in.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Uid, fchown};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use sys::mount::{MountChange, Propagation, Reach, set_attributes};

use super::CLONE;
use crate::error::{Code, Context, Result};
use crate::plan::{Console, ProcessPlan};

/// Both its ends.
#[derive(Debug)]
pub(crate) struct HostTerminal {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
    /// Its node, to be mounted in the container; nothing on a kernel without detached mounts.
    pub(crate) node: Option<OwnedFd>,
    /// Where that is.
    pub(crate) path: CString,
}

impl HostTerminal {
    /// Makes it if it may be needed.
    pub(crate) fn new(process: &ProcessPlan) -> Result<Option<Self>> {
        let Some(plan) = process.terminal.as_ref().filter(|plan| plan.may_be_hosts) else { return Ok(None) };
        let failed = || "process.terminal: open a pseudoterminal of the host's (`/dev/ptmx`)";
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).context(Code::Terminal, failed)?;
        unlockpt(&master).context(Code::Terminal, failed)?;
        let slave = ioctl_tiocgptpeer(&master, flags).context(Code::Terminal, failed)?;
        if let Some(owner) = plan.owner {
            give_to(slave.as_fd(), owner)
                .context(Code::Terminal, || "process.terminal: give the terminal to the process' user")?;
        }
        let node = (plan.console != Console::Untouched).then(|| clone_node(slave.as_fd()).ok()).flatten();
        let path = ptsname(&master, Vec::new()).context(Code::Terminal, failed)?;
        Ok(Some(Self { master, slave, node, path }))
    }
}

/// Not for a runtime in a user namespace to do where the group of terminals is not mapped: then the process has it open,
/// and only cannot open it again.
fn give_to(slave: BorrowedFd<'_>, owner: u32) -> core::result::Result<(), Errno> {
    match fchown(slave, Some(Uid::from_raw(owner)), None) {
        Err(Errno::PERM) => Ok(()),
        given => given,
    }
}

/// A detached mount of the terminal's node.
pub(crate) fn clone_node(slave: BorrowedFd<'_>) -> core::result::Result<OwnedFd, Errno> {
    let node = open_tree(slave, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH)?;
    // As a peer of the mount it is of, it would take what is mounted over it there.
    let private = MountChange { propagation: Some(Propagation::Private), ..MountChange::default() };
    set_attributes(node.as_fd(), private, Reach::Mount)?;
    Ok(node)
}
