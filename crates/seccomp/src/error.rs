//! What is wrong with a profile.

use std::fmt;

/// What is wrong, and where in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    path: String,
    reason: String,
}

impl Error {
    pub(crate) fn new(path: impl fmt::Display, reason: impl Into<String>) -> Self {
        let path = format!("linux.seccomp{path}");
        Self { path, reason: reason.into() }
    }

    /// The place in the configuration, as `linux.seccomp.syscalls[3].action`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there, and what can be done.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl std::error::Error for Error {}

/// Says which of the known names is meant to be there instead of the one that was found.
pub(crate) fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    format!("unknown {what} {found:?} (one of {})", known.join(", "))
}
