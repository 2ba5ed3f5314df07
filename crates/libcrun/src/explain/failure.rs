//! What an error can say more, where the kernel only says that something is not permitted.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cgroups::Cgroup;
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use sys::clone::Namespaces;
use sys::mount::MountAttr;

use super::path::{closed_to, denied, lets_in};
use super::{Machine, Obstacle, forbids_user_namespaces, limits};
use crate::channel::{Failure, Step};
use crate::error::{Code, Error, words};
use crate::plan::{MountOperation, MountSource, Plan, ProcessPlan};

/// The error for a process that could not be made in new namespaces, and in one of these cgroups.
pub(crate) fn process_not_made(
    error: Error,
    namespaces: Namespaces,
    cgroups: impl Iterator<Item = String>,
) -> Error {
    let Some(errno) = error.errno() else { return error };
    match errno {
        Errno::AGAIN => return no_room_for_a_process(error, cgroups),
        Errno::PERM | Errno::ACCESS | Errno::NOSPC | Errno::USERS | Errno::INVAL | Errno::NOSYS => {}
        _ => return error,
    }
    if let Some(found) = forbids_user_namespaces(errno, &Machine::this()) {
        return found.stands_behind(error).with_code(Code::UserNamespaceForbidden);
    }
    match errno {
        Errno::PERM if !namespaces.contains(Namespaces::USER) => error
            .because("only root may make namespaces without a user namespace")
            .with_hint("add one to linux.namespaces with uidMappings and gidMappings, as `crun spec --rootless` does"),
        Errno::NOSPC | Errno::USERS => too_many_namespaces(error),
        Errno::NOSYS => error.because("clone3(2) is needed (Linux 5.3)").with_code(Code::Unsupported),
        _ => error,
    }
}

fn too_many_namespaces(error: Error) -> Error {
    error
        .because(
            "a limit on namespaces is reached (the sysctls `user.max_*_namespaces`, or 32 user namespaces in each other)",
        )
        .with_code(Code::NamespaceLimit)
}

/// The error for a process for which there is no room: in its cgroup, or in those that this one is in.
fn no_room_for_a_process(error: Error, cgroups: impl Iterator<Item = String>) -> Error {
    let all: Vec<_> = cgroups.map(PathBuf::from).chain(limits::own_cgroups()).collect();
    let error = error.with_code(Code::ProcessLimit);
    match limits::processes(&all) {
        Some(reached) => error.with_hint(reached),
        None => error,
    }
}

/// The error for a process that has found too little memory in its cgroup.
pub(crate) fn out_of_memory(error: &Error, cgroup: &Cgroup) -> Error {
    let error = words::out_of_memory(error);
    match cgroup.paths().find_map(|(_, path)| limits::memory(Path::new(&path))) {
        Some(limit) => error.with_hint(limit),
        None => error,
    }
}

/// The error for a step of init that failed.
pub(crate) fn start_failed(error: Error, plan: &Plan, failure: Failure) -> Error {
    let behind = |obstacle: Option<Obstacle>, code| match obstacle {
        Some(obstacle) => obstacle.stands_behind(error.clone()).with_code(code),
        None => error.clone(),
    };
    match (failure.step, failure.errno) {
        (Step::Exec | Step::FindExecutable, Errno::ACCESS) => {
            behind(not_executable(plan, failure), Code::ExecutableDenied)
        }
        (Step::Exec, _) => super::program_failed(error, &plan.rootfs.path),
        (Step::MountSource, Errno::ACCESS) => behind(closed_source(plan, failure), Code::PathDenied),
        (_, Errno::ACCESS) if is_in_rootfs(failure.step) => behind(closed_rootfs(plan), Code::PathDenied),
        (step, errno @ (Errno::PERM | Errno::ACCESS))
            if needs_rights(step) && plan.namespaces.creates(Namespaces::USER) =>
        {
            behind(forbids_user_namespaces(errno, &Machine::this()), Code::UserNamespaceForbidden)
        }
        (Step::NewNamespaces | Step::CgroupNamespace | Step::MountNamespace, Errno::NOSPC) => {
            match forbids_user_namespaces(failure.errno, &Machine::this()) {
                None => too_many_namespaces(error),
                obstacle => behind(obstacle, Code::UserNamespaceForbidden),
            }
        }
        (Step::MountAttach | Step::AttachRoot, Errno::NOSPC) => no_room_for_a_mount(error),
        _ => process_failed(error, &plan.process, failure),
    }
}

