//! A cgroup below the container's, in which its processes live while the limits stay on the container's own: what is
//! inside may then be given to somebody (systemd has its own idea of who owns a unit's cgroup, a container may manage
//! cgroups itself) who cannot lift the limits.
//!
//! One is made in the v2 tree only. A v1 hierarchy cannot be delegated safely (runtime-spec
//! config-linux.md#cgroup-ownership), and the processes stay in the container's cgroup there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::io::Errno;

use crate::cgroup::{Cgroup, Member};
use crate::controllers;
use crate::error::{Error, Result};
use crate::files::{open_below, write_value};
use crate::make::make_levels;
use crate::path::{CgroupPath, goes_up};
use crate::remove::{self, Leftovers, WhenBusy};
use crate::resources::{IfMissing, Write};

/// The cgroup below.
#[derive(Debug)]
pub(crate) struct Child {
    /// Below the container's cgroup.
    path: CgroupPath,
    directory: OwnedFd,
    /// How many levels of the path were made, counted from the end.
    created: usize,
    /// One further down.
    child: OnceLock<Box<Child>>,
}

impl Child {
    fn new(path: CgroupPath, directory: OwnedFd, created: usize) -> Self {
        Self { path, directory, created, child: OnceLock::new() }
    }

    fn next(&self) -> Option<&Self> {
        self.child.get().map(|child| &**child)
    }

    fn innermost(&self) -> &Self {
        self.next().map_or(self, Self::innermost)
    }
}

impl Cgroup {
    /// Makes the cgroup `path` below this one, or below the one below it if there is one, in the v2 tree, and from then on
    /// puts processes there: what
    /// [`Self::unified_directory`], [`Self::add_process`] and the paths say is about it. Limits, device rules, signals and
    /// removal go on to be about the whole.
    ///
    /// Call [`Self::hand_on_controllers`] when no process is left above.
    ///
    /// # Errors
    /// When there is no v2 tree, `path` leads elsewhere, or the directory cannot be made.
    pub fn create_child(&self, path: &str) -> Result<()> {
        let wanted = CgroupPath::below(path)?;
        let Some(member) = self.unified() else { return Err(no_unified_tree(path)) };
        let present = member.innermost();
        let below = present.map_or_else(|| wanted.clone(), |child| child.path.join(&wanted));
        let named = |level: &str| member.file(&self.path, level);
        let (created, directory) = make_levels(member.directory.as_fd(), &below, named)?;
        let child = Child::new(below, directory, created);
        // There was none when it was looked for.
        let _ = match present {
            Some(present) => present.child.set(Box::new(child)).is_ok(),
            None => member.child.set(child).is_ok(),
        };
        Ok(())
    }

