//! The mounts: what of the host's is cloned, what is made where from what, and what is changed at the end.

use sys::mount::Reach;

use super::{Action, Sheet, View, cgroup, rootfs, words};
use crate::plan::{
    Bind, Fallback, Filesystem, Idmap, Maker, Maps, MountOperation, MountSource, Parameter, SourceLink,
    Target,
};

const SUBJECT: &str = "mount";

/// What there is of the mounts before the process is.
pub(super) fn acquire(view: &View<'_>, sheet: &mut Sheet) {
    let is_cloned_inside = rootfs::is_cloned_inside(view);
    for mount in &view.plan.rootfs.mounts {
        match &mount.source {
            MountSource::Bind(bind) if !is_cloned_inside => clone(mount, bind, sheet),
            MountSource::Filesystem(filesystem) if filesystem.maker == Maker::Runtime => {
                let kind = words::text(&filesystem.kind);
                let action =
                    sheet.add(SUBJECT, format!("make a filesystem {kind}, for {}", mount.destination));
                action.said("index", index(mount)).said("type", kind);
            }
            _ => {}
        }
    }
}

/// The same by the process, which clones what the host has.
pub(super) fn clone_binds(view: &View<'_>, sheet: &mut Sheet) {
    for mount in &view.plan.rootfs.mounts {
        if let MountSource::Bind(bind) = &mount.source {
            clone(mount, bind, sheet);
        }
    }
}

fn clone(mount: &MountOperation, bind: &Bind, sheet: &mut Sheet) {
    let source = bind.shown_source().into_owned();
    let whole = if bind.reach == Reach::Tree { " with all that is mounted in it" } else { "" };
    let action = sheet.add(SUBJECT, format!("clone {source}{whole}, for {}", mount.destination));
    action.said("index", index(mount)).said("source", source);
    action.or_if(bind.link == SourceLink::Copy, "read it, if it is a symbolic link");
}

pub(super) fn make(view: &View<'_>, sheet: &mut Sheet) {
    for mount in &view.plan.rootfs.mounts {
        cgroup::before_mount(view, mount.index, sheet);
        let destination = mount.destination.to_string();
        let text = what(&mount.source, &destination);
        let action = sheet.add(SUBJECT, text);
        action.said("index", index(mount)).said("destination", destination);
        match &mount.source {
            MountSource::Bind(bind) => tell_bind(bind, action),
            MountSource::Filesystem(filesystem) => tell_filesystem(filesystem, action),
            MountSource::CgroupTree(tree) => {
                action.said("type", "cgroup").with("options", words::attributes(tree.attributes));
                let links =
                    tree.links.iter().map(|(name, target)| words::text(name) + " → " + &words::text(target));
                action.with("links", links.collect::<Vec<_>>());
            }
            MountSource::Remount { parameters, changes } => {
                action.said("type", "remount").with("options", words::changes(changes));
                action.with("parameters", self::parameters(parameters));
            }
        }
        match mount.target {
            Target::Follow => {}
            Target::NoFollow => {
                action.said("target", "a symbolic link itself");
            }
            Target::AtRoot => {
                action.said("target", "a directory at the root, and no symbolic link");
            }
        }
    }
}

/// What is mounted, in a few words.
fn what(source: &MountSource, on: &str) -> String {
    match source {
        MountSource::Bind(bind) => format!("bind {} on {on}", bind.shown_source()),
        MountSource::Filesystem(filesystem) => format!("{} on {on}", words::text(&filesystem.kind)),
        MountSource::CgroupTree(_) => format!("the container's cgroup in each hierarchy, on {on}"),
        MountSource::Remount { .. } => format!("change what is mounted on {on}"),
    }
}

/// The parameters of a filesystem, without what is only its name.
fn parameters(all: &[Parameter]) -> Vec<String> {
    let others = all.iter().filter(|parameter| parameter.name() != c"source");
    others.map(ToString::to_string).collect()
}

fn source(all: &[Parameter]) -> Option<String> {
    all.iter().find_map(|parameter| match parameter {
        Parameter::Value(name, value) if name.as_c_str() == c"source" => Some(words::text(value)),
        _ => None,
    })
}

fn tell_bind(bind: &Bind, action: &mut Action) {
    action.said("type", if bind.reach == Reach::Tree { "rbind" } else { "bind" });
    action.said("source", bind.shown_source().into_owned()).with("options", words::changes(&bind.changes));
    tell_idmap(bind.idmap.as_ref(), action);
    match bind.link {
        SourceLink::Follow => {}
        SourceLink::NoFollow => {
            action.said("link", "mounted itself");
        }
        SourceLink::Copy => {
            action.or("the same link, if the source is one");
        }
    }
}

fn tell_filesystem(filesystem: &Filesystem, action: &mut Action) {
    let Filesystem { kind, parameters, attributes, changes, maker, .. } = filesystem;
    let mut options = words::attributes(*attributes);
    options.extend(words::changes(changes));
    let kind = words::text(kind);
    if let Some(source) = source(parameters) {
        let is_said = source == kind;
        action.push("source", source.into(), is_said);
    }
    action.said("type", kind).with("options", options).with("parameters", self::parameters(parameters));
    action.said("by", if *maker == Maker::Init { "init" } else { "runtime" });
    if filesystem.inherits() {
        let mut taken = Vec::new();
        taken.extend(filesystem.inherit.mode.then(|| "mode".to_owned()));
        taken.extend(filesystem.inherit.owner.then(|| "owner".to_owned()));
        taken.extend(filesystem.copy_up.then(|| "content".to_owned()));
        action.with("inherits", taken);
    }
    tell_idmap(filesystem.idmap.as_ref(), action);
    if let Some(label) = &filesystem.label {
        action.said("label", words::text(label));
    }
    match filesystem.fallback {
        None => {}
        Some(Fallback::Tree(path)) => {
            action.or(format!("the host's {}, read-only below", words::text(path)));
        }
        Some(Fallback::Cgroup) => {
            action.or("the container's cgroup, as the host has it");
        }
    }
}

fn tell_idmap(idmap: Option<&Idmap>, action: &mut Action) {
    match idmap.map(|idmap| &idmap.maps) {
        None => {}
        Some(Maps::Given(maps)) => {
            action.with("idmap", words::both_maps(maps));
        }
        Some(Maps::Joined(path)) => {
            action.with("idmap", vec![words::path(path)]);
        }
    }
}

/// What had to wait for what is mounted below it.
pub(super) fn finish(view: &View<'_>, sheet: &mut Sheet) {
    for mount in view.plan.rootfs.mounts.iter().filter(|mount| !mount.deferred.is_empty()) {
        let destination = mount.destination.to_string();
        let action =
            sheet.add("readonly", format!("make {destination} read-only, now that all below it is in place"));
        action.said("path", destination);
    }
}

fn index(mount: &MountOperation) -> i64 {
    i64::try_from(mount.index).unwrap_or(i64::MAX)
}
