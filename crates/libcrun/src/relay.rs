//! The cases in which a single clone does not do, because the runtime itself could not come back from a namespace that it
//! has to be in for the clone.
//!
//! One is a new pid namespace for a container that joins a user namespace: it has to belong to the user namespace, or the
//! container could not mount its own `/proc`, so it can only be made by a process that is in there already. The other is
//! any pid namespace that is joined by a runtime without power over the host: in a user namespace, where the host's, its
//! own, is not to be joined again, or outside, where only the container's user namespace gives it the right to. A process
//! in between goes there, clones the container's process as its sibling, says its pid and ends.
//!
//! It says so on a channel of its own, because the container's process does not wait for it and may be done before.

use std::cell::Cell;
use std::os::fd::BorrowedFd;

use cgroups::Cgroup;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, geteuid, kill_process, pidfd_open, waitpid};
use sys::clone::{Child, Namespaces};

use crate::channel::{self, At, Failure, FromInit, InitEnd, RuntimeEnd, Step};
use crate::clone::{Cloned, ForChildren, clone_into, spawn_sibling};
use crate::error::{Code, Context, Error, Result};
use crate::foreground;
use crate::init::join::{self, Joins};
use crate::init::{Placement, credentials};
use crate::plan::SetUpIds;
use crate::spawn::{Observed, Spawned};

/// Where the process in between goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Relay<'a> {
    /// Into the user namespace, to make a pid namespace of that.
    NewPids(Users<'a>),
    /// Into the pid namespace that this is or is in; into a user namespace before, for a runtime that has no rights outside
    /// of it.
    JoinedPids(BorrowedFd<'a>, Option<Users<'a>>),
}

/// A user namespace to join.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Users<'a> {
    pub(crate) namespace: BorrowedFd<'a>,
    pub(crate) set_up: SetUpIds,
    /// What init joins beside it, some of which may have to be joined before, and where to note what has been.
    pub(crate) others: Option<(Joins<'a>, &'a Cell<Namespaces>)>,
}

impl Users<'_> {
    fn join(self) -> core::result::Result<(), Failure> {
        if let Some((joins, joined)) = self.others {
            joined.set(join::BY_INIT - join::what_may_be(joins, join::BY_INIT)?);
        }
        sys::namespace::join(self.namespace, Namespaces::USER).at(Step::JoinNamespace)?;
        credentials::become_mapped(self.set_up)
    }
}

/// How a process comes into a running container: it is born in its pid namespace, by way of a relay where the runtime could
/// not go there itself, and joins the others.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    borrowed: ForChildren,
    relay: Option<Relay<'a>>,
    /// The namespaces that it is not born in.
    pub(crate) left_to_join: Namespaces,
}

impl<'a> Entry<'a> {
    /// Goes as far as the runtime can on the way into the `namespaces` of the process `container`; `set_up` is who one is in
    /// its user namespace.
    pub(crate) fn new(container: BorrowedFd<'a>, namespaces: Namespaces, set_up: SetUpIds) -> Result<Self> {
        let left_to_join = namespaces - Namespaces::PID;
        let mut entry = Self { borrowed: ForChildren::default(), relay: None, left_to_join };
        if namespaces.contains(Namespaces::PID | Namespaces::USER) && !geteuid().is_root() {
            // Only from within the user namespace an ordinary user may join that of pids.
            let users = Users { namespace: container, set_up, others: None };
            entry.relay = Some(Relay::JoinedPids(container, Some(users)));
            entry.left_to_join -= Namespaces::USER;
        } else if namespaces.contains(Namespaces::PID) {
            match entry.borrowed.join_pid(container) {
                Err(error) if error.errno() == Some(Errno::PERM) => {
                    entry.relay = Some(Relay::JoinedPids(container, None));
                }
                joined => joined?,
            }
        }
        Ok(entry)
    }

    /// Makes the process, whose life is `live`. `describe` makes an error of what a relay could not do.
    pub(crate) fn spawn(
        self,
        observed: Observed,
        live: impl Fn(&InitEnd, Placement) -> i32,
        (cgroup, placement): (Option<&Cgroup>, Placement),
        describe: impl Fn(Failure) -> Error,
    ) -> Result<Spawned> {
        let none = Namespaces::empty();
        Spawned::new(observed, self.borrowed, live, |live| match self.relay {
            None => clone_into(none, cgroup, placement, live),
            Some(relay) => clone_by_relay(relay, none, cgroup, placement, live, describe),
        })
    }
}

