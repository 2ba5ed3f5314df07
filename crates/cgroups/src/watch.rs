//! Watching a cgroup: for processes that are killed for want of memory, and for the end of the last one.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read};

use crate::cgroup::{Cgroup, Member};
use crate::error::{Error, Result};
use crate::files::write_value;
use crate::freezer::read_again;

/// A cgroup that is watched. The kernel says when there is something to be asked for; what it is tell
/// [`Watch::new_kills`] and [`Watch::is_populated`].
#[derive(Debug)]
pub struct Watch {
    /// The file that counts kills.
    memory: Option<OwnedFd>,
    /// v1: what the kernel signals when memory is short, which is a moment before anything is killed.
    shortage: Option<OwnedFd>,
    /// v2: the file that says whether there are processes.
    events: Option<OwnedFd>,
    kills: u64,
}

impl Cgroup {
    /// Watches the cgroup from now on. Where there is no controller for memory, nothing is killed for want of it.
    ///
    /// # Errors
    /// Names the file that cannot be opened.
    pub fn watch(&self) -> Result<Watch> {
        let legacy = self
            .members
            .iter()
            .find(|member| member.hierarchy.controllers.iter().any(|name| name == "memory"));
        let (memory, shortage) = match (legacy, self.unified()) {
            (Some(member), _) => {
                let control = self.open_file(member, "memory.oom_control")?;
                let shortage =
                    control.as_ref().map(|control| self.listen(member, control.as_fd())).transpose()?;
                (control, shortage)
            }
            (None, Some(member)) => (self.open_file(member, "memory.events")?, None),
            (None, None) => (None, None),
        };
        let events =
            self.unified().map(|member| self.open_file(member, "cgroup.events")).transpose()?.flatten();
        let mut watch = Watch { memory, shortage, events, kills: 0 };
        watch.kills = watch.count();
        Ok(watch)
    }

    fn open_file(&self, member: &Member, name: &str) -> Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(&member.directory, name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::at("open", member.file(&self.path, name), errno)),
        }
    }

    /// v1: has the kernel signal a descriptor when memory is short (cgroup-v1/memory.rst, "OOM Control").
    fn listen(&self, member: &Member, control: BorrowedFd<'_>) -> Result<OwnedFd> {
        let file = || member.file(&self.path, "cgroup.event_control");
        let failed = |errno| Error::kernel(format!("write to `{}`", file()), errno);
        let signalled = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
        let request = format!("{} {}", signalled.as_raw_fd(), control.as_raw_fd());
        write_value(member.directory.as_fd(), "cgroup.event_control", request.as_bytes()).map_err(failed)?;
        Ok(signalled)
    }
}

impl Watch {
    /// What to wait for before asking again.
    #[must_use]
    pub fn descriptors(&self) -> Vec<PollFd<'_>> {
        let memory = match &self.shortage {
            None => (&self.memory, PollFlags::PRI),
            shortage => (shortage, PollFlags::IN),
        };
        let files = [memory, (&self.events, PollFlags::PRI)];
        files.into_iter().filter_map(|(file, flags)| Some(PollFd::new(file.as_ref()?, flags))).collect()
    }

    /// Whether the kernel has said since the last question that memory is short, and what comes of it will be counted in a
    /// moment without another word (v1).
    #[must_use]
    pub fn expects_a_kill(&self) -> bool {
        let mut count = [0_u8; 8];
        self.shortage.as_ref().is_some_and(|shortage| read(shortage, &mut count).is_ok())
    }

    /// How many processes have been killed for want of memory since the last question.
    pub fn new_kills(&mut self) -> u64 {
        let count = self.count().max(self.kills);
        count - std::mem::replace(&mut self.kills, count)
    }

    fn count(&self) -> u64 {
        // The file of a cgroup that is gone has nothing to add to what is known.
        let text = self.memory.as_ref().and_then(|file| read_again(file).ok()).unwrap_or_default();
        kills(&text)
    }

    /// Whether there are processes in the cgroup; `None` where the kernel does not say (v1).
    #[must_use]
    pub fn is_populated(&self) -> Option<bool> {
        let events = self.events.as_ref()?;
        Some(read_again(events).is_ok_and(|text| text.lines().any(|line| line == "populated 1")))
    }
}

/// What `memory.events` (v2) or `memory.oom_control` (v1) says about processes that were killed.
fn kills(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_by_either_file() {
        assert_eq!(kills("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), 5);
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), 0);
    }
}
