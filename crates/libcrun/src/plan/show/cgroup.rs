//! The cgroup: made by the runtime or by systemd, limited, entered, given away.

use std::collections::BTreeSet;

use cgroups::Layout;
use cgroups::devices::{legacy_writes, program};
use cgroups::resources::{IfMissing, Write};
use cgroups::systemd::UnitPlan;

use super::{Sheet, View, namespaces, process};
use crate::init::Placement;
use crate::plan::CgroupPlan;
use crate::spawn;

const SUBJECT: &str = "cgroup";

/// When the process makes its cgroup namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// It makes none.
    Never,
    /// With the others: it is in its cgroup already.
    WithOthers,
    /// Before the mount with this index, which shows the cgroup.
    BeforeMount(usize),
    /// Before hooks look at it.
    BeforeHooks,
    /// When the root is entered.
    AfterRoot,
}

/// The cgroup namespace has the cgroup for its root that the process is in when it makes it.
pub(super) fn namespace_comes(view: &View<'_>) -> Moment {
    let plan = view.plan;
    if !plan.namespaces.cgroup {
        return Moment::Never;
    }
    if placement(view) != Placement::BeforeCgroupNamespace {
        return Moment::WithOthers;
    }
    if let Some(mount) = plan.rootfs.mounts.iter().find(|mount| mount.is_cgroup()) {
        return Moment::BeforeMount(mount.index);
    }
    match plan.hooks.as_ref().is_some_and(|hooks| hooks.see_both_sides()) {
        true => Moment::BeforeHooks,
        false => Moment::AfterRoot,
    }
}

/// When the process waits for its place.
fn placement(view: &View<'_>) -> Placement {
    let plan = view.plan;
    let layout = plan.cgroup.as_ref().map(|cgroup| &cgroup.layout);
    match layout {
        // Nothing it could be cloned into.
        Some(layout) if plan.unit().is_none() && !layout.has_unified() => Placement::BeforeMounts,
        _ => {
            let is_unified_only =
                |layout: &Layout| layout.hierarchies.iter().all(|hierarchy| hierarchy.unified);
            spawn::placement(plan, layout.map(is_unified_only))
        }
    }
}

/// The directory that the process is born in.
pub(super) fn cloned_into(view: &View<'_>) -> Option<String> {
    let cgroup = view.plan.cgroup.as_ref().filter(|cgroup| cgroup.unit.is_none())?;
    cgroup.layout.unified_directory(&cgroup.path)
}

pub(super) fn make(view: &View<'_>, sheet: &mut Sheet) {
    let Some(cgroup) = &view.plan.cgroup else { return };
    if cgroup.unit.is_some() {
        let whose = if view.plan.is_rootless { "the user's" } else { "the system's" };
        sheet.add("systemd", format!("connect to {whose} systemd"));
        if cgroup.layout.is_unified() {
            return;
        }
    }
    let directories = cgroup.layout.directories(&cgroup.path);
    let what = match directories.as_slice() {
        [only] => format!("make {only}"),
        _ => format!("make the cgroup {}", cgroup.path),
    };
    let action = sheet.add(SUBJECT, what);
    let is_said = directories.len() == 1;
    action.said("path", cgroup.path.to_string()).push("directories", directories.into(), is_said);
    if cgroup.layout.is_unified() {
        action.with("controllers", cgroups::CONTROLLERS.map(str::to_owned).to_vec());
    }
    if !cgroup.is_configured {
        action.or_if(
            cgroup.unit.is_none() && cgroup.layout.is_unified(),
            "beside the runtime's own, where this place is out of reach",
        );
        action.or_if(view.plan.is_rootless, "none, where none can be had and nothing is limited");
    }
    write_limits(cgroup, sheet);
}

fn write_limits(cgroup: &CgroupPlan, sheet: &mut Sheet) {
    // That of a unit need not be known before.
    let limited = match &cgroup.unit {
        Some(unit) => unit.expected_unit_path(),
        None => Some(cgroup.path.clone()),
    };
    for write in &cgroup.writes {
        let Write { controller, file, value, if_missing, .. } = write;
        let directory = limited.as_ref().and_then(|path| cgroup.layout.directory_of(controller, path));
        let path = directory.map_or_else(|| file.to_string(), |directory| format!("{directory}/{file}"));
        let action = sheet.add(SUBJECT, format!("{path} ← {}", value.trim_end()));
        action.said("controller", *controller).said("file", path).said("value", value.as_str());
        match if_missing {
            IfMissing::Fail => {}
            IfMissing::Ignore => {
                action.or("left out where there is no such file");
            }
            IfMissing::Instead(other) => {
                action.or(format!(
                    "{} ← {}, where there is no such file",
                    other.file,
                    other.value.trim_end()
                ));
            }
        }
    }
}

/// On v1, where a rule after the other takes effect.
pub(super) fn restrict_devices_first(view: &View<'_>, sheet: &mut Sheet) {
    let is_old = |cgroup: &&CgroupPlan| !cgroup.layout.is_unified_for("devices");
    let Some(cgroup) = view.plan.cgroup.as_ref().filter(is_old) else { return };
    if !cgroup.device_rules.is_empty() {
        let directory = cgroup.layout.directory_of("devices", &cgroup.path).unwrap_or_default();
        for (file, line) in legacy_writes(&cgroup.device_rules).unwrap_or_default() {
            let path = format!("{directory}/{file}");
            sheet
                .add("devices", format!("{path} ← {line}"))
                .said("file", path)
                .said("value", line)
                .or_if(view.plan.is_rootless, NOT_ROOT);
        }
    }
}

