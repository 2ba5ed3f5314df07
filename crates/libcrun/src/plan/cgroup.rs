//! Where the container's cgroup lies, who makes it, and what is written into it.

use std::rc::Rc;

use cgroups::systemd::{UnitPlan, Wanted, annotated_properties};
use cgroups::{CgroupPath, Resources};

use super::{CgroupManager, CgroupPlan, Request};
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::spec::{Linux, Spec};

const SUBGROUP: &str = "run.oci.systemd.subgroup";

pub(super) fn plan(
    spec: &Spec<'_>,
    linux: &Linux<'_>,
    request: &Request<'_>,
    host: &Host,
) -> Result<Option<CgroupPlan>> {
    let resources = linux.resources.as_ref();
    if request.cgroup_manager == CgroupManager::Disabled {
        // The default configuration restricts devices; without a cgroup that is left out, as in the C crun.
        let limited = resources.is_some_and(Resources::has_limits);
        return match limited {
            true => Err(Error::new(Code::Cgroup, "cannot set limits without cgroups")),
            false => Ok(None),
        };
    }
    let layout = host.cgroups()?.clone();
    let (writes, device_rules) = match resources {
        Some(resources) => (resources.writes(&layout)?, cgroups::devices::rules(&resources.devices)?),
        None => Default::default(),
    };
    let path = CgroupPath::new(linux.cgroups_path.as_deref(), request.id.as_str());
    let own = CgroupPlan { layout, path, writes, device_rules, unit: None };
    match request.cgroup_manager {
        CgroupManager::Systemd => in_unit(own, spec, linux, request, host).map(Some),
        _ => Ok(Some(own)),
    }
}

/// The same as the cgroup of a unit.
fn in_unit(
    own: CgroupPlan,
    spec: &Spec<'_>,
    linux: &Linux<'_>,
    request: &Request<'_>,
    host: &Host,
) -> Result<CgroupPlan> {
    let annotations = spec.annotations.iter().flatten().map(|(key, value)| (&**key, &**value));
    let wanted = Wanted {
        cgroups_path: linux.cgroups_path.as_deref(),
        id: request.id.as_str(),
        writes: &own.writes,
        device_rules: &own.device_rules,
        annotated: &annotated_properties(annotations.clone())?,
        subgroup: annotations.into_iter().find(|(key, _)| *key == SUBGROUP).map(|(_, value)| value),
    };
    let unit = UnitPlan::new(&wanted, host.is_rootless(), &own.layout)?;
    Ok(CgroupPlan { path: unit.expected_path(), unit: Some(Rc::new(unit)), ..own })
}
