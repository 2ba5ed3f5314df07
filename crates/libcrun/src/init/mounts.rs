//! The mounts of the plan, one after the other, each by descriptor.

pub(super) mod copy_up;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, symlinkat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mount::{MoveMountFlags, fsconfig_create, fsconfig_set_string, move_mount};
use sys::mount::{MountAttr, MountChange, Reach, set_attributes};

use super::Init;
use super::inner::{self, Found, Last, Made, Missing};
use super::target::{self, By};
use crate::channel::{At, Failure, InitEnd, Step};
use crate::filesystem::{self, Number, Refusal};
use crate::plan::{CgroupTree, Filesystem, MountOperation, MountSource};
use crate::prepare::{PreparedMount, RootTree, Trees};

impl Init<'_> {
    /// Makes every mount of the plan below `root`; returns the root that has taken its place, if one was mounted over
    /// it.
    pub(super) fn make_mounts(
        &mut self,
        root: BorrowedFd<'_>,
        trees: &Trees,
    ) -> Result<Option<OwnedFd>, Failure> {
        let mut over_root: Option<OwnedFd> = None;
        for (index, (mount, ready)) in self.prepared.plan.rootfs.mounts.iter().zip(&trees.mounts).enumerate()
        {
            // A sysfs shows the devices of the network namespace it is made in.
            if mount.is_sysfs() {
                self.enter_network()?;
            }
            if mount.is_cgroup() {
                self.await_cgroup()?;
            }
            let mut nothing = Made::none();
            let made = if mount.leaves_traces { &mut self.made } else { &mut nothing };
            let below = over_root.as_ref().map_or(root, AsFd::as_fd);
            let clone = own_clone(&self.own_clones, index);
            // What the runtime can mount comes before what would be shown instead.
            let asks = self.sees_no_host && mount.shows_system();
            let first = if asks { &WITHOUT_FALLBACK } else { ready };
            let new = match (Place { root: below, mount, made }).make(first, clone) {
                Err(failure) if asks && failure.errno == Errno::PERM => {
                    self.mount_by_runtime(below, mount, ready)?
                }
                other => other?,
            };
            if mount.covers_root() {
                over_root = topmost(ready, own_clone(&self.own_clones, index), new.as_ref())
                    .at_entry(Step::MountAttach, mount.index)?;
            }
            defer(mount, new, &mut self.deferred);
        }
        Ok(over_root)
    }

    /// Makes a filesystem of the namespaces this process is in, has the runtime mount it, and attaches it: the kernel lets
    /// a user namespace mount proc and sysfs only where one is in sight already, and in a mount namespace of the
    /// container's tree alone none is. Where the runtime may not either, `ready` is what there is.
    fn mount_by_runtime(
        &mut self,
        root: BorrowedFd<'_>,
        mount: &MountOperation,
        ready: &PreparedMount,
    ) -> Result<Option<OwnedFd>, Failure> {
        // What else is under way from there has to be heard first.
        self.await_cgroup()?;
        self.hear_attended()?;
        let mut nothing = Made::none();
        let made = if mount.leaves_traces { &mut self.made } else { &mut nothing };
        Place { root, mount, made }.make_by_runtime_if_it_may(self.channel, ready)
    }

    /// Makes writable again what [`finish`] and the root's own setting have made read-only, so that what was made there
    /// can be taken away.
    pub(super) fn unprotect_trees(&self, trees: &Trees) {
        let writable = MountChange { clear: MountAttr::RDONLY, ..MountChange::default() };
        let make_writable = |mount: BorrowedFd<'_>| {
            let _ = set_attributes(mount, writable, Reach::Mount);
        };
        match &trees.root {
            RootTree::Clone(tree) => make_writable(tree.as_fd()),
            RootTree::Namespace(_) => {
                let _ = openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                    .map(|root| make_writable(root.as_fd()));
            }
        }
        for (index, (mount, ready)) in self.prepared.plan.rootfs.mounts.iter().zip(&trees.mounts).enumerate()
        {
            if let PreparedMount::Tree { tree, .. } = ready
                && (!mount.deferred.is_empty() || mount.covers_root())
            {
                make_writable(own_clone(&self.own_clones, index).unwrap_or(tree.as_fd()));
            }
        }
    }
}

