//! The process that enters a running container to change its mounts, from the clone to its end.
//!
//! It meets processes that may be hostile. Until it is one of them in what it may do, it is protected as a process of
//! `exec` is: not to be traced (CVE-2016-9962), with an executable nobody can write (CVE-2019-5736), and from the start
//! with no descriptor of the host's but those that it brings as mounts (CVE-2024-21626). Paths of the container are
//! resolved by [`inner`] only. Like init it does not allocate.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags, openat, statx};
use rustix::io::Errno;
use sys::clone::Namespaces;

use crate::channel::{At, Failure, InitEnd, Step, ToInit};
use crate::init::inner::{self, Found, Last, Made};
use crate::init::mounts::{self, Deferred};
use crate::init::{Placement, credentials};
use crate::plan::{InnerPath, MountOperation};
use crate::prepare::PreparedMount;

use super::Visit;

/// Enters the namespaces of the container's first process; returns the container's root. The pid namespace is that of
/// the clone already. `belongings` are the descriptors to keep beside the channel, sorted by number.
pub(super) fn enter(
    visit: &Visit<'_>,
    belongings: &[BorrowedFd<'_>],
    channel: &InitEnd,
    placement: Placement,
) -> Result<OwnedFd, Failure> {
    sys::exec::close_everything_but(belongings, channel.as_fd()).at(Step::Runtime)?;
    rustix::process::umask(Mode::empty());
    if placement != Placement::Done {
        channel.expect(ToInit::Placed).at(Step::Runtime)?;
    }
    sys::namespace::join(visit.pidfd.as_fd(), visit.namespaces - Namespaces::PID).at(Step::JoinNamespace)?;
    if visit.namespaces.contains(Namespaces::USER) {
        credentials::become_mapped(visit.set_up)?;
    }
    // Joining the mount namespace has made its root the root of this process.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, c"/", flags, Mode::empty()).at(Step::Runtime)
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
