//! What was made on the way to a mount, and the mounts themselves, to be taken away again when it comes to nothing.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::fchdir;

/// The longest name of a directory entry with its NUL (`NAME_MAX`).
const NAME: usize = 256;

/// Files and directories in the order they were made. Its room is reserved before the clone, because init does not
/// allocate; what finds no room is made all the same and stays after a failure.
#[derive(Debug, Default)]
pub(crate) struct Made {
    entries: Vec<Entry>,
    keeps_mounts: bool,
}

#[derive(Debug)]
struct Entry {
    parent: OwnedFd,
    name: [u8; NAME],
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A file, directory or link that was not there.
    File,
    /// A mount over whatever was there.
    Mount(OwnedFd),
}

impl Made {
    /// Room for `capacity` entries.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity), keeps_mounts: false }
    }

    /// The same for a mount namespace that does not go away with a failure: there mounts are remembered, too.
    pub(crate) fn with_mounts(capacity: usize) -> Self {
        Self { keeps_mounts: true, ..Self::with_capacity(capacity) }
    }

    /// For resolutions that make nothing, or nothing that has to go again.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Whether mounts are remembered, for which it has to be known where they lie.
    pub(crate) fn keeps_mounts(&self) -> bool {
        self.keeps_mounts
    }

    /// Remembers that `name` was made in the directory `parent`.
    ///
    /// # Errors
    /// When that takes one descriptor too many; it is not there any more then.
    pub(crate) fn note(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        match self.entry(parent, name, Kind::File) {
            Ok(entry) => self.entries.push(entry),
            Err(Errno::NOMEM) => {}
            Err(errno) => {
                remove(parent, name);
                return Err(errno);
            }
        }
        Ok(())
    }

    /// Attaches `mount`, by `attach`, in a directory over the entry of a name, and remembers it. What could not be taken
    /// off again is not mounted: there is no such place for the root.
    pub(crate) fn mount(
        &mut self,
        mount: BorrowedFd<'_>,
        place: Option<(BorrowedFd<'_>, &CStr)>,
        attach: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if !self.keeps_mounts {
            return attach();
        }
        let (parent, name) = place.ok_or(Errno::BUSY)?;
        let entry = self.entry(parent, name, Kind::Mount(fcntl_dupfd_cloexec(mount, 3)?))?;
        attach()?;
        self.entries.push(entry);
        Ok(())
    }

    /// An entry for which there is room.
    fn entry(&self, parent: BorrowedFd<'_>, name: &CStr, kind: Kind) -> Result<Entry, Errno> {
        if self.entries.len() == self.entries.capacity() {
            return Err(Errno::NOMEM);
        }
        let mut buffer = [0_u8; NAME];
        let bytes = name.to_bytes_with_nul();
        buffer.get_mut(..bytes.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(bytes);
        Ok(Entry { parent: fcntl_dupfd_cloexec(parent, 3)?, name: buffer, kind })
    }

    /// Whether there is nothing to be taken away.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keeps everything: from now on it belongs to the container.
    pub(crate) fn forget(&mut self) {
        self.entries.clear();
    }

    /// Takes everything away again, last things first, with what is mounted on it. Changes the working directory of
    /// the calling process, which is about to end.
    pub(crate) fn undo(&self) {
        for entry in self.entries.iter().rev() {
            let Ok(name) = CStr::from_bytes_until_nul(&entry.name) else { continue };
            match &entry.kind {
                Kind::Mount(mount) => drop(detach(mount.as_fd(), entry.parent.as_fd(), name)),
                Kind::File => {
                    while detach_from(entry.parent.as_fd(), name).is_ok() {}
                    remove(entry.parent.as_fd(), name);
                }
            }
        }
    }
}

/// Takes a mount off. Where it is a directory that can be entered, it is this very mount, whatever has become of its
/// place meanwhile; otherwise the topmost one in its place. Changes the working directory.
pub(crate) fn detach(mount: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match fchdir(mount) {
        Ok(()) => unmount(c".", UnmountFlags::DETACH),
        Err(_) => detach_from(parent, name),
    }
}

/// Takes off the topmost mount over an entry of a directory. Changes the working directory.
pub(crate) fn detach_from(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    fchdir(parent)?;
    unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}

/// What cannot be removed has become somebody else's: a file that was put into a directory, say.
fn remove(parent: BorrowedFd<'_>, name: &CStr) {
    if unlinkat(parent, name, AtFlags::empty()) == Err(Errno::ISDIR) {
        let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
    }
}
