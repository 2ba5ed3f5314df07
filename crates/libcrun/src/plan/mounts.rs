//! One entry of `mounts`, taken apart into an operation with nothing left to interpret
//! (runtime-spec config.md#mounts).

mod idmap;
mod ids;
mod options;

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use cgroups::Layout;
use rustix::mount::OpenTreeFlags;
use sys::clone::Namespaces;
use sys::mount::{MountAttr, MountChange, Propagation, Reach};

pub(crate) use idmap::{Idmap, Maps};
use options::Options;

use super::{InnerPath, MountLabel, NamespacePlan, invalid};
use crate::error::{Doing, Result, doing};
use crate::host::Host;
use crate::mount_options::{self, Special};
use crate::spec::{Linux, Mount};

/// One mount to be made inside the container.
#[derive(Debug)]
pub(crate) struct MountOperation {
    /// Its place in the configuration, for messages.
    pub(crate) index: usize,
    pub(crate) destination: InnerPath,
    pub(crate) target: Target,
    pub(crate) source: MountSource,
    /// Changes that wait until everything below the mount is in place: a read-only mount takes no mount points.
    pub(crate) deferred: MountChange,
    /// Whether a mount point that is made for it stays when the container does not come to be: not in a filesystem
    /// that goes with it.
    pub(crate) leaves_traces: bool,
}

impl MountOperation {
    /// What an error calls this mount.
    pub(crate) fn name_only(&self) -> String {
        format!("mounts[{}]: {}", self.index, self.destination)
    }

    /// What an error says that concerns this mount.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}: {what}", self.name_only())
    }

    /// Whether it is a bind with this propagation.
    pub(crate) fn propagates(&self, propagation: Propagation) -> bool {
        let MountSource::Bind(bind) = &self.source else { return false };
        bind.changes.iter().any(|(change, _)| change.propagation == Some(propagation))
    }

    /// Whether it takes the place of the root.
    pub(crate) fn covers_root(&self) -> bool {
        self.destination.is_root() && !matches!(self.source, MountSource::Remount { .. })
    }

    /// Whether it is one of the two filesystems that show the whole system (`user_namespaces(7)`).
    pub(crate) fn shows_system(&self) -> bool {
        let MountSource::Filesystem(filesystem) = &self.source else { return false };
        filesystem.idmap.is_none() && matches!(filesystem.kind.to_bytes(), b"proc" | b"sysfs")
    }

    /// Whether it shows the devices of a network namespace.
    pub(crate) fn is_sysfs(&self) -> bool {
        matches!(&self.source, MountSource::Filesystem(filesystem) if filesystem.kind.as_c_str() == c"sysfs")
    }

    /// Whether it shows the cgroup its maker is in.
    pub(crate) fn is_cgroup(&self) -> bool {
        matches!(&self.source, MountSource::Filesystem(filesystem) if filesystem.kind.as_c_str() == c"cgroup2")
    }

    /// What it says when the filesystem does not take a parameter, or cannot be had at all.
    pub(crate) fn refused(&self, kind: &CStr, parameter: Option<&Parameter>) -> String {
        let kind = kind.to_string_lossy();
        match parameter {
            Some(parameter) => self.name(&format!("the {kind} filesystem refuses the option `{parameter}`")),
            None => self.name(&format!("mount the {kind} filesystem")),
        }
    }
}

/// How the destination is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Below the root, through symbolic links.
    Follow,
    /// The same, but a link at its end is mounted over itself. Not on a filesystem of the kernel's, where links lead
    /// out of the container.
    NoFollow,
    /// A real directory directly below the root: proc and sysfs must not be diverted by a symbolic link in the image
    /// (CVE-2019-19921, CVE-2023-27561).
    AtRoot,
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum MountSource {
    Bind(Bind),
    Filesystem(Filesystem),
    /// The cgroup hierarchies of a host that has more than one.
    CgroupTree(CgroupTree),
    /// A change of a mount that is there; with parameters, also of its filesystem.
    Remount {
        parameters: Vec<Parameter>,
        changes: Vec<(MountChange, Reach)>,
    },
}

/// A part of the host's tree, cloned before the container's process exists.
#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) source: CString,
    pub(crate) reach: Reach,
    pub(crate) link: SourceLink,
    pub(crate) changes: Vec<(MountChange, Reach)>,
    pub(crate) idmap: Option<Idmap>,
}

/// What is done with a source that is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceLink {
    /// What it leads to is mounted.
    Follow,
    /// It is mounted itself.
    NoFollow,
    /// The same link is made at the destination, and nothing is mounted.
    Copy,
}

impl Bind {
    /// The source, for people.
    pub(crate) fn shown_source(&self) -> std::borrow::Cow<'_, str> {
        self.source.to_string_lossy()
    }

    /// What an error says when the source cannot be opened.
    pub(crate) fn opening(&self, mount: &MountOperation) -> Doing {
        let source = Path::new(OsStr::from_bytes(self.source.to_bytes()));
        doing(&mount.name("open the source"), source)
    }
}