const NOT_ROOT: &str = "left out where it takes root of the host";

/// On v2, where all rules take effect at once.
pub(super) fn restrict_devices(view: &View<'_>, sheet: &mut Sheet) {
    let Some(cgroup) = view.plan.cgroup.as_ref().filter(|cgroup| cgroup.layout.is_unified_for("devices"))
    else {
        return;
    };
    if cgroup.device_rules.is_empty() {
        return;
    }
    let size = program(&cgroup.device_rules).len();
    sheet
        .add("devices", format!("attach a device program of {size} instructions to the cgroup"))
        .said("instructions", i64::try_from(size).unwrap_or(i64::MAX))
        .with("rules", cgroup.device_rules.iter().map(ToString::to_string).collect::<Vec<_>>())
        .or_if(cgroup.unit.is_some(), "left to systemd, where that has been given it")
        .or_if(view.plan.is_rootless, NOT_ROOT);
}

pub(super) fn start_unit(view: &View<'_>, sheet: &mut Sheet) {
    let Some(unit) = view.plan.unit() else { return };
    sheet.add("state", "write the status, by which the unit can be found").said("file", "status");
    let name = &unit.unit.name;
    let action = sheet.add("systemd", format!("ask for the unit {name} with the process in it"));
    action.said("unit", name.as_str()).said("manager", if unit.is_rootless { "user" } else { "system" });
    if let Some(slice) = &unit.unit.slice {
        action.said("slice", slice.as_str());
    }
    if let Some(subgroup) = unit.subgroup() {
        action.said("subgroup", subgroup);
    }
    action
        .with("properties", properties(unit))
        .or("without those properties that this systemd does not know");
    if let Some(program) = unit.device_program() {
        action.or(format!(
            "BPFProgram=device:{program} instead of DevicePolicy and DeviceAllow, where systemd knows it and bpffs is mounted"
        ));
    }
}

fn properties(unit: &UnitPlan) -> Vec<String> {
    let all = unit.properties(0, None, &BTreeSet::new());
    let shown = all.iter().map(|property| match &*property.name {
        "PIDs" => "PIDs=[PID]".to_owned(),
        _ => property.to_string(),
    });
    shown.collect()
}

/// What is done for the process, in the order in which it waits for it.
pub(super) fn serve(view: &View<'_>, sheet: &mut Sheet) {
    namespaces::map_ids(view, sheet);
    let is_first = placement(view) == Placement::BeforeMounts;
    let is_mapped = view.plan.namespaces.id_maps.is_some();
    if is_first || is_mapped {
        process::oom_score(view, sheet);
    }
    if is_first {
        place(view, sheet);
    }
    namespaces::make_network(view, sheet);
    if !is_first && !is_mapped {
        process::oom_score(view, sheet);
    }
    if !is_first {
        place(view, sheet);
    }
}

fn place(view: &View<'_>, sheet: &mut Sheet) {
    let Some(cgroup) = &view.plan.cgroup else { return };
    if let Some(unit) = &cgroup.unit {
        let action = sheet.add("systemd", "wait for the unit, and open its cgroup");
        if !cgroup.path.is_root() {
            action.said("path", cgroup.path.to_string());
        }
        if let Some(subgroup) = unit.subgroup() {
            sheet
                .add(SUBJECT, format!("make the cgroup {subgroup} in the unit's, and move the process there"))
                .said("subgroup", subgroup);
        }
        return;
    }
    let others = cgroup.layout.hierarchies.iter().filter(|hierarchy| !hierarchy.unified);
    let files: Vec<String> =
        others.map(|hierarchy| format!("{}/cgroup.procs", hierarchy.directory_of(&cgroup.path))).collect();
    if !files.is_empty() {
        sheet
            .add(SUBJECT, "move the process into its cgroup in each hierarchy of version 1")
            .said("files", files);
    }
}

/// systemd has made the cgroup; what it has no property for is written.
pub(super) fn limit_unit(view: &View<'_>, sheet: &mut Sheet) {
    if let Some(cgroup) = view.plan.cgroup.as_ref().filter(|cgroup| cgroup.unit.is_some()) {
        if cgroup.layout.is_unified() {
            let controllers = cgroups::CONTROLLERS.map(str::to_owned).to_vec();
            sheet
                .add(SUBJECT, "let what is below the unit's cgroup use its controllers")
                .with("controllers", controllers);
        }
        write_limits(cgroup, sheet);
    }
}

pub(super) fn delegate(view: &View<'_>, sheet: &mut Sheet) {
    let Some(delegation) = view.plan.cgroup.as_ref().and_then(|cgroup| cgroup.delegation.as_ref()) else {
        return;
    };
    if let Some(child) = delegation.child() {
        sheet
            .add(SUBJECT, format!("make the cgroup {child} below, and move the process there"))
            .said("child", child);
    }
    if let Some((uid, gid)) = delegation.owner() {
        let action = sheet.add(SUBJECT, "give the cgroup to the container").said("uid", uid);
        if let Some(gid) = gid {
            action.said("gid", gid);
        }
    }
}

/// Whether the process has to see where it is before it mounts that.
pub(super) fn before_mount(view: &View<'_>, index: usize, sheet: &mut Sheet) {
    if namespace_comes(view) == Moment::BeforeMount(index) {
        namespaces::make_cgroup_namespace(sheet);
    }
}
