//! The process that enters a running container to change its mounts, from the clone to its end.
//!
//! It meets processes that may be hostile. Until it is one of them in what it may do, it is protected as a process of
//! `exec` is: not to be traced (CVE-2016-9962), with an executable nobody can write (CVE-2019-5736), and from the start
//! with no descriptor of the host's but those that it brings as mounts (CVE-2024-21626). Paths of the container are
//! resolved by [`inner`] only. Like init it does not allocate.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags, openat, statx};
use rustix::io::Errno;
use sys::clone::Namespaces;

use crate::channel::{At, Failure, InitEnd, Step, ToInit};
use crate::init::inner::{self, Found, Last, Made};
use crate::init::mounts::{self, Deferred};
use crate::init::{Placement, clone_mounts, credentials};
use crate::plan::{InnerPath, MountOperation, SetUpIds};
use crate::prepare::{ByInit, PreparedMount};

/// How it gets there.
pub(super) struct Way<'a> {
    /// The container's first process.
    pub(super) container: BorrowedFd<'a>,
    /// The namespaces that it is not born in.
    pub(super) left_to_join: Namespaces,
    /// Who it is in the container's user namespace, if that is another.
    pub(super) set_up: Option<SetUpIds>,
    /// The descriptors to keep beside the channel, sorted by number.
    pub(super) belongings: &'a [BorrowedFd<'a>],
    /// What it clones of the host before it leaves that.
    pub(super) clones: Option<(&'a [MountOperation], &'a ByInit)>,
}

/// What it has, once it is there.
pub(super) struct Entered {
    /// The container's root.
    pub(super) root: OwnedFd,
    /// The mounts it has cloned. Never dropped: that would free memory, for which another thread of the runtime may hold
    /// the lock.
    pub(super) cloned: ManuallyDrop<Vec<PreparedMount>>,
}

/// Enters the namespaces of the container's first process.
pub(super) fn enter(way: &Way<'_>, channel: &InitEnd, placement: Placement) -> Result<Entered, Failure> {
    sys::exec::close_everything_but(way.belongings, channel.as_fd()).at(Step::Runtime)?;
    rustix::process::umask(Mode::empty());
    if placement != Placement::Done {
        channel.expect(ToInit::Placed).at(Step::Runtime)?;
    }
    let mut left = way.left_to_join;
    let cloned = ManuallyDrop::new(match way.clones {
        None => Vec::new(),
        Some((mounts, wanted)) => {
            // In a copy of the host's mount namespace that belongs to the container's user namespace, and still as the
            // user who called.
            let user = left & Namespaces::USER;
            if !user.is_empty() {
                sys::namespace::join(way.container, user).at(Step::JoinNamespace)?;
                left -= user;
            }
            sys::namespace::unshare(Namespaces::MOUNT).at(Step::NewNamespaces)?;
            clone_mounts(mounts, wanted)?
        }
    });
    sys::namespace::join(way.container, left).at(Step::JoinNamespace)?;
    if let Some(ids) = way.set_up {
        credentials::become_mapped(ids)?;
    }
    // Joining the mount namespace has made its root the root of this process.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, c"/", flags, Mode::empty()).at(Step::Runtime)?;
    Ok(Entered { root, cloned })
}

/// Makes the mounts and says so; takes everything back when one fails, or nobody is there any more to be told.
pub(super) fn add(
    root: BorrowedFd<'_>,
    channel: &InitEnd,
    mounts: &[MountOperation],
    ready: &[PreparedMount],
    made: &mut Made,
    deferred: &mut Vec<Deferred>,
) -> Result<(), Failure> {
    let done = mounts::add(root, channel, mounts, ready, made, deferred)
        .and_then(|()| channel.tell_ready().at(Step::Runtime));
    if done.is_err() {
        made.undo();
    }
    done
}

/// Finds all mounts before it takes the first one off; the last of the list first, because it may lie in another. `found`
/// has room for all of them.
pub(super) fn remove(
    root: BorrowedFd<'_>,
    channel: &InitEnd,
    destinations: &[InnerPath],
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    for (index, destination) in destinations.iter().enumerate() {
        found.push(find_mount(root, destination, index)?);
    }
    for (index, found) in found.iter().enumerate().rev() {
        unmount(root, found).at_entry(Step::Unmount, index)?;
    }
    channel.tell_ready().at(Step::Runtime)
}

/// The mount at a destination. A link that is itself a mount, or covered by one, is not followed.
fn find_mount(root: BorrowedFd<'_>, destination: &InnerPath, index: usize) -> Result<Found, Failure> {
    for last in [Last::NoFollow, Last::Follow] {
        let found = inner::find_or_make_entry(root, destination, last, &mut Made::none())
            .at_entry(Step::MountTarget, index)?;
        if is_root_of_mount(&found.file).at_entry(Step::MountTarget, index)? {
            return Ok(found);
        }
    }
    Err(Errno::INVAL).at_entry(Step::NotMounted, index)
}

fn is_root_of_mount(file: &OwnedFd) -> Result<bool, Errno> {
    let stat = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn unmount(root: BorrowedFd<'_>, found: &Found) -> Result<(), Errno> {
    // The root has no place: a container goes on living in it.
    let (parent, name) = found.place(root).ok_or(Errno::BUSY)?;
    match inner::detach(found.file.as_fd(), parent, name) {
        // Already off: the list names the place twice, for two mounts on each other.
        Err(Errno::INVAL) => inner::detach_from(parent, name),
        other => other,
    }
}
