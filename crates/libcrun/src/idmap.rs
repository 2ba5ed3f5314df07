//! Id-mapped mounts: a user namespace for each mapping, and the mapping for a tree of mounts (`mount_setattr(2)`,
//! MOUNT_ATTR_IDMAP).
//!
//! The kernel takes a mapping in the form of a user namespace. One that is written down in the configuration gets a
//! namespace made for it, by a process that does nothing but be in it while its maps are written.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use sys::clone::Namespaces;

use crate::clone;
use crate::error::{Code, Context, Error, Result, doing};
use crate::foreground;
use crate::plan::{IdMaps, Idmap, Maps};
use crate::procfs::ProcFs;
use crate::user_namespace::map_ids;

/// The user namespaces of a container's id-mapped mounts: mounts with the same mapping share one.
#[derive(Debug, Default)]
pub(crate) struct UserNamespaces<'p>(Vec<(&'p Maps, OwnedFd)>);

impl<'p> UserNamespaces<'p> {
    /// Shows the ids in a detached tree of mounts by a mapping. `name` is what an error calls the mount.
    pub(crate) fn apply(&mut self, tree: BorrowedFd<'_>, idmap: &'p Idmap, name: &str) -> Result<()> {
        let namespace = self.get(&idmap.maps)?;
        sys::mount::set_idmap(tree, namespace, idmap.reach).map_err(|errno| {
            let kind = filesystem_name(tree);
            Error::os(Code::Mount, format!("{name}: id-map the mount{kind}"), errno)
        })
    }

    /// The user namespace with this mapping.
    pub(crate) fn get(&mut self, maps: &'p Maps) -> Result<BorrowedFd<'_>> {
        let index = match self.0.iter().position(|(known, _)| *known == maps) {
            Some(index) => index,
            None => {
                self.0.push((maps, open(maps)?));
                self.0.len() - 1
            }
        };
        Ok(self.0[index].1.as_fd())
    }
}

fn open(maps: &Maps) -> Result<OwnedFd> {
    match maps {
        Maps::Given(maps) => make(maps),
        Maps::Joined(path) => openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context(Code::Namespace, || doing("open the namespace", path)),
    }
}

/// Makes a user namespace with these maps.
fn make(maps: &IdMaps) -> Result<OwnedFd> {
    let failed = || "create a user namespace for an id-mapped mount";
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context(Code::Namespace, failed)?;
    let own_end = Cell::new(Some(writer));
    let child = clone::spawn(Namespaces::USER, None, || {
        // With a copy of the other end open, the end of the runtime would go unnoticed.
        drop(own_end.take());
        while read(&reader, &mut [0_u8; 1]) == Err(Errno::INTR) {}
        0
    })
    .context(Code::Namespace, failed)?;
    let path = format!("/proc/{}/ns/user", child.pid.as_raw_nonzero());
    let made = ProcFs::open().and_then(|proc| map_ids(maps, &proc, child.pid)).and_then(|()| {
        openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context(Code::Namespace, || doing("open", &path))
    });
    let _ = sys::signal::send(child.pidfd.as_fd(), Signal::KILL.as_raw());
    foreground::reap(&child).context(Code::Namespace, failed)?;
    made
}

/// ` of a tmpfs`, say, for a message: not every filesystem can be id-mapped.
fn filesystem_name(tree: BorrowedFd<'_>) -> String {
    const NAMES: [(u64, &str); 12] = [
        (0x0102_1994, "tmpfs"),
        (0x794c_7630, "overlay"),
        (0xef53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x6969, "nfs"),
        (0x6573_5546, "fuse"),
        (0x9fa0, "proc"),
        (0x6265_6572, "sysfs"),
        (0x6367_7270, "cgroup2"),
        (0x1cd1, "devpts"),
        (0x0102_1997, "9p"),
    ];
    let magic = rustix::fs::fstatfs(tree).map_or(0, |statfs| statfs.f_type.cast_unsigned());
    let known = NAMES.iter().find(|(number, _)| *number == magic);
    known.map_or_else(String::new, |(_, name)| format!(" of the {name} filesystem"))
}
