//! The library's error: a stable code, what was being done to which object, and the kernel's reason; where more is known,
//! the step of a start that failed, and a hint.

mod code;
mod names;
mod object;
pub(crate) mod words;

use std::fmt;

use rustix::io::Errno;

pub use code::Code;
pub use names::errno_name;
pub use object::Object;
pub(crate) use object::{Doing, doing};

/// A result with this library's [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

/// Why an operation failed.
///
/// [`fmt::Display`] gives the one line a person and an engine see: `message: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

/// On the heap, because a failure is rare, and a result that is handed on for each call should be small.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    code: Code,
    errno: Option<Errno>,
    message: String,
    object: Option<Object>,
    step: Option<&'static str>,
    hint: Option<String>,
}

impl Error {
    /// An error without a reason of the kernel's.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self::said(code, message.into(), None)
    }

    /// An error for which the kernel gave a reason.
    pub fn os(code: Code, message: impl Into<String>, errno: Errno) -> Self {
        Self::said(code, message.into(), Some(errno))
    }

    // Out of the way of what is fine, and once for the many places that call it.
    #[cold]
    #[inline(never)]
    fn said(code: Code, message: String, errno: Option<Errno>) -> Self {
        Self::of(code, Doing::from(message), errno)
    }

    /// An error while doing something.
    #[cold]
    #[inline(never)]
    pub(crate) fn of(code: Code, doing: Doing, errno: Option<Errno>) -> Self {
        let Doing { words: message, object } = doing;
        Self(Box::new(Inner { code, errno, message, object, step: None, hint: None }))
    }

    /// The same error, about `object`.
    #[must_use]
    #[inline(never)]
    pub fn about(mut self, object: impl Into<Object>) -> Self {
        self.0.object = Some(object.into());
        self
    }

    /// The same error, in the step of a start that has this name.
    #[must_use]
    pub(crate) fn in_step(mut self, step: &'static str) -> Self {
        self.0.step = Some(step);
        self
    }

    /// The same error with what is known about its cause, before the kernel's reason: this is all of it that engines
    /// pass on to their users.
    #[must_use]
    pub(crate) fn because(mut self, cause: &str) -> Self {
        self.0.message = format!("{} ({cause})", self.0.message);
        self
    }

    /// The same error with what is known about its cause beyond that, and what helps.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same error, of a kind that says more.
    #[must_use]
    pub(crate) fn with_code(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    /// The same error in other words.
    #[must_use]
    pub(crate) fn in_words(mut self, message: String) -> Self {
        self.0.message = message;
        self
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What was being done, to which object; without the kernel's reason.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The kernel's reason, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// What it was being done to, where that is known as a value.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        self.0.object.as_ref()
    }

    /// The step of the container's process in which it failed, as `mount-attach`.
    #[must_use]
    pub fn step(&self) -> Option<&'static str> {
        self.0.step
    }

    /// What is known about the cause beyond the kernel's reason, and what helps; in a line.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match self.0.errno {
            Some(errno) => write!(f, ": {}", reason(errno)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<cgroups::Error> for Error {
    fn from(error: cgroups::Error) -> Self {
        let code = match error.kind {
            cgroups::ErrorKind::NoController => Code::ControllerNotFound,
            cgroups::ErrorKind::Systemd => Code::Systemd,
            _ if error.errno.is_none() && Object::place_in(&error.message).is_some() => Code::InvalidConfig,
            _ => Code::Cgroup,
        };
        let doing = match error.path().map(|path| Object::Path(path.into())) {
            Some(path) => Doing::to(error.message, path),
            None => Doing::from(error.message),
        };
        Self::of(code, doing, error.errno)
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
    fn context<M: Into<Doing>>(self, code: Code, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T> Context<T> for core::result::Result<T, Errno> {
    fn context<M: Into<Doing>>(self, code: Code, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|errno| Error::of(code, message().into(), Some(errno)))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context<M: Into<Doing>>(self, code: Code, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(raw) => Error::of(code, message().into(), Some(Errno::from_raw_os_error(raw))),
            None => Error::of(code, message().into().then(&format!(": {error}")), None),
        })
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
