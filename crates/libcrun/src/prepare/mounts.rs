//! What of the mounts can be had before the container's process exists: clones of parts of the host's tree, and
//! filesystems that do not depend on the container's namespaces.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cgroups::Cgroup;
use rustix::fs::{CWD, FileType, fstat, readlinkat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::mount::{MountAttr, MountChange, Propagation, Reach, set_attributes};

use super::{CLONE, clone_flags};
use crate::error::{Code, Context, Error, Result};
use crate::filesystem::{self, Refusal};
use crate::idmap::UserNamespaces;
use crate::plan::{Bind, Fallback, Filesystem, Maker, MountOperation, MountSource, SourceLink};

/// What of a mount there is already.
#[derive(Debug)]
pub(crate) enum PreparedMount {
    /// The whole of it, detached.
    Tree { tree: OwnedFd, is_directory: bool },
    /// The text of a symbolic link to be made in its place.
    Link(CString),
    /// The container's cgroup in each hierarchy, by the hierarchy's name.
    CgroupTrees(Vec<(CString, OwnedFd)>),
    /// Only what helps to make it inside.
    Inside {
        /// Shown instead when the kernel does not let this container have it.
        fallback: Option<OwnedFd>,
        /// The user namespace by which its ids are mapped.
        idmap: Option<OwnedFd>,
    },
}

impl PreparedMount {
    /// The descriptors in it.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Tree { tree, .. } => vec![tree.as_fd()],
            Self::Link(_) => Vec::new(),
            Self::CgroupTrees(trees) => trees.iter().map(|(_, tree)| tree.as_fd()).collect(),
            Self::Inside { fallback, idmap } => {
                [fallback, idmap].into_iter().flatten().map(AsFd::as_fd).collect()
            }
        }
    }
}

pub(super) fn prepare<'p>(
    mount: &'p MountOperation,
    cgroup: Option<&Cgroup>,
    namespaces: &mut UserNamespaces<'p>,
) -> Result<PreparedMount> {
    match &mount.source {
        MountSource::Bind(bind) => prepare_bind(mount, bind, namespaces),
        MountSource::Filesystem(filesystem) => match filesystem.maker {
            Maker::Runtime => make_filesystem(mount, filesystem, namespaces),
            Maker::Init => {
                let idmap = user_namespace(mount, filesystem, namespaces)?;
                let fallback = filesystem.fallback.and_then(|from| fallback(from, mount, filesystem, cgroup));
                Ok(PreparedMount::Inside { fallback, idmap })
            }
        },
        MountSource::CgroupTree(tree) => match cgroup {
            Some(cgroup) => clone_cgroups(mount, cgroup, tree.attributes),
            None => Ok(PreparedMount::CgroupTrees(Vec::new())),
        },
        MountSource::Remount { .. } => Ok(PreparedMount::Inside { fallback: None, idmap: None }),
    }
}

/// The user namespace by which a filesystem that init makes is id-mapped.
pub(super) fn user_namespace<'p>(
    mount: &MountOperation,
    filesystem: &'p Filesystem,
    namespaces: &mut UserNamespaces<'p>,
) -> Result<Option<OwnedFd>> {
    let Some(idmap) = &filesystem.idmap else { return Ok(None) };
    fcntl_dupfd_cloexec(namespaces.get(&idmap.maps)?, 3)
        .map(Some)
        .context(Code::Mount, || mount.name("keep the user namespace"))
}

fn prepare_bind<'p>(
    mount: &MountOperation,
    bind: &'p Bind,
    namespaces: &mut UserNamespaces<'p>,
) -> Result<PreparedMount> {
    let source = || bind.opening(mount);
    if let Some(link) = link_to_copy(bind).context(Code::Mount, source)? {
        return Ok(link);
    }
    let flags = clone_flags(bind.reach) | bind.link.flags();
    let tree = open_tree(CWD, bind.source.as_c_str(), flags).context(Code::Mount, source)?;
    for (change, reach) in &bind.changes {
        change_clone(tree.as_fd(), *change, *reach)
            .context(Code::Mount, || mount.name("set the mount's options"))?;
    }
    if let Some(idmap) = &bind.idmap {
        namespaces.apply(tree.as_fd(), idmap, &mount.name_only())?;
    }
    let is_directory = is_directory(tree.as_fd()).context(Code::Mount, source)?;
    Ok(PreparedMount::Tree { tree, is_directory })
}

