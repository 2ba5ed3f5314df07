//! One mount of the plan by `mount(2)`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstatvfs, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_change, mount_remount};
use sys::mount::{MountAttr, MountChange, Reach};

use super::calls::{Path, bind, kind, make_private, open_path, open_root, remount};
use crate::channel::{At, Failure, Step};
use crate::filesystem::{Number, label_root};
use crate::init::inner::{self, Found, Made, Missing};
use crate::init::mounts::{copy_up, each_inherited};
use crate::init::target::{self, By};
use crate::plan::{CgroupTree, Filesystem, MountOperation, MountSource};
use crate::prepare::classic::{ClassicMount, ClassicSource, HostTree, attribute_flags};

/// One mount on its way to its place.
pub(super) struct Place<'a> {
    pub(super) root: BorrowedFd<'a>,
    pub(super) root_path: &'a CStr,
    pub(super) mount: &'a MountOperation,
    pub(super) by: &'a ClassicMount,
    pub(super) made: &'a mut Made,
}

impl Place<'_> {
    pub(super) fn make(mut self) -> Result<(), Failure> {
        match (&self.by.source, &self.mount.source) {
            (ClassicSource::Bind { path, reach, follow }, _) => self.bind(path, *reach, *follow),
            (ClassicSource::Link(text), _) => target::make_link(self.root, self.mount, text, self.made),
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
        if let Some(label) = &filesystem.label {
            self.at(Step::MountLabel, label_root(mounted.as_fd(), label))?;
        }
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
        let forced = if tree.read_only { MountAttr::RDONLY } else { MountAttr::empty() };
        let change = MountChange { set: attributes | forced, ..MountChange::default() };
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
    each_inherited(covered.as_fd(), filesystem, |name, number, base| {
        if text.length > 0 {
            text.put(b",")?;
        }
        text.put(name.to_bytes())?;
        text.put(b"=")?;
        text.put(Number::new(number, base).as_c_str().to_bytes())
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
