//! Resolving a path inside a root one component after the other, each opened without following anything.
//!
//! Symbolic links are read and resolved in the text; a `..` goes back along the way that was come, from the root again.
//! No step can leave the root, whatever another process does to the tree meanwhile: an entry that becomes a link
//! between two looks at it is an error, not a way out. In fixed buffers throughout, because init does not allocate.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, openat, readlinkat_raw};
use rustix::io::Errno;

use super::{Made, Missing, PATH_ONLY, make_directory, make_file};

/// The longest path the kernel takes (`PATH_MAX`).
pub(super) const LONGEST_PATH: usize = 4096;
/// The longest name in it with its NUL (`NAME_MAX`).
const LONGEST_NAME: usize = 256;
/// How many links a resolution may go through (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;

/// What becomes of the last component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// A link there is followed.
    Follow,
    /// A link there is what is looked for.
    NoFollow,
    /// A link there is followed; what does not exist is made, and the directories above it.
    Make(Missing),
}

/// What a walk has found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: OwnedFd,
    /// The directory it lies in; nothing for the root's own entries.
    parent: Option<OwnedFd>,
    /// Its name there, with its NUL; empty for the root itself.
    name: [u8; LONGEST_NAME],
}

impl Found {
    /// What the kernel has found by itself: where it lies is not known.
    pub(crate) fn without_place(file: OwnedFd) -> Self {
        Self { file, parent: None, name: [0; LONGEST_NAME] }
    }

    /// The root's own entry of that name.
    pub(crate) fn at_root(file: OwnedFd, name: &CStr) -> Result<Self, Errno> {
        let mut found = Self::without_place(file);
        let bytes = name.to_bytes_with_nul();
        found.name.get_mut(..bytes.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(bytes);
        Ok(found)
    }

    /// The directory it lies in and its name there; nothing for the root, which has no name.
    pub(crate) fn place<'f>(&'f self, root: BorrowedFd<'f>) -> Option<(BorrowedFd<'f>, &'f CStr)> {
        let name = CStr::from_bytes_until_nul(&self.name).ok().filter(|name| !name.is_empty())?;
        Some((self.parent.as_ref().map_or(root, AsFd::as_fd), name))
    }

    /// Opens what lies there now: what has been mounted over it, say. Nothing for the root.
    pub(crate) fn reopen(&self, root: BorrowedFd<'_>) -> Option<Result<OwnedFd, Errno>> {
        let (parent, name) = self.place(root)?;
        Some(openat(parent, name, PATH_ONLY | OFlags::NOFOLLOW, Mode::empty()))
    }
}

/// One resolution.
#[derive(Debug)]
pub(super) struct Walk<'r> {
    root: BorrowedFd<'r>,
    /// Where the walk is; nothing for the root.
    here: Option<OwnedFd>,
    /// The directory before that.
    before: Option<OwnedFd>,
    /// How it came there from the root: names without links or dots.
    trail: Trail,
    links: u32,
}

impl<'r> Walk<'r> {
    pub(super) fn new(root: BorrowedFd<'r>) -> Self {
        Self { root, here: None, before: None, trail: Trail::new(), links: 0 }
    }

    /// Walks `path` to its end and opens what is there.
    pub(super) fn run(mut self, path: &CStr, last: Last, made: &mut Made) -> Result<Found, Errno> {
        let mut pending = Pending::new(path.to_bytes())?;
        let mut name = [0_u8; LONGEST_NAME];
        while let Some(component) = pending.next(&mut name)? {
            match component.to_bytes() {
                b"." => {}
                b".." => self.step_back()?,
                _ => self.step(component, &mut pending, last, made)?,
            }
        }
        let file = match self.here {
            Some(file) => file,
            None => openat(self.root, c".", PATH_ONLY, Mode::empty())?,
        };
        if last == Last::Make(Missing::Directory) && kind(file.as_fd())? != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        let mut found = Found { file, parent: self.before, name: [0; LONGEST_NAME] };
        if let Some(name) = self.trail.names().last() {
            found.name[..name.count_bytes()].copy_from_slice(name.to_bytes());
        }
        Ok(found)
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.here.as_ref().map_or(self.root, AsFd::as_fd)
    }

