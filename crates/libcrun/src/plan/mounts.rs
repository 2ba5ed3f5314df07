//! One entry of `mounts`, taken apart into an operation with nothing left to interpret.

use std::ffi::CString;
use std::path::PathBuf;

use sys::mount::{MountAttr, MountChange, Propagation, Reach};

use super::{InnerPath, invalid};
use crate::error::{Code, Error, Result};
use crate::mount_options::{self, Effect};
use crate::spec::Mount;

/// One mount to be made inside the container.
#[derive(Debug)]
pub(crate) struct MountOperation {
    /// Its place in the configuration, for messages.
    pub(crate) index: usize,
    pub(crate) destination: InnerPath,
    pub(crate) source: MountSource,
    /// Changes that wait until everything below the mount is in place: a read-only mount takes no mount points.
    pub(crate) deferred: MountChange,
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum MountSource {
    /// A part of the host's tree, cloned before the container's process exists.
    Bind { source: PathBuf, reach: Reach, changes: Vec<(MountChange, Reach)> },
    /// A new instance of a filesystem, made by the container's process in its namespaces.
    Filesystem {
        kind: CString,
        parameters: Vec<Parameter>,
        attributes: MountAttr,
        changes: Vec<(MountChange, Reach)>,
        /// tmpfs without a mode takes that of the directory it covers.
        inherit_mode: bool,
        /// proc and sysfs must not be diverted by a symbolic link in the image (CVE-2019-19921, CVE-2023-27561).
        only_at_root: bool,
    },
    /// The cgroup hierarchies of a host that has more than one.
    CgroupTree(CgroupTree),
    /// A change of a mount that is there.
    Remount { changes: Vec<(MountChange, Reach)> },
}

/// The v1 or hybrid `/sys/fs/cgroup`: a small tmpfs with a directory for each hierarchy.
#[derive(Debug)]
pub(crate) struct CgroupTree {
    pub(crate) attributes: MountAttr,
    /// `cpu` → `cpu,cpuacct` and the like, for hierarchies of several controllers.
    pub(crate) links: Vec<(CString, CString)>,
}

/// One parameter of a filesystem (`fsconfig(2)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parameter {
    Flag(CString),
    Value(CString, CString),
}

impl Parameter {
    pub(crate) fn name(&self) -> &CString {
        match self {
            Self::Flag(name) | Self::Value(name, _) => name,
        }
    }
}

/// The options of an entry, summed up.
#[derive(Debug, Default)]
struct Options {
    bind: Option<Reach>,
    remount: bool,
    /// For the mount alone and for its whole tree.
    changes: [MountChange; 2],
    propagation: Option<(Propagation, Reach)>,
    parameters: Vec<Parameter>,
}

impl Options {
    fn parse<'o>(options: impl Iterator<Item = &'o str>, name: &str) -> Result<Self> {
        let mut parsed = Self::default();
        for option in options {
            let word = option.split('=').next().unwrap_or_default();
            if mount_options::UNSUPPORTED.contains(&word) {
                let message = format!("{name}: the mount option `{word}` is not supported by this version");
                return Err(Error::new(Code::Unsupported, message));
            }
            match mount_options::effect(option) {
                Some(effect) => parsed.apply(effect)?,
                None => parsed.parameters.extend(parameter(option, name)?),
            }
        }
        Ok(parsed)
    }

    fn apply(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::Set(attribute, reach) => self.change(reach).set |= attribute,
            Effect::Clear(attribute, reach) => {
                let change = self.change(reach);
                change.set -= attribute;
                change.clear |= attribute;
            }
            Effect::AccessTime(mode, reach) => {
                let change = self.change(reach);
                change.set = (change.set - MountAttr::ATIME_MODES) | mode;
                change.clear |= MountAttr::ATIME_MODES;
            }
            Effect::Propagation(propagation, reach) => self.propagation = Some((propagation, reach)),
            Effect::Bind(reach) => self.bind = Some(reach),
            Effect::Remount => self.remount = true,
            Effect::Filesystem(flag) => {
                self.parameters.push(Parameter::Flag(CString::new(flag).unwrap_or_default()));
            }
            Effect::Default => {}
        }
        Ok(())
    }

    fn change(&mut self, reach: Reach) -> &mut MountChange {
        &mut self.changes[usize::from(reach == Reach::Tree)]
    }

    /// What is left to be changed once the mount exists, the propagation included.
    fn into_changes(self, default_propagation: Option<(Propagation, Reach)>) -> Vec<(MountChange, Reach)> {
        let [mount, tree] = self.changes;
        let propagation = self.propagation.or(default_propagation).map(|(propagation, reach)| {
            (MountChange { propagation: Some(propagation), ..MountChange::default() }, reach)
        });
        [Some((tree, Reach::Tree)), Some((mount, Reach::Mount)), propagation]
            .into_iter()
            .flatten()
            .filter(|(change, _)| !change.is_empty())
            .collect()
    }
}

