//! The processes of a container.

use rustix::process::Pid;

use crate::container::Container;
use crate::error::{Result, words};
use crate::id::ContainerId;
use crate::state::StateRoot;

/// The pids of a container's processes, in its cgroup and in those below it, as the calling process numbers them.
///
/// # Errors
/// When there is no such container, or it has no cgroup by which its processes could be told.
pub fn processes(root: &StateRoot, id: &ContainerId) -> Result<Vec<Pid>> {
    let cgroup = Container::open(root, id)?.cgroup_for_processes()?;
    Ok(cgroup.ok_or_else(words::no_cgroup)?.processes()?)
}
