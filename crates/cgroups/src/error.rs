//! The crate's error: what was being done, to which file, and the kernel's reason.

use rustix::io::Errno;

/// Why something about a cgroup could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What was being done and to what, in words; without the kernel's reason.
    pub message: String,
    /// The kernel's reason, where the kernel had one.
    pub errno: Option<Errno>,
}

/// A result with this crate's [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// An error found by looking at the configuration or the host, without the kernel.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), errno: None }
    }

    /// An error of the kernel while doing `message`.
    pub(crate) fn kernel(message: impl Into<String>, errno: Errno) -> Self {
        Self { message: message.into(), errno: Some(errno) }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.errno {
            Some(errno) => write!(f, "{}: {errno}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}
