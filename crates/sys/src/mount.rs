//! `mount_setattr(2)`: properties of mounts by descriptor, for one mount or a whole tree.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bitflags::bitflags;

use crate::{Errno, Result, checked};

bitflags! {
    /// Per-mount properties, as the kernel's `MOUNT_ATTR_*` bits (`mount_setattr(2)`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct MountAttr: u64 {
        /// `MOUNT_ATTR_RDONLY`
        const RDONLY = 0x0000_0001;
        /// `MOUNT_ATTR_NOSUID`
        const NOSUID = 0x0000_0002;
        /// `MOUNT_ATTR_NODEV`
        const NODEV = 0x0000_0004;
        /// `MOUNT_ATTR_NOEXEC`
        const NOEXEC = 0x0000_0008;
        /// `MOUNT_ATTR_NOATIME`
        const NOATIME = 0x0000_0010;
        /// `MOUNT_ATTR_STRICTATIME`
        const STRICTATIME = 0x0000_0020;
        /// `MOUNT_ATTR__ATIME`: to be cleared whenever one of the access time modes is set.
        const ATIME_MODES = 0x0000_0070;
        /// `MOUNT_ATTR_NODIRATIME`
        const NODIRATIME = 0x0000_0080;
        /// `MOUNT_ATTR_NOSYMFOLLOW`
        const NOSYMFOLLOW = 0x0020_0000;
    }
}

/// How mount events travel between a mount and its peers (`mount_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// `MS_SHARED`
    Shared,
    /// `MS_SLAVE`
    Slave,
    /// `MS_PRIVATE`
    Private,
    /// `MS_UNBINDABLE`
    Unbindable,
}

impl Propagation {
    const fn bits(self) -> u64 {
        match self {
            Self::Unbindable => 1 << 17,
            Self::Private => 1 << 18,
            Self::Slave => 1 << 19,
            Self::Shared => 1 << 20,
        }
    }
}

/// What [`set_attributes`] changes. The default changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountChange {
    /// Properties to set.
    pub set: MountAttr,
    /// Properties to clear (before `set` is applied).
    pub clear: MountAttr,
    /// The new propagation, if it changes.
    pub propagation: Option<Propagation>,
}

impl MountChange {
    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.set.is_empty() && self.clear.is_empty() && self.propagation.is_none()
    }
}

/// Whether a change applies to one mount or to all mounts below it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only the mount itself.
    Mount,
    /// The mount and everything mounted below it (`AT_RECURSIVE`).
    Tree,
}

/// Applies `change` to the mount that `mount` is open on (`mount_setattr(2)`, Linux 5.12).
///
/// # Errors
/// Those of `mount_setattr(2)`: `EINVAL` when `mount` is not the root of a mount, `EPERM` for a locked property.
pub fn set_attributes(mount: BorrowedFd<'_>, change: MountChange, reach: Reach) -> Result<()> {
    set(mount.as_raw_fd(), c"", libc::AT_EMPTY_PATH, attributes(change), reach)
}

/// Shows the ids of all files below a detached mount as `user_namespace` maps them (`mount_setattr(2)`,
/// MOUNT_ATTR_IDMAP, Linux 5.12).
///
/// # Errors
/// Those of `mount_setattr(2)`: `EINVAL` when the filesystem cannot be id-mapped or the mount is attached already,
/// `EPERM` when it is id-mapped already or belongs to another user namespace.
pub fn set_idmap(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, reach: Reach) -> Result<()> {
    const IDMAP: u64 = 0x0010_0000;
    let attributes = libc::mount_attr {
        attr_set: IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(user_namespace.as_raw_fd().unsigned_abs()),
    };
    set(mount.as_raw_fd(), c"", libc::AT_EMPTY_PATH, attributes, reach)
}

/// Changes the propagation of the calling process' whole mount tree, from its root directory down.
///
/// # Errors
/// Those of `mount_setattr(2)`; `EINVAL` when `/` is not a mount point (a plain chroot).
pub fn set_root_propagation(propagation: Propagation, reach: Reach) -> Result<()> {
    let change = MountChange { propagation: Some(propagation), ..MountChange::default() };
    set(libc::AT_FDCWD, c"/", 0, attributes(change), reach)
}

/// OPEN_TREE_NAMESPACE of linux/mount.h (Linux 7.0).
const OPEN_TREE_NAMESPACE: libc::c_uint = 1 << 1;

/// Makes a mount namespace of a clone of the tree at `directory`, with nothing of the present one in it
/// (`open_tree(2)` with OPEN_TREE_NAMESPACE, Linux 7.0). It belongs to the caller's user namespace; entering it
/// (`setns(2)`) takes a process to its root.
///
/// # Errors
/// Those of `open_tree(2)`; `EINVAL` where the kernel does not know the flag, and for an unbindable tree.
pub fn open_namespace(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OPEN_TREE_NAMESPACE
        | libc::OPEN_TREE_CLOEXEC
        | (libc::AT_EMPTY_PATH | libc::AT_RECURSIVE).unsigned_abs();
    let fd = open_tree(directory.as_raw_fd(), flags)?;
    // SAFETY: the kernel just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether the kernel knows [`open_namespace`] and [`set_attributes`]: asked for nothing, it says what is wrong with that
/// instead of that it does not know the flag or the call.
#[must_use]
pub fn can_open_namespace() -> bool {
    let nothing = attributes(MountChange::default());
    matches!(open_tree(-1, OPEN_TREE_NAMESPACE), Err(Errno::NOENT))
        && set(-1, c"", 0, nothing, Reach::Mount) != Err(Errno::NOSYS)
}

fn open_tree(directory: i32, flags: libc::c_uint) -> Result<i32> {
    // SAFETY: the path is NUL-terminated; open_tree reads no other memory of the caller.
    let fd = checked(unsafe { libc::syscall(libc::SYS_open_tree, directory, c"".as_ptr(), flags) })?;
    i32::try_from(fd).map_err(|_| Errno::BADF)
}

fn attributes(change: MountChange) -> libc::mount_attr {
    libc::mount_attr {
        attr_set: change.set.bits(),
        attr_clr: change.clear.bits(),
        propagation: change.propagation.map_or(0, Propagation::bits),
        userns_fd: 0,
    }
}

fn set(
    dir: i32,
    path: &core::ffi::CStr,
    flags: i32,
    attributes: libc::mount_attr,
    reach: Reach,
) -> Result<()> {
    let recursive = match reach {
        Reach::Mount => 0,
        Reach::Tree => libc::AT_RECURSIVE,
    };
    // SAFETY: the path is NUL-terminated and the structure, whose size is passed, outlives the call.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir,
            path.as_ptr(),
            flags | recursive,
            &raw const attributes,
            std::mem::size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}