/// An option for the filesystem; empty ones (from a trailing comma) are none.
fn parameter(option: &str, name: &str) -> Result<Option<Parameter>> {
    let text =
        |text: &str| CString::new(text).map_err(|_| invalid(format!("{name}: an option holds a NUL byte")));
    Ok(match option.split_once('=') {
        _ if option.is_empty() => None,
        None => Some(Parameter::Flag(text(option)?)),
        Some((key, value)) => Some(Parameter::Value(text(key)?, text(value)?)),
    })
}

/// What planning a mount needs to know beside the entry itself.
pub(super) struct Surroundings<'a> {
    pub(super) bundle: &'a std::path::Path,
    pub(super) cgroup: Option<&'a super::CgroupPlan>,
    pub(super) privileged: bool,
}

pub(super) fn plan(index: usize, mount: &Mount<'_>, around: &Surroundings<'_>) -> Result<MountOperation> {
    let name = format!("mounts[{index}]: {}", mount.destination);
    let destination = InnerPath::new(&mount.destination, || name.clone())?;
    let kind = mount.kind.as_deref().filter(|kind| !kind.is_empty());
    let options = match &mount.options {
        Some(options) => Options::parse(options.iter().map(|option| &**option), &name)?,
        // The defaults are those of filesystems; a bind has its source's.
        None if kind == Some("bind") => Options::default(),
        None => {
            let defaults = mount_options::defaults(&mount.destination, around.privileged);
            Options::parse(defaults.iter().copied(), &name)?
        }
    };
    let source = if options.remount {
        MountSource::Remount { changes: options.into_changes(None) }
    } else if let Some(reach) = options.bind.or((kind == Some("bind")).then_some(Reach::Mount)) {
        bind(mount, options, reach, around.bundle, &name)?
    } else {
        match kind {
            None => return Err(invalid(format!("invalid mount type for `{}`", mount.destination))),
            Some("cgroup" | "cgroup2") => cgroup(options, around)?,
            Some(kind) => filesystem(kind, mount, options, &destination, &name)?,
        }
    };
    Ok(MountOperation { index, destination, source, deferred: MountChange::default() })
}

fn bind(
    mount: &Mount<'_>,
    options: Options,
    reach: Reach,
    bundle: &std::path::Path,
    name: &str,
) -> Result<MountSource> {
    let source = mount
        .source
        .as_deref()
        .filter(|source| !source.is_empty())
        .ok_or_else(|| invalid(format!("{name}: a bind mount needs a source")))?;
    if source.contains('\0') {
        return Err(invalid(format!("{name}: the source holds a NUL byte")));
    }
    if let Some(parameter) = options.parameters.first() {
        let option = parameter.name().to_string_lossy();
        return Err(invalid(format!(
            "{name}: a bind mount has no filesystem to give the option `{option}` to"
        )));
    }
    // A clone of a shared mount would stay its peer, and mounts made inside would appear on the host.
    let changes = options.into_changes(Some((Propagation::Private, Reach::Tree)));
    Ok(MountSource::Bind { source: bundle.join(source), reach, changes })
}

fn filesystem(
    kind: &str,
    mount: &Mount<'_>,
    mut options: Options,
    destination: &InnerPath,
    name: &str,
) -> Result<MountSource> {
    let only_at_root = matches!(kind, "proc" | "sysfs");
    let inherit_mode =
        kind == "tmpfs" && !options.parameters.iter().any(|parameter| parameter.name().as_c_str() == c"mode");
    let source = mount.source.as_deref().filter(|source| !source.is_empty()).unwrap_or(kind);
    options.parameters.extend(parameter(&format!("source={source}"), name)?);
    if only_at_root && destination.as_c_str().to_bytes().contains(&b'/') {
        let message = format!("invalid target `{}`: it must be mounted at the root", mount.destination);
        return Err(invalid(message));
    }
    let attributes = std::mem::take(&mut options.changes[0]).set;
    let parameters = std::mem::take(&mut options.parameters);
    let kind = CString::new(kind).map_err(|_| invalid(format!("{name}: the type holds a NUL byte")))?;
    let changes = options.into_changes(None);
    Ok(MountSource::Filesystem { kind, parameters, attributes, changes, inherit_mode, only_at_root })
}

/// A `cgroup` entry becomes what the host has: the v2 filesystem, or a tree of the hierarchies.
fn cgroup(mut options: Options, around: &Surroundings<'_>) -> Result<MountSource> {
    let attributes = std::mem::take(&mut options.changes[0]).set;
    let unified = around.cgroup.is_none_or(|cgroup| cgroup.layout.is_unified());
    if unified {
        return Ok(MountSource::Filesystem {
            kind: c"cgroup2".to_owned(),
            parameters: vec![Parameter::Value(c"source".to_owned(), c"cgroup2".to_owned())],
            attributes,
            changes: options.into_changes(None),
            inherit_mode: false,
            only_at_root: false,
        });
    }
    let mut links = Vec::new();
    for hierarchy in around.cgroup.iter().flat_map(|cgroup| &cgroup.layout.hierarchies) {
        for controller in hierarchy.controllers.iter().filter(|name| **name != hierarchy.directory) {
            let text = |text: &str| CString::new(text).unwrap_or_default();
            links.push((text(controller), text(&hierarchy.directory)));
        }
    }
    Ok(MountSource::CgroupTree(CgroupTree { attributes, links }))
}