    /// The same with one that exists.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open_child(&mut self, path: &str) -> Result<()> {
        let below = CgroupPath::below(path)?;
        let whole = self.path.clone();
        let Some(member) = self.unified_mut() else { return Err(no_unified_tree(path)) };
        member.enter(&whole, &below)
    }

    /// The same with one that exists in the v1 hierarchies of these controllers, or wherever the container has limits when
    /// none are named. `/` is the container's cgroup itself.
    ///
    /// # Errors
    /// When there is none, it cannot be opened, or this host has no such controller.
    pub fn enter_child(&mut self, controllers: &[&str], path: &str) -> Result<()> {
        for name in controllers {
            if !self.members.iter().any(|member| member.is_of(name)) {
                return Err(self.unavailable(name));
            }
        }
        if !path.is_empty() && CgroupPath::new(Some(path), "").is_root() && !goes_up(path) {
            return Ok(());
        }
        let (below, whole, is_one) = (CgroupPath::below(path)?, self.path.clone(), self.members.len() == 1);
        for member in &mut self.members {
            let is_meant = match controllers {
                [] => true,
                some => some.iter().any(|name| member.is_of(name)),
            };
            if !is_meant {
                continue;
            }
            let entered = member.enter(&whole, &below);
            // Beside the v1 controllers those hierarchies only count processes.
            let may_miss = controllers.is_empty() && !is_one && member.hierarchy.controllers.is_empty();
            match entered {
                Err(error) if may_miss && error.errno == Some(Errno::NOENT) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Lets the cgroup below use the controllers this one has, as far as the kernel allows it; there must be no process
    /// between the two any more (cgroup-v2.rst, "no internal process constraint").
    ///
    /// # Errors
    /// Names the file that could not be read.
    pub fn hand_on_controllers(&self) -> Result<()> {
        let Some(member) = self.unified() else { return Ok(()) };
        let Some(child) = member.innermost() else { return Ok(()) };
        let parents = child.path.levels().filter(|level| *level != child.path.below_root());
        for level in std::iter::once("").chain(parents) {
            let directory = open_below(member.directory.as_fd(), level)
                .map_err(|errno| Error::at("open", member.file(&self.path, level), errno))?;
            controllers::hand_on(directory.as_fd(), |name| member.file(&self.path, &join(level, name)))?;
        }
        Ok(())
    }

    /// Gives the one below the same limits, if there is one. What holds are those of this one; but what looks at its own
    /// cgroup, as runtimes of languages do to know how much memory and how many CPUs they have, sees the one below. One
    /// that cannot be had there is no reason to fail.
    ///
    /// # Errors
    /// As [`Self::hand_on_controllers`].
    pub fn apply_below(&self, writes: &[Write]) -> Result<()> {
        if self.unified().is_none_or(|member| member.child.get().is_none()) {
            return Ok(());
        }
        // This one may have got a controller for its limits only after it has handed on those it had.
        if !self.apply_if_possible(writes) {
            self.hand_on_controllers()?;
            self.apply_if_possible(writes);
        }
        Ok(())
    }

    /// Applies limits of version 2 where the processes are, as far as they can be had there. Returns whether there is a file
    /// for each.
    pub fn apply_if_possible(&self, writes: &[Write]) -> bool {
        let mut has_all = true;
        for write in writes {
            if let Some(member) = self.member_for(write.controller).filter(|member| member.hierarchy.unified)
            {
                has_all &= write_at_home(member, write);
            }
        }
        has_all
    }

    fn unified_mut(&mut self) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.hierarchy.unified)
    }
}

/// Writes a value, or the one that does the same, where the processes are. Returns whether there is a file for it, taken or
/// not.
fn write_at_home(member: &Member, write: &Write) -> bool {
    match (write_value(member.home(), &write.file, write.value.as_bytes()), &write.if_missing) {
        (Err(Errno::NOENT), IfMissing::Instead(other)) => write_at_home(member, other),
        (written, _) => written != Err(Errno::NOENT),
    }
}

impl Member {
    /// Whether it is the hierarchy of a controller, or of that name (`name=systemd`).
    fn is_of(&self, name: &str) -> bool {
        let of_name = name.strip_prefix("name=").is_some_and(|name| name == self.hierarchy.directory);
        of_name || self.hierarchy.controllers.iter().any(|controller| controller == name)
    }

    fn enter(&mut self, whole: &CgroupPath, below: &CgroupPath) -> Result<()> {
        let directory = open_below(self.directory.as_fd(), below.below_root())
            .map_err(|errno| Error::at("open", self.file(whole, below.below_root()), errno))?;
        self.child = OnceLock::from(Child::new(below.clone(), directory, 0));
        Ok(())
    }

    fn innermost(&self) -> Option<&Child> {
        self.child.get().map(Child::innermost)
    }

    /// Where the processes are.
    pub(crate) fn home(&self) -> BorrowedFd<'_> {
        self.innermost().map_or(self.directory.as_fd(), |child| child.directory.as_fd())
    }

    /// The path of that, below the root of the hierarchy.
    pub(crate) fn home_path(&self, whole: &CgroupPath) -> String {
        self.innermost().map_or_else(|| whole.to_string(), |child| format!("{whole}{}", child.path))
    }

    /// Removes what was made below. What fails is left: it is only taken back with something that has failed already.
    pub(crate) fn undo_child(&self) {
        let when_busy = WhenBusy { leftovers: &|| Leftovers::Leave, kill: &|_| Ok(()) };
        let undo = |child: &Child| {
            remove::levels(self.directory.as_fd(), child.path.below_root(), child.created, &when_busy)
        };
        let made: Vec<&Child> = std::iter::successors(self.child.get(), |child| child.next()).collect();
        for child in made.into_iter().rev() {
            let _ = undo(child);
        }
    }
}

fn join(level: &str, name: &str) -> String {
    if level.is_empty() { name.to_owned() } else { format!("{level}/{name}") }
}

fn no_unified_tree(path: &str) -> Error {
    Error::plain(format!("the cgroup `{path}` below the container's needs cgroup v2"))
}
