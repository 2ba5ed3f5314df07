//! The library's error: a stable code, what was being done to which object, and the kernel's reason.

use std::fmt;

use rustix::io::Errno;

/// A result with this library's [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

/// What kind of thing went wrong; stable across versions, for programs to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// There is no container of that name.
    ContainerNotFound,
    /// A container of that name exists already.
    ContainerExists,
    /// The container is not in the state the operation needs.
    WrongState,
    /// The container's name is not allowed.
    InvalidId,
    /// The configuration, or a value in it, is malformed or contradicts itself.
    InvalidConfig,
    /// The configuration asks for something this version cannot do.
    Unsupported,
    /// The program to run cannot be found or executed.
    Executable,
    /// The root filesystem or a mount could not be set up.
    Rootfs,
    /// The cgroup could not be created, configured or removed.
    Cgroup,
    /// A namespace could not be created or joined.
    Namespace,
    /// User, groups, capabilities or limits of the process could not be set.
    Credentials,
    /// The state directory could not be read or written.
    State,
    /// The process could not be signalled.
    Signal,
    /// A hook has failed.
    Hook,
    /// Anything else the kernel refused.
    System,
}

/// Why an operation failed.
///
/// [`fmt::Display`] gives the one line a person and an engine see: `message: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
    errno: Option<Errno>,
}

