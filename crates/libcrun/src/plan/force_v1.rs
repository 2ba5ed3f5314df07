//! `run.oci.systemd.force_cgroup_v1`: an older systemd, which does not know cgroup v2, gets a `/sys/fs/cgroup` it can work
//! in. At the path that the annotation names there is a tmpfs with nothing but the named v1 hierarchy `systemd`, which has
//! no controllers. The host has to have it mounted on `/sys/fs/cgroup/systemd`; the container has a cgroup of its own in it,
//! which its cgroup namespace makes the root of what it sees.

use std::ffi::CString;

use cgroups::Layout;
use cgroups::layout::Hierarchy;
use sys::clone::Namespaces;
use sys::mount::{MountAttr, MountChange};

use super::mounts::{
    Filesystem, Inherit, Maker, MountOperation, MountSource, Parameter, Surroundings, Target, plan,
};
use super::{InnerPath, NamespacePlan, invalid};
use crate::error::Result;
use crate::spec::{Mount, Spec, Text};

const ANNOTATION: &str = "run.oci.systemd.force_cgroup_v1";

/// The mount point that is asked for.
pub(super) fn asked<'s>(spec: &'s Spec<'_>) -> Option<&'s str> {
    let all = spec.annotations.as_ref()?;
    all.iter().find(|(name, path)| &***name == ANNOTATION && !path.is_empty()).map(|(_, path)| &**path)
}

/// Where the container's cgroup is then: in the named hierarchy too.
pub(super) fn extend(layout: Layout, namespaces: &NamespacePlan) -> Result<Layout> {
    let refuse = |what: &str| invalid(format!("annotations.{ANNOTATION}: {what}"));
    if !namespaces.contains(Namespaces::CGROUP) {
        return Err(refuse("needs a cgroup namespace"));
    }
    let extended = layout.with_named_hierarchy();
    let is_there = extended.hierarchies.iter().any(Hierarchy::is_named);
    if is_there {
        Ok(extended)
    } else {
        Err(refuse("there is no cgroup v1 mount on `/sys/fs/cgroup/systemd`"))
    }
}

/// Refuses it to a container without a cgroup.
pub(super) fn refuse(spec: &Spec<'_>) -> Result<()> {
    match asked(spec) {
        Some(_) => Err(invalid(format!("annotations.{ANNOTATION}: needs a cgroup, and there is none"))),
        None => Ok(()),
    }
}

/// Puts the two mounts in the place of what is mounted at `path`.
pub(super) fn mount(mounts: &mut Vec<MountOperation>, path: &str, around: &Surroundings<'_>) -> Result<()> {
    let name = || format!("annotations.{ANNOTATION}");
    let destination = InnerPath::new(path, name)?;
    if !path.starts_with('/') || destination.is_root() {
        return Err(invalid(format!("{}: `{path}` is no path to mount something at", name())));
    }
    mounts.retain(|mount| mount.destination != destination);
    let options = ["nosuid", "noexec", "nodev", "mode=755"].map(Text::from);
    let tmpfs = Mount {
        destination: Text::from(path),
        kind: Some(Text::from("tmpfs")),
        source: Some(Text::from("tmpfs")),
        options: Some(options.into()),
        ..Mount::default()
    };
    mounts.push(plan(mounts.len(), &tmpfs, around)?);
    let value = |name: &str, value: &str| {
        Parameter::Value(CString::new(name).unwrap_or_default(), CString::new(value).unwrap_or_default())
    };
    let hierarchy = Filesystem {
        kind: c"cgroup".to_owned(),
        parameters: vec![
            Parameter::Flag(c"none".to_owned()),
            value("name", "systemd"),
            Parameter::Flag(c"xattr".to_owned()),
            value("source", "cgroup"),
        ],
        attributes: MountAttr::NOSUID | MountAttr::NOEXEC | MountAttr::NODEV,
        changes: Vec::new(),
        maker: Maker::Init,
        inherit: Inherit::default(),
        copy_up: false,
        fallback: None,
        idmap: None,
        label: None,
    };
    mounts.push(MountOperation {
        index: mounts.len(),
        destination: InnerPath::new(&format!("{path}/systemd"), name)?,
        target: Target::Follow,
        source: MountSource::Filesystem(hierarchy),
        deferred: MountChange::default(),
        leaves_traces: true,
    });
    Ok(())
}
