//! A container's cgroup: one directory in each hierarchy of the host, held open from creation to removal.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::child::Child;
use crate::controllers::enable_controllers;
use crate::error::{Error, Result};
use crate::files::open_below;
use crate::layout::{Hierarchy, Layout, MOUNT_POINT};
use crate::make::{inherit_cpuset, make_directories};
use crate::path::CgroupPath;
use crate::remove::{self, Leftovers, WhenBusy};

/// What became of a cgroup that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone from every hierarchy.
    Everywhere,
    /// Processes that are not the container's are in it.
    LeftToOthers,
}

/// A container's directories, one for each hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) path: CgroupPath,
    pub(crate) members: Vec<Member>,
}

/// The directory in one hierarchy.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) hierarchy: Hierarchy,
    pub(crate) root: OwnedFd,
    pub(crate) directory: OwnedFd,
    /// The one below, where the processes are, if that is not the same.
    pub(crate) child: OnceLock<Child>,
    /// How many levels of the path were made by [`Cgroup::create`], counted from the end.
    created: usize,
}

impl Member {
    pub(crate) fn file(&self, path: &CgroupPath, name: &str) -> String {
        self.directory_named(&format!("{}/{name}", path.below_root()))
    }

    /// What the cgroup at this path below the root of the hierarchy is called on the host.
    pub(crate) fn directory_named(&self, below_root: &str) -> String {
        format!("{}/{}", mount_point(&self.hierarchy), below_root.trim_start_matches('/'))
    }
}

pub(crate) fn mount_point(hierarchy: &Hierarchy) -> String {
    match hierarchy.directory.as_str() {
        "" => MOUNT_POINT.to_owned(),
        directory => format!("{MOUNT_POINT}/{directory}"),
    }
}

pub(crate) fn open_root(hierarchy: &Hierarchy) -> Result<OwnedFd> {
    let path = mount_point(hierarchy);
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    openat(CWD, &path, flags, Mode::empty()).map_err(|errno| Error::at("open", path, errno))
}

impl Cgroup {
    /// Makes the directories that are missing and opens them all. What was made is removed again on failure.
    ///
    /// # Errors
    /// Names the directory that could not be made or opened, or the controller file that could not be written.
    pub fn create(layout: &Layout, path: &CgroupPath) -> Result<Self> {
        path.refuse_root()?;
        let mut cgroup = Self { path: path.clone(), members: Vec::with_capacity(layout.hierarchies.len()) };
        for hierarchy in &layout.hierarchies {
            if let Err(error) = cgroup.join_hierarchy(hierarchy, layout.is_unified() && hierarchy.unified) {
                // The first error is the one worth telling; a directory that will not go is the lesser evil.
                drop(cgroup.undo(&|| Leftovers::Leave));
                return Err(error);
            }
        }
        Ok(cgroup)
    }

    /// Makes the directory in the named v1 hierarchy, where systemd, having v2, makes none.
    pub(crate) fn join_named(&mut self, layout: &Layout) -> Result<()> {
        let is_member = self.members.iter().any(|member| member.hierarchy.is_named());
        match layout.hierarchies.iter().find(|hierarchy| hierarchy.is_named()) {
            Some(named) if layout.is_unified() && !is_member => self.join_hierarchy(named, false),
            _ => Ok(()),
        }
    }

    fn join_hierarchy(&mut self, hierarchy: &Hierarchy, with_controllers: bool) -> Result<()> {
        let root = open_root(hierarchy)?;
        let (created, directory) = make_directories(&root, hierarchy, &self.path)?;
        let member =
            Member { hierarchy: hierarchy.clone(), root, directory, child: OnceLock::new(), created };
        self.members.push(member);
        match self.members.last() {
            Some(member) if with_controllers => enable_controllers(member, &self.path),
            Some(member) if hierarchy.controllers.iter().any(|name| name == "cpuset") => {
                inherit_cpuset(member, &self.path)
            }
            _ => Ok(()),
        }
    }