impl Error {
    /// An error without a reason of the kernel's.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), errno: None }
    }

    /// An error for which the kernel gave a reason.
    pub fn os(code: Code, message: impl Into<String>, errno: Errno) -> Self {
        Self { code, message: message.into(), errno: Some(errno) }
    }

    /// The same error with what is known about its cause, before the kernel's reason.
    #[must_use]
    pub(crate) fn because(mut self, cause: &str) -> Self {
        self.message = format!("{} ({cause})", self.message);
        self
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What was being done, to which object; without the kernel's reason.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The kernel's reason, where there is one.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.errno {
            Some(errno) => write!(f, ": {}", reason(errno)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<cgroups::Error> for Error {
    fn from(error: cgroups::Error) -> Self {
        Self { code: Code::Cgroup, message: error.message, errno: error.errno }
    }
}

/// The C library's words for an error number, without the number that the standard library appends: engines
/// match these words.
pub(crate) fn reason(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Names the step and its object when a call fails, on the path where it fails only.
pub(crate) trait Context<T> {
    /// Turns the kernel's error into one with a code and a message.
    fn context<M: Into<String>>(self, code: Code, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T> Context<T> for core::result::Result<T, Errno> {
    fn context<M: Into<String>>(self, code: Code, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|errno| Error::os(code, message(), errno))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context<M: Into<String>>(self, code: Code, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(raw) => Error::os(code, message(), Errno::from_raw_os_error(raw)),
            None => Error::new(code, format!("{}: {error}", message().into())),
        })
    }
}

/// The words other programs match in this runtime's errors, all in one place (reference: containers/conmon,
/// podman, CRI-O and containerd look for them).
pub(crate) mod words {
    use super::{Code, Error};
    use rustix::io::Errno;

    /// Engines look for `does not exist`.
    pub(crate) fn container_not_found(id: &str, status_file: &str, errno: Errno) -> Error {
        let message = format!("container `{id}` does not exist: open `{status_file}`");
        Error::os(Code::ContainerNotFound, message, errno)
    }

    /// Engines look for `already exists`.
    pub(crate) fn container_exists(id: &str) -> Error {
        Error::new(Code::ContainerExists, format!("container `{id}` already exists"))
    }

    /// Said by `start` on a container that has ended.
    pub(crate) fn container_not_running(id: &str) -> Error {
        Error::new(Code::WrongState, format!("container `{id}` is not running"))
    }

    /// Said by `exec`, `pause` and `resume`.
    pub(crate) fn exec_not_running(id: &str) -> Error {
        Error::new(Code::WrongState, format!("the container `{id}` is not running"))
    }

    /// Said by `events`, in runc's words.
    pub(crate) fn events_not_running(id: &str) -> Error {
        Error::new(Code::WrongState, format!("container with id {id} is not running"))
    }

    /// Said by all that is done to a container's cgroup.
    pub(crate) fn no_cgroups() -> Error {
        Error::new(Code::Cgroup, "the container is not using cgroups")
    }

    /// Said by `exec`.
    pub(crate) fn exec_paused(id: &str) -> Error {
        Error::new(Code::WrongState, format!("the container `{id}` is paused"))
    }

    /// Said of a process whose terminal would be nobody's; `how` is the command, or its option.
    pub(crate) fn terminal_without_socket(how: &str) -> Error {
        let message = format!("use --console-socket with {how} when a terminal is used");
        Error::new(Code::InvalidConfig, message)
    }

    /// Said by `delete` without `--force`.
    pub(crate) fn not_deletable(id: &str) -> Error {
        Error::new(Code::WrongState, format!("the container `{id}` is not in `created` or `stopped` state"))
    }

    /// Said when a process has found too little memory to become its program.
    pub(crate) fn out_of_memory(error: &Error) -> Error {
        let message = format!("OOM: the memory limit could be too low: {}", error.message);
        Error { code: Code::Cgroup, message, errno: error.errno }
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
        Error::os(Code::Signal, "process not running", Errno::SRCH)
    }

    /// Said of a profile in the C crun's words.
    pub(crate) fn no_default_action() -> Error {
        Error::new(Code::InvalidConfig, "seccomp misses the default action")
    }

    /// Podman maps this to exit status 127.
    pub(crate) fn executable_not_found(name: &str, errno: Errno) -> Error {
        let place = if name.starts_with('/') { "" } else { " in $PATH" };
        Error::os(Code::Executable, format!("executable file `{name}` not found{place}"), errno)
    }

    /// Podman maps this to exit status 126.
    pub(crate) fn not_executable(path: &str) -> Error {
        let message = format!("the path `{path}` exists but it is not executable");
        Error::os(Code::Executable, message, Errno::PERM)
    }

    /// Podman maps this to exit status 126.
    pub(crate) fn not_a_regular_file(path: &str) -> Error {
        let message = format!("the path `{path}` is not a regular file");
        Error::os(Code::Executable, message, Errno::PERM)
    }

    /// Podman maps this to exit status 126.
    pub(crate) fn executable_denied(path: &str, errno: Errno) -> Error {
        Error::os(Code::Executable, format!("open `{path}`"), errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_message_and_the_c_librarys_reason() {
        let error = Error::os(Code::State, "open `/x/status`", Errno::NOENT);
        assert_eq!(error.to_string(), "open `/x/status`: No such file or directory");
    }

    #[test]
    fn the_words_engines_match_are_there() {
        for (error, text) in [
            (
                words::container_not_found("x", "/run/crun/x/status", Errno::NOENT),
                "container `x` does not exist: open `/run/crun/x/status`: No such file or directory",
            ),
            (words::container_exists("x"), "container `x` already exists"),
            (words::container_not_running("x"), "container `x` is not running"),
            (words::exec_not_running("x"), "the container `x` is not running"),
            (words::events_not_running("x"), "container with id x is not running"),
            (words::no_cgroups(), "the container is not using cgroups"),
            (words::exec_paused("x"), "the container `x` is paused"),
            (
                words::terminal_without_socket("create"),
                "use --console-socket with create when a terminal is used",
            ),
            (words::not_deletable("x"), "the container `x` is not in `created` or `stopped` state"),
            (words::no_cgroup(), "the container is not using cgroups"),
            (words::mounts_not_an_array(), "mounts must be an array"),
            (words::no_default_action(), "seccomp misses the default action"),
            (words::process_not_running(), "process not running: No such process"),
            (
                words::executable_not_found("x", Errno::NOENT),
                "executable file `x` not found in $PATH: No such file or directory",
            ),
            (
                words::executable_not_found("/x", Errno::NOENT),
                "executable file `/x` not found: No such file or directory",
            ),
            (
                words::not_executable("/x"),
                "the path `/x` exists but it is not executable: Operation not permitted",
            ),
            (words::executable_denied("/x", Errno::ACCESS), "open `/x`: Permission denied"),
            (
                words::out_of_memory(&Error::os(Code::System, "x", Errno::NOMEM)),
                "OOM: the memory limit could be too low: x: Cannot allocate memory",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