/// Clones the container's process, whose life is `child`, into new `namespaces` by way of a relay. `describe` makes an error of what that
/// could not do.
pub(crate) fn clone_by_relay(
    relay: Relay<'_>,
    namespaces: Namespaces,
    cgroup: Option<&Cgroup>,
    placement: Placement,
    child: impl Fn(Placement) -> i32,
    describe: impl Fn(Failure) -> Error,
) -> Result<Cloned> {
    let (runtime_end, relay_end) = channel::pair().context(Code::System, || "create the socket pair")?;
    let relay_end = Cell::new(Some(relay_end));
    let process = clone_into(Namespaces::empty(), cgroup, placement, |placement| {
        run(&relay_end, relay, namespaces, || child(placement))
    })?;
    drop(relay_end.take());
    let child = take_over(&runtime_end, &process.child, describe)?;
    Ok(Cloned { child, ..process })
}

/// The relay's life; returns its exit status.
fn run(
    channel: &Cell<Option<InitEnd>>,
    relay: Relay<'_>,
    namespaces: Namespaces,
    child: impl FnOnce() -> i32,
) -> i32 {
    let born = make_child(relay, namespaces, || {
        // With a copy of it open here, the end of the relay would go unnoticed.
        drop(channel.take());
        child()
    });
    let said = channel.take().map(|channel| match born {
        Ok(pid) => channel.tell_born(pid),
        Err(failure) => channel.tell_failed(failure),
    });
    i32::from(!matches!(said, Some(Ok(()))))
}

fn make_child(
    relay: Relay<'_>,
    namespaces: Namespaces,
    child: impl FnOnce() -> i32,
) -> core::result::Result<Pid, Failure> {
    match relay {
        Relay::NewPids(users) => {
            users.join()?;
            sys::namespace::unshare(Namespaces::PID).at(Step::NewNamespaces)?;
        }
        Relay::JoinedPids(pids, users) => {
            users.map_or(Ok(()), Users::join)?;
            sys::namespace::join(pids, Namespaces::PID).at(Step::JoinNamespace)?;
        }
    }
    spawn_sibling(namespaces, child).at(Step::NewNamespaces)
}

/// Waits for the relay's message; returns the container's process.
fn take_over(channel: &RuntimeEnd, relay: &Child, describe: impl Fn(Failure) -> Error) -> Result<Child> {
    let heard = channel.hear().context(Code::System, || "hear from the process that joins");
    let silent = matches!(heard, Ok(None)).then(|| foreground::died_early(relay).error);
    let _ = foreground::reap(relay);
    let pid = match heard? {
        Some(FromInit::Born(pid)) => pid,
        Some(FromInit::Failed(failure)) => return Err(describe(failure)),
        _ => return Err(silent.unwrap_or_else(|| foreground::died_early(relay).error)),
    };
    // It is a child of this process, so its pid stays its own until it is waited for.
    pidfd_open(pid, PidfdFlags::empty()).map(|pidfd| Child { pid, pidfd }).map_err(|errno| {
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
        Error::os(Code::System, "open the container's process", errno)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ToInit;

    /// A process that does nothing, in the place of the relay or of the container's process.
    fn nobody() -> Child {
        clone_into(Namespaces::empty(), None, Placement::Done, |_| 0).unwrap().child
    }

    #[test]
    fn the_container_process_may_be_done_before_the_relay_has_said_that_it_exists() {
        for overtakes in [false, true] {
            let (relay, process) = (nobody(), nobody());
            let ((from_process, process_end), (from_relay, relay_end)) =
                (channel::pair().unwrap(), channel::pair().unwrap());
            let say_ready = || process_end.tell_ready().unwrap();
            if overtakes {
                say_ready();
            }
            relay_end.tell_born(process.pid).unwrap();
            drop(relay_end);
            let taken = take_over(&from_relay, &relay, |failure| panic!("{failure:?}")).unwrap();
            assert_eq!(taken.pid, process.pid);
            if !overtakes {
                say_ready();
            }
            assert!(matches!(from_process.hear().unwrap(), Some(FromInit::Ready)));
            from_process.tell(ToInit::Go);
            assert_eq!(process_end.expect(ToInit::Go), Ok(()));
            foreground::reap(&taken).unwrap();
        }
    }

    #[test]
    fn a_relay_that_ends_without_a_word_is_told_of() {
        let relay = nobody();
        let (from_relay, relay_end) = channel::pair().unwrap();
        drop(relay_end);
        let error = take_over(&from_relay, &relay, |failure| panic!("{failure:?}")).unwrap_err();
        assert!(error.to_string().contains("exited with status 0"), "{error}");
        assert!(foreground::reap(&relay).is_err(), "the relay was not waited for");
    }
}