    fn step(&mut self, name: &CStr, pending: &mut Pending, last: Last, made: &mut Made) -> Result<(), Errno> {
        let is_last = pending.is_empty();
        let found = match openat(self.here(), name, PATH_ONLY | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT) => match last {
                Last::Make(Missing::File) if is_last => make_file(self.here(), name, made)?,
                Last::Make(_) => make_directory(self.here(), name, made)?,
                _ => return Err(Errno::NOENT),
            },
            other => other?,
        };
        if kind(found.as_fd())? == FileType::Symlink && !(is_last && last == Last::NoFollow) {
            return self.follow(found.as_fd(), name, pending);
        }
        self.trail.push(name)?;
        self.before = self.here.replace(found);
        Ok(())
    }

    /// Puts what a link says in front of what is still to be walked.
    fn follow(&mut self, link: BorrowedFd<'_>, name: &CStr, pending: &mut Pending) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MOST_LINKS || is_magic(link, name)? {
            return Err(Errno::LOOP);
        }
        let mut target = [0_u8; LONGEST_PATH];
        let length = readlinkat_raw(link, c"", &mut target[..])?;
        let target = &target[..length];
        if target.first() == Some(&b'/') {
            self.here = None;
            self.before = None;
            self.trail = Trail::new();
        }
        pending.put_before(target)
    }

    /// Goes to the parent, by the way the walk came.
    fn step_back(&mut self) -> Result<(), Errno> {
        self.trail.pop();
        self.here = None;
        self.before = None;
        let flags = PATH_ONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY;
        for name in self.trail.names() {
            let next = openat(self.here.as_ref().map_or(self.root, AsFd::as_fd), name, flags, Mode::empty())?;
            self.before = self.here.replace(next);
        }
        Ok(())
    }
}

fn kind(file: BorrowedFd<'_>) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode))
}

/// Whether a link of procfs leads where its text does not say (RESOLVE_NO_MAGICLINKS of `openat2(2)`); the ones
/// directly below its root do not.
fn is_magic(link: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let ordinary = matches!(name.to_bytes(), b"self" | b"thread-self" | b"mounts" | b"net");
    Ok(!ordinary && fstatfs(link)?.f_type == PROC_SUPER_MAGIC)
}

/// What is still to be walked, at the end of a buffer so that a link's text can be put in front of it.
struct Pending {
    buffer: [u8; LONGEST_PATH],
    start: usize,
}

impl Pending {
    fn new(path: &[u8]) -> Result<Self, Errno> {
        let mut pending = Self { buffer: [0; LONGEST_PATH], start: LONGEST_PATH };
        pending.put_before(path)?;
        Ok(pending)
    }

    fn put_before(&mut self, text: &[u8]) -> Result<(), Errno> {
        let separator = usize::from(self.start < LONGEST_PATH);
        let length = text.len() + separator;
        let start = self.start.checked_sub(length).ok_or(Errno::NAMETOOLONG)?;
        self.buffer[start..start + text.len()].copy_from_slice(text);
        if separator == 1 {
            self.buffer[self.start - 1] = b'/';
        }
        self.start = start;
        Ok(())
    }

    fn skip_slashes(&mut self) {
        while self.buffer.get(self.start) == Some(&b'/') {
            self.start += 1;
        }
    }

    /// Takes the next name off, into `buffer`.
    fn next<'n>(&mut self, buffer: &'n mut [u8; LONGEST_NAME]) -> Result<Option<&'n CStr>, Errno> {
        self.skip_slashes();
        let rest = &self.buffer[self.start..];
        if rest.is_empty() {
            return Ok(None);
        }
        let length = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        if length >= LONGEST_NAME {
            return Err(Errno::NAMETOOLONG);
        }
        buffer[..length].copy_from_slice(&rest[..length]);
        buffer[length] = 0;
        self.start += length;
        self.skip_slashes();
        CStr::from_bytes_with_nul(&buffer[..=length]).map(Some).map_err(|_| Errno::INVAL)
    }

    fn is_empty(&self) -> bool {
        self.start == LONGEST_PATH
    }
}

/// Names one after the other, each with its NUL.
#[derive(Debug)]
struct Trail {
    buffer: [u8; LONGEST_PATH],
    length: usize,
}

impl Trail {
    fn new() -> Self {
        Self { buffer: [0; LONGEST_PATH], length: 0 }
    }

    fn push(&mut self, name: &CStr) -> Result<(), Errno> {
        let bytes = name.to_bytes_with_nul();
        let end = self.length + bytes.len();
        self.buffer.get_mut(self.length..end).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    /// Above the root is the root.
    fn pop(&mut self) {
        let all_but_last_nul = &self.buffer[..self.length.saturating_sub(1)];
        self.length = all_but_last_nul.iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
    }

    fn names(&self) -> impl Iterator<Item = &CStr> {
        self.buffer[..self.length]
            .split_inclusive(|byte| *byte == 0)
            .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
    }
}
