//! Where the container's cgroup lies, who makes it, and what is written into it.

use std::rc::Rc;

use cgroups::systemd::{UnitPlan, Wanted, annotated_properties};
use cgroups::{CgroupPath, Resources};

use super::{CgroupManager, CgroupPlan, NamespacePlan, Request, force_v1, has_cgroups_path};
use crate::delegation::Delegation;
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::spec::{Linux, Spec};

const SUBGROUP: &str = "run.oci.systemd.subgroup";

pub(super) fn plan(
    spec: &Spec<'_>,
    linux: &Linux<'_>,
    request: &Request<'_>,
    namespaces: &NamespacePlan,
    host: &Host,
) -> Result<Option<CgroupPlan>> {
    let resources = linux.resources.as_ref();
    if request.cgroup_manager == CgroupManager::Disabled {
        Delegation::refuse(spec)?;
        force_v1::refuse(spec)?;
        // The default configuration restricts devices; without a cgroup that is left out, as in the C crun.
        let limited = resources.is_some_and(Resources::has_limits);
        return match limited {
            true => Err(Error::new(Code::Cgroup, "cannot set limits without cgroups")),
            false => Ok(None),
        };
    }
    let is_configured = has_cgroups_path(spec);
    let layout = match host.cgroups() {
        Ok(layout) => layout.clone(),
        // In a user namespace there may be none to be seen.
        Err(_) if !is_configured && !resources.is_some_and(Resources::has_limits) && host.is_rootless() => {
            Delegation::refuse(spec)?;
            force_v1::refuse(spec)?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let v1_mount = force_v1::asked(spec).map(str::to_owned);
    let layout = match &v1_mount {
        Some(_) => force_v1::extend(layout, namespaces)?,
        None => layout,
    };
    let (writes, device_rules) = match resources {
        Some(resources) => (resources.writes(&layout)?, cgroups::devices::rules(&resources.devices)?),
        None => Default::default(),
    };
    let path = CgroupPath::new(linux.cgroups_path.as_deref(), request.id.as_str());
    let delegation = Delegation::plan(spec, namespaces, &layout)?;
    let own =
        CgroupPlan { layout, path, is_configured, writes, device_rules, v1_mount, delegation, unit: None };
    match request.cgroup_manager {
        CgroupManager::Systemd | CgroupManager::SystemdScope => {
            in_unit(own, spec, linux, request, host).map(Some)
        }
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
    let subgroup = annotations.clone().find(|(key, _)| *key == SUBGROUP).map(|(_, value)| value);
    let default = (request.cgroup_manager == CgroupManager::SystemdScope).then_some("");
    let wanted = Wanted {
        cgroups_path: linux.cgroups_path.as_deref(),
        id: request.id.as_str(),
        writes: &own.writes,
        device_rules: &own.device_rules,
        annotated: &annotated_properties(annotations)?,
        subgroup: subgroup.or(default),
    };
    let unit = UnitPlan::new(&wanted, host.is_rootless(), &own.layout)?;
    Ok(CgroupPlan { path: unit.expected_path(), unit: Some(Rc::new(unit)), ..own })
}
