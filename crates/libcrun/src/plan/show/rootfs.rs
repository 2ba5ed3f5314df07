//! The root filesystem: opened, attached, filled, protected, entered.

use rustix::fs::{major, minor};
use sys::clone::Namespaces;
use sys::mount::Propagation;

use super::{Sheet, View, mounts, words};
use crate::plan::{DevicePlan, NodeKind, SYMLINKS};

const SUBJECT: &str = "root";

/// Whether the process clones what the runtime has no right to.
pub(super) fn is_cloned_inside(view: &View<'_>) -> bool {
    view.plan.rootfs.own_mounts && view.host.effective_uid() != 0
}

/// Whether hooks look at the container's mounts from where the host's are in sight.
fn sees_both_sides(view: &View<'_>) -> bool {
    view.plan.hooks.as_ref().is_some_and(|hooks| hooks.see_both_sides())
}

pub(super) fn open(view: &View<'_>, sheet: &mut Sheet) {
    let path = words::path(&view.plan.rootfs.path);
    sheet.add(SUBJECT, format!("open {path}")).said("path", path);
}

/// Device nodes where the process can make none.
pub(super) fn acquire_nodes(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.rootfs.devices.is_empty() || is_cloned_inside(view) {
        return;
    }
    match nodes(view) {
        Nodes::Made => {}
        Nodes::Mounted => {
            let what = "make the device nodes on a tmpfs, to be mounted in the container";
            sheet.add("device", what).or("clone the host's, where the runtime can make none");
        }
        Nodes::Hosts => {
            sheet.add("device", "clone the host's device nodes");
        }
    }
}

/// What devices are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nodes {
    /// Made by the process.
    Made,
    /// Made by the runtime, and mounted: in a user namespace no node can be made.
    Mounted,
    /// Those of the host, mounted.
    Hosts,
}

fn nodes(view: &View<'_>) -> Nodes {
    let namespaces = &view.plan.namespaces;
    match namespaces.contains(Namespaces::USER) && view.plan.rootfs.own_mounts {
        false => Nodes::Made,
        true if namespaces.id_maps.is_some() && !view.plan.is_rootless => Nodes::Mounted,
        true => Nodes::Hosts,
    }
}

pub(super) fn acquire_masks(view: &View<'_>, sheet: &mut Sheet) {
    if !view.plan.rootfs.masked.is_empty() && !is_cloned_inside(view) {
        clone_masks(sheet);
    }
}

fn clone_masks(sheet: &mut Sheet) {
    sheet.add("mask", "clone an empty directory and /dev/null, read-only, for masked paths");
}

/// What the process clones in a copy of the host's mount namespace, still as the user who called.
pub(super) fn clone_inside(view: &View<'_>, sheet: &mut Sheet) {
    if !is_cloned_inside(view) {
        return;
    }
    let mount = words::types(Namespaces::MOUNT);
    sheet.add("namespace", "make a mount namespace, a copy of the host's").said("namespaces", mount);
    let path = words::path(&view.plan.rootfs.path);
    sheet.add(SUBJECT, format!("clone the tree of mounts at {path}")).said("path", path);
    if !view.plan.rootfs.masked.is_empty() {
        clone_masks(sheet);
    }
    mounts::clone_binds(view, sheet);
}

pub(super) fn attach(view: &View<'_>, sheet: &mut Sheet) {
    let rootfs = &view.plan.rootfs;
    if !rootfs.own_mounts {
        return;
    }
    let path = words::path(&rootfs.path);
    let over_host = "attach a clone of the tree over the root of a copy of the host's mount namespace";
    let by_path = "the same by mount(2), before Linux 5.12";
    if view.plan.namespaces.shares_mounts() {
        sheet.add(SUBJECT, format!("attach a clone of the tree at {path}")).said("path", path);
        return;
    }
    let action = if is_cloned_inside(view) {
        sheet.add(SUBJECT, "attach the clone of the tree over the root of the mount namespace")
    } else if sees_both_sides(view) {
        let what =
            "make a mount namespace, a copy of the host's, and attach a clone of the tree at its place there";
        sheet.add(SUBJECT, what)
    } else {
        sheet
            .add(SUBJECT, format!("make a mount namespace of the tree at {path} alone (Linux 7.0)"))
            .or(over_host)
    };
    action
        .or(by_path)
        .said("path", path)
        .said(
            "propagation",
            words::propagation(match rootfs.propagation {
                slave @ (Propagation::Slave, _) => slave,
                (_, reach) => (Propagation::Private, reach),
            }),
        )
        .said(
            "namespaces",
            if is_cloned_inside(view) { Vec::new() } else { words::types(Namespaces::MOUNT) },
        );
}

