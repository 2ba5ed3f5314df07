//! User, groups, capabilities and limits, in the one order in which each step still has the right to be done.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::streams;
use crate::capabilities::Sets;
use crate::channel::{At, Failure, Step};
use crate::plan::{ProcessPlan, SetUpIds};

/// The highest capability number the kernel's sets have room for.
const ROOM: u32 = 63;

/// Takes on ids of the user namespace the process is in, usually those of its root; all capabilities in it are kept.
pub(crate) fn become_mapped(ids: SetUpIds) -> Result<(), Failure> {
    let SetUpIds { uid, gid } = ids;
    set_thread_res_gid(gid, gid, gid).at(Step::MappedRoot)?;
    set_thread_res_uid(uid, uid, uid).at(Step::MappedRoot)?;
    forbid_tracing()
}

/// Until the exec, nobody in the container may trace this process or look through its /proc entry (CVE-2016-9962). To be
/// said again after other ids have been taken on: that undoes it where `/proc/sys/fs/suid_dumpable` says so.
pub(crate) fn forbid_tracing() -> Result<(), Failure> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Step::Runtime)
}

/// Takes on the identity of the plan. `set_limits` is whether the resource limits are to be set; in a user namespace the
/// parent does that, because raising one takes a privilege outside. `filter` is called when everything is done that it may
/// get in the way of, and while the capabilities that it takes are still there.
pub(crate) fn assume(
    process: &ProcessPlan,
    set_limits: bool,
    filter: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    if set_limits {
        for (index, (resource, limit)) in process.rlimits.iter().enumerate() {
            setrlimit(*resource, *limit).at_entry(Step::Rlimit, index)?;
        }
    }
    if let Some(domain) = process.personality {
        sys::personality::set(domain).at(Step::Personality)?;
    }
    // A directory only root may enter is entered as root, one only the user may enter as the user.
    let entered = rustix::process::chdir(process.cwd.as_c_str());
    rustix::process::umask(process.umask);
    drop_bounding(&process.capabilities).at(Step::Bounding)?;
    set_keep_capabilities(true).at(Step::Capabilities)?;
    if !(process.uid.is_root() && process.gid.is_root()) {
        streams::give_to(process.uid, process.gid);
    }
    if let Some(groups) = &process.groups {
        set_groups(groups).at(Step::Groups)?;
    }
    let (uid, gid) = (process.uid, process.gid);
    set_thread_res_gid(gid, gid, gid).at(Step::UserIds)?;
    set_thread_res_uid(uid, uid, uid).at(Step::UserIds)?;
    if !(uid.is_root() && gid.is_root()) {
        forbid_tracing()?;
    }
    filter()?;
    set_sets(&process.capabilities).at(Step::Capabilities)?;
    if process.no_new_privileges {
        set_no_new_privs(true).at(Step::NoNewPrivileges)?;
    }
    if entered.is_err() {
        rustix::process::chdir(process.cwd.as_c_str()).at(Step::WorkingDirectory)?;
    }
    verify_working_directory()
}

/// CVE-2024-21626: a working directory that cannot be named from the root is the host's.
fn verify_working_directory() -> Result<(), Failure> {
    match sys::cwd::is_reachable().at(Step::WorkingDirectory)? {
        true => Ok(()),
        false => Err(Errno::NOENT).at(Step::WorkingDirectoryOutside),
    }
}

fn set_groups(groups: &[Gid]) -> Result<(), Errno> {
    match set_thread_groups(groups) {
        // A user namespace made without privileges denies setgroups(2); there is nothing to drop then.
        Err(Errno::PERM) if groups.is_empty() => Ok(()),
        other => other,
    }
}

/// Removes what is not in the bounding set of the plan.
fn drop_bounding(sets: &Sets) -> Result<(), Errno> {
    for number in 0..=ROOM {
        let bit = 1_u64 << number;
        if sets.bounding & bit != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(()) => {}
            // Beyond the last capability this kernel knows.
            Err(Errno::INVAL) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn set_sets(sets: &Sets) -> Result<(), Errno> {
    set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::from_bits_retain(sets.effective),
            permitted: CapabilitySet::from_bits_retain(sets.permitted),
            inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
        },
    )?;
    clear_ambient_capability_set()?;
    for number in (0..=ROOM).filter(|number| sets.ambient & (1 << number) != 0) {
        match configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true) {
            // A capability that is not both permitted and inheritable cannot be ambient; the default
            // configuration of every runtime asks for such.
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
