//! Resolving paths inside the container's root: the only place where an [`InnerPath`] meets the kernel.
//!
//! Everything goes through `openat2(2)` with RESOLVE_IN_ROOT, for which the root directory is the end of every `..`
//! and of every absolute symbolic link, also while another process changes the tree.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

use crate::plan::InnerPath;

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const MODE: Mode = Mode::from_raw_mode(0o755);

/// Opens what is at `path`, only to name it.
pub(crate) fn open(root: BorrowedFd<'_>, path: &InnerPath) -> Result<OwnedFd, Errno> {
    open_as(root, path.as_c_str(), OFlags::empty())
}

fn open_as(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    loop {
        match openat2(root, path, PATH_ONLY | flags, Mode::empty(), IN_ROOT) {
            // A rename somewhere kept the kernel from being sure that no `..` left the root.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Opens the directory at `path`, making it and its parents where they are missing.
pub(crate) fn open_or_make_directory(root: BorrowedFd<'_>, path: &InnerPath) -> Result<OwnedFd, Errno> {
    match open_as(root, path.as_c_str(), OFlags::DIRECTORY) {
        Err(Errno::NOENT) => make_parents(root, path, make_directory),
        other => other,
    }
}

/// Opens the file at `path`, making an empty one and the directories above it where they are missing.
pub(crate) fn open_or_make_file(root: BorrowedFd<'_>, path: &InnerPath) -> Result<OwnedFd, Errno> {
    match open_as(root, path.as_c_str(), OFlags::empty()) {
        Err(Errno::NOENT) => make_parents(root, path, |parent, name| {
            let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            openat(parent, name, flags, MODE)
        }),
        other => other,
    }
}

/// Makes the directories above the last component of `path` and lets `last` make or open that.
pub(crate) fn make_parents<T>(
    root: BorrowedFd<'_>,
    path: &InnerPath,
    last: impl FnOnce(BorrowedFd<'_>, &CStr) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let bytes = path.as_c_str().to_bytes_with_nul();
    let mut buffer = [0_u8; libc_path_max()];
    let buffer = buffer.get_mut(..bytes.len()).ok_or(Errno::NAMETOOLONG)?;
    buffer.copy_from_slice(bytes);
    let mut parent: Option<OwnedFd> = None;
    let mut start = 0;
    for end in 0..buffer.len() {
        if buffer[end] != b'/' {
            continue;
        }
        // Each prefix is resolved from the root, so that a link in the middle of the path leads where it leads the
        // container's processes.
        buffer[end] = 0;
        let prefix = CStr::from_bytes_with_nul(&buffer[..=end]).map_err(|_| Errno::INVAL)?;
        let name = CStr::from_bytes_with_nul(&buffer[start..=end]).map_err(|_| Errno::INVAL)?;
        let above = parent.as_ref().map_or(root, AsFd::as_fd);
        let directory = match open_as(root, prefix, OFlags::DIRECTORY) {
            Err(Errno::NOENT) => make_directory(above, name)?,
            other => other?,
        };
        parent = Some(directory);
        buffer[end] = b'/';
        start = end + 1;
    }
    let name = CStr::from_bytes_with_nul(&buffer[start..]).map_err(|_| Errno::INVAL)?;
    last(parent.as_ref().map_or(root, AsFd::as_fd), name)
}

/// Makes one directory below an open one and opens it; a link that turns up in its place is refused.
pub(crate) fn make_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, name, MODE) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    openat(parent, name, PATH_ONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// The longest path the kernel takes (`PATH_MAX`).
const fn libc_path_max() -> usize {
    4096
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(std::path::PathBuf, OwnedFd);

    impl Tree {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("crun-inner-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("root")).unwrap();
            let root =
                openat(rustix::fs::CWD, path.join("root"), PATH_ONLY | OFlags::DIRECTORY, Mode::empty())
                    .unwrap();
            Self(path, root)
        }

        fn inner(path: &str) -> InnerPath {
            InnerPath::new(path, || "test".to_owned()).unwrap()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn missing_directories_and_files_are_made() {
        let tree = Tree::new("make");
        open_or_make_directory(tree.1.as_fd(), &Tree::inner("/a/b/c")).unwrap();
        open_or_make_file(tree.1.as_fd(), &Tree::inner("/d/e")).unwrap();
        assert!(tree.0.join("root/a/b/c").is_dir() && tree.0.join("root/d/e").is_file());
    }

    #[test]
    fn a_link_out_of_the_root_leads_into_it() {
        let tree = Tree::new("links");
        std::fs::create_dir(tree.0.join("outside")).unwrap();
        std::fs::create_dir(tree.0.join("root/etc")).unwrap();
        symlink("../../outside", tree.0.join("root/relative")).unwrap();
        symlink("/etc", tree.0.join("root/absolute")).unwrap();
        open_or_make_directory(tree.1.as_fd(), &Tree::inner("/absolute/made")).unwrap();
        assert!(tree.0.join("root/etc/made").is_dir());
        // What `../../outside` names inside the root does not exist, and is not made by following the link.
        assert!(open_or_make_directory(tree.1.as_fd(), &Tree::inner("/relative/made")).is_err());
        assert!(std::fs::read_dir(tree.0.join("outside")).unwrap().next().is_none());
    }
}