pub(super) fn make_devices(view: &View<'_>, sheet: &mut Sheet) {
    let rootfs = &view.plan.rootfs;
    for device in &rootfs.devices {
        make_device(view, device, sheet);
    }
    if rootfs.links {
        for (name, target) in SYMLINKS {
            let (path, target) = (format!("/dev/{}", words::text(name)), words::text(target));
            let action = sheet.add("link", format!("{path} → {target}"));
            action.said("path", path).said("target", target);
            action.or_if(!rootfs.own_dev, "what is there");
        }
    }
}

fn make_device(view: &View<'_>, device: &DevicePlan, sheet: &mut Sheet) {
    let DevicePlan { path, kind, mode, uid, gid } = device;
    let (letter, number) = match kind {
        NodeKind::Char(number) => ("c", Some(*number)),
        NodeKind::Block(number) => ("b", Some(*number)),
        NodeKind::Fifo => ("p", None),
    };
    let numbers = number.map(|number| (major(number), minor(number)));
    let shown = numbers.map(|(major, minor)| format!(" {major}:{minor}")).unwrap_or_default();
    let nodes = if number.is_some() { nodes(view) } else { Nodes::Made };
    let verb = match nodes {
        Nodes::Made => "make",
        Nodes::Mounted => "mount",
        Nodes::Hosts => "mount the host's",
    };
    let mut text = format!("{verb} {path}, {letter}{shown}");
    if nodes != Nodes::Hosts {
        text.push_str(&format!(", mode {mode:04o}"));
        if (*uid, *gid) != (0, 0) {
            text.push_str(&format!(", owner {uid}:{gid}"));
        }
    }
    let action = sheet.add("device", text);
    action.said("path", path.to_string()).said("type", letter);
    if let Some((major, minor)) = numbers {
        action.said("major", major).said("minor", minor);
    }
    if nodes != Nodes::Hosts {
        action.said("mode", format!("{mode:04o}")).said("uid", *uid).said("gid", *gid);
    }
    action.or_if(nodes == Nodes::Mounted, "the host's, where the runtime can make none");
    let may_be_there = nodes == Nodes::Made && !view.plan.rootfs.own_dev;
    action.or_if(may_be_there, "what is there, if it is that device");
    let is_nested = nodes == Nodes::Made && number.is_some() && view.plan.is_rootless;
    action.or_if(is_nested, "the host's, mounted, where the process can make none");
}

pub(super) fn make_working_directory(view: &View<'_>, sheet: &mut Sheet) {
    let cwd = &view.plan.rootfs.working_directory;
    if !cwd.is_root() {
        let path = cwd.to_string();
        sheet.add(SUBJECT, format!("make {path}, if it is missing")).said("path", path);
    }
}

pub(super) fn mask(view: &View<'_>, sheet: &mut Sheet) {
    for path in &view.plan.rootfs.masked {
        let what = format!("cover {path}, if it is there, with an empty directory or /dev/null");
        sheet.add("mask", what).said("path", path.to_string());
    }
}

pub(super) fn protect(view: &View<'_>, sheet: &mut Sheet) {
    for path in &view.plan.rootfs.read_only_paths {
        let what = format!("bind {path}, if it is there, onto itself, read-only");
        sheet.add("readonly", what).said("path", path.to_string());
    }
}

pub(super) fn make_read_only(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.rootfs.readonly && view.plan.rootfs.own_mounts {
        sheet.add("readonly", "make the root read-only").said("path", "/");
    }
}

pub(super) fn enter(view: &View<'_>, sheet: &mut Sheet) {
    let rootfs = &view.plan.rootfs;
    let (call, what) = match (rootfs.own_mounts && !view.plan.namespaces.shares_mounts(), view.plan.pivot) {
        (false, _) => ("chroot", "change the root directory, by chroot(2)"),
        (true, true) => ("pivot_root", "enter the root by pivot_root(2), and unmount the host's"),
        (true, false) => ("chroot", "unmount /proc and /sys, and enter the root by chroot(2)"),
    };
    let is_alone = "chroot(2), in a mount namespace of the tree alone";
    let may_be_alone = rootfs.own_mounts
        && !view.plan.namespaces.shares_mounts()
        && !is_cloned_inside(view)
        && !sees_both_sides(view);
    sheet.add(SUBJECT, what).said("call", call).or_if(may_be_alone, is_alone);
    if rootfs.own_mounts && matches!(rootfs.propagation.0, Propagation::Shared | Propagation::Unbindable) {
        let propagation = words::propagation(rootfs.propagation);
        sheet.add(SUBJECT, format!("make the root {propagation}")).said("propagation", propagation);
    }
}
