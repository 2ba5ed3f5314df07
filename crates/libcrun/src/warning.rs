//! What is told of operations that succeed all the same: what is left out of what a configuration asks for, or added to it,
//! and what went wrong without keeping them from it.
//!
//! A warning is a value like an error. An operation gives them back with its result; those that go on for as long as a
//! program runs, or fail after all, can be given somebody to tell at once ([`crate::run_telling`] and the like).

use cgroups::{Cgroup, Resources};

use crate::error::{Code, Error};

/// What an operation has to tell beside its result. Nothing is made for one that has nothing.
pub type Warnings = Vec<Error>;

/// Who is told at once.
pub(crate) type Tell<'t> = dyn FnMut(Error) + 't;

/// In the C crun's words, as the following four.
pub(crate) fn unknown_syscall(name: &str) -> Error {
    Error::new(Code::InvalidConfig, format!("unknown seccomp syscall `{name}` ignored"))
}

pub(crate) fn no_home() -> Error {
    Error::new(Code::InvalidConfig, "cannot detect HOME environment variable, setting default")
}

pub(crate) fn listen_pid() -> Error {
    let message = "setting LISTEN_PID=1 since no previous configuration was found";
    Error::new(Code::InvalidConfig, message)
}

pub(crate) fn added_user_namespace() -> Error {
    let message =
        "non root user need to have an 'user' namespace: the container gets one that is not configured";
    Error::new(Code::InvalidConfig, message)
}

pub(crate) fn cgroup_v1() -> Error {
    Error::new(
        Code::Cgroup,
        "cgroup v1 is deprecated: the kernel and systemd drop it part by part. Use cgroup v2",
    )
}

/// `why` is what keeps them from being restricted.
pub(crate) fn devices_not_restricted(why: &str) -> Error {
    let message =
        format!("linux.resources.devices: the container is kept from no device by its cgroup: {why}");
    Error::new(Code::Cgroup, message)
}

/// `error` is what has kept it from having one.
pub(crate) fn no_cgroup(error: &Error) -> Error {
    let message = format!("the container has no cgroup of its own: {}", error.message());
    match error.errno() {
        Some(errno) => Error::os(Code::Cgroup, message, errno),
        None => Error::new(Code::Cgroup, message),
    }
}

pub(crate) fn score_not_lowered(adjustment: i32) -> Error {
    let message = format!("process.oomScoreAdj: {adjustment} ignored: lowering it takes power over the host");
    Error::new(Code::Credentials, message)
}

/// A limit on kernel memory that has been asked for and is not in force: the kernel has none any more since 5.16, and the
/// file of v1 takes no notice.
pub(crate) fn kernel_memory(resources: Option<&Resources>, cgroup: &Cgroup) -> Option<Error> {
    let limit = kernel_limit(resources)?;
    if cgroup.limits_kernel_memory(limit) {
        return None;
    }
    let message =
        format!("linux.resources.memory.kernel: {limit} ignored: this kernel has no limit on kernel memory");
    Some(Error::new(Code::Cgroup, message))
}

/// The limit on kernel memory that is asked for.
pub(crate) fn kernel_limit(resources: Option<&Resources>) -> Option<i64> {
    resources?.memory.as_ref()?.kernel.filter(|limit| *limit > 0)
}
