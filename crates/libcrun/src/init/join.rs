//! Joining namespaces that exist.
//!
//! Each belongs to a user namespace, in which whoever joins it has to have the right to. Some of the host's may be joined
//! together with a user namespace, from where they cannot be reached any more; so what can be joined before it is.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use sys::clone::Namespaces;

use crate::channel::{At, Failure, Step};

/// Namespaces, opened.
pub(crate) type Joins<'a> = &'a [(Namespaces, OwnedFd)];

/// The kinds that the container's process joins by itself: not that of pids, which only takes effect for children and so
/// has been joined for it, and the user namespace in its own time.
pub(crate) const BY_INIT: Namespaces = Namespaces::all().difference(Namespaces::PID.union(Namespaces::USER));

/// Joins those of these kinds for which the process has the right. Returns the others.
pub(crate) fn what_may_be(joins: Joins<'_>, kinds: Namespaces) -> Result<Namespaces, Failure> {
    let mut left = Namespaces::empty();
    for (index, (kind, namespace)) in joins.iter().enumerate() {
        if kinds.contains(*kind) {
            match sys::namespace::join(namespace.as_fd(), *kind) {
                Err(Errno::PERM) => left |= *kind,
                joined => joined.at_entry(Step::JoinNamespace, index)?,
            }
        }
    }
    Ok(left)
}

/// Joins all of these kinds.
pub(crate) fn all(joins: Joins<'_>, kinds: Namespaces) -> Result<(), Failure> {
    for (index, (kind, namespace)) in joins.iter().enumerate() {
        if kinds.contains(*kind) {
            sys::namespace::join(namespace.as_fd(), *kind).at_entry(Step::JoinNamespace, index)?;
        }
    }
    Ok(())
}
