//! Walking a cgroup and all below it, however deep a container has nested them: with a few descriptors, and without a
//! path that grows.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// A cgroup on the way down, and the cgroups below it that have not been seen yet.
struct Level {
    name: CString,
    below: Vec<CString>,
}

/// Visits a cgroup and all below it: each is entered before those below it and left after them, except for the first
/// one, which is only entered. What somebody else removes meanwhile is passed over.
pub(crate) fn walk(
    top: BorrowedFd<'_>,
    mut enter: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    mut leave: impl FnMut(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    enter(top)?;
    let mut here = fcntl_dupfd_cloexec(top, 0)?;
    let mut way = vec![Level { name: CString::default(), below: below(top)? }];
    while let Some(level) = way.last_mut() {
        if let Some(name) = level.below.pop() {
            let child = match open_child(here.as_fd(), &name) {
                // Gone, or something that the host has mounted there.
                Err(Errno::NOENT | Errno::NODEV | Errno::XDEV) => continue,
                other => other?,
            };
            enter(child.as_fd())?;
            way.push(Level { name, below: below(child.as_fd())? });
            here = child;
        } else if let (Some(level), false) = (way.pop(), way.is_empty()) {
            // No cgroup can be moved to another parent, so this leads back to where the walk came from.
            here = openat(&here, c"..", DIRECTORY, Mode::empty())?;
            leave(here.as_fd(), &level.name)?;
        }
    }
    Ok(())
}

fn open_child(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(directory, name, DIRECTORY, Mode::empty(), resolve) {
        // Linux before 5.6, or a filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {}
        other => return other,
    }
    let child = openat(directory, name, DIRECTORY, Mode::empty())?;
    if fstat(&child)?.st_dev == fstat(directory)?.st_dev { Ok(child) } else { Err(Errno::XDEV) }
}

/// The names of the cgroups directly below one, the first one last. A container may give them any name.
fn below(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    let entries = match Dir::read_from(directory) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(names),
        other => other?,
    };
    for entry in entries {
        let entry = match entry {
            Err(Errno::NOENT | Errno::NODEV) => break,
            other => other?,
        };
        if entry.file_type() == FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.reverse();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    /// A directory tree stands in for cgroups: the walk knows nothing else about them.
    fn tree(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("crun-walk-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir(&path).unwrap();
        path
    }

    fn open(path: &std::path::Path) -> OwnedFd {
        openat(rustix::fs::CWD, path, DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn each_is_entered_before_those_below_it_and_left_after_them() {
        let top = tree("order");
        for name in ["a/b", "a/c", "d"] {
            std::fs::create_dir_all(top.join(name)).unwrap();
        }
        std::fs::write(top.join("a/file"), "").unwrap();
        let (mut entered, mut left) = (0, Vec::new());
        let enter = |_: BorrowedFd<'_>| {
            entered += 1;
            Ok(())
        };
        let leave = |_: BorrowedFd<'_>, name: &CStr| {
            left.push(name.to_str().unwrap().to_owned());
            Ok(())
        };
        walk(open(&top).as_fd(), enter, leave).unwrap();
        let at = |name: &str| left.iter().position(|other| other == name).unwrap();
        assert_eq!((entered, left.len()), (5, 4));
        assert!(at("b") < at("a") && at("c") < at("a"), "{left:?}");
        std::fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn neither_depth_nor_a_name_that_is_no_text_ends_the_walk() {
        let top = tree("deep");
        let name = std::ffi::OsStr::from_bytes(&[0xff; 200]);
        let mut here = open(&top);
        for _ in 0..1500 {
            rustix::fs::mkdirat(&here, name, Mode::RWXU).unwrap();
            here = openat(&here, name, DIRECTORY, Mode::empty()).unwrap();
        }
        let remove = |parent: BorrowedFd<'_>, name: &CStr| {
            rustix::fs::unlinkat(parent, name, rustix::fs::AtFlags::REMOVEDIR)
        };
        walk(open(&top).as_fd(), |_| Ok(()), remove).unwrap();
        std::fs::remove_dir(top).unwrap();
    }

    #[test]
    fn what_goes_away_during_the_walk_is_passed_over() {
        let top = tree("gone");
        for name in ["a/b", "c/d"] {
            std::fs::create_dir_all(top.join(name)).unwrap();
        }
        let mut entered = 0;
        let enter = |_: BorrowedFd<'_>| {
            entered += 1;
            if entered == 2 {
                std::fs::remove_dir_all(top.join("a")).unwrap();
                std::fs::remove_dir_all(top.join("c")).unwrap();
            }
            Ok(())
        };
        walk(open(&top).as_fd(), enter, |_, _| Ok(())).unwrap();
        assert_eq!(entered, 2);
        std::fs::remove_dir(top).unwrap();
    }
}
