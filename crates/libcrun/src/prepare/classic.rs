//! The plan in the terms of `mount(2)`, for kernels before 5.12 and for places where a filter takes the newer calls
//! away.
//!
//! Nothing can be acquired for `mount(2)` before the container's process exists: it takes paths, and only those of its
//! own mount namespace. What has to be allocated is allocated here; the paths are opened by [`crate::init::classic`].

mod host_tree;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cgroups::Cgroup;
use rustix::fs::{CWD, readlinkat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use sys::mount::{MountAttr, MountChange, Propagation, Reach};

use crate::error::{Code, Error, Result};
use crate::plan::{Bind, Filesystem, Maker, MountOperation, MountSource, Parameter, Plan, SourceLink};
pub(crate) use host_tree::HostTree;

/// What `mount(2)` is called with.
#[derive(Debug)]
pub(crate) struct Classic {
    /// One for each mount of the plan.
    pub(crate) mounts: Vec<ClassicMount>,
    /// What masked directories show.
    pub(crate) empty_directory: CString,
    /// What all mounts of the host are made first: what is mounted here must not be seen there.
    pub(crate) host: MountPropagationFlags,
}

/// One mount.
#[derive(Debug)]
pub(crate) struct ClassicMount {
    pub(crate) source: ClassicSource,
    /// What is changed once it is there.
    pub(crate) change: MountChange,
    pub(crate) propagation: Option<MountPropagationFlags>,
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum ClassicSource {
    /// A file or directory of the host.
    Bind { path: CString, reach: Reach, follow: bool },
    /// A symbolic link of that text is made instead.
    Link(CString),
    /// A new instance of a filesystem, or what is shown where it cannot be had.
    Filesystem { source: CString, flags: MountFlags, data: CString, fallback: Option<HostTree> },
    /// The container's cgroup in each hierarchy, by the hierarchy's name.
    CgroupTree(Vec<(CString, CString)>),
    /// A change of a mount that is there, and with data of its filesystem.
    Remount { flags: MountFlags, data: Option<CString> },
}

impl Classic {
    pub(super) fn new(plan: &Plan, cgroup: Option<&Cgroup>, empty_directory: &Path) -> Result<Self> {
        let mounts = plan.rootfs.mounts.iter();
        let mounts = mounts.map(|mount| classic_mount(mount, cgroup)).collect::<Result<_>>()?;
        // A volume can only become the slave of a mount that has not been cut off from its peers.
        let slaves = plan.rootfs.propagation.0 == Propagation::Slave
            || plan.rootfs.mounts.iter().any(|mount| mount.propagates(Propagation::Slave));
        let host = if slaves { Propagation::Slave } else { Propagation::Private };
        let host = propagation_flags(host, Reach::Tree);
        Ok(Self { mounts, empty_directory: c_path(empty_directory), host })
    }
}

/// A path that holds no NUL byte: the plan has seen to that.
fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

fn classic_mount(mount: &MountOperation, cgroup: Option<&Cgroup>) -> Result<ClassicMount> {
    let (source, changes) = match &mount.source {
        MountSource::Bind(bind) => {
            refuse(mount, bind.idmap.is_some(), "id-mapped mounts")?;
            let of_tree = bind.changes.iter().any(|(change, reach)| {
                *reach == Reach::Tree && change.propagation.is_none() && !change.is_empty()
            });
            refuse(mount, of_tree, "recursive mount options")?;
            if mount.propagates(Propagation::Shared) {
                let message =
                    mount.name("a shared volume needs open_tree(2), which this kernel does not have");
                return Err(Error::new(Code::Unsupported, message));
            }
            (bind_source(mount, bind)?, bind.changes.as_slice())
        }
        MountSource::Filesystem(filesystem) => {
            refuse(mount, filesystem.idmap.is_some(), "id-mapped mounts")?;
            (filesystem_source(filesystem, cgroup)?, filesystem.changes.as_slice())
        }
        MountSource::CgroupTree(_) => {
            let directories = cgroup.into_iter().flat_map(Cgroup::paths);
            let trees = directories.map(|(name, path)| {
                (CString::new(name).unwrap_or_default(), CString::new(path).unwrap_or_default())
            });
            (ClassicSource::CgroupTree(trees.collect()), [].as_slice())
        }
        MountSource::Remount { parameters, changes } => {
            let (flags, data) = flags_and_data(parameters);
            let data = (!parameters.is_empty()).then_some(data);
            (ClassicSource::Remount { flags, data }, changes.as_slice())
        }
    };
    let mut all = MountChange::default();
    let mut propagation = None;
    for (change, reach) in changes {
        all.set |= change.set;
        all.clear |= change.clear;
        propagation = change.propagation.map(|kind| propagation_flags(kind, *reach)).or(propagation);
    }
    // Made read-only afterwards, the filesystem itself stays as it would with the newer calls.
    if let MountSource::Filesystem(filesystem) = &mount.source
        && filesystem.attributes.contains(MountAttr::RDONLY)
    {
        all.set |= MountAttr::RDONLY;
    }
    Ok(ClassicMount { source, change: all, propagation })
}

fn refuse(mount: &MountOperation, wanted: bool, what: &str) -> Result<()> {
    if wanted {
        let message = mount.name(&format!("{what} need mount_setattr(2), which this kernel does not have"));
        return Err(Error::new(Code::Unsupported, message));
    }
    Ok(())
}

fn bind_source(mount: &MountOperation, bind: &Bind) -> Result<ClassicSource> {
    if bind.link == SourceLink::Copy {
        match readlinkat(CWD, bind.source.as_c_str(), Vec::new()) {
            Ok(text) => return Ok(ClassicSource::Link(text)),
            Err(Errno::INVAL) => {}
            Err(errno) => return Err(Error::of(Code::Mount, bind.opening(mount), Some(errno))),
        }
    }
    let follow = bind.link != SourceLink::NoFollow;
    Ok(ClassicSource::Bind { path: bind.source.clone(), reach: bind.reach, follow })
}

fn filesystem_source(filesystem: &Filesystem, cgroup: Option<&Cgroup>) -> Result<ClassicSource> {
    let (mut flags, data) = flags_and_data(&filesystem.parameters);
    flags |= attribute_flags(filesystem.attributes - MountAttr::RDONLY);
    if filesystem.maker == Maker::Runtime && filesystem.attributes.contains(MountAttr::RDONLY) {
        flags |= MountFlags::RDONLY;
    }
    let source = filesystem.parameters.iter().find_map(|parameter| match parameter {
        Parameter::Value(name, source) if name.as_c_str() == c"source" => Some(source.clone()),
        _ => None,
    });
    let fallback = match filesystem.fallback {
        Some(fallback) => HostTree::new(fallback, cgroup)?,
        None => None,
    };
    Ok(ClassicSource::Filesystem { source: source.unwrap_or_default(), flags, data, fallback })
}

/// Flags of filesystems are flags here too; everything else goes into one string.
fn flags_and_data(parameters: &[Parameter]) -> (MountFlags, CString) {
    // MS_I_VERSION of linux/mount.h, which rustix does not name.
    const I_VERSION: MountFlags = MountFlags::from_bits_retain(1 << 23);
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    for parameter in parameters {
        match (parameter, parameter.name().to_bytes()) {
            (Parameter::Flag(_), b"sync") => flags |= MountFlags::SYNCHRONOUS,
            (Parameter::Flag(_), b"dirsync") => flags |= MountFlags::DIRSYNC,
            (Parameter::Flag(_), b"mand") => flags |= MountFlags::PERMIT_MANDATORY_FILE_LOCKING,
            (Parameter::Flag(_), b"lazytime") => flags |= MountFlags::LAZYTIME,
            (Parameter::WhereKnown(_), b"iversion") => flags |= I_VERSION,
            (Parameter::Flag(_), b"ro") | (Parameter::Value(..), b"source") => {}
            // mount(2) takes all or nothing, and in most user namespaces it is not mapped.
            (Parameter::WhereMapped(..), _) => {}
            // SELinux tells a comma in a label from one between options only in quotes.
            (Parameter::Value(name, label), kind) if kind.ends_with(b"context") => {
                data.push(format!("{}=\"{}\"", name.to_string_lossy(), label.to_string_lossy()));
            }
            _ => data.push(parameter.to_string()),
        }
    }
    (flags, CString::new(data.join(",")).unwrap_or_default())
}

/// Properties of a mount as the flags of `mount(2)`.
pub(crate) fn attribute_flags(attributes: MountAttr) -> MountFlags {
    let table = [
        (MountAttr::RDONLY, MountFlags::RDONLY),
        (MountAttr::NOSUID, MountFlags::NOSUID),
        (MountAttr::NODEV, MountFlags::NODEV),
        (MountAttr::NOEXEC, MountFlags::NOEXEC),
        (MountAttr::NOATIME, MountFlags::NOATIME),
        (MountAttr::STRICTATIME, MountFlags::STRICTATIME),
        (MountAttr::NODIRATIME, MountFlags::NODIRATIME),
        (MountAttr::NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
    ];
    table.into_iter().filter(|(attribute, _)| attributes.contains(*attribute)).map(|(_, flag)| flag).collect()
}

/// A propagation as the flags of `mount(2)`.
pub(crate) fn propagation_flags(propagation: Propagation, reach: Reach) -> MountPropagationFlags {
    let kind = match propagation {
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
    };
    match reach {
        Reach::Mount => kind,
        Reach::Tree => kind | MountPropagationFlags::REC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_filesystem_are_told_from_its_data() {
        let flag = |name: &str| Parameter::Flag(CString::new(name).unwrap());
        let value = |name: &str, value: &str| {
            Parameter::Value(CString::new(name).unwrap(), CString::new(value).unwrap())
        };
        let parameters = [
            flag("sync"),
            value("size", "64k"),
            value("source", "shm"),
            flag("huge"),
            flag("lazytime"),
            value("context", "u:r:t:s0:c1,c2"),
        ];
        let (flags, data) = flags_and_data(&parameters);
        assert_eq!(flags, MountFlags::SYNCHRONOUS | MountFlags::LAZYTIME);
        assert_eq!(data.as_c_str(), c"size=64k,huge,context=\"u:r:t:s0:c1,c2\"");
    }
}