/// Makes mounts in a container that runs, whose root is not covered by any of them.
pub(crate) fn add(
    root: BorrowedFd<'_>,
    channel: &InitEnd,
    mounts: &[MountOperation],
    ready: &[PreparedMount],
    made: &mut Made,
    deferred: &mut Vec<Deferred>,
) -> Result<(), Failure> {
    for (mount, ready) in mounts.iter().zip(ready) {
        // As in a mount namespace of the container's tree alone: there is what is mounted inside, and nothing else.
        let asks = mount.shows_system();
        let first = if asks { &WITHOUT_FALLBACK } else { ready };
        let new = match (Place { root, mount, made }).make(first, None) {
            Err(failure) if asks && failure.errno == Errno::PERM => {
                Place { root, mount, made }.make_by_runtime_if_it_may(channel, ready)?
            }
            other => other?,
        };
        defer(mount, new, deferred);
    }
    finish(mounts, ready, &[], deferred)
}

/// A new filesystem that is changed once everything below it is in place.
#[derive(Debug)]
pub(crate) struct Deferred {
    index: usize,
    filesystem: OwnedFd,
    change: MountChange,
}

fn defer(mount: &MountOperation, new: Option<OwnedFd>, deferred: &mut Vec<Deferred>) {
    if let Some(filesystem) = new
        && !mount.deferred.is_empty()
    {
        deferred.push(Deferred { index: mount.index, filesystem, change: mount.deferred });
    }
}

const WITHOUT_FALLBACK: PreparedMount = PreparedMount::Inside { fallback: None, idmap: None };

/// Makes those mounts read-only that had to wait for what is below them.
pub(super) fn finish(
    mounts: &[MountOperation],
    ready: &[PreparedMount],
    own_clones: &[(usize, OwnedFd)],
    deferred: &[Deferred],
) -> Result<(), Failure> {
    for (index, (mount, ready)) in mounts.iter().zip(ready).enumerate() {
        if let PreparedMount::Tree { tree, .. } = ready
            && !mount.deferred.is_empty()
        {
            let tree = own_clone(own_clones, index).unwrap_or(tree.as_fd());
            let done = set_attributes(tree, mount.deferred, Reach::Mount);
            done.at_entry(Step::MountAttributes, mount.index)?;
        }
    }
    for Deferred { index, filesystem, change } in deferred {
        let done = set_attributes(filesystem.as_fd(), *change, Reach::Mount);
        done.at_entry(Step::MountAttributes, *index)?;
    }
    Ok(())
}

/// The clone that this process has made for entry `index` of the plan.
fn own_clone(clones: &[(usize, OwnedFd)], index: usize) -> Option<BorrowedFd<'_>> {
    clones.iter().find(|(of, _)| *of == index).map(|(_, tree)| tree.as_fd())
}

/// A descriptor of what was mounted over the root.
fn topmost(
    ready: &PreparedMount,
    own_clone: Option<BorrowedFd<'_>>,
    new: Option<&OwnedFd>,
) -> Result<Option<OwnedFd>, Errno> {
    let mounted = match (ready, own_clone, new) {
        (_, Some(tree), _) => tree,
        (PreparedMount::Tree { tree, .. }, ..) => tree.as_fd(),
        (_, _, Some(new)) => new.as_fd(),
        _ => return Ok(None),
    };
    fcntl_dupfd_cloexec(mounted, 3).map(Some)
}

/// One mount on its way to its place.
struct Place<'a> {
    root: BorrowedFd<'a>,
    mount: &'a MountOperation,
    made: &'a mut Made,
}

