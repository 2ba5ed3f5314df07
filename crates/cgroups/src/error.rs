//! The crate's error: what was being done, to which file, and the kernel's reason.

use rustix::io::Errno;

/// Why something about a cgroup could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What was being done and to what, in words; without the kernel's reason.
    pub message: String,
    /// The kernel's reason, where the kernel had one.
    pub errno: Option<Errno>,
    /// Where in the message the file or directory is that it was being done to, where it was one: how long it is, and what
    /// follows. Words may come before it.
    path: Option<(usize, usize)>,
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
}

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A controller is not to be had in the cgroup.
    NoController,
    /// systemd is not to be reached, or has refused something.
    Systemd,
    /// Anything else.
    #[default]
    Other,
}

/// A result with this crate's [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// An error found by looking at the configuration or the host, without the kernel.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), errno: None, path: None, kind: ErrorKind::Other }
    }

    /// An error of the kernel while doing `message`.
    pub(crate) fn kernel(message: impl Into<String>, errno: Errno) -> Self {
        Self { errno: Some(errno), ..Self::plain(message) }
    }

    /// An error of the kernel while doing `what` to a file or a directory.
    pub(crate) fn at(what: &str, path: impl Into<String>, errno: Errno) -> Self {
        let path = path.into();
        Self { path: Some((path.len(), 1)), ..Self::kernel(format!("{what} `{path}`"), errno) }
    }

    /// An error for want of a controller in the cgroup of this directory.
    pub(crate) fn no_controller(controller: &str, directory: &str) -> Self {
        let message = format!("controller `{controller}` is not available under {directory}");
        let path = Some((directory.len(), 0));
        Self { kind: ErrorKind::NoController, path, ..Self::plain(message) }
    }

    /// The file or directory it was being done to, where it was one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        let (length, behind) = self.path?;
        let end = self.message.len().checked_sub(behind)?;
        self.message.get(end.checked_sub(length)?..end)
    }

    /// An error in what systemd does, or does not do.
    pub(crate) fn systemd(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Systemd, ..Self::plain(message) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_error_is_there_whatever_is_said_before_it() {
        let mut error = Error::at("write `1` to", "/sys/fs/cgroup/a/x", Errno::INVAL);
        assert_eq!(error.message, "write `1` to `/sys/fs/cgroup/a/x`");
        error.message = format!("after all: {}", error.message);
        assert_eq!(error.path(), Some("/sys/fs/cgroup/a/x"));
        assert_eq!(Error::no_controller("rdma", "/sys/fs/cgroup/a").path(), Some("/sys/fs/cgroup/a"));
        assert_eq!(Error::plain("x").path(), None);
    }
}
