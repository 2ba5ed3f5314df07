//! The root filesystem by `mount(2)`: the same plan, for kernels before 5.12 and for places where a filter takes the
//! newer calls away.
//!
//! `mount(2)` takes paths; those here are `/proc/self/fd/N` of what was opened by descriptor, so that a path of the
//! container is resolved once on this rung, too. What a mount lies on is known by its directory and name
//! ([`inner::Found`]), because only a look-up from there leads to the mount.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatvfs, makedev, mkdirat, openat, statfs,
    symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_remount};
use rustix::process::chdir;
use sys::mount::{MountAttr, MountChange, Propagation, Reach};

use super::inner::{self, Found, Last, Made, Missing};
use super::mounts::{copy_up, has_link};
use super::target::{self, By};
use super::{Init, enter};
use crate::channel::{At, Failure, Step};
use crate::plan::{CgroupTree, DevicePlan, Filesystem, MountOperation, MountSource};
use crate::prepare::classic::{
    Classic, ClassicMount, ClassicSource, HostTree, attribute_flags, propagation_flags,
};

impl Init<'_> {
    /// What [`Init::build_root`] does, by the older calls.
    pub(super) fn build_root_by_mount(&mut self, classic: &Classic) -> Result<(), Failure> {
        let rootfs = &self.prepared.plan.rootfs;
        // Every path here begins with it.
        if statfs(c"/proc/self/fd").at(Step::AttachRoot)?.f_type != PROC_SUPER_MAGIC {
            return Err(Errno::NODEV).at(Step::AttachRoot);
        }
        enter::leave_host_propagation_by_mount(classic.host).at(Step::HostPropagation)?;
        let path = rootfs.c_path.as_c_str();
        mount_bind_recursive(path, path).at(Step::AttachRoot)?;
        let mut root = open_root(path).at(Step::AttachRoot)?;
        let propagation = match rootfs.propagation.0 {
            Propagation::Slave => Propagation::Slave,
            _ => Propagation::Private,
        };
        let flags = propagation_flags(propagation, Reach::Tree);
        mount_change(Path::of(root.as_fd()).as_c_str(), flags).at(Step::AttachRoot)?;
        for (mount, by) in rootfs.mounts.iter().zip(&classic.mounts) {
            if mount.is_sysfs() {
                self.enter_network()?;
            }
            let mut nothing = Made::none();
            let made = if mount.leaves_traces { &mut self.made } else { &mut nothing };
            let place = Place { root: root.as_fd(), root_path: path, mount, by, made };
            place.make()?;
            if mount.covers_root() {
                root = open_root(path).at_entry(Step::MountAttach, mount.index)?;
            }
        }
        self.make_devices(root.as_fd(), &[])?;
        self.make_working_directory(root.as_fd())?;
        self.mask_by_mount(root.as_fd(), classic)?;
        self.protect_by_mount(root.as_fd())?;
        self.finish_by_mount(root.as_fd())?;
        if rootfs.readonly {
            remount(root.as_fd(), READ_ONLY).at(Step::ReadOnlyRoot)?;
        }
        enter::enter(root.as_fd(), self.prepared.plan.pivot, 0).at(Step::Pivot)?;
        match rootfs.propagation {
            (kind @ (Propagation::Shared | Propagation::Unbindable), reach) => {
                mount_change(c"/", propagation_flags(kind, reach)).at(Step::Pivot)
            }
            _ => Ok(()),
        }
    }

    /// Covers directories with an empty one and everything else with the null device.
    fn mask_by_mount(&self, root: BorrowedFd<'_>, classic: &Classic) -> Result<(), Failure> {
        for (index, path) in self.prepared.plan.rootfs.masked.iter().enumerate() {
            let Some(target) = find(root, path).at_entry(Step::MaskedPath, index)? else { continue };
            let is_directory = kind(target.file.as_fd()) == Some(FileType::Directory);
            let mask = if is_directory { open_path(&classic.empty_directory) } else { null_device() };
            let covered = match mask {
                Ok(mask) => bind(mask.as_fd(), target.file.as_fd(), Reach::Mount)
                    .and_then(|()| make_private(reopen(&target, root)?.as_fd(), Reach::Mount)),
                // Nothing of the state directory is for the root of a user namespace to see.
                Err(Errno::ACCESS) if is_directory => cover_with_nothing(target.file.as_fd()),
                Err(errno) => Err(errno),
            };
            covered
                .and_then(|()| remount(reopen(&target, root)?.as_fd(), READ_ONLY))
                .at_entry(Step::MaskedPath, index)?;
        }
        Ok(())
    }

    /// Binds each path onto itself, read-only.
    fn protect_by_mount(&self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        for (index, path) in self.prepared.plan.rootfs.read_only_paths.iter().enumerate() {
            let Some(target) = find(root, path).at_entry(Step::ReadOnlyPath, index)? else { continue };
            bind(target.file.as_fd(), target.file.as_fd(), Reach::Tree)
                .and_then(|()| remount(reopen(&target, root)?.as_fd(), READ_ONLY))
                .at_entry(Step::ReadOnlyPath, index)?;
        }
        Ok(())
    }

    /// Makes those mounts read-only that had to wait for what is below them.
    fn finish_by_mount(&self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        for mount in self.prepared.plan.rootfs.mounts.iter().filter(|mount| !mount.deferred.is_empty()) {
            let mounted = inner::open(root, &mount.destination);
            mounted
                .and_then(|mounted| remount(mounted.as_fd(), mount.deferred))
                .at_entry(Step::MountAttributes, mount.index)?;
        }
        Ok(())
    }

    /// Makes writable again what was made read-only at the end, so that what was made there can be taken away. By path,
    /// because the `/proc` in sight may be the image's; the root is the container's by then.
    pub(super) fn unprotect_by_mount(&self) {
        let writable = MountChange { clear: MountAttr::RDONLY, ..MountChange::default() };
        let make_writable = |path: &CStr| {
            let _ = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .and_then(|mounted| remount_at(mounted.as_fd(), path, writable));
        };
        if chdir(c"/").is_err() {
            return;
        }
        make_writable(c"/");
        for mount in self.prepared.plan.rootfs.mounts.iter().filter(|mount| !mount.deferred.is_empty()) {
            make_writable(mount.destination.as_c_str());
        }
    }
}

