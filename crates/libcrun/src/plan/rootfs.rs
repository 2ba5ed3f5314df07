//! The root filesystem: where it is, what is mounted, made, hidden and protected in it.

use std::ffi::{CStr, CString};
use std::path::PathBuf;

use rustix::fs::{Dev, FileType, Mode, RawMode, Stat, makedev};
use sys::clone::Namespaces;
use sys::mount::{Propagation, Reach};

use super::mounts::{self, Surroundings};
use super::process::assignable;
use super::{
    CgroupPlan, InnerPath, MountLabel, MountOperation, MountSource, NamespacePlan, Request, force_v1, invalid,
};
use crate::error::Result;
use crate::host::Host;
use crate::spec::{Device, Linux, Spec};

/// How the container's root comes to be.
#[derive(Debug)]
pub(crate) struct RootfsPlan {
    /// The directory on the host.
    pub(crate) path: PathBuf,
    /// As it was given, for the state file.
    pub(crate) given_path: String,
    pub(crate) readonly: bool,
    pub(crate) propagation: (Propagation, Reach),
    pub(crate) mounts: Vec<MountOperation>,
    pub(crate) devices: Vec<DevicePlan>,
    /// Whether `/dev` is a filesystem of the container's own, with which everything that is made in it goes away.
    pub(crate) own_dev: bool,
    /// Whether the usual links (`/dev/fd` and the like) are made.
    pub(crate) links: bool,
    pub(crate) masked: Vec<InnerPath>,
    pub(crate) read_only_paths: Vec<InnerPath>,
    /// Whether the container has a mount namespace, new or joined, to do all this in.
    pub(crate) own_mounts: bool,
    /// Where the process starts; made when it is missing.
    pub(crate) working_directory: InnerPath,
    /// The path again, as the kernel takes it.
    pub(crate) c_path: CString,
}

/// One device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DevicePlan {
    pub(crate) path: InnerPath,
    pub(crate) kind: NodeKind,
    pub(crate) mode: RawMode,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Char(Dev),
    Block(Dev),
    Fifo,
}

impl NodeKind {
    pub(crate) fn file_type(self) -> FileType {
        match self {
            Self::Char(_) => FileType::CharacterDevice,
            Self::Block(_) => FileType::BlockDevice,
            Self::Fifo => FileType::Fifo,
        }
    }

    pub(crate) fn device(self) -> Dev {
        match self {
            Self::Char(device) | Self::Block(device) => device,
            Self::Fifo => 0,
        }
    }

    /// Whether a file is one.
    pub(crate) fn is(self, stat: &Stat) -> bool {
        let same_device = self == Self::Fifo || stat.st_rdev == self.device();
        FileType::from_raw_mode(stat.st_mode) == self.file_type() && same_device
    }
}

/// The devices every container has (runtime-spec config-linux.md#default-devices).
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("dev/null", 1, 3),
    ("dev/zero", 1, 5),
    ("dev/full", 1, 7),
    ("dev/tty", 5, 0),
    ("dev/random", 1, 8),
    ("dev/urandom", 1, 9),
];

/// The links every container has in `/dev` (runtime-spec config-linux.md#default-filesystems and `dev-symbolic-links`).
pub(crate) const SYMLINKS: [(&CStr, &CStr); 6] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"core", c"/proc/kcore"),
    (c"ptmx", c"pts/ptmx"),
];

pub(super) fn plan(
    spec: &Spec<'_>,
    linux: &Linux<'_>,
    request: &Request<'_>,
    namespaces: &NamespacePlan,
    cgroup: Option<&CgroupPlan>,
    host: &Host,
) -> Result<RootfsPlan> {
    let missing = |block: &str| invalid(format!("invalid config file, no `{block}` block specified"));
    let root = spec.root.as_ref().ok_or_else(|| missing("root"))?;
    let wanted = wanted_of_mounts(spec, linux, root.readonly == Some(true));
    let own_mounts =
        namespaces.creates(Namespaces::MOUNT) || wanted.is_some() && may_change_joined(namespaces, host);
    if let Some(what) = wanted.filter(|_| !own_mounts) {
        return Err(invalid(format!("{what}: needs a new mount namespace")));
    }
    let label = MountLabel::new(spec, host)?;
    let around = Surroundings {
        bundle: request.bundle,
        layout: cgroup.map(|cgroup| &cgroup.layout),
        host,
        linux,
        namespaces,
        label: label.as_ref(),
    };
    let mounts = spec.mounts.iter().flatten().enumerate();
    let mut mounts =
        mounts.map(|(index, mount)| mounts::plan(index, mount, &around)).collect::<Result<Vec<_>>>()?;
    if let Some(path) = cgroup.and_then(|cgroup| cgroup.v1_mount.as_deref()) {
        force_v1::mount(&mut mounts, path, &around)?;
    }
    if let Some(notify) = &request.notify {
        if !own_mounts {
            return Err(invalid("NOTIFY_SOCKET: passing it on to the container needs a new mount namespace"));
        }
        notify.mount(&mut mounts, &around)?;
    }
    let masked = inner_paths(linux.masked_paths.as_deref(), "linux.maskedPaths")?;
    if masked.iter().any(InnerPath::is_root) {
        return Err(invalid("linux.maskedPaths: the root directory cannot be masked"));
    }
    let mut read_only_paths = inner_paths(linux.readonly_paths.as_deref(), "linux.readonlyPaths")?;
    // Bound onto itself, the root would still be what it was for those who are in it already.
    let protects_root = read_only_paths.iter().any(InnerPath::is_root);
    read_only_paths.retain(|path| !path.is_root());
    mounts::relate(&mut mounts);
    let host_dev = mounts
        .iter()
        .any(|mount| mount.destination.as_c_str() == c"dev" && matches!(mount.source, MountSource::Bind(_)));
    // The host's own /dev has all it should have; nothing may be made in it. In a user namespace nodes are mounted.
    let makes_devices = !host_dev && (own_mounts || !namespaces.contains(Namespaces::USER));
    let path = request.bundle.join(&*root.path);
    let cwd = spec.process.as_ref().and_then(|process| process.cwd.as_deref()).unwrap_or("/");
    Ok(RootfsPlan {
        c_path: CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| invalid("root.path: holds a NUL byte"))?,
        working_directory: InnerPath::new(cwd, || "process.cwd".to_owned())?,
        path,
        given_path: root.path.to_string(),
        readonly: root.readonly == Some(true) || protects_root,
        propagation: propagation(linux.rootfs_propagation.as_deref())?,
        devices: if makes_devices { devices(linux)? } else { Vec::new() },
        links: makes_devices,
        own_dev: mounts.iter().any(|mount| mount.destination.as_c_str() == c"dev"),
        mounts,
        masked,
        read_only_paths,
        own_mounts,
    })
}

