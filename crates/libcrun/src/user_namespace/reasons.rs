//! Why ids could not be mapped: what can be seen that neither the kernel nor newuidmap(1) says.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, getxattr, statvfs};
use rustix::io::Errno;
use rustix::process::{Pid, geteuid};
use rustix::thread::{CapabilitySet, capabilities, no_new_privs};

use super::helper::Kind;
use crate::capabilities::names_of;
use crate::error::{Code, Error};
use crate::host::users::{IdRange, subordinate_ranges};
use crate::plan::IdMaps;
use crate::spec::IdMapping;

/// The error for a map that the kernel has refused.
pub(super) fn refused(error: Error, mappings: &[IdMapping], kind: Kind, pid: Pid) -> Error {
    let Some(errno) = error.errno() else { return error };
    let why = if errno == Errno::PERM { not_permitted(mappings, kind) } else { String::new() };
    let (name, file) = (kind.name(), kind.file());
    Error::os(Code::IdsNotMapped, format!("{name}: write `/proc/{pid}/{file}`{why}"), errno)
}

/// What the kernel asks for: that the ids are there outside, and the right to map them (`user_namespaces(7)`).
fn not_permitted(mappings: &[IdMapping], kind: Kind) -> String {
    let own = std::fs::read_to_string(format!("/proc/self/{}", kind.file())).unwrap_or_default();
    let own: Vec<IdMapping> = IdMaps::parse(&own, "").uid;
    let is_there = |id: u32| {
        own.iter()
            .any(|range| (range.container_id..range.container_id.saturating_add(range.size)).contains(&id))
    };
    let outer = |mapping: &IdMapping| [mapping.host_id, mapping.host_id.saturating_add(mapping.size - 1)];
    if let Some(index) = mappings.iter().position(|mapping| !outer(mapping).into_iter().all(is_there)) {
        return format!(" (the host ids of entry {index} are not all in the runtime's own user namespace)");
    }
    let wanted = match mappings.iter().any(|mapping| mapping.host_id == 0) {
        true => kind.capability_bit() | CapabilitySet::SETFCAP,
        false => kind.capability_bit(),
    };
    let has = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    match (wanted - has).bits() {
        0 => String::new(),
        missing => format!(" (the runtime does not have {})", names_of(missing)),
    }
}

/// What is to be added to what the program says, if anything is.
pub(super) fn explain(program: &Path, mappings: &[IdMapping], kind: Kind) -> Option<String> {
    without_privileges(program, kind).or_else(|| {
        let ranges = subordinate_ranges(kind.subordinate_file(), geteuid().as_raw());
        let own = kind.own_id();
        not_delegated(mappings, kind, own, &ranges)
    })
}

/// Why the program has not the privileges that it needs.
fn without_privileges(program: &Path, kind: Kind) -> Option<String> {
    const SET_USER_ID: u32 = 0o4000;
    let capability = kind.capability();
    if no_new_privs() == Ok(true) {
        return Some("the runtime runs with no_new_privs, so the program gets no privileges".to_owned());
    }
    let meta = std::fs::metadata(program).ok()?;
    let is_set_user_id = meta.mode() & SET_USER_ID != 0 && meta.uid() == 0;
    let has_capabilities = || getxattr(program, c"security.capability", &mut [0_u8; 64]).is_ok();
    if !is_set_user_id && !has_capabilities() {
        return Some(format!(
            "the program is neither set-user-id root nor has the file capability {capability}: reinstall its package"
        ));
    }
    let flags = statvfs(program).map_or(StatVfsMountFlags::empty(), |stat| stat.f_flag);
    let is_ignored = flags.contains(StatVfsMountFlags::NOSUID);
    is_ignored.then(|| "the program lies on a filesystem that is mounted nosuid".to_owned())
}

/// The first mapping whose ids are neither the user's own nor in one of its ranges.
fn not_delegated(mappings: &[IdMapping], kind: Kind, own: u32, ranges: &[IdRange]) -> Option<String> {
    let is_allowed = |mapping: &IdMapping| {
        let is_own = mapping.host_id == own && mapping.size == 1;
        is_own
            || ranges.iter().any(|range| {
                mapping.host_id.checked_sub(range.first).is_some_and(|offset| {
                    offset.checked_add(mapping.size).is_some_and(|end| end <= range.count)
                })
            })
    };
    let index = mappings.iter().position(|mapping| !is_allowed(mapping))?;
    let mapping = mappings[index];
    let shown = |first: u32, count: u32| format!("{first}-{}", first.saturating_add(count - 1));
    let all: Vec<String> = ranges.iter().map(|range| shown(range.first, range.count)).collect();
    let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    Some(format!(
        "{}[{index}]: the ids {} are not among those that {} gives to this user ({all})",
        kind.name(),
        shown(mapping.host_id, mapping.size),
        kind.subordinate_file()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mapping_that_is_not_allowed_is_named() {
        let ranges = [IdRange { first: 100, count: 10 }, IdRange { first: 500, count: 1 }];
        let range = |host_id, size| IdMapping { container_id: 0, host_id, size };
        let refused = |mappings: &[IdMapping]| not_delegated(mappings, Kind::Users, 1000, &ranges);
        assert_eq!(refused(&[range(1000, 1), range(100, 10), range(500, 1), range(109, 1)]), None);
        for mapping in [range(1000, 2), range(99, 2), range(109, 2), range(0, 1)] {
            let said = refused(&[range(1000, 1), mapping]).unwrap();
            assert!(
                said.starts_with("linux.uidMappings[1]: the ids ") && said.ends_with("(100-109, 500-500)"),
                "{said}"
            );
        }
        let said = not_delegated(&[range(7, 1)], Kind::Groups, 1000, &[]).unwrap();
        assert_eq!(
            said,
            "linux.gidMappings[0]: the ids 7-7 are not among those that /etc/subgid gives to this user (none)"
        );
    }

    #[test]
    fn ids_that_are_not_there_outside_are_told_of() {
        let range = |host_id| IdMapping { container_id: 0, host_id, size: 1 };
        // On a machine's own namespace all are there, and root has the capabilities.
        let said = not_permitted(&[range(0), range(u32::MAX - 1)], Kind::Users);
        assert!(said.is_empty() || said.contains("entry 1") || said.contains("does not have"), "{said}");
        let error = Error::os(Code::System, "x", Errno::INVAL);
        let pid = rustix::process::getpid();
        let said = refused(error, &[range(5)], Kind::Groups, pid).to_string();
        assert_eq!(said, format!("linux.gidMappings: write `/proc/{pid}/gid_map`: Invalid argument"));
    }

    #[test]
    fn a_program_without_privileges_is_known() {
        let said = without_privileges(Path::new("/bin/sh"), Kind::Groups).unwrap();
        assert!(said.contains("cap_setgid"), "{said}");
        assert_eq!(without_privileges(Path::new("/no/such"), Kind::Users), None);
    }
}