impl SourceLink {
    /// How `open_tree(2)` is to look the source up.
    pub(crate) fn flags(self) -> OpenTreeFlags {
        match self {
            Self::NoFollow => OpenTreeFlags::AT_SYMLINK_NOFOLLOW,
            Self::Follow | Self::Copy => OpenTreeFlags::empty(),
        }
    }
}

/// A new instance of a filesystem.
#[derive(Debug)]
pub(crate) struct Filesystem {
    pub(crate) kind: CString,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) attributes: MountAttr,
    pub(crate) changes: Vec<(MountChange, Reach)>,
    pub(crate) maker: Maker,
    /// A tmpfs takes what was not asked for from the directory it covers: permissions and owner.
    pub(crate) inherit: Inherit,
    /// It starts with a copy of what it covers.
    pub(crate) copy_up: bool,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) idmap: Option<Idmap>,
    /// What SELinux takes its root for, where the filesystem is told so only once it is there.
    pub(crate) label: Option<CString>,
}

impl Filesystem {
    /// Whether anything of it depends on the directory it covers.
    pub(crate) fn inherits(&self) -> bool {
        self.copy_up || self.inherit != Inherit::default()
    }
}

/// Who makes a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    /// The runtime: it has the host's rights and the host's paths (the layers of an overlay, say).
    Runtime,
    /// The container's process, because it shows the namespaces it is made in, or belongs to their owner.
    Init,
}

/// Which properties of the covered directory a tmpfs takes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Inherit {
    pub(crate) mode: bool,
    pub(crate) owner: bool,
}

/// What is shown where the kernel does not let this container have an instance of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// A directory of the host with all that is mounted in it.
    Tree(&'static CStr),
    /// The container's cgroup.
    Cgroup,
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
    /// A flag that is left out where the filesystem does not know it.
    WhereKnown(CString),
    Value(CString, CString),
    /// One with an id that is left out where that is not mapped.
    WhereMapped(CString, CString),
}

impl Parameter {
    pub(crate) fn name(&self) -> &CStr {
        match self {
            Self::Flag(name) | Self::WhereKnown(name) => name,
            Self::Value(name, _) | Self::WhereMapped(name, _) => name,
        }
    }
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name().to_string_lossy())?;
        match self {
            Self::Value(_, value) | Self::WhereMapped(_, value) => {
                write!(f, "={}", value.to_string_lossy())
            }
            _ => Ok(()),
        }
    }
}

/// Filesystems whose instances depend on the namespaces of whoever makes them, or belong to a user namespace.
const MADE_INSIDE: [&str; 9] =
    ["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "cgroup", "cgroup2", "binfmt_misc"];

/// What planning a mount needs to know beside the entry itself.
pub(super) struct Surroundings<'a> {
    pub(super) bundle: &'a Path,
    /// The host's cgroups, if the container has one of its own in them.
    pub(super) layout: Option<&'a Layout>,
    pub(super) host: &'a Host,
    pub(super) linux: &'a Linux<'a>,
    pub(super) namespaces: &'a NamespacePlan,
    pub(super) label: Option<&'a MountLabel>,
}

/// An entry with what its errors call it.
struct Entry<'a> {
    mount: &'a Mount<'a>,
    destination: InnerPath,
    name: String,
}

pub(super) fn plan(index: usize, mount: &Mount<'_>, around: &Surroundings<'_>) -> Result<MountOperation> {
    let name = format!("mounts[{index}]: {}", mount.destination);
    let destination = InnerPath::new(&mount.destination, || name.clone())?;
    let entry = Entry { mount, destination, name };
    let kind = mount.kind.as_deref().filter(|kind| !kind.is_empty());
    let options = match &mount.options {
        Some(options) => Options::parse(options.iter().map(|option| &**option), &entry.name)?,
        // The defaults are those of filesystems; a bind has its source's.
        None if kind == Some("bind") => Options::default(),
        None => {
            let defaults = mount_options::defaults(&mount.destination, around.host.effective_uid() == 0);
            Options::parse(defaults.iter().copied(), &entry.name)?
        }
    };
    let mut target =
        if options.has(Special::DestinationNoFollow) { Target::NoFollow } else { Target::Follow };
    let source = if options.remount {
        remount(options, kind == Some("bind"))
    } else if let Some(reach) = options.bind.or((kind == Some("bind")).then_some(Reach::Mount)) {
        bind(&entry, options, reach, around)?
    } else {
        match kind {
            None => return Err(invalid(format!("invalid mount type for `{}`", mount.destination))),
            Some("cgroup" | "cgroup2") => cgroup(options, around),
            Some(kind) => {
                if matches!(kind, "proc" | "sysfs") {
                    target = Target::AtRoot;
                }
                filesystem(kind, &entry, options, around)?
            }
        }
    };
    Ok(MountOperation {
        index,
        destination: entry.destination,
        target,
        source,
        deferred: MountChange::default(),
        leaves_traces: true,
    })
}

