//! The words other programs match in this runtime's errors, all in one place (reference: containers/conmon, podman, CRI-O
//! and containerd look for them).

use super::{Code, Error, Object};
use rustix::io::Errno;

fn container(id: &str) -> Object {
    Object::Container(id.to_owned())
}

fn not_running(id: &str, message: String) -> Error {
    Error::new(Code::ContainerNotRunning, message).about(container(id))
}

/// Engines look for `does not exist`.
pub(crate) fn container_not_found(id: &str, status_file: &str, errno: Errno) -> Error {
    let message = format!("container `{id}` does not exist: open `{status_file}`");
    Error::os(Code::ContainerNotFound, message, errno).about(container(id))
}

/// Engines look for `already exists`.
pub(crate) fn container_exists(id: &str) -> Error {
    Error::new(Code::ContainerExists, format!("container `{id}` already exists")).about(container(id))
}

/// Said by `start` on a container that has ended.
pub(crate) fn container_not_running(id: &str) -> Error {
    not_running(id, format!("container `{id}` is not running"))
}

/// Said by `exec`, `pause` and `resume`.
pub(crate) fn exec_not_running(id: &str) -> Error {
    not_running(id, format!("the container `{id}` is not running"))
}

/// Said by `events`, in runc's words.
pub(crate) fn events_not_running(id: &str) -> Error {
    not_running(id, format!("container with id {id} is not running"))
}

/// Said by `exec`.
pub(crate) fn exec_paused(id: &str) -> Error {
    Error::new(Code::ContainerPaused, format!("the container `{id}` is paused"))
        .about(container(id))
        .with_hint(format!("`crun resume {id}` lets its processes run on"))
}

/// Said of a process whose terminal would be nobody's; `how` is the command, or its option.
pub(crate) fn terminal_without_socket(how: &str) -> Error {
    let message = format!("use --console-socket with {how} when a terminal is used");
    Error::new(Code::Terminal, message).about(Object::Config("process.terminal".to_owned()))
}

/// Said by `delete` without `--force`.
pub(crate) fn not_deletable(id: &str) -> Error {
    let message = format!("the container `{id}` is not in `created` or `stopped` state");
    Error::new(Code::ContainerRunning, message)
        .about(container(id))
        .with_hint(format!("`crun delete --force {id}` ends it first"))
}

/// Said when a process has found too little memory to become its program.
pub(crate) fn out_of_memory(error: &Error) -> Error {
    let message = format!("OOM: the memory limit could be too low: {}", error.message());
    error.clone().in_words(message).with_code(Code::OutOfMemory)
}

/// Said by commands that are about the cgroup; engines know it from the C crun.
pub(crate) fn no_cgroup() -> Error {
    Error::new(Code::WrongState, "the container is not using cgroups")
}

/// Said by `mounts` of a file that holds something else.
pub(crate) fn mounts_not_an_array() -> Error {
    Error::new(Code::InvalidConfig, "mounts must be an array")
}

/// Said by `kill`; engines look for `No such process`.
pub(crate) fn process_not_running() -> Error {
    Error::os(Code::ProcessGone, "process not running", Errno::SRCH)
}

/// Said of a profile in the C crun's words.
pub(crate) fn no_default_action() -> Error {
    Error::new(Code::InvalidConfig, "seccomp misses the default action")
}

/// Podman maps this to exit status 127.
pub(crate) fn executable_not_found(name: &str, errno: Errno) -> Error {
    let place = if name.starts_with('/') { "" } else { " in $PATH" };
    Error::os(Code::ExecutableNotFound, format!("executable file `{name}` not found{place}"), errno)
        .about(Object::Inside(name.to_owned()))
}

/// Podman maps this to exit status 126.
pub(crate) fn not_executable(path: &str) -> Error {
    let message = format!("the path `{path}` exists but it is not executable");
    Error::os(Code::ExecutableDenied, message, Errno::PERM).about(Object::Inside(path.to_owned()))
}

/// Podman maps this to exit status 126.
pub(crate) fn not_a_regular_file(path: &str) -> Error {
    let message = format!("the path `{path}` is not a regular file");
    Error::os(Code::ExecutableDenied, message, Errno::PERM).about(Object::Inside(path.to_owned()))
}

/// Podman maps this to exit status 126.
pub(crate) fn executable_denied(path: &str, errno: Errno) -> Error {
    Error::os(Code::ExecutableDenied, format!("open `{path}`"), errno).about(Object::Inside(path.to_owned()))
}