const READ_ONLY: MountChange =
    MountChange { set: MountAttr::RDONLY, clear: MountAttr::empty(), propagation: None };

/// `/proc/self/fd/N`, without an allocation.
struct Path([u8; 32]);

impl Path {
    fn of(file: BorrowedFd<'_>) -> Self {
        const PREFIX: &[u8] = b"/proc/self/fd/";
        let mut path = Self([0; 32]);
        path.0[..PREFIX.len()].copy_from_slice(PREFIX);
        let mut rest = file.as_raw_fd().unsigned_abs();
        let mut digits = [0_u8; 10];
        let mut count = 0;
        while rest > 0 || count == 0 {
            digits[count] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            count += 1;
        }
        for (place, digit) in digits[..count].iter().rev().enumerate() {
            path.0[PREFIX.len() + place] = *digit;
        }
        path
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

fn open_root(path: &CStr) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn open_path(path: &CStr) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn kind(file: BorrowedFd<'_>) -> Option<FileType> {
    fstat(file).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
}

fn cover_with_nothing(target: BorrowedFd<'_>) -> Result<(), Errno> {
    let path = Path::of(target);
    mount(c"tmpfs", path.as_c_str(), c"tmpfs", MountFlags::empty(), c"mode=555,nr_inodes=1,nr_blocks=1")
}

/// The host's null device, which has to be the real thing (CVE-2025-31133).
fn null_device() -> Result<OwnedFd, Errno> {
    let null = open_path(c"/dev/null")?;
    let stat = fstat(&null)?;
    let is_real =
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3);
    if is_real { Ok(null) } else { Err(Errno::NODEV) }
}

/// What a path leads to; nothing when there is nothing, or nothing that could be reached.
fn find(root: BorrowedFd<'_>, path: &crate::plan::InnerPath) -> Result<Option<Found>, Errno> {
    match inner::find_or_make_entry(root, path, Last::Follow, &mut Made::none()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        other => other.map(Some),
    }
}

/// What has been mounted over something that was found.
fn reopen(found: &Found, root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    found.reopen(root).unwrap_or(Err(Errno::INVAL))
}

fn bind(source: BorrowedFd<'_>, target: BorrowedFd<'_>, reach: Reach) -> Result<(), Errno> {
    let (source, target) = (Path::of(source), Path::of(target));
    match reach {
        Reach::Mount => mount_bind(source.as_c_str(), target.as_c_str()),
        Reach::Tree => mount_bind_recursive(source.as_c_str(), target.as_c_str()),
    }
}

/// Cuts what has been bound off from the host's mount of the same.
fn make_private(mounted: BorrowedFd<'_>, reach: Reach) -> Result<(), Errno> {
    mount_change(Path::of(mounted).as_c_str(), propagation_flags(Propagation::Private, reach))
}

/// Changes the properties that are named and keeps the others: `mount(2)` would clear what it is not told.
fn remount(mounted: BorrowedFd<'_>, change: MountChange) -> Result<(), Errno> {
    remount_at(mounted, Path::of(mounted).as_c_str(), change)
}

/// The same for what is mounted at `path`.
fn remount_at(mounted: BorrowedFd<'_>, path: &CStr, change: MountChange) -> Result<(), Errno> {
    if change.set.is_empty() && change.clear.is_empty() {
        return Ok(());
    }
    // The flags of statvfs(3) are those of mount(2), as far as both have them.
    const SHARED_FLAGS: MountFlags = MountFlags::RDONLY
        .union(MountFlags::NOSUID)
        .union(MountFlags::NODEV)
        .union(MountFlags::NOEXEC)
        .union(MountFlags::NOATIME)
        .union(MountFlags::NODIRATIME);
    let now = u32::try_from(fstatvfs(mounted)?.f_flag.bits()).unwrap_or(0);
    let mut flags = MountFlags::from_bits_truncate(now) & SHARED_FLAGS;
    // ST_RELATIME and ST_NOSYMFOLLOW have numbers of their own.
    let relative = now & 0x1000 != 0;
    if now & 0x2000 != 0 {
        flags |= MountFlags::NOSYMFOLLOW;
    }
    let clear_times = change.clear.contains(MountAttr::ATIME_MODES);
    flags -= attribute_flags(change.clear);
    flags |= attribute_flags(change.set);
    let times = MountFlags::NOATIME | MountFlags::STRICTATIME;
    if !flags.intersects(times) {
        flags |= if relative || clear_times { MountFlags::RELATIME } else { MountFlags::STRICTATIME };
    }
    match mount_remount(path, MountFlags::BIND | flags, c"") {
        // Locked by a user namespace: the mount keeps what it has, and is more restricted than it was asked for.
        Err(Errno::PERM) if !change.clear.is_empty() => {
            let locked = MountFlags::from_bits_truncate(now) & SHARED_FLAGS;
            mount_remount(path, MountFlags::BIND | flags | locked, c"")
        }
        other => other,
    }
}

/// One mount on its way to its place.
struct Place<'a> {
    root: BorrowedFd<'a>,
    root_path: &'a CStr,
    mount: &'a MountOperation,
    by: &'a ClassicMount,
    made: &'a mut Made,
}