fn no_room_for_a_mount(error: Error) -> Error {
    let error = error.with_code(Code::NoSpace);
    match limits::mounts() {
        Some(limit) => error.with_hint(limit),
        None => error,
    }
}

/// The error for a step of a process that failed, where nothing is known of the container around it.
pub(crate) fn process_failed(error: Error, process: &ProcessPlan, failure: Failure) -> Error {
    match (failure.step, failure.errno) {
        (Step::FindExecutable, Errno::NOENT | Errno::NOTDIR) => match where_looked(process) {
            Some(hint) => error.with_hint(hint),
            None => error,
        },
        (Step::WorkingDirectory, Errno::NOENT) => error.with_code(Code::PathNotFound),
        (Step::WorkingDirectory, Errno::ACCESS) => error
            .with_code(Code::PathDenied)
            .with_hint(format!("process.cwd is entered as user {} of the container", process.uid.as_raw())),
        _ => error,
    }
}

/// Which program it was that could not be executed.
fn program(process: &ProcessPlan, failure: Failure) -> Option<String> {
    let path = process.candidates.get(usize::from(failure.index))?;
    Some(path.to_string_lossy().into_owned())
}

/// What may be wrong with a name that led to no program.
fn where_looked(process: &ProcessPlan) -> Option<String> {
    let name = &process.name;
    if name.contains(' ') {
        return Some("process.args[0] is the program alone: each argument is an entry of its own".to_owned());
    }
    if name.contains('/') {
        return None;
    }
    let variable = process.env.iter().find_map(|variable| variable.strip_prefix(b"PATH="));
    Some(match variable {
        Some(path) => format!("PATH of process.env is `{}`", String::from_utf8_lossy(path)),
        None => "process.env has no PATH: it was looked for in the usual directories".to_owned(),
    })
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
fn closed_rootfs(plan: &Plan) -> Option<Obstacle> {
    let maps = plan.namespaces.id_maps.as_ref()?;
    let (user, group) = (maps.outside_uid(0)?, maps.outside_gid(0)?);
    let path = &plan.rootfs.path;
    if lets_in(path, user, group) {
        return None;
    }
    let closed = closed_to(path, user)?;
    let found = format!("{closed}, who is root of the container");
    Some(Obstacle::new(found, format!("`chown {user}:{group}` or `chmod o+x` it")))
}

/// The user who called cannot reach what is to be bound.
fn closed_source(plan: &Plan, failure: Failure) -> Option<Obstacle> {
    let mount = plan.rootfs.mounts.iter().find(|mount| mount.index == usize::from(failure.index))?;
    let MountSource::Bind(bind) = &mount.source else { return None };
    denied(Path::new(OsStr::from_bytes(bind.source.to_bytes())))
}

/// A mount that lets nothing be executed: the one that the rootfs lies on, or one over a part of it.
fn not_executable(plan: &Plan, failure: Failure) -> Option<Obstacle> {
    let rootfs = &plan.rootfs.path;
    if statvfs(rootfs).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::NOEXEC)) {
        let found = format!("the rootfs `{}` lies on a mount with noexec", rootfs.display());
        return Some(Obstacle::new(found, "keep it on another, or remount that with exec"));
    }
    let path = program(&plan.process, failure)?;
    let covers = |mount: &&MountOperation| Path::new(&path).starts_with(mount.destination.to_string());
    let mount = plan.rootfs.mounts.iter().rev().find(covers).filter(|mount| is_noexec(mount))?;
    let found = format!("mounts[{}] at `{}` has the option noexec", mount.index, mount.destination);
    Some(Obstacle::new(found, "take the option off, or keep programs elsewhere"))
}

fn is_noexec(mount: &MountOperation) -> bool {
    let set = match &mount.source {
        MountSource::Filesystem(filesystem) => filesystem.attributes,
        MountSource::Bind(bind) => {
            bind.changes.iter().fold(MountAttr::empty(), |set, (change, _)| set | change.set)
        }
        _ => MountAttr::empty(),
    };
    (set | mount.deferred.set).contains(MountAttr::NOEXEC)
}
