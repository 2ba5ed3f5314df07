//! The clone: one `clone3(2)`, into a cgroup where the kernel can do that, and what the runtime does to itself for the
//! moment of it.
//!
//! The child's code runs in a copy of the runtime with one thread, where only what is safe in a signal handler may be
//! called: another thread may have held the allocator's lock. No type can say that of a closure, so this is where the
//! crate gives its word for what it hands to [`sys::clone`]; `tests/tests/embedding.rs` holds it to that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cgroups::Cgroup;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal, dumpable_behavior, set_dumpable_behavior};
use sys::clone::{Child, Namespaces};

use crate::error::{Code, Context, Error, Result, doing};
use crate::explain;
use crate::foreground;
use crate::init::Placement;
use crate::plan::NamespacePlan;
use crate::procfs::ProcFs;

/// A new process, and what is still to be done to put it into its place.
#[derive(Debug)]
pub(crate) struct Cloned {
    pub(crate) child: Child,
    /// Where it waits for that.
    pub(crate) placement: Placement,
    pub(crate) in_unified_cgroup: bool,
}

impl Cloned {
    /// Kills the process and waits for its end. What fails here could not be helped.
    pub(crate) fn end(&self) {
        let _ = sys::signal::send(self.child.pidfd.as_fd(), Signal::KILL.as_raw());
        let _ = foreground::reap(&self.child);
    }
}

/// Clones into the cgroup's v2 directory where the kernel can do that; otherwise the process is moved afterwards and
/// waits for it. `child` keeps to what [`crate::init`] promises.
pub(crate) fn clone_into(
    namespaces: Namespaces,
    cgroup: Option<&Cgroup>,
    placement: Placement,
    child: impl Fn(Placement) -> i32,
) -> Result<Cloned> {
    // In a new pid namespace nobody is there yet to look at the process, and in a new user namespace nobody has a right
    // to. Elsewhere it is not to be traced or looked through from its first moment on, before it can see to that itself
    // (CVE-2016-9962).
    let _hidden = match namespaces.intersects(Namespaces::PID | Namespaces::USER) {
        true => None,
        false => Some(Undumpable::become_it()?),
    };
    if let Some(directory) = cgroup.and_then(Cgroup::unified_directory) {
        match spawn(namespaces, Some(directory), || child(placement)) {
            Ok(child) => return Ok(Cloned { child, placement, in_unified_cgroup: true }),
            // A cgroup that takes no processes this way, or a kernel that does not know the way (before 5.7).
            Err(Errno::BUSY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOENT | Errno::TOOBIG) => {}
            Err(errno) => return Err(not_made(namespaces, cgroup, errno)),
        }
    }
    let placement = if cgroup.is_some() { Placement::BeforeMounts } else { placement };
    let child =
        spawn(namespaces, None, || child(placement)).map_err(|errno| not_made(namespaces, cgroup, errno))?;
    Ok(Cloned { child, placement, in_unified_cgroup: false })
}

fn not_made(namespaces: Namespaces, cgroup: Option<&Cgroup>, errno: Errno) -> Error {
    let error = Error::os(Code::Namespace, "create the container's process", errno);
    let cgroups = cgroup.into_iter().flat_map(Cgroup::paths).map(|(_, path)| path);
    explain::process_not_made(error, namespaces, cgroups)
}

/// Clones a process that runs `child`, which keeps to what [`crate::init`] promises.
#[allow(unsafe_code, reason = "that the child's code is fit for a forked process can only be promised")]
pub(crate) fn spawn(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
) -> core::result::Result<Child, Errno> {
    // SAFETY: `child` is the life of init, of a joining process, of one that changes the mounts of a running container,
    // of the relay, of a hook's process or of one that only waits in a namespace. They walk a plan by system calls until
    // the exec or the exit: they neither allocate nor free nor lock, and what they share with the runtime is the
    // kernel's, the open descriptors, or atomic, the place for their marks.
    unsafe { sys::clone::spawn(namespaces, cgroup, child) }
}

/// Clones a process that runs `child`, which keeps to what [`crate::init`] promises, also where a filter takes `clone3(2)`
/// away: a container's own may.
#[allow(unsafe_code, reason = "that the child's code is fit for a forked process can only be promised")]
pub(crate) fn spawn_filtered(child: impl Fn() -> i32) -> core::result::Result<Child, Errno> {
    match spawn(Namespaces::empty(), None, &child) {
        // SAFETY: as for `spawn`; `child` is the life of a hook's process.
        Err(Errno::NOSYS | Errno::PERM) => unsafe { sys::clone::spawn_by_clone(child) },
        spawned => spawned,
    }
}

