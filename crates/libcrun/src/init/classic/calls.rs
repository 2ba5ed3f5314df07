//! `mount(2)` on descriptors: their paths below `/proc/self/fd` are what it is called with.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, fstatvfs, makedev, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_remount};
use sys::mount::{MountAttr, MountChange, Propagation, Reach};

use crate::init::inner::{self, Found, Last, Made};
use crate::plan::InnerPath;
use crate::prepare::classic::{attribute_flags, propagation_flags};

pub(super) const READ_ONLY: MountChange =
    MountChange { set: MountAttr::RDONLY, clear: MountAttr::empty(), propagation: None };

/// `/proc/self/fd/N`, without an allocation.
pub(super) struct Path([u8; 32]);

impl Path {
    pub(super) fn of(file: BorrowedFd<'_>) -> Self {
        const PREFIX: &[u8] = b"/proc/self/fd/";
        let mut path = Self([0; 32]);
        path.0[..PREFIX.len()].copy_from_slice(PREFIX);
        let mut rest = file.as_raw_fd().unsigned_abs();
        let mut digits = [0_u8; 10];
        let mut count = 0;
        while rest > 0 || count == 0 {
            digits[count] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            count += 1;
        }
        for (place, digit) in digits[..count].iter().rev().enumerate() {
            path.0[PREFIX.len() + place] = *digit;
        }
        path
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

pub(super) fn open_root(path: &CStr) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

pub(super) fn open_path(path: &CStr) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

pub(super) fn kind(file: BorrowedFd<'_>) -> Option<FileType> {
    fstat(file).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
}

pub(super) fn cover_with_nothing(target: BorrowedFd<'_>) -> Result<(), Errno> {
    let path = Path::of(target);
    mount(c"tmpfs", path.as_c_str(), c"tmpfs", MountFlags::empty(), c"mode=555,nr_inodes=1,nr_blocks=1")
}

/// The host's null device, which has to be the real thing (CVE-2025-31133).
pub(super) fn null_device() -> Result<OwnedFd, Errno> {
    let null = open_path(c"/dev/null")?;
    let stat = fstat(&null)?;
    let is_real =
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3);
    if is_real { Ok(null) } else { Err(Errno::NODEV) }
}

/// What a path leads to; nothing when there is nothing, or nothing that could be reached.
pub(super) fn find(root: BorrowedFd<'_>, path: &InnerPath) -> Result<Option<Found>, Errno> {
    match inner::find_or_make_entry(root, path, Last::Follow, &mut Made::none()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        other => other.map(Some),
    }
}

/// What has been mounted over something that was found.
pub(super) fn reopen(found: &Found, root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    found.reopen(root).unwrap_or(Err(Errno::INVAL))
}

pub(super) fn bind(source: BorrowedFd<'_>, target: BorrowedFd<'_>, reach: Reach) -> Result<(), Errno> {
    let (source, target) = (Path::of(source), Path::of(target));
    match reach {
        Reach::Mount => mount_bind(source.as_c_str(), target.as_c_str()),
        Reach::Tree => mount_bind_recursive(source.as_c_str(), target.as_c_str()),
    }
}

/// Cuts what has been bound off from the host's mount of the same.
pub(super) fn make_private(mounted: BorrowedFd<'_>, reach: Reach) -> Result<(), Errno> {
    mount_change(Path::of(mounted).as_c_str(), propagation_flags(Propagation::Private, reach))
}

/// Changes the properties that are named and keeps the others: `mount(2)` would clear what it is not told.
pub(super) fn remount(mounted: BorrowedFd<'_>, change: MountChange) -> Result<(), Errno> {
    remount_at(mounted, Path::of(mounted).as_c_str(), change)
}

/// The same for what is mounted at `path`.
pub(super) fn remount_at(mounted: BorrowedFd<'_>, path: &CStr, change: MountChange) -> Result<(), Errno> {
    if change.set.is_empty() && change.clear.is_empty() {
        return Ok(());
    }
    // The flags of statvfs(3) are those of mount(2), as far as both have them.
    const SHARED_FLAGS: MountFlags = MountFlags::RDONLY
        .union(MountFlags::NOSUID)
        .union(MountFlags::NODEV)
        .union(MountFlags::NOEXEC)
        .union(MountFlags::NOATIME)
        .union(MountFlags::NODIRATIME);
    let now = u32::try_from(fstatvfs(mounted)?.f_flag.bits()).unwrap_or(0);
    let mut flags = MountFlags::from_bits_truncate(now) & SHARED_FLAGS;
    // ST_RELATIME and ST_NOSYMFOLLOW have numbers of their own.
    let relative = now & 0x1000 != 0;
    if now & 0x2000 != 0 {
        flags |= MountFlags::NOSYMFOLLOW;
    }
    let clear_times = change.clear.contains(MountAttr::ATIME_MODES);
    flags -= attribute_flags(change.clear);
    flags |= attribute_flags(change.set);
    let times = MountFlags::NOATIME | MountFlags::STRICTATIME;
    if !flags.intersects(times) {
        flags |= if relative || clear_times { MountFlags::RELATIME } else { MountFlags::STRICTATIME };
    }
    match mount_remount(path, MountFlags::BIND | flags, c"") {
        // Locked by a user namespace: the mount keeps what it has, and is more restricted than it was asked for.
        Err(Errno::PERM) if !change.clear.is_empty() => {
            let locked = MountFlags::from_bits_truncate(now) & SHARED_FLAGS;
            mount_remount(path, MountFlags::BIND | flags | locked, c"")
        }
        other => other,
    }
}