impl Place<'_> {
    fn make(mut self) -> Result<(), Failure> {
        match (&self.by.source, &self.mount.source) {
            (ClassicSource::Bind { path, reach, follow }, _) => self.bind(path, *reach, *follow),
            (ClassicSource::Link(text), _) => self.make_link(text),
            (
                ClassicSource::Filesystem { source, flags, data, fallback },
                MountSource::Filesystem(filesystem),
            ) => self.make_filesystem(filesystem, source, *flags, data, fallback.as_ref()),
            (ClassicSource::CgroupTree(trees), MountSource::CgroupTree(tree)) => {
                self.make_cgroup_tree(tree, trees)
            }
            (ClassicSource::Remount { flags, data }, _) => self.remount(*flags, data.as_deref()),
            // Both were made of the same plan.
            _ => self.at(Step::MountCreate, Err(Errno::INVAL)),
        }
    }

    fn at<T>(&self, step: Step, result: Result<T, Errno>) -> Result<T, Failure> {
        result.at_entry(step, self.mount.index)
    }

    /// The destination, made if it is missing.
    fn open_target(&mut self, missing: Missing) -> Result<Found, Failure> {
        target::open(self.root, self.mount, missing, By::Walk, self.made)
    }

    /// What has just been mounted over `target`.
    fn mounted(&self, target: &Found) -> Result<OwnedFd, Errno> {
        target.reopen(self.root).unwrap_or_else(|| open_root(self.root_path))
    }

    /// The properties and the propagation of what has just been mounted.
    fn finish(&self, target: &Found) -> Result<OwnedFd, Failure> {
        let mounted = self.at(Step::MountAttributes, self.mounted(target))?;
        self.at(Step::MountAttributes, remount(mounted.as_fd(), self.by.change))?;
        if let Some(propagation) = self.by.propagation {
            let changed = mount_change(Path::of(mounted.as_fd()).as_c_str(), propagation);
            self.at(Step::MountAttributes, changed)?;
        }
        Ok(mounted)
    }

    fn bind(&mut self, path: &CStr, reach: Reach, follow: bool) -> Result<(), Failure> {
        let link = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let source = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC | link, Mode::empty());
        let source = self.at(Step::MountSource, source)?;
        let is_directory = kind(source.as_fd()) == Some(FileType::Directory);
        let target = self.open_target(if is_directory { Missing::Directory } else { Missing::File })?;
        self.at(Step::MountAttach, bind(source.as_fd(), target.file.as_fd(), reach))?;
        // A bind of a shared mount is its peer, until it is told otherwise.
        self.finish(&target).map(drop)
    }

    fn make_link(&mut self, text: &CStr) -> Result<(), Failure> {
        let linked = inner::in_parent(self.root, &self.mount.destination, self.made, |parent, name, made| {
            match symlinkat(text, parent, name) {
                Err(Errno::EXIST) => Ok(has_link(parent, name, text)),
                Ok(()) => made.note(parent, name).map(|()| true),
                Err(errno) => Err(errno),
            }
        });
        match self.at(Step::MountTarget, linked)? {
            true => Ok(()),
            false => self.at(Step::MountLinkDiffers, Err(Errno::EXIST)),
        }
    }

    fn make_filesystem(
        &mut self,
        filesystem: &Filesystem,
        source: &CStr,
        flags: MountFlags,
        data: &CStr,
        fallback: Option<&HostTree>,
    ) -> Result<(), Failure> {
        let covered = match inner::open(self.root, &self.mount.destination) {
            Ok(covered) if filesystem.inherits() => Some(covered),
            _ => None,
        };
        let target = self.open_target(Missing::Directory)?;
        let mut space = [0_u8; DATA];
        let data = self.at(Step::MountCreate, complete(data, filesystem, covered.as_ref(), &mut space))?;
        let path = Path::of(target.file.as_fd());
        let made = mount(source, path.as_c_str(), filesystem.kind.as_c_str(), flags, data);
        match (made, fallback) {
            (Ok(()), _) => {}
            (Err(Errno::BUSY), _) if filesystem.kind.as_c_str() == c"cgroup2" => {
                self.mount_over_something_else(&target, source, flags, data)?;
            }
            (Err(_), Some(tree)) => return self.show_host(&target, tree, filesystem.attributes),
            (Err(errno), None) => return self.at(Step::MountCreate, Err(errno)),
        }
        let mounted = self.finish(&target)?;
        if let (true, Some(covered)) = (filesystem.copy_up, covered) {
            self.at(Step::MountCopyUp, copy_up::copy(covered.as_fd(), mounted.as_fd()))?;
        }
        Ok(())
    }

    /// The kernel does not mount the cgroup tree over itself, but over something else that covers it.
    fn mount_over_something_else(
        &self,
        target: &Found,
        source: &CStr,
        flags: MountFlags,
        data: &CStr,
    ) -> Result<(), Failure> {
        let path = Path::of(target.file.as_fd());
        let between = mount(c"cgroup", path.as_c_str(), c"tmpfs", MountFlags::RDONLY, c"mode=755");
        self.at(Step::MountCreate, between)?;
        let between = self.at(Step::MountCreate, self.mounted(target))?;
        let path = Path::of(between.as_fd());
        self.at(Step::MountCreate, mount(source, path.as_c_str(), c"cgroup2", flags, data))
    }

    /// A directory of the host's instead of a filesystem of the container's.
    fn show_host(&self, target: &Found, tree: &HostTree, attributes: MountAttr) -> Result<(), Failure> {
        let source = self.at(Step::MountSource, open_path(&tree.path))?;
        self.at(Step::MountAttach, bind(source.as_fd(), target.file.as_fd(), tree.reach))?;
        let mounted = self.finish(target)?;
        self.at(Step::MountAttributes, make_private(mounted.as_fd(), tree.reach))?;
        let change = MountChange { set: attributes, ..MountChange::default() };
        self.at(Step::MountAttributes, remount(mounted.as_fd(), change))?;
        // What is mounted further down is the host's: its cgroups must not be written to (CVE-2023-25809).
        let change = MountChange { set: attributes | MountAttr::RDONLY, ..MountChange::default() };
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        for point in &tree.below {
            let found = openat(&mounted, point, flags, Mode::empty());
            match found.and_then(|found| remount(found.as_fd(), change)) {
                // Unmounted meanwhile, or hidden below another one.
                Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
                Err(errno) => return self.at(Step::MountAttributes, Err(errno)),
            }
        }
        Ok(())
    }

    /// What a container sees as `/sys/fs/cgroup` on a host with v1 hierarchies: a tmpfs with its own cgroup of each.
    fn make_cgroup_tree(
        &mut self,
        tree: &CgroupTree,
        trees: &[(std::ffi::CString, std::ffi::CString)],
    ) -> Result<(), Failure> {
        let target = self.open_target(Missing::Directory)?;
        let flags = attribute_flags(tree.attributes - MountAttr::RDONLY);
        let path = Path::of(target.file.as_fd());
        self.at(Step::MountCreate, mount(c"cgroup", path.as_c_str(), c"tmpfs", flags, c"mode=755"))?;
        let made = self.at(Step::MountCreate, self.mounted(&target))?;
        for (name, path) in trees {
            let shown = mkdirat(&made, name.as_c_str(), Mode::from_raw_mode(0o755))
                .and_then(|()| show_hierarchy(made.as_fd(), name, path, tree.attributes));
            self.at(Step::MountAttach, shown)?;
        }
        for (link, directory) in &tree.links {
            self.at(Step::MountTarget, symlinkat(directory.as_c_str(), &made, link.as_c_str()))?;
        }
        let read_only = tree.attributes & MountAttr::RDONLY;
        let change = MountChange { set: read_only, ..MountChange::default() };
        self.at(Step::MountAttributes, remount(made.as_fd(), change))
    }

    fn remount(&self, flags: MountFlags, data: Option<&CStr>) -> Result<(), Failure> {
        let target = self.at(Step::MountTarget, inner::open(self.root, &self.mount.destination))?;
        if let Some(data) = data {
            let now =
                u32::try_from(self.at(Step::MountOption, fstatvfs(&target))?.f_flag.bits()).unwrap_or(0);
            let kept = MountFlags::from_bits_truncate(now)
                & (MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME);
            let path = Path::of(target.as_fd());
            self.at(Step::MountOption, mount_remount(path.as_c_str(), flags | kept, data))?;
        }
        self.at(Step::MountAttributes, remount(target.as_fd(), self.by.change))
    }
}

