//! The name of a container, checked once and from then on safe to use as a directory's name.

use std::ffi::CString;

use crate::error::{Code, Error, Result};

/// A container's name: letters, digits, `_`, `+`, `-` and, after the first, `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks a name.
    ///
    /// # Errors
    /// Names the first character that is not allowed, or says that the name is empty.
    pub fn new(name: &str) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::new(Code::InvalidId, "empty container ID"));
        }
        let allowed = |(index, c): (usize, char)| {
            c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-') || (c == '.' && index > 0)
        };
        match name.char_indices().find(|at| !allowed(*at)) {
            None => Ok(Self(name.to_owned())),
            Some((_, wrong)) => Err(Error::new(
                Code::InvalidId,
                format!("invalid character `{wrong}` in the container ID `{name}`"),
            )),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as the kernel takes it; it holds no NUL byte.
    pub(crate) fn to_c_string(&self) -> CString {
        CString::new(self.0.as_str()).unwrap_or_default()
    }
}

impl std::fmt::Display for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_allowed() {
        for name in ["a", "web-1", "x_y+z.w", "-dash", "0a"] {
            assert_eq!(ContainerId::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_could_leave_the_state_directory_or_hide_in_it_are_refused() {
        for (name, message) in [
            ("", "empty container ID"),
            ("a/b", "invalid character `/` in the container ID `a/b`"),
            ("..", "invalid character `.` in the container ID `..`"),
            (".cache", "invalid character `.` in the container ID `.cache`"),
            ("a b", "invalid character ` ` in the container ID `a b`"),
            ("ä", "invalid character `ä` in the container ID `ä`"),
        ] {
            assert_eq!(ContainerId::new(name).unwrap_err().to_string(), message);
        }
    }
}