impl Place<'_> {
    /// Makes the mount, of this process' own clone if there is one; returns it when it is a new filesystem.
    fn make(
        mut self,
        ready: &PreparedMount,
        own_clone: Option<BorrowedFd<'_>>,
    ) -> Result<Option<OwnedFd>, Failure> {
        match (&self.mount.source, ready) {
            (MountSource::Filesystem(filesystem), PreparedMount::Inside { fallback, idmap }) => {
                self.make_filesystem(filesystem, fallback.as_ref(), idmap.as_ref())
            }
            (MountSource::Remount { .. }, _) => self.remount().map(|()| None),
            (MountSource::CgroupTree(tree), PreparedMount::CgroupTrees(hierarchies)) => {
                self.make_cgroup_tree(tree, hierarchies).map(|()| None)
            }
            (_, PreparedMount::Link(text)) => {
                target::make_link(self.root, self.mount, text, self.made).map(|()| None)
            }
            (_, PreparedMount::Tree { tree, is_directory }) => {
                let missing = if *is_directory { Missing::Directory } else { Missing::File };
                let target = self.open_target(missing)?;
                let tree = own_clone.unwrap_or(tree.as_fd());
                self.attach(tree, &target).map(|()| None)
            }
            // The plan and its preparation are made side by side.
            _ => self.at(Step::MountCreate, Err(Errno::INVAL)),
        }
    }

    /// The same for a filesystem that only the runtime may mount; where it may not either, `ready` is what there is.
    fn make_by_runtime_if_it_may(
        self,
        channel: &InitEnd,
        ready: &PreparedMount,
    ) -> Result<Option<OwnedFd>, Failure> {
        let Self { root, mount, made } = self;
        match (Place { root, mount, made: &mut *made }).make_by_runtime(channel) {
            Err(failure) if failure.errno == Errno::PERM => Place { root, mount, made }.make(ready, None),
            made => made.map(Some),
        }
    }

    /// Has the runtime mount it.
    fn make_by_runtime(mut self, channel: &InitEnd) -> Result<OwnedFd, Failure> {
        let MountSource::Filesystem(filesystem) = &self.mount.source else {
            return self.at(Step::MountCreate, Err(Errno::INVAL));
        };
        let context = self.configure(filesystem)?;
        self.at(Step::MountCreate, fsconfig_create(&context))?;
        let made = channel.ask_for_mount(context.as_fd(), filesystem.attributes);
        let made = self.at(Step::MountCreate, made)?;
        self.change(made.as_fd(), &filesystem.changes)?;
        let target = self.open_target(Missing::Directory)?;
        self.attach(made.as_fd(), &target)?;
        Ok(made)
    }

    fn at<T>(&self, step: Step, result: Result<T, Errno>) -> Result<T, Failure> {
        result.at_entry(step, self.mount.index)
    }

    /// Where a mount has to be taken off again, its place has to be known.
    fn by(&self) -> By {
        if self.made.keeps_mounts() { By::Walk } else { By::Kernel }
    }

    /// The destination, made if it is missing.
    fn open_target(&mut self, missing: Missing) -> Result<Found, Failure> {
        target::open(self.root, self.mount, missing, self.by(), self.made)
    }

    /// Attaches a detached mount at the destination.
    fn attach(&mut self, mount: BorrowedFd<'_>, target: &Found) -> Result<(), Failure> {
        let place = target.place(self.root);
        let attached = self.made.mount(mount, place, || attach(mount, target.file.as_fd()));
        attached.at_entry(Step::MountAttach, self.mount.index)
    }

    fn change(&self, mount: BorrowedFd<'_>, changes: &[(MountChange, Reach)]) -> Result<(), Failure> {
        changes.iter().try_for_each(|(change, reach)| {
            self.at(Step::MountAttributes, set_attributes(mount, *change, *reach))
        })
    }

    /// A new instance of a filesystem, or what is shown instead of it.
    fn make_filesystem(
        &mut self,
        filesystem: &Filesystem,
        fallback: Option<&OwnedFd>,
        idmap: Option<&OwnedFd>,
    ) -> Result<Option<OwnedFd>, Failure> {
        let covered = self.open_covered(filesystem)?;
        let made_target;
        let target = match &covered {
            Some(covered) => covered,
            None => {
                made_target = self.open_target(Missing::Directory)?;
                &made_target
            }
        };
        let made = match (self.instance(filesystem, covered.as_ref()), fallback) {
            (Ok(made), _) => made,
            (Err(_), Some(tree)) => return self.attach(tree.as_fd(), target).map(|()| None),
            (Err(failure), None) => return Err(failure),
        };
        self.label(filesystem, made.as_fd())?;
        self.change(made.as_fd(), &filesystem.changes)?;
        if let (Some(namespace), Some(idmap)) = (idmap, &filesystem.idmap) {
            let mapped = sys::mount::set_idmap(made.as_fd(), namespace.as_fd(), idmap.reach);
            self.at(Step::MountIdmap, mapped)?;
        }
        if let (true, Some(covered)) = (filesystem.copy_up, &covered) {
            self.at(Step::MountCopyUp, copy_up::copy(covered.file.as_fd(), made.as_fd()))?;
        }
        self.attach_filesystem(filesystem, made.as_fd(), target)?;
        Ok(Some(made))
    }

    fn label(&self, filesystem: &Filesystem, mount: BorrowedFd<'_>) -> Result<(), Failure> {
        let Some(label) = &filesystem.label else { return Ok(()) };
        self.at(Step::MountLabel, filesystem::label_root(mount, label))
    }

    /// The directory that a tmpfs covers and takes properties from; nothing where it is yet to be made.
    fn open_covered(&mut self, filesystem: &Filesystem) -> Result<Option<Found>, Failure> {
        if !filesystem.inherits() {
            return Ok(None);
        }
        match target::look(self.root, &self.mount.destination, Last::Follow, self.by(), self.made) {
            Err(Errno::NOENT) => Ok(None),
            found => self.at(Step::MountTarget, found).map(Some),
        }
    }

    /// The same as [`Self::attach`] for a new filesystem: the kernel does not mount the cgroup tree over itself, but
    /// over something else that covers it. Not where mounts are taken off one by one: that would stay.
    fn attach_filesystem(
        &mut self,
        filesystem: &Filesystem,
        mount: BorrowedFd<'_>,
        target: &Found,
    ) -> Result<(), Failure> {
        let covers = filesystem.kind.as_c_str() == c"cgroup2" && !self.made.keeps_mounts();
        match self.attach(mount, target) {
            Err(Failure { errno: Errno::BUSY, .. }) if covers => {
                let over_something =
                    filesystem::small_tmpfs(c"cgroup", MountAttr::RDONLY).and_then(|between| {
                        attach(between.as_fd(), target.file.as_fd())?;
                        attach(mount, between.as_fd())
                    });
                self.at(Step::MountAttach, over_something)
            }
            other => other,
        }
    }

    /// The filesystem, detached.
    fn instance(&self, filesystem: &Filesystem, covered: Option<&Found>) -> Result<OwnedFd, Failure> {
        let context = self.configure(filesystem)?;
        if let Some(covered) = covered {
            self.at(Step::MountCreate, inherit(context.as_fd(), filesystem, covered.file.as_fd()))?;
        }
        self.at(Step::MountCreate, filesystem::create(context.as_fd(), filesystem.attributes))
    }

    fn configure(&self, filesystem: &Filesystem) -> Result<OwnedFd, Failure> {
        let index = self.mount.index;
        filesystem::configure(filesystem).map_err(|refusal| match refusal {
            Refusal { parameter: Some(parameter), errno } => {
                Failure::new(Step::MountOption, index, errno).concerning(parameter)
            }
            Refusal { parameter: None, errno } => Failure::new(Step::MountCreate, index, errno),
        })
    }

    fn remount(&self) -> Result<(), Failure> {
        let MountSource::Remount { parameters, changes } = &self.mount.source else { return Ok(()) };
        let target = self.at(Step::MountTarget, inner::open(self.root, &self.mount.destination))?;
        if !parameters.is_empty() {
            filesystem::reconfigure(target.as_fd(), parameters).map_err(|refusal| {
                Failure::new(Step::MountOption, self.mount.index, refusal.errno)
                    .concerning(refusal.parameter.unwrap_or(usize::MAX))
            })?;
        }
        self.change(target.as_fd(), changes)
    }

    /// What a container sees as `/sys/fs/cgroup` on a host with v1 hierarchies: a tmpfs with its own cgroup of each.
    fn make_cgroup_tree(
        &mut self,
        tree: &CgroupTree,
        hierarchies: &[(CString, OwnedFd)],
    ) -> Result<(), Failure> {
        let target = self.open_target(Missing::Directory)?;
        let made = filesystem::small_tmpfs(c"cgroup", tree.attributes - MountAttr::RDONLY);
        let made = self.at(Step::MountCreate, made)?;
        self.attach(made.as_fd(), &target)?;
        for (name, hierarchy) in hierarchies {
            let place = inner::make_directory(made.as_fd(), name, &mut Made::none());
            let place = self.at(Step::MountTarget, place)?;
            self.at(Step::MountAttach, attach(hierarchy.as_fd(), place.as_fd()))?;
        }
        for (link, directory) in &tree.links {
            self.at(Step::MountTarget, symlinkat(directory.as_c_str(), &made, link.as_c_str()))?;
        }
        if tree.attributes.contains(MountAttr::RDONLY) {
            let change = MountChange { set: MountAttr::RDONLY, ..MountChange::default() };
            self.at(Step::MountAttributes, set_attributes(made.as_fd(), change, Reach::Mount))?;
        }
        Ok(())
    }
}