/// With `bind`, the mount alone is changed; without, what is for the filesystem goes to that.
fn remount(mut options: Options, bind: bool) -> MountSource {
    let of_filesystem = !bind && options.bind.is_none();
    let mut parameters = std::mem::take(&mut options.parameters);
    parameters.append(&mut options.flags);
    if !of_filesystem {
        parameters.clear();
    }
    MountSource::Remount { parameters, changes: options.into_changes(None) }
}

fn bind(entry: &Entry<'_>, options: Options, reach: Reach, around: &Surroundings<'_>) -> Result<MountSource> {
    let refuse = |what: &str| invalid(format!("{}: {what}", entry.name));
    let source = entry.mount.source.as_deref().filter(|source| !source.is_empty());
    let source = source.ok_or_else(|| refuse("a bind mount needs a source"))?;
    let source = CString::new(around.bundle.join(source).into_os_string().into_vec())
        .map_err(|_| refuse("the source holds a NUL byte"))?;
    if options.has(Special::CopyUp) {
        return Err(refuse("the option `tmpcopyup` is only for tmpfs"));
    }
    if let Some(parameter) = options.parameters.first() {
        return Err(refuse(&format!("a bind mount has no filesystem to give the option `{parameter}` to")));
    }
    let link = match (options.has(Special::CopySymlink), options.has(Special::SourceNoFollow)) {
        (true, false) if !options.has(Special::DestinationNoFollow) => SourceLink::Copy,
        (true, _) => {
            return Err(refuse("the option `copy-symlink` excludes `src-nofollow` and `dest-nofollow`"));
        }
        (false, true) => SourceLink::NoFollow,
        (false, false) => SourceLink::Follow,
    };
    let idmap = idmap::plan(entry.mount, &options, around.linux, around.namespaces, &entry.name)?;
    // A clone of a shared mount would stay its peer, and mounts made inside would appear on the host.
    let changes = options.into_changes(Some((Propagation::Private, Reach::Tree)));
    Ok(MountSource::Bind(Bind { source, reach, link, changes, idmap }))
}

fn filesystem(
    kind: &str,
    entry: &Entry<'_>,
    mut options: Options,
    around: &Surroundings<'_>,
) -> Result<MountSource> {
    let refuse = |what: &str| invalid(format!("{}: {what}", entry.name));
    let is_tmpfs = kind == "tmpfs";
    for (special, name) in [
        (Special::CopySymlink, "copy-symlink"),
        (Special::SourceNoFollow, "src-nofollow"),
        (Special::DestinationNoFollow, "dest-nofollow"),
    ] {
        if options.has(special) {
            return Err(refuse(&format!("the option `{name}` is only for bind mounts")));
        }
    }
    let copy_up = options.has(Special::CopyUp);
    if copy_up && (!is_tmpfs || entry.destination.is_root()) {
        return Err(refuse("the option `tmpcopyup` is only for tmpfs, and not on `/`"));
    }
    if matches!(kind, "proc" | "sysfs") && entry.destination.as_c_str().to_bytes().contains(&b'/') {
        let destination = &entry.mount.destination;
        return Err(invalid(format!("invalid target `{destination}`: it must be mounted at the root")));
    }
    let idmap = idmap::plan(entry.mount, &options, around.linux, around.namespaces, &entry.name)?;
    let maker = if MADE_INSIDE.contains(&kind) { Maker::Init } else { Maker::Runtime };
    let mut parameters = std::mem::take(&mut options.parameters);
    ids::settle(kind, &mut parameters, around, &entry.name)?;
    parameters.append(&mut options.flags);
    let given = |name: &CStr| parameters.iter().any(|parameter| parameter.name() == name);
    let inherit =
        Inherit { mode: is_tmpfs && !given(c"mode"), owner: is_tmpfs && !given(c"uid") && !given(c"gid") };
    let source = entry.mount.source.as_deref().filter(|source| !source.is_empty()).unwrap_or(kind);
    let text = |text: &str, what: &str| {
        CString::new(text).map_err(|_| refuse(&format!("the {what} holds a NUL byte")))
    };
    parameters.push(Parameter::Value(c"source".to_owned(), text(source, "source")?));
    let label = label(kind, &mut parameters, around);
    let attributes = options.take_attributes();
    // A disk that cannot be written to has to be told so before it is mounted.
    if maker == Maker::Runtime && attributes.contains(MountAttr::RDONLY) {
        parameters.push(Parameter::Flag(c"ro".to_owned()));
    }
    Ok(MountSource::Filesystem(Filesystem {
        kind: text(kind, "type")?,
        parameters,
        attributes,
        changes: options.into_changes(None),
        maker,
        inherit,
        copy_up,
        fallback: fallback(kind, around),
        idmap,
        label,
    }))
}

