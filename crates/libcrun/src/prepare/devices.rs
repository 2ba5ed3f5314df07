//! The device nodes of a container in a user namespace, where none can be made: made here, and mounted there one by
//! one.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Gid, Mode, Uid, chmodat, chownat, fstat, mknodat};
use rustix::io::Errno;
use rustix::mount::open_tree;
use sys::mount::{MountAttr, MountChange, Propagation, Reach, set_attributes};

use super::{CLONE, clone_tree};
use crate::error::{Code, Context, Error, Result};
use crate::filesystem;
use crate::plan::{DevicePlan, IdMaps, NodeKind, Plan};

/// What the mount of a node takes away: it is there to be opened.
pub(crate) const ATTRIBUTES: MountAttr = MountAttr::NOSUID.union(MountAttr::NOEXEC);

/// A mount for each device of the plan, detached; nothing for those that can be made inside after all.
pub(super) fn prepare(plan: &Plan) -> Result<Vec<Option<OwnedFd>>> {
    let fresh = match plan.namespaces.id_maps.as_ref() {
        Some(maps) => Fresh::new(maps).context(Code::Rootfs, || "make a filesystem for the devices")?,
        // Whose a node is would be a guess with maps that are not known here.
        None => None,
    };
    let devices = plan.rootfs.devices.iter().enumerate();
    devices.map(|(index, device)| node(fresh.as_ref(), index, device)).collect()
}

fn node(fresh: Option<&Fresh<'_>>, index: usize, device: &DevicePlan) -> Result<Option<OwnedFd>> {
    if device.kind == NodeKind::Fifo {
        return Ok(None);
    }
    match fresh.map(|fresh| fresh.make(index, device)) {
        Some(Ok(tree)) => Ok(Some(tree)),
        None | Some(Err(Errno::PERM | Errno::INVAL)) => hosts(device).map(Some),
        Some(Err(errno)) => {
            Err(Error::os(Code::Rootfs, format!("create the device `{}`", device.path), errno))
        }
    }
}

/// The host's node of that path.
fn hosts(device: &DevicePlan) -> Result<OwnedFd> {
    let path = PathBuf::from(device.path.to_string());
    let name = || format!("open the host's device `{}`", path.display());
    let tree = clone_tree(&path, Reach::Mount).context(Code::Rootfs, name)?;
    if !device.kind.is(&fstat(&tree).context(Code::Rootfs, name)?) {
        let message = format!("the host's `{}` is not the device that is asked for", path.display());
        return Err(Error::new(Code::Rootfs, message));
    }
    // A peer of the host's mount would take what is mounted over it inside back to the host.
    let change =
        MountChange { set: ATTRIBUTES, propagation: Some(Propagation::Private), ..MountChange::default() };
    set_attributes(tree.as_fd(), change, Reach::Mount).context(Code::Rootfs, name)?;
    Ok(tree)
}

/// A tmpfs of the host's user namespace, in which nodes count as devices, owned as the plan wants them.
struct Fresh<'p> {
    tmpfs: OwnedFd,
    maps: &'p IdMaps,
}

impl<'p> Fresh<'p> {
    /// Nothing where this process may not make a filesystem.
    fn new(maps: &'p IdMaps) -> core::result::Result<Option<Self>, Errno> {
        match filesystem::small_tmpfs(c"devices", ATTRIBUTES) {
            Ok(tmpfs) => Ok(Some(Self { tmpfs, maps })),
            Err(Errno::PERM | Errno::NOSYS) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Fails where nodes cannot be made (`EPERM`: this process is in a user namespace itself), and where single files
    /// of a detached mount cannot be cloned (`EINVAL`: Linux before 6.15).
    fn make(&self, index: usize, device: &DevicePlan) -> core::result::Result<OwnedFd, Errno> {
        let name = CString::new(index.to_string()).unwrap_or_default();
        let directory: BorrowedFd<'_> = self.tmpfs.as_fd();
        let mode = Mode::from_raw_mode(device.mode);
        mknodat(directory, &name, device.kind.file_type(), mode, device.kind.device())?;
        let uid = self.maps.outside_uid(device.uid).ok_or(Errno::INVAL)?;
        let gid = self.maps.outside_gid(device.gid).ok_or(Errno::INVAL)?;
        chownat(directory, &name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::empty())?;
        chmodat(directory, &name, mode, AtFlags::empty())?;
        open_tree(directory, &name, CLONE)
    }
}