    /// Opens the directories that exist; a hierarchy without one is left out.
    ///
    /// # Errors
    /// When a directory is there and cannot be opened.
    pub fn open(layout: &Layout, path: &CgroupPath) -> Result<Self> {
        let mut members = Vec::with_capacity(layout.hierarchies.len());
        for hierarchy in layout.hierarchies.iter().filter(|_| !path.is_root()) {
            let root = open_root(hierarchy)?;
            match open_below(root.as_fd(), path.below_root()) {
                Ok(directory) => {
                    members.push(Member {
                        hierarchy: hierarchy.clone(),
                        root,
                        directory,
                        child: OnceLock::new(),
                        created: 0,
                    });
                }
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(Error::at("open", format!("{}{path}", mount_point(hierarchy)), errno));
                }
            }
        }
        Ok(Self { path: path.clone(), members })
    }

    /// Whether it has a directory in any of the hierarchies it was looked for in.
    #[must_use]
    pub fn exists(&self) -> bool {
        !self.members.is_empty()
    }

    /// The path below the root of every hierarchy.
    #[must_use]
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The directory in the v2 tree, into which a process can be cloned.
    #[must_use]
    pub fn unified_directory(&self) -> Option<BorrowedFd<'_>> {
        self.unified().map(Member::home)
    }

    /// The directories of the v1 hierarchies with their names below the mount point, and that of the v2 tree on a
    /// hybrid host: what a container sees as `/sys/fs/cgroup` there.
    pub fn directories(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.members.iter().map(|member| (member.hierarchy.directory.as_str(), member.home()))
    }

    /// The same as paths of the host.
    pub fn paths(&self) -> impl Iterator<Item = (&str, String)> {
        self.members.iter().map(|member| (member.hierarchy.directory.as_str(), self.path_of(member)))
    }

    /// The path of the directory in the v2 tree.
    #[must_use]
    pub fn unified_path(&self) -> Option<String> {
        self.unified().map(|member| self.path_of(member))
    }

    pub(crate) fn path_of(&self, member: &Member) -> String {
        format!("{}{}", mount_point(&member.hierarchy), member.home_path(&self.path))
    }

    pub(crate) fn unified(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.hierarchy.unified)
    }

    /// The directory where a controller is looked for: in its v1 hierarchy, else in the v2 tree.
    pub(crate) fn member_for(&self, controller: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.hierarchy.has(controller)).or(self.unified())
    }

    /// Whether cloning into the v2 directory is all it takes to place a process.
    #[must_use]
    pub fn is_unified_only(&self) -> bool {
        self.members.iter().all(|member| member.hierarchy.unified)
    }

    /// The directory in which the kernel knows all the container's processes: v2 if there is one, because only
    /// there they can be killed in one step, otherwise any other.
    pub(crate) fn reference_directory(&self) -> Option<BorrowedFd<'_>> {
        self.unified().or(self.members.first()).map(|member| member.directory.as_fd())
    }

    /// Removes the cgroup from every hierarchy, with all below it. What to do about processes that are still in it is
    /// asked only if there are some.
    ///
    /// # Errors
    /// Names the first directory that could not be removed; the others are removed all the same.
    pub fn remove(&self, leftovers: &dyn Fn() -> Leftovers) -> Result<Removed> {
        self.remove_levels(leftovers, |_| 1)
    }

    /// Removes what [`Cgroup::create`] made, including the parents it had to make, unless others are in it by now;
    /// `leftovers` is asked about those in the cgroup itself, if it was made.
    ///
    /// # Errors
    /// Names the first directory that could not be removed; the others are removed all the same.
    pub fn undo(&self, leftovers: &dyn Fn() -> Leftovers) -> Result<Removed> {
        self.members.iter().for_each(Member::undo_child);
        self.remove_levels(leftovers, |member| member.created)
    }

    fn remove_levels(
        &self,
        leftovers: &dyn Fn() -> Leftovers,
        levels: impl Fn(&Member) -> usize,
    ) -> Result<Removed> {
        let decision = OnceCell::new();
        let leftovers = || *decision.get_or_init(leftovers);
        let kill = |directory: BorrowedFd<'_>| {
            let killed = self.signal_in(directory, Signal::KILL.as_raw());
            // Also after an error: what was killed cannot die before.
            self.thaw();
            killed
        };
        let when_busy = WhenBusy { leftovers: &leftovers, kill: &kill };
        let (mut removed, mut first_error) = (Removed::Everywhere, None);
        for member in &self.members {
            match remove::levels(member.root.as_fd(), self.path.below_root(), levels(member), &when_busy) {
                Ok(()) => {}
                Err(Errno::BUSY) if leftovers() == Leftovers::Leave => removed = Removed::LeftToOthers,
                Err(errno) => {
                    let directory = format!("{}{}", mount_point(&member.hierarchy), self.path);
                    let error = || Error::at("remove the cgroup", directory, errno);
                    first_error.get_or_insert_with(error);
                }
            }
        }
        first_error.map_or(Ok(removed), Err)
    }
}