/// Gives a filesystem the container's label: as an option, or where there is one instance for many mounts of it, whose
/// options are settled, as what is returned. Those of the kernel itself have labels of their own.
fn label(kind: &str, parameters: &mut Vec<Parameter>, around: &Surroundings<'_>) -> Option<CString> {
    let label = around.label?;
    match kind {
        "proc" | "sysfs" | "binfmt_misc" => None,
        "mqueue" => Some(label.attribute.clone()),
        _ => {
            let name = label.parameter.name();
            if !parameters.iter().any(|parameter| parameter.name() == name) {
                parameters.push(label.parameter.clone());
            }
            None
        }
    }
}

/// Namespaces that belong to somebody else's user namespace cannot be shown by a filesystem made in this one; nor can the
/// system, in any user namespace, where something is mounted over parts of it outside.
fn fallback(kind: &str, around: &Surroundings<'_>) -> Option<Fallback> {
    let has = |kind| around.namespaces.contains(kind);
    let denied = |kind| has(Namespaces::USER) || !has(kind) || around.host.is_rootless();
    match kind {
        "sysfs" if denied(Namespaces::NETWORK) => Some(Fallback::Tree(c"/sys")),
        "mqueue" if denied(Namespaces::IPC) => Some(Fallback::Tree(c"/dev/mqueue")),
        "cgroup2" if denied(Namespaces::CGROUP) => Some(Fallback::Cgroup),
        _ => None,
    }
}

/// A `cgroup` entry becomes what the host has: the v2 filesystem, or a tree of the hierarchies.
fn cgroup(mut options: Options, around: &Surroundings<'_>) -> MountSource {
    let attributes = options.take_attributes();
    let unified = around.layout.is_none_or(Layout::is_unified);
    if unified {
        let mut parameters = std::mem::take(&mut options.parameters);
        parameters.push(Parameter::Value(c"source".to_owned(), c"cgroup2".to_owned()));
        return MountSource::Filesystem(Filesystem {
            kind: c"cgroup2".to_owned(),
            parameters,
            attributes,
            changes: options.into_changes(None),
            maker: Maker::Init,
            inherit: Inherit::default(),
            copy_up: false,
            fallback: fallback("cgroup2", around),
            idmap: None,
            label: None,
        });
    }
    let mut links = Vec::new();
    for hierarchy in around.layout.iter().flat_map(|layout| &layout.hierarchies) {
        for controller in hierarchy.controllers.iter().filter(|name| **name != hierarchy.directory) {
            let text = |text: &str| CString::new(text).unwrap_or_default();
            links.push((text(controller), text(&hierarchy.directory)));
        }
    }
    MountSource::CgroupTree(CgroupTree { attributes, links })
}

/// What a mount has to know of the others: a read-only mount with something to be mounted or made below it becomes
/// read-only at the end, so that mount points can be made in it; and mount points in a new filesystem go with that.
pub(super) fn relate(mounts: &mut [MountOperation]) {
    for index in 0..mounts.len() {
        let (before, after) = mounts.split_at_mut(index + 1);
        let Some(mount) = before.last_mut() else { continue };
        // A copy may hold links, and they lead out of it.
        let is_new =
            matches!(&mount.source, MountSource::Filesystem(new) if new.maker == Maker::Init && !new.copy_up);
        let mut has_more = mount.destination.as_c_str() == c"dev";
        for below in after.iter_mut().filter(|later| mount.destination.is_above(&later.destination)) {
            has_more = true;
            below.leaves_traces = !is_new;
        }
        if has_more && mount.source.take_read_only() {
            mount.deferred.set = MountAttr::RDONLY;
        }
    }
}

impl MountSource {
    /// Leaves read-only out of what the mount is made with; whether it was in.
    fn take_read_only(&mut self) -> bool {
        let attributes = match self {
            // Nothing can be made in one, and a user namespace gets none that could be written where the host's cannot.
            Self::Filesystem(filesystem) if filesystem.kind.as_c_str() == c"sysfs" => return false,
            Self::Filesystem(filesystem) if filesystem.maker == Maker::Init => &mut filesystem.attributes,
            Self::Bind(bind) => {
                let of_mount = bind.changes.iter_mut().find(|(_, reach)| *reach == Reach::Mount);
                match of_mount {
                    Some((change, _)) => &mut change.set,
                    None => return false,
                }
            }
            _ => return false,
        };
        let had = attributes.contains(MountAttr::RDONLY);
        attributes.remove(MountAttr::RDONLY);
        had
    }
}
