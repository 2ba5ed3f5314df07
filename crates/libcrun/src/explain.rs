//! Why this machine does not let somebody run a container, and what to change.
//!
//! Each question about the machine is a [`Probe`]: it reads a file or two and knows a remedy for what it finds. They are asked
//! when something has failed, so that the error can say more than `Operation not permitted`, or by somebody who wants to
//! know beforehand; never on the way of a start that works.

mod cgroup;
mod containers;
mod failure;
mod general;
mod ids;
mod limits;
pub(crate) mod machine;
mod path;
mod program;
mod similar;
mod user_namespace;

pub(crate) use failure::{out_of_memory, process_failed, process_not_made, start_failed};
pub use general::diagnose;
pub use machine::Machine;
pub(crate) use path::{closed, closed_to, denied, lets_in, state_root_closed};
pub(crate) use program::failed as program_failed;
pub use similar::similar;

use rustix::io::Errno;

use crate::error::{Code, Error};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Concern {
    /// To make a user namespace and the others in it.
    UserNamespace,
    /// To map more ids than one's own in it.
    Ids,
}

/// What stands in the way, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What was found.
    pub found: String,
    /// What helps.
    pub remedy: String,
}

impl Obstacle {
    fn new(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { found: found.into(), remedy: remedy.into() }
    }

    /// The error with this as its cause. What helps is a hint: engines pass on no more than the cause.
    fn stands_behind(&self, error: Error) -> Error {
        error.because(&self.found).with_hint(&*self.remedy)
    }
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.found, self.remedy)
    }
}

/// One question about the machine.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// A name for it, as of a file or a setting.
    pub name: &'static str,
    /// What it stands in the way of.
    pub concern: Concern,
    /// What the kernel says of it, where it is the kernel that refuses.
    errnos: &'static [Errno],
    look: fn(&Machine) -> Option<Obstacle>,
}

impl Probe {
    /// Looks.
    #[must_use]
    pub fn look(&self, machine: &Machine) -> Option<Obstacle> {
        (self.look)(machine)
    }
}

/// All questions there are, those with the surest answers first.
pub const PROBES: &[Probe] = &[
    user_namespace::BUILT_IN,
    user_namespace::LIMITS,
    user_namespace::UNPRIVILEGED,
    user_namespace::APPARMOR,
    user_namespace::OWN_ID,
    user_namespace::CHROOT,
    user_namespace::SECCOMP,
    ids::PROGRAMS,
    ids::NO_NEW_PRIVILEGES,
    ids::RANGES,
];

/// What stands in the way of something.
pub fn obstacles(concern: Concern, machine: &Machine) -> impl Iterator<Item = Obstacle> + '_ {
    PROBES.iter().filter(move |probe| probe.concern == concern).filter_map(|probe| probe.look(machine))
}

/// What stands in the way of something done in user namespaces to which the kernel has said this. What it says otherwise is
/// no cause, even if it would be in the way as well.
fn forbids_user_namespaces(errno: Errno, machine: &Machine) -> Option<Obstacle> {
    let leads_to_it =
        |probe: &&Probe| probe.concern == Concern::UserNamespace && probe.errnos.contains(&errno);
    PROBES.iter().filter(leads_to_it).find_map(|probe| probe.look(machine))
}

/// The error for ids that could not be mapped, with what stands in the way of all that is done in user namespaces.
pub(crate) fn ids_not_mapped(error: Error) -> Error {
    let Some(errno @ (Errno::PERM | Errno::ACCESS)) = error.errno() else { return error };
    match forbids_user_namespaces(errno, &Machine::this()) {
        Some(obstacle) => obstacle.stands_behind(error).with_code(Code::UserNamespaceForbidden),
        None => error,
    }
}
