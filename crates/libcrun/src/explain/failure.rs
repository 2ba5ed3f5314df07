//! What an error can say more, where the kernel only says that something is not permitted.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use sys::clone::Namespaces;

use super::path::{closed_to, denied, lets_in};
use super::{Concern, Machine, obstacles};
use crate::channel::{Failure, Step};
use crate::plan::{MountSource, Plan};

/// Why a process could not be made in new namespaces.
pub(crate) fn process_not_made(namespaces: Namespaces, errno: Errno) -> Option<String> {
    match errno {
        Errno::PERM | Errno::ACCESS | Errno::NOSPC | Errno::USERS | Errno::INVAL | Errno::NOSYS => {}
        _ => return None,
    }
    if let Some(found) = obstacles(Concern::UserNamespace, &Machine::this()).next() {
        return Some(found.to_string());
    }
    match errno {
        Errno::PERM if !namespaces.contains(Namespaces::USER) => {
            Some("only root may make namespaces without a user namespace".to_owned())
        }
        Errno::NOSPC | Errno::USERS => {
            let what = "a limit on namespaces is reached (the sysctls `user.max_*_namespaces`, or 32 user \
                        namespaces in each other)";
            Some(what.to_owned())
        }
        Errno::NOSYS => Some("clone3(2) is needed (Linux 5.3)".to_owned()),
        _ => None,
    }
}

/// Why a step of init failed.
pub(crate) fn start_failed(plan: &Plan, failure: Failure) -> Option<String> {
    match (failure.step, failure.errno) {
        (Step::Exec | Step::FindExecutable, Errno::ACCESS) => not_executable(&plan.rootfs.path),
        (Step::MountSource, Errno::ACCESS) => closed_source(plan, failure),
        (_, Errno::ACCESS) if is_in_rootfs(failure.step) => closed_rootfs(plan),
        (step, Errno::PERM | Errno::ACCESS | Errno::NOSPC) if needs_rights(step) => {
            let is_new = plan.namespaces.creates(Namespaces::USER);
            is_new
                .then(|| obstacles(Concern::UserNamespace, &Machine::this()).next())?
                .map(|found| found.to_string())
        }
        _ => None,
    }
}

/// Steps that take nothing but rights over one's own namespaces.
fn needs_rights(step: Step) -> bool {
    matches!(
        step,
        Step::MappedRoot
            | Step::NewNamespaces
            | Step::CgroupNamespace
            | Step::Loopback
            | Step::HostPropagation
            | Step::MountNamespace
            | Step::AttachRoot
            | Step::MountCreate
            | Step::Pivot
    )
}

/// Steps that go through the root filesystem.
fn is_in_rootfs(step: Step) -> bool {
    matches!(
        step,
        Step::MountTarget
            | Step::MountTargetLink
            | Step::DevDirectory
            | Step::Device
            | Step::DeviceLink
            | Step::Pivot
            | Step::WorkingDirectory
    )
}

/// The root filesystem keeps the container's own root out.
fn closed_rootfs(plan: &Plan) -> Option<String> {
    let maps = plan.namespaces.id_maps.as_ref()?;
    let (user, group) = (maps.outside_uid(0)?, maps.outside_gid(0)?);
    let path = &plan.rootfs.path;
    if lets_in(path, user, group) {
        return None;
    }
    let closed = closed_to(path, user)?;
    Some(format!("{closed}, who is root of the container: `chown {user}:{group}` or `chmod o+x` it"))
}

/// The user who called cannot reach what is to be bound.
fn closed_source(plan: &Plan, failure: Failure) -> Option<String> {
    let mount = plan.rootfs.mounts.iter().find(|mount| mount.index == usize::from(failure.index))?;
    let MountSource::Bind(bind) = &mount.source else { return None };
    denied(Path::new(OsStr::from_bytes(bind.source.to_bytes())))
}

fn not_executable(rootfs: &Path) -> Option<String> {
    let is_noexec = statvfs(rootfs).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::NOEXEC));
    is_noexec.then(|| format!("the rootfs `{}` lies on a mount with noexec", rootfs.display()))
}
