//! Other limits for a container that runs.

use cgroups::resources::Write;
use cgroups::systemd::MissingProperties;
use cgroups::{Layout, Resources, systemd};

use crate::container::Container;
use crate::error::{Result, words};
use crate::host::Host;
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
    let Some(unit) = container.unit() else {
        return Ok(cgroups::update(&Layout::detect()?, &path, resources, None)?);
    };
    let path = systemd::unit_path(&path, unit).unwrap_or(path);
    let cache = MissingProperties::below(root.path());
    let tell = |writes: &[Write]| systemd::update_unit(unit, Host::new().is_rootless(), writes, &cache);
    Ok(cgroups::update(&Layout::detect()?, &path, resources, Some(&tell))?)
}
