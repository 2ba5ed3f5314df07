//! Other limits for a container that runs.

use cgroups::{Layout, Resources};

use crate::container::Container;
use crate::error::{Code, Error, Result, words};
use crate::id::ContainerId;
use crate::state::StateRoot;

/// Changes the limits of a container, all of them or none. What `resources` does not speak of stays as it is. Nothing is
/// written down: the limits end with the container.
///
/// # Errors
/// When the container does not exist, has ended or has no cgroup, or when a limit cannot be had; names the file and the
/// value then.
pub fn update(root: &StateRoot, id: &ContainerId, resources: &Resources) -> Result<()> {
    let container = Container::open(root, id)?;
    if !container.is_alive()? {
        return Err(words::exec_not_running(id.as_str()));
    }
    let path = container.cgroup_path().ok_or_else(words::no_cgroup)?;
    if container.status.systemd_cgroup {
        let what = format!(
            "the limits of container `{id}` are systemd's, which this version cannot tell of new ones"
        );
        return Err(Error::new(Code::Unsupported, what));
    }
    Ok(cgroups::update(&Layout::detect()?, &path, resources, None)?)
}
