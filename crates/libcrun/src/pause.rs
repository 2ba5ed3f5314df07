//! Pausing a container and letting it go on.

use cgroups::Cgroup;

use crate::container::Container;
use crate::error::{Result, words};
use crate::id::ContainerId;
use crate::state::StateRoot;

/// Freezes all processes of a container; one that is paused already stays so. When they do not freeze, they go on.
///
/// # Errors
/// When the container does not run or has no cgroup, or its processes do not freeze.
pub fn pause(root: &StateRoot, id: &ContainerId) -> Result<()> {
    Ok(freezer(root, id)?.freeze()?)
}

/// Lets the processes of a paused container go on; one that is not paused is left as it is.
///
/// # Errors
/// When the container does not run or has no cgroup, or its processes stay frozen.
pub fn resume(root: &StateRoot, id: &ContainerId) -> Result<()> {
    Ok(freezer(root, id)?.unfreeze()?)
}

fn freezer(root: &StateRoot, id: &ContainerId) -> Result<Cgroup> {
    let container = Container::open(root, id)?;
    if !container.is_alive()? {
        return Err(words::exec_not_running(id.as_str()));
    }
    container.freezer()?.ok_or_else(words::no_cgroup)
}
