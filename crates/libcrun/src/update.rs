//! Other limits for a container that runs.

use cgroups::resources::Write;
use cgroups::systemd::MissingProperties;
use cgroups::{Cgroup, CgroupPath, Layout, Resources, systemd};

use crate::container::Container;
use crate::error::{Result, words};
use crate::host::Host;
use crate::id::ContainerId;
use crate::state::StateRoot;
use crate::warning::{self, Warnings};

/// Changes the limits of a container, all of them or none. What `resources` does not speak of stays as it is. Nothing is
/// written down: the limits end with the container.
///
/// # Errors
/// When the container does not exist, has ended or has no cgroup, or when a limit cannot be had; names the file and the
/// value then.
pub fn update(root: &StateRoot, id: &ContainerId, resources: &Resources) -> Result<Warnings> {
    let container = Container::open(root, id)?;
    if !container.is_alive()? {
        return Err(words::exec_not_running(id.as_str()));
    }
    let path = container.cgroup_path().ok_or_else(words::no_cgroup)?;
    let layout = Layout::detect()?;
    let Some(unit) = container.unit() else {
        cgroups::update(&layout, &path, resources, None)?;
        return Ok(warnings(&layout, &path, resources));
    };
    let own = path;
    let path = systemd::unit_path(&own, unit).unwrap_or_else(|| own.clone());
    let cache = MissingProperties::below(root.path());
    let tell = |writes: &[Write]| systemd::update_unit(unit, Host::new().is_rootless(), writes, &cache);
    let written = cgroups::update(&layout, &path, resources, Some(&tell))?;
    if own != path
        && let Ok(below) = Cgroup::open(&layout, &own)
    {
        below.apply_if_possible(&written);
    }
    Ok(warnings(&layout, &path, resources))
}

/// What is to be told of limits that have been changed.
fn warnings(layout: &Layout, path: &CgroupPath, resources: &Resources) -> Warnings {
    let cgroup = warning::kernel_limit(Some(resources)).and_then(|_| Cgroup::open(layout, path).ok());
    cgroup.and_then(|cgroup| warning::kernel_memory(Some(resources), &cgroup)).into_iter().collect()
}
