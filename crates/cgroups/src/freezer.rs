//! Freezing and thawing the processes of a cgroup.
//!
//! Where there is a freezer of v1 it is the one that is used, as every other tool on such a host expects; the one of v2
//! differs from it in that signals that end a process get through (cgroup-v2.rst, `cgroup.freeze`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, pread};

use crate::cgroup::{Cgroup, Member};
use crate::error::{Error, Result};
use crate::files::{read_small, write_value};
use crate::layout::Hierarchy;
use crate::walk::walk;

/// How long processes may take to freeze.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a v1 freezer is left alone in the state FREEZING before the request is repeated: a process that was forked
/// at the wrong moment is only caught by the next one (cgroup-v1/freezer-subsystem.rst).
const REPEAT: Duration = Duration::from_millis(50);

/// How many repetitions may be in vain before all are let go for a moment: what waits for a process that is frozen
/// already cannot freeze before that one has gone on.
const REPETITIONS: u32 = 10;

/// Whether a hierarchy is one in which processes are frozen.
#[must_use]
pub fn is_freezer(hierarchy: &Hierarchy) -> bool {
    hierarchy.unified || is_legacy_freezer(hierarchy)
}

fn is_legacy_freezer(hierarchy: &Hierarchy) -> bool {
    hierarchy.controllers.iter().any(|name| name == "freezer")
}

/// The file that tells whether the processes in a cgroup of the hierarchy are frozen.
pub(crate) fn state_file(hierarchy: &Hierarchy) -> Option<&'static str> {
    match hierarchy {
        hierarchy if hierarchy.unified => Some("cgroup.events"),
        hierarchy if is_legacy_freezer(hierarchy) => Some("freezer.state"),
        _ => None,
    }
}

/// Whether the content of that file says so.
pub(crate) fn says_frozen(content: &str) -> bool {
    content.lines().any(|line| matches!(line.trim_end(), "frozen 1" | "FROZEN"))
}

impl Cgroup {
    /// Whether the processes are frozen (`crun pause`).
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let frozen = |member: &Member| {
            state_file(&member.hierarchy)
                .and_then(|file| read_small(member.directory.as_fd(), file).ok())
                .is_some_and(|content| says_frozen(&content))
        };
        self.members.iter().any(frozen)
    }

    /// Freezes the processes and waits until they are; when that fails, they go on.
    ///
    /// # Errors
    /// When there is no freezer, or the processes do not freeze in time.
    pub fn freeze(&self) -> Result<()> {
        self.freeze_within(PATIENCE)
    }

    pub(crate) fn freeze_within(&self, patience: Duration) -> Result<()> {
        let (freezer, result) = if let Some(member) = self.legacy_freezer() {
            (member, freeze_legacy(member.directory.as_fd(), patience))
        } else if let Some(member) = self.unified() {
            (member, set_unified(member.directory.as_fd(), true, patience))
        } else {
            return Err(Error::plain(format!("there is no freezer for the cgroup `{}`", self.path)));
        };
        result.map_err(|errno| {
            let _ = request(freezer, false);
            self.not_done("freeze", freezer, errno, patience)
        })
    }

    /// Lets the processes go on that [`Cgroup::freeze`] has frozen, and waits until they do.
    ///
    /// # Errors
    /// When there is no freezer, or the processes stay frozen, for example by a cgroup above.
    pub fn unfreeze(&self) -> Result<()> {
        let mut freezers = self.members.iter().filter(|member| is_freezer(&member.hierarchy)).peekable();
        if freezers.peek().is_none() {
            return Err(Error::plain(format!("there is no freezer for the cgroup `{}`", self.path)));
        }
        for member in freezers {
            let directory = member.directory.as_fd();
            let result = match member.hierarchy.unified {
                // Linux before 5.2 has no freezer there, and so nothing that is frozen.
                true => match set_unified(directory, false, PATIENCE) {
                    Err(Errno::NOENT) => Ok(()),
                    other => other,
                },
                false => thaw_legacy(directory, PATIENCE),
            };
            result.map_err(|errno| self.not_done("thaw", member, errno, PATIENCE))?;
        }
        Ok(())
    }

    fn not_done(&self, what: &str, member: &Member, errno: Errno, patience: Duration) -> Error {
        match errno {
            Errno::TIMEDOUT => {
                let seconds = patience.as_secs();
                let path = &self.path;
                Error::plain(format!("cannot {what} the processes in the cgroup `{path}` within {seconds} s"))
            }
            errno => {
                let file = if member.hierarchy.unified { "cgroup.freeze" } else { "freezer.state" };
                Error::kernel(format!("{what} by `{}`", member.file(&self.path, file)), errno)
            }
        }
    }

    pub(crate) fn legacy_freezer(&self) -> Option<&Member> {
        self.members.iter().find(|member| is_legacy_freezer(&member.hierarchy))
    }

    /// Thaws the processes that the v1 freezer has frozen, also in the cgroups below, so that a signal that ends them does.
    /// That of v2 lets it through (cgroup-v2.rst, `cgroup.freeze`).
    pub fn thaw(&self) {
        if let Some(member) = self.legacy_freezer() {
            // What fails is left: whether a process dies shows when it is waited for.
            let thaw = |directory: BorrowedFd<'_>| {
                let _ = write_value(directory, "freezer.state", b"THAWED");
                Ok(())
            };
            let _ = walk(member.directory.as_fd(), thaw, |_, _| Ok(()));
        }
    }
}