fn show_hierarchy(
    made: BorrowedFd<'_>,
    name: &CStr,
    path: &CStr,
    attributes: MountAttr,
) -> Result<(), Errno> {
    let open = || openat(made, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let source = open_path(path)?;
    bind(source.as_fd(), open()?.as_fd(), Reach::Mount)?;
    let mounted = open()?;
    make_private(mounted.as_fd(), Reach::Mount)?;
    remount(mounted.as_fd(), MountChange { set: attributes, ..MountChange::default() })
}

/// The longest data string the kernel takes (a page).
const DATA: usize = 4096;

/// The data of a filesystem with what a tmpfs takes from the directory it covers.
fn complete<'d>(
    data: &'d CStr,
    filesystem: &Filesystem,
    covered: Option<&OwnedFd>,
    space: &'d mut [u8; DATA],
) -> Result<&'d CStr, Errno> {
    let Some(covered) = covered else { return Ok(data) };
    let mut text = Text { space, length: 0 };
    text.put(data.to_bytes())?;
    super::mounts::each_inherited(covered.as_fd(), filesystem, |name, number, base| {
        if text.length > 0 {
            text.put(b",")?;
        }
        text.put(name.to_bytes())?;
        text.put(b"=")?;
        text.put(crate::filesystem::Number::new(number, base).as_c_str().to_bytes())
    })?;
    CStr::from_bytes_until_nul(text.space).map_err(|_| Errno::NAMETOOLONG)
}

/// Text put together in a buffer that ends in a NUL.
struct Text<'d> {
    space: &'d mut [u8; DATA],
    length: usize,
}

impl Text<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let end = self.length + bytes.len();
        let place = self.space.get_mut(self.length..end).filter(|_| end < DATA).ok_or(Errno::NAMETOOLONG)?;
        place.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }
}

/// Shows the node of a device that lies below the root of the host.
pub(super) fn bind_host_node(
    host: BorrowedFd<'_>,
    device: &DevicePlan,
    place: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let node = openat(host, device.path.as_c_str(), flags, Mode::empty())?;
    if device.kind.is(&fstat(&node)?) { bind(node.as_fd(), place, Reach::Mount) } else { Err(Errno::NODEV) }
}