/// Clones a sibling of the calling process, into new `namespaces` and those it has for its children.
#[allow(unsafe_code, reason = "that the child's code is fit for a forked process can only be promised")]
pub(crate) fn spawn_sibling(
    namespaces: Namespaces,
    child: impl FnOnce() -> i32,
) -> core::result::Result<Pid, Errno> {
    // SAFETY: as for `spawn`; `child` is the life of init.
    unsafe { sys::clone::spawn_sibling(namespaces, child) }
}

/// The runtime while it must not be traced, which its children inherit. Dropped, it is as before.
#[derive(Debug)]
struct Undumpable {
    restore: bool,
}

impl Undumpable {
    fn become_it() -> Result<Self> {
        let failed = || "keep the process from being traced";
        let restore = dumpable_behavior().context(Code::System, failed)? == DumpableBehavior::Dumpable;
        if restore {
            set_dumpable_behavior(DumpableBehavior::NotDumpable).context(Code::System, failed)?;
        }
        Ok(Self { restore })
    }
}

impl Drop for Undumpable {
    fn drop(&mut self) {
        if self.restore {
            let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
        }
    }
}

/// The namespaces the runtime has entered for its next child: those that only children can enter (pid; time with
/// offsets). Dropped, it is back in its own.
#[derive(Debug, Default)]
pub(crate) struct ForChildren {
    /// Its own ones, to go back to.
    own: Vec<(Namespaces, OwnedFd)>,
}

impl ForChildren {
    /// Enters what the plan of a container has for its process.
    pub(crate) fn enter(plan: &NamespacePlan, joins: &[(Namespaces, OwnedFd)]) -> Result<Self> {
        let mut this = Self::default();
        if let Some((_, namespace)) = joins.iter().find(|(kind, _)| *kind == Namespaces::PID) {
            this.join_pid(namespace.as_fd())?;
        }
        if let Some(offsets) = plan.time_offsets.as_ref().filter(|_| !plan.time_by_init) {
            this.make_time(offsets)?;
        }
        Ok(this)
    }

    /// Joins the pid namespace that `target` is or is in. `EPERM`: there would be no way back, see [`crate::relay`].
    pub(crate) fn join_pid(&mut self, target: BorrowedFd<'_>) -> Result<()> {
        self.remember("pid", Namespaces::PID)?;
        sys::namespace::join(target, Namespaces::PID).context(Code::Namespace, || "join the pid namespace")
    }

    fn make_time(&mut self, offsets: &str) -> Result<()> {
        self.remember("time", Namespaces::TIME)?;
        sys::namespace::unshare(Namespaces::TIME).context(Code::Namespace, || "create the time namespace")?;
        ProcFs::open()?.write_own("timens_offsets", offsets)
    }

    fn remember(&mut self, name: &str, kind: Namespaces) -> Result<()> {
        let path = format!("/proc/thread-self/ns/{name}");
        let own = openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context(Code::Namespace, || doing("open", &path))?;
        // What cannot come back must not leave: a process with several threads changes no time namespace (setns(2)).
        sys::namespace::join(own.as_fd(), kind)
            .context(Code::Namespace, || format!("keep a way back to the runtime's own {name} namespace"))?;
        self.own.push((kind, own));
        Ok(())
    }

    /// Goes back to the runtime's own namespaces.
    pub(crate) fn leave(mut self) -> Result<()> {
        self.go_back().context(Code::Namespace, || "return to the runtime's own namespaces")
    }

    fn go_back(&mut self) -> core::result::Result<(), Errno> {
        let mut result = Ok(());
        while let Some((kind, namespace)) = self.own.pop() {
            result = result.and(sys::namespace::join(namespace.as_fd(), kind));
        }
        result
    }
}

impl Drop for ForChildren {
    fn drop(&mut self) {
        let _ = self.go_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    #[test]
    fn a_process_that_others_can_see_cannot_be_traced_from_its_first_moment_on() {
        let is_dumpable = || dumpable_behavior() == Ok(DumpableBehavior::Dumpable);
        assert!(is_dumpable());
        let life = |_| i32::from(is_dumpable());
        let cloned = clone_into(Namespaces::empty(), None, Placement::Done, life).unwrap();
        let ended = waitid(WaitId::PidFd(cloned.child.pidfd.as_fd()), WaitIdOptions::EXITED).unwrap();
        assert_eq!(ended.unwrap().exit_status(), Some(0), "the child could be traced");
        assert!(is_dumpable(), "the runtime stayed untraceable");
    }
}
