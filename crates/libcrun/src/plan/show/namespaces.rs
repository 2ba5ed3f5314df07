//! Namespaces: opened, entered, made, and given their ids.

use sys::clone::Namespaces;

use super::{Action, Sheet, View, cgroup, process, words};
use crate::plan::{Join, namespace_name};
use crate::user_namespace::{self, Way};

const SUBJECT: &str = "namespace";

pub(super) fn open(view: &View<'_>, sheet: &mut Sheet) {
    for Join { kind, path } in &view.plan.namespaces.join {
        let (kind, path) = (namespace_name(*kind), words::path(path));
        sheet.add(SUBJECT, format!("open the {kind} namespace {path}")).said("type", kind).said("path", path);
    }
}

/// What the runtime enters so that its child is born in it.
pub(super) fn make_for_child(view: &View<'_>, sheet: &mut Sheet) {
    let namespaces = &view.plan.namespaces;
    if namespaces.user_by_relay {
        let what = "a process in between joins the user namespace and makes the container's in it";
        sheet.add(SUBJECT, what).said("type", "user");
    }
    if let Some(join) = namespaces.joins(Namespaces::PID) {
        sheet
            .add(SUBJECT, "enter the pid namespace for the new process")
            .said("type", "pid")
            .said("path", words::path(&join.path))
            .or("a process in between enters it, where the runtime could not come back");
    }
    if !namespaces.time_by_init {
        make_time_namespace(view, sheet);
    }
}

/// The offsets can only be set while nobody is in it.
fn make_time_namespace(view: &View<'_>, sheet: &mut Sheet) {
    if let Some(offsets) = &view.plan.namespaces.time_offsets {
        sheet
            .add(SUBJECT, "make a time namespace and set its clocks")
            .said("namespaces", words::types(Namespaces::TIME))
            .with("offsets", offsets.lines().map(str::to_owned).collect::<Vec<_>>());
    }
}

pub(super) fn clone(view: &View<'_>, sheet: &mut Sheet) {
    let new = words::types(view.plan.namespaces.clone);
    let what = match new.is_empty() {
        true => "clone the container's process".to_owned(),
        false => format!("clone the container's process into new namespaces: {}", new.join(" ")),
    };
    let action = sheet.add("process", what).said("namespaces", new);
    if let Some(directory) = cgroup::cloned_into(view) {
        action.with("cgroup", directory).or("clone it outside of the cgroup and move it");
    }
}

/// A network namespace that the runtime makes; the process goes on meanwhile.
pub(super) fn make_network(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.namespaces.network_by_runtime {
        sheet
            .add(SUBJECT, "make a network namespace, hand it to the process, and bring its loopback up")
            .said("namespaces", words::types(Namespaces::NETWORK));
    }
}

/// The ids of a new user namespace.
pub(super) fn map_ids(view: &View<'_>, sheet: &mut Sheet) {
    let Some(maps) = &view.plan.namespaces.id_maps else { return };
    let ways = user_namespace::ways(maps, view.host.effective_uid(), view.host.effective_gid());
    for (file, mappings, way, program) in ways {
        let what = match way {
            Way::Direct => format!("write {file}"),
            Way::WithoutGroups => format!("deny setgroups(2) and write {file}"),
            Way::Helper => format!("have {program} write {file}"),
        };
        let action = sheet.add("ids", what);
        action.said("file", file).with("mappings", words::maps(mappings));
        match way {
            Way::Helper => action.said("by", program).or("write it, where the runtime may without a helper"),
            _ => action.said("by", "runtime"),
        };
    }
}

/// Those that exist. With a user namespace, what the process has the right to from outside comes before it.
pub(super) fn join(view: &View<'_>, sheet: &mut Sheet) {
    let namespaces = &view.plan.namespaces;
    let users = namespaces.joins(Namespaces::USER);
    let is_others = |join: &&Join| !(Namespaces::PID | Namespaces::USER).contains(join.kind);
    for join in namespaces.join.iter().filter(is_others) {
        join_one(join, sheet)
            .or_if(users.is_some(), "after the user namespace, where the right to comes from there");
    }
    let Some(users) = users else { return };
    if !namespaces.user_by_relay {
        join_one(users, sheet);
    }
    process::become_mapped(view, sheet);
}

fn join_one<'s>(Join { kind, path }: &Join, sheet: &'s mut Sheet) -> &'s mut Action {
    let (kind, path) = (namespace_name(*kind), words::path(path));
    sheet.add(SUBJECT, format!("join the {kind} namespace {path}")).said("type", kind).said("path", path)
}

pub(super) fn unshare(view: &View<'_>, sheet: &mut Sheet) {
    let namespaces = &view.plan.namespaces;
    // That of mounts comes with the root filesystem.
    let new = words::types(namespaces.unshare - Namespaces::MOUNT);
    if !new.is_empty() {
        sheet.add(SUBJECT, format!("make new namespaces: {}", new.join(" "))).said("namespaces", new);
    }
    if namespaces.unshare.contains(Namespaces::NETWORK) {
        sheet.add("network", "bring the loopback interface up");
    }
    if cgroup::namespace_comes(view) == cgroup::Moment::WithOthers {
        make_cgroup_namespace(sheet);
    }
}

pub(super) fn make_cgroup_namespace(sheet: &mut Sheet) {
    sheet
        .add(SUBJECT, "make a cgroup namespace, with the container's cgroup for its root")
        .said("namespaces", words::types(Namespaces::CGROUP));
}

pub(super) fn late_cgroup(view: &View<'_>, sheet: &mut Sheet) {
    if cgroup::namespace_comes(view) == cgroup::Moment::AfterRoot {
        make_cgroup_namespace(sheet);
    }
}

pub(super) fn make_time(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.namespaces.time_by_init {
        make_time_namespace(view, sheet);
    }
}