/// Says what a tmpfs takes from the directory it is about to cover: its permissions and its owner, as parameter, number
/// and the base it is written in.
pub(super) fn each_inherited(
    directory: BorrowedFd<'_>,
    filesystem: &Filesystem,
    mut say: impl FnMut(&CStr, u32, u32) -> Result<(), Errno>,
) -> Result<(), Errno> {
    /// What ids look like that are not mapped in this user namespace; no file can be given to them.
    const UNMAPPED: u32 = 65_534;
    let stat = fstat(directory)?;
    if filesystem.inherit.mode {
        say(c"mode", stat.st_mode & 0o7777, 8)?;
    }
    if filesystem.inherit.owner {
        for (name, id) in [(c"uid", stat.st_uid), (c"gid", stat.st_gid)] {
            if id != 0 && id != UNMAPPED {
                say(name, id, 10)?;
            }
        }
    }
    Ok(())
}

fn inherit(context: BorrowedFd<'_>, filesystem: &Filesystem, directory: BorrowedFd<'_>) -> Result<(), Errno> {
    each_inherited(directory, filesystem, |name, number, base| {
        fsconfig_set_string(context, name, Number::new(number, base).as_c_str())
    })
}

/// Attaches a detached mount at an open place.
pub(super) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", place, c"", flags).map_err(|errno| match errno {
        Errno::INVAL if differ_in_kind(mount, place) => Errno::NOTDIR,
        errno => errno,
    })
}

/// Whether one is a directory and the other is not: mount(2) says that, move_mount(2) only that something is wrong.
fn differ_in_kind(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> bool {
    let is_directory = |file| fstat(file).map(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
    matches!((is_directory(mount), is_directory(place)), (Ok(mount), Ok(place)) if mount != place)
}

/// Attaches a detached mount at the root of the calling process' mount namespace, over what is there.
pub(super) fn attach_over_root(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount(mount, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
