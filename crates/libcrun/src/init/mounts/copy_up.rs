//! `tmpcopyup`: a tmpfs that starts with a copy of the directory it is going to cover.
//!
//! Done by init, which alone sees that directory as the container does, on the stack: a buffer for each level of
//! directories, and a limit to their depth.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat,
    chownat, fgetxattr, flistxattr, fsetxattr, fstat, mkdirat, mknodat, openat, readlinkat_raw, sendfile,
    statat, symlinkat, utimensat,
};
use rustix::io::{Errno, write};

/// How deep directories may lie in each other: each level takes two descriptors and a few kilobytes of stack.
pub(crate) const DEEPEST: u32 = 256;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Copies what is in the directory `from` into the directory `to`: files, directories, links and nodes with owner,
/// permissions, times and extended attributes.
///
/// # Errors
/// `ELOOP` when directories lie deeper than [`DEEPEST`] in each other.
pub(in crate::init) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    // Both are open only to be named.
    let from = openat(from, c".", DIRECTORY, Mode::empty())?;
    let to = openat(to, c".", DIRECTORY, Mode::empty())?;
    let stat = fstat(&from)?;
    copy_attributes(from.as_fd(), to.as_fd())?;
    copy_content(from.as_fd(), to.as_fd(), DEEPEST)?;
    // Owner and permissions are the filesystem's options.
    match set_times(to.as_fd(), c".", &stat) {
        Err(Errno::PERM) => Ok(()), // an owner that was asked for, of whom this process is not the master
        other => other,
    }
}

fn copy_content(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
    let Some(depth) = depth.checked_sub(1) else { return Err(Errno::LOOP) };
    let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
    let mut entries = RawDir::new(from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            _ => copy_entry(from, to, entry.file_name(), depth)?,
        }
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: u32) -> Result<(), Errno> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match kind {
        FileType::Directory => {
            mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            let (below_from, below_to) =
                (openat(from, name, DIRECTORY, Mode::empty())?, openat(to, name, DIRECTORY, Mode::empty())?);
            copy_content(below_from.as_fd(), below_to.as_fd(), depth)?;
            copy_attributes(below_from.as_fd(), below_to.as_fd())?;
        }
        FileType::RegularFile => copy_file(from, to, name, &stat)?,
        FileType::Symlink => copy_link(from, to, name)?,
        kind => mknodat(to, name, kind, mode, stat.st_rdev)?,
    }
    finish(to, name, kind, mode, &stat)
}

// By itself, so that its buffer is not part of every level of directories.
#[inline(never)]
fn copy_link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let mut text = [0_u8; 4096];
    let length = readlinkat_raw(from, name, &mut text[..4095])?;
    let text = CStr::from_bytes_until_nul(&text[..=length]).map_err(|_| Errno::NAMETOOLONG)?;
    symlinkat(text, to, name)
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let source = match openat(from, name, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(Errno::STALE),
        other => other?,
    };
    // Since it was looked at, somebody may have put a disk of the host in its place.
    if FileType::from_raw_mode(fstat(&source)?.st_mode) != FileType::RegularFile {
        return Err(Errno::STALE);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = openat(to, name, flags, Mode::from_raw_mode(0o600))?;
    copy_bytes(&source, &target)?;
    // A new owner or content would take the capabilities of a program away (capabilities(7)).
    change_owner(to, name, stat)?;
    copy_attributes(source.as_fd(), target.as_fd())
}

fn copy_bytes(source: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    const PIECE: usize = 1 << 20;
    loop {
        match sendfile(target, source, None, PIECE) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::INVAL | Errno::NOSYS) => return copy_bytes_by_hand(source, target),
            Err(errno) => return Err(errno),
        }
    }
}

/// For a filesystem whose files cannot be sent.
fn copy_bytes_by_hand(source: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    let mut buffer = [0_u8; 4096];
    loop {
        let length = match rustix::io::read(source, &mut buffer) {
            Ok(0) => return Ok(()),
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let written = write(target, rest)?;
            rest = &rest[written..];
        }
    }
}

/// Copies the extended attributes that the target takes.
// By itself, as above.
#[inline(never)]
fn copy_attributes(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut names = [0_u8; 1024];
    let length = match flistxattr(source, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP | Errno::RANGE) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let mut value = [0_u8; 1024];
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let Ok(length) = fgetxattr(source, name, &mut value[..]) else { continue };
        match fsetxattr(target, name, &value[..length], XattrFlags::empty()) {
            // A kind of attribute the target does not have, or that is not this process' to set.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Owner, permissions and times, after everything else has been done to the entry.
fn finish(to: BorrowedFd<'_>, name: &CStr, kind: FileType, mode: Mode, stat: &Stat) -> Result<(), Errno> {
    if kind != FileType::RegularFile {
        change_owner(to, name, stat)?;
    }
    if kind != FileType::Symlink {
        chmodat(to, name, mode, AtFlags::empty())?;
    }
    set_times(to, name, stat)
}

fn set_times(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn change_owner(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    match chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        // An id that is not mapped in this user namespace.
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn only_what_still_is_a_regular_file_is_copied_as_one() {
        let dir = std::env::temp_dir().join(format!("crun-copy-up-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(dir.join("to")).unwrap();
        std::fs::write(dir.join("file"), "content").unwrap();
        mknodat(CWD, dir.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let open = |path| openat(CWD, path, DIRECTORY, Mode::empty()).unwrap();
        let (from, to) = (open(dir.clone()), open(dir.join("to")));
        let copy = |name: &CStr| {
            let stat = statat(&from, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            copy_file(from.as_fd(), to.as_fd(), name, &stat)
        };
        assert_eq!(copy(c"file"), Ok(()));
        assert_eq!(std::fs::read(dir.join("to/file")).unwrap(), b"content");
        assert_eq!(copy(c"fifo"), Err(Errno::STALE));
        assert!(!dir.join("to/fifo").exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