/// Asks for the state without waiting for it.
pub(crate) fn request(member: &Member, frozen: bool) -> core::result::Result<(), Errno> {
    let (file, value): (_, &[u8]) = match (member.hierarchy.unified, frozen) {
        (true, true) => ("cgroup.freeze", b"1"),
        (true, false) => ("cgroup.freeze", b"0"),
        (false, true) => ("freezer.state", b"FROZEN"),
        (false, false) => ("freezer.state", b"THAWED"),
    };
    write_value(member.directory.as_fd(), file, value)
}

/// v2: the kernel tells of each change of `cgroup.events` (cgroup-v2.rst, "poll").
fn set_unified(
    directory: BorrowedFd<'_>,
    frozen: bool,
    patience: Duration,
) -> core::result::Result<(), Errno> {
    let start = Instant::now();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    write_value(directory, "cgroup.freeze", if frozen { b"1" } else { b"0" })?;
    let events = openat(directory, "cgroup.events", flags, Mode::empty())?;
    while says_frozen(&read_again(&events)?) != frozen {
        let Some(rest) = patience.checked_sub(start.elapsed()) else { return Err(Errno::TIMEDOUT) };
        let rest = Timespec::try_from(rest).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&rest)) {
            Err(Errno::INTR) | Ok(_) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Reads a small file from its beginning, as often as one likes.
pub(crate) fn read_again(file: &OwnedFd) -> core::result::Result<String, Errno> {
    let mut buffer = [0_u8; 4096];
    loop {
        match pread(file, &mut buffer, 0) {
            Ok(length) => return Ok(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// v1: the state is FREEZING until the last process is frozen, and nothing tells when it is.
fn freeze_legacy(directory: BorrowedFd<'_>, patience: Duration) -> core::result::Result<(), Errno> {
    let start = Instant::now();
    for repetition in 1.. {
        write_value(directory, "freezer.state", b"FROZEN")?;
        if becomes(directory, "FROZEN", REPEAT)? {
            return Ok(());
        }
        if start.elapsed() > patience {
            break;
        }
        if repetition % REPETITIONS == 0 {
            write_value(directory, "freezer.state", b"THAWED")?;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Err(Errno::TIMEDOUT)
}

fn thaw_legacy(directory: BorrowedFd<'_>, patience: Duration) -> core::result::Result<(), Errno> {
    write_value(directory, "freezer.state", b"THAWED")?;
    if becomes(directory, "THAWED", patience)? { Ok(()) } else { Err(Errno::TIMEDOUT) }
}

/// Whether the v1 freezer comes into the state within a time: looked at often first, because it usually is at once.
fn becomes(directory: BorrowedFd<'_>, state: &str, within: Duration) -> core::result::Result<bool, Errno> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(20);
    loop {
        if read_small(directory, "freezer.state")?.trim_end() == state {
            return Ok(true);
        }
        if start.elapsed() > within {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_is_what_either_freezer_says_when_it_is_done() {
        for (content, frozen) in [
            ("populated 1\nfrozen 1\n", true),
            ("populated 1\nfrozen 0\n", false),
            ("FROZEN\n", true),
            ("FREEZING\n", false),
            ("THAWED\n", false),
            ("", false),
        ] {
            assert_eq!(says_frozen(content), frozen, "{content}");
        }
    }
}
