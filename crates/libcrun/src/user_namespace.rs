//! Giving a new user namespace its ids, from outside (`user_namespaces(7)`).
//!
//! The kernel lets a process without privileges map its own id and nothing else, and groups only once setgroups(2) is
//! denied: leaving a group could give a right that the group is denied (CVE-2014-8989). For the ids that `/etc/subuid` and
//! `/etc/subgid` give to a user there are two programs that are privileged, newuidmap(1) and newgidmap(1).

mod existing;
mod helper;
mod reasons;

use rustix::io::Errno;
use rustix::process::{Pid, getegid, geteuid};

use crate::error::Result;
use crate::plan::{IdMaps, is_own_only, lines};
use crate::procfs::ProcFs;
use crate::spec::IdMapping;
pub(crate) use existing::{at, is_own, of};
use helper::Kind;

/// Who is to map the ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// This process.
    Direct,
    /// This process, which has to see to it that setgroups(2) is denied.
    WithoutGroups,
    /// A program with privileges.
    Helper,
}

impl Way {
    /// For the map of a caller with this id.
    fn of(mappings: &[IdMapping], caller: u32, kind: Kind, is_root: bool) -> Self {
        match (is_root, is_own_only(mappings, caller)) {
            (true, _) => Self::Direct,
            (false, true) if kind == Kind::Groups => Self::WithoutGroups,
            (false, true) => Self::Direct,
            (false, false) => Self::Helper,
        }
    }
}

/// How a caller maps the ids of each kind, in the order in which that is done, with the helper for each.
pub(crate) fn ways(
    maps: &IdMaps,
    uid: u32,
    gid: u32,
) -> [(&'static str, &[IdMapping], Way, &'static str); 2] {
    [(Kind::Groups, &maps.gid, gid), (Kind::Users, &maps.uid, uid)].map(|(kind, mappings, caller)| {
        (kind.file(), mappings.as_slice(), Way::of(mappings, caller, kind, uid == 0), kind.program())
    })
}

/// Gives its ids to a process in a new user namespace, each map in one write. That of groups comes first: afterwards the
/// process may already have become someone.
pub(crate) fn map_ids(maps: &IdMaps, proc: &ProcFs, pid: Pid) -> Result<()> {
    let is_root = geteuid().is_root();
    map(&maps.gid, getegid().as_raw(), Kind::Groups, is_root, proc, pid)?;
    map(&maps.uid, geteuid().as_raw(), Kind::Users, is_root, proc, pid)
}

fn map(
    mappings: &[IdMapping],
    caller: u32,
    kind: Kind,
    is_root: bool,
    proc: &ProcFs,
    pid: Pid,
) -> Result<()> {
    let write = || {
        let written = proc.write(pid, kind.file(), &lines(mappings));
        written.map_err(|error| reasons::refused(error, mappings, kind, pid))
    };
    let without_groups = || proc.write(pid, "setgroups", "deny").and_then(|()| write());
    match Way::of(mappings, caller, kind, is_root) {
        Way::Helper => helper::map(mappings, kind, pid, write),
        Way::WithoutGroups => without_groups(),
        Way::Direct => match write() {
            // Root without the capability to change its groups.
            Err(error)
                if error.errno() == Some(Errno::PERM)
                    && kind == Kind::Groups
                    && is_own_only(mappings, caller) =>
            {
                without_groups()
            }
            written => written,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_id_can_be_mapped_without_privileges_and_groups_are_frozen_then() {
        let range = |host_id, size| [IdMapping { container_id: 0, host_id, size }];
        let way = |mappings: &[IdMapping], kind, is_root| Way::of(mappings, 1000, kind, is_root);
        for (mappings, users, groups) in [
            (range(1000, 1), Way::Direct, Way::WithoutGroups),
            (range(1000, 2), Way::Helper, Way::Helper),
            (range(1001, 1), Way::Helper, Way::Helper),
        ] {
            assert_eq!(way(&mappings, Kind::Users, false), users);
            assert_eq!(way(&mappings, Kind::Groups, false), groups);
            assert_eq!(way(&mappings, Kind::Groups, true), Way::Direct);
        }
        let two = [range(1000, 1)[0], IdMapping { container_id: 1, host_id: 5, size: 1 }];
        assert_eq!(way(&two, Kind::Groups, false), Way::Helper);
    }
}