/// Whether mounts can be made in a mount namespace that is joined. Those of the host are nobody's to change for a container.
fn may_change_joined(namespaces: &NamespacePlan, host: &Host) -> bool {
    let joined = namespaces.joins(Namespaces::MOUNT);
    joined.is_some_and(|join| !host.is_rootless() && !host.is_hosts_mount_namespace(&join.path))
}

/// The first part of the configuration that takes mounts.
fn wanted_of_mounts(spec: &Spec<'_>, linux: &Linux<'_>, readonly: bool) -> Option<String> {
    let any = |paths: &Option<Vec<_>>| paths.as_ref().is_some_and(|paths| !paths.is_empty());
    let wanted = [
        ("root.readonly", readonly),
        ("linux.maskedPaths", any(&linux.masked_paths)),
        ("linux.readonlyPaths", any(&linux.readonly_paths)),
    ];
    if let Some((index, mount)) = spec.mounts.iter().flatten().enumerate().next() {
        return Some(format!("mounts[{index}]: {}", mount.destination));
    }
    wanted.into_iter().find(|(_, wanted)| *wanted).map(|(path, _)| path.to_owned())
}

fn inner_paths(paths: Option<&[crate::spec::Text<'_>]>, name: &str) -> Result<Vec<InnerPath>> {
    let inner = |path: &crate::spec::Text<'_>| match path.starts_with('/') {
        true => InnerPath::new(path, || name.to_owned()),
        false => Err(invalid(format!("{name}: `{path}` is not an absolute path"))),
    };
    paths.unwrap_or_default().iter().map(inner).collect()
}

/// `linux.rootfsPropagation`; private unless something else is asked for.
fn propagation(name: Option<&str>) -> Result<(Propagation, Reach)> {
    let (plain, reach) = match name {
        None | Some("") => return Ok((Propagation::Private, Reach::Tree)),
        Some(name) => match name.strip_prefix('r') {
            Some(plain) => (plain, Reach::Tree),
            None => (name, Reach::Mount),
        },
    };
    let propagation = match plain {
        "shared" => Propagation::Shared,
        "slave" => Propagation::Slave,
        "private" => Propagation::Private,
        "unbindable" => Propagation::Unbindable,
        _ => {
            let given = name.unwrap_or_default();
            return Err(invalid(format!("linux.rootfsPropagation: unknown propagation `{given}`")));
        }
    };
    Ok((propagation, reach))
}

/// The default devices and those of the configuration, which win where both name a path.
fn devices(linux: &Linux<'_>) -> Result<Vec<DevicePlan>> {
    let configured = linux
        .devices
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, device)| device_plan(index, device))
        .collect::<Result<Vec<_>>>()?;
    let mut devices = Vec::with_capacity(DEFAULT_DEVICES.len() + configured.len());
    for (path, major, minor) in DEFAULT_DEVICES {
        let path = InnerPath::new(path, || path.to_owned())?;
        if !configured.iter().any(|device| device.path == path) {
            let kind = NodeKind::Char(makedev(major, minor));
            devices.push(DevicePlan { path, kind, mode: 0o666, uid: 0, gid: 0 });
        }
    }
    devices.extend(configured);
    Ok(devices)
}

fn device_plan(index: usize, device: &Device<'_>) -> Result<DevicePlan> {
    let name = format!("linux.devices[{index}]: {}", device.path);
    let number = |value: Option<i64>| {
        u32::try_from(value.unwrap_or(0)).map_err(|_| invalid(format!("{name}: invalid device number")))
    };
    let numbers = makedev(number(device.major)?, number(device.minor)?);
    let kind = match &*device.kind {
        "c" | "u" => NodeKind::Char(numbers),
        "b" => NodeKind::Block(numbers),
        "p" => NodeKind::Fifo,
        other => return Err(invalid(format!("{name}: unknown device type `{other}`"))),
    };
    let path = InnerPath::new(&device.path, || name.clone())?;
    if path.is_root() {
        return Err(invalid(format!("{name}: the root directory cannot be a device")));
    }
    let mode = Mode::from_raw_mode(device.file_mode.unwrap_or(0o666)).as_raw_mode() & 0o7777;
    let (uid, gid) =
        (assignable(device.uid.unwrap_or(0), &name)?, assignable(device.gid.unwrap_or(0), &name)?);
    Ok(DevicePlan { path, kind, mode, uid, gid })
}
