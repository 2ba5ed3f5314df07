//! What was made in the root filesystem on the way to a mount, to be taken away again when the start fails.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, unlinkat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::fchdir;

/// The longest name of a directory entry with its NUL (`NAME_MAX`).
const NAME: usize = 256;

/// Files and directories in the order they were made. Its room is reserved before the clone, because init does not
/// allocate; what finds no room is made all the same and stays after a failure.
#[derive(Debug, Default)]
pub(crate) struct Made(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    parent: OwnedFd,
    name: [u8; NAME],
}

impl Made {
    /// Room for `capacity` entries.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// For resolutions that make nothing, or nothing that has to go again.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Remembers that `name` was made in the directory `parent`.
    pub(crate) fn note(&mut self, parent: BorrowedFd<'_>, name: &CStr) {
        let bytes = name.to_bytes_with_nul();
        if self.0.len() == self.0.capacity() || bytes.len() > NAME {
            return;
        }
        let Ok(parent) = fcntl_dupfd_cloexec(parent, 3) else { return };
        let mut entry = Entry { parent, name: [0; NAME] };
        entry.name[..bytes.len()].copy_from_slice(bytes);
        self.0.push(entry);
    }

    /// Keeps everything: from now on it belongs to the container.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// Takes everything away again, last things first, with what is mounted on it. Changes the working directory of
    /// the calling process, which is about to end.
    pub(crate) fn undo(&self) {
        for entry in self.0.iter().rev() {
            let Ok(name) = CStr::from_bytes_until_nul(&entry.name) else { continue };
            if fchdir(&entry.parent).is_err() {
                continue;
            }
            while unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
            // What cannot be removed has become somebody else's: a file that was put into a directory, say.
            if unlinkat(CWD, name, AtFlags::empty()) == Err(Errno::ISDIR) {
                let _ = unlinkat(CWD, name, AtFlags::REMOVEDIR);
            }
        }
    }
}