/// The link that is to be made in the mount's place.
pub(super) fn link_to_copy(bind: &Bind) -> core::result::Result<Option<PreparedMount>, Errno> {
    if bind.link != SourceLink::Copy {
        return Ok(None);
    }
    match readlinkat(CWD, bind.source.as_c_str(), Vec::new()) {
        Ok(text) => Ok(Some(PreparedMount::Link(text))),
        // Anything but a link is mounted.
        Err(Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(crate) fn is_directory(file: BorrowedFd<'_>) -> core::result::Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::Directory)
}

/// Changes a clone of a mount. What somebody with more rights has locked stays set on it, as with the C crun: the
/// mount is then more restricted than it was asked for, never less. Does not allocate, because init does it, too.
pub(crate) fn change_clone(
    tree: BorrowedFd<'_>,
    mut change: MountChange,
    reach: Reach,
) -> core::result::Result<(), Errno> {
    match set_attributes(tree, change, reach) {
        Err(Errno::PERM) if !change.clear.is_empty() => {
            change.clear &= MountAttr::ATIME_MODES;
            if change.set.is_empty() {
                change.clear = MountAttr::empty();
            }
            if change.is_empty() { Ok(()) } else { set_attributes(tree, change, reach) }
        }
        other => other,
    }
}

/// Makes a filesystem here, with the host's rights and the host's paths.
fn make_filesystem<'p>(
    mount: &MountOperation,
    filesystem: &'p Filesystem,
    namespaces: &mut UserNamespaces<'p>,
) -> Result<PreparedMount> {
    let kind = filesystem.kind.to_string_lossy();
    let context = filesystem::configure(filesystem).map_err(|refusal| refused(mount, filesystem, refusal))?;
    let tree = filesystem::create(context.as_fd(), filesystem.attributes).map_err(|errno| {
        let said = kernel_message(context.as_fd());
        Error::os(Code::Mount, mount.name(&format!("mount the {kind} filesystem{said}")), errno)
    })?;
    for (change, reach) in &filesystem.changes {
        set_attributes(tree.as_fd(), *change, *reach)
            .context(Code::Mount, || mount.name("set the mount's options"))?;
    }
    if let Some(idmap) = &filesystem.idmap {
        namespaces.apply(tree.as_fd(), idmap, &mount.name_only())?;
    }
    let is_directory = is_directory(tree.as_fd()).context(Code::Mount, || mount.name("look at the mount"))?;
    Ok(PreparedMount::Tree { tree, is_directory })
}

fn refused(mount: &MountOperation, filesystem: &Filesystem, refusal: Refusal) -> Error {
    let parameter = refusal.parameter.and_then(|index| filesystem.parameters.get(index));
    Error::os(Code::Mount, mount.refused(&filesystem.kind, parameter), refusal.errno)
}

/// What the kernel has to say about a filesystem it does not make, in parentheses (`fsopen(2)`).
fn kernel_message(context: BorrowedFd<'_>) -> String {
    let mut buffer = [0_u8; 512];
    match rustix::io::read(context, &mut buffer) {
        Ok(length) => {
            let text = String::from_utf8_lossy(&buffer[..length]);
            // The first letter says how bad it is.
            let text = text.trim().split_once(' ').map_or("", |(_, text)| text);
            format!(" ({text})")
        }
        Err(_) => String::new(),
    }
}

/// What is shown of the host where this container cannot have an instance of its own. That it cannot be had is no
/// error yet: it may not be needed.
fn fallback(
    from: Fallback,
    mount: &MountOperation,
    filesystem: &Filesystem,
    cgroup: Option<&Cgroup>,
) -> Option<OwnedFd> {
    let own = cgroup.and_then(Cgroup::unified_directory).filter(|_| from == Fallback::Cgroup);
    let (tree, is_own) = match (from, own) {
        (Fallback::Tree(path), _) => (open_tree(CWD, path, clone_flags(Reach::Tree)).ok()?, true),
        (Fallback::Cgroup, Some(directory)) => {
            (open_tree(directory, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH).ok()?, true)
        }
        // The container has none: these are all the host's.
        (Fallback::Cgroup, None) => {
            (open_tree(CWD, c"/sys/fs/cgroup", clone_flags(Reach::Tree)).ok()?, false)
        }
    };
    shown_instead(tree, is_own, mount, filesystem)
}

/// Gives a clone of the host's tree what it is shown with; `is_own` is whether it is the container's to write to. Does
/// not allocate, because init does it, too.
pub(crate) fn shown_instead(
    tree: OwnedFd,
    is_own: bool,
    mount: &MountOperation,
    filesystem: &Filesystem,
) -> Option<OwnedFd> {
    let read_only = !is_own || (filesystem.attributes | mount.deferred.set).contains(MountAttr::RDONLY);
    // What is mounted further down is the host's: its cgroups must not be written to (CVE-2023-25809).
    let all = MountChange {
        set: filesystem.attributes | MountAttr::RDONLY,
        propagation: Some(Propagation::Private),
        ..MountChange::default()
    };
    set_attributes(tree.as_fd(), all, Reach::Tree).ok()?;
    if !read_only {
        let top = MountChange { clear: MountAttr::RDONLY, ..MountChange::default() };
        set_attributes(tree.as_fd(), top, Reach::Mount).ok()?;
    }
    Some(tree)
}

fn clone_cgroups(mount: &MountOperation, cgroup: &Cgroup, attributes: MountAttr) -> Result<PreparedMount> {
    let change =
        MountChange { set: attributes, propagation: Some(Propagation::Private), ..MountChange::default() };
    let name = || mount.name("clone the container's cgroup");
    let mut trees = Vec::new();
    for (hierarchy, directory) in cgroup.directories() {
        let tree =
            open_tree(directory, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH).context(Code::Mount, name)?;
        set_attributes(tree.as_fd(), change, Reach::Mount).context(Code::Mount, name)?;
        trees.push((CString::new(hierarchy).unwrap_or_default(), tree));
    }
    Ok(PreparedMount::CgroupTrees(trees))
}
