//! Failures of the standard library's calls, told as those of the kernel's.

use std::io;

use libcrun::{Code, Error};
use rustix::io::Errno;

/// What could not be done, and why.
pub(crate) fn failed(what: impl Into<String>, error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(raw) => Error::os(Code::System, what, Errno::from_raw_os_error(raw)),
        None => Error::new(Code::System, format!("{}: {error}", what.into())),
    }
}
