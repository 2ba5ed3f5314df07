//! Paths as the container sees them.

use std::ffi::{CStr, CString};

use super::invalid;
use crate::error::Result;

/// A path inside the container, relative to its root and without a leading slash. It can only be resolved below a
/// descriptor of that root ([`crate::init::inner`]), never by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InnerPath(CString);

impl InnerPath {
    /// Takes the path a configuration gives, absolute or relative. `.`, `..` and doubled slashes are resolved in the
    /// text, where `..` stops at the root: a mount destination must not depend on what the image put there first.
    pub(crate) fn new(path: &str, what: impl Fn() -> String) -> Result<Self> {
        let mut clean: Vec<&str> = Vec::with_capacity(8);
        for component in path.split('/') {
            match component {
                "" | "." => {}
                ".." => drop(clean.pop()),
                name => clean.push(name),
            }
        }
        CString::new(clean.join("/"))
            .map(Self)
            .map_err(|_| invalid(format!("{}: the path holds a NUL byte", what())))
    }

    /// For the kernel; `.` for the root itself.
    pub(crate) fn as_c_str(&self) -> &CStr {
        if self.0.is_empty() { c"." } else { &self.0 }
    }

    /// Whether this is the container's root directory.
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` lies below this path.
    pub(crate) fn is_above(&self, other: &Self) -> bool {
        let (own, other) = (self.0.as_bytes(), other.0.as_bytes());
        own.is_empty() && !other.is_empty()
            || other.len() > own.len() && other.starts_with(own) && other[own.len()] == b'/'
    }

    /// The path without its last component, and that.
    pub(crate) fn split(&self) -> (&[u8], &CStr) {
        let bytes = self.0.as_bytes_with_nul();
        let slash = bytes.iter().rposition(|byte| *byte == b'/');
        let name = &bytes[slash.map_or(0, |slash| slash + 1)..];
        (&bytes[..slash.unwrap_or(0)], CStr::from_bytes_with_nul(name).unwrap_or_default())
    }

    /// The part below `prefix`, when that is a single name.
    pub(crate) fn name_below(&self, prefix: &str) -> Option<&CStr> {
        let rest = self.0.as_bytes_with_nul().strip_prefix(prefix.as_bytes())?.strip_prefix(b"/")?;
        if rest.contains(&b'/') { None } else { CStr::from_bytes_with_nul(rest).ok() }
    }
}

impl std::fmt::Display for InnerPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.0.to_string_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inner(path: &str) -> InnerPath {
        InnerPath::new(path, || "x".to_owned()).unwrap()
    }

    #[test]
    fn dot_dot_stops_at_the_root() {
        assert_eq!(inner("/../../etc/../tmp//x/.").to_string(), "/tmp/x");
        assert!(inner("/a/..").is_root());
        assert_eq!(inner("/").as_c_str(), c".");
    }

    #[test]
    fn a_path_is_above_only_what_lies_below_it() {
        assert!(inner("/dev").is_above(&inner("/dev/pts")));
        assert!(!inner("/dev").is_above(&inner("/devices")));
        assert!(!inner("/dev").is_above(&inner("/dev")));
        assert!(inner("/").is_above(&inner("/dev")));
    }

    #[test]
    fn a_name_directly_below_a_directory_is_recognised() {
        assert_eq!(inner("/dev/null").name_below("dev"), Some(c"null"));
        assert_eq!(inner("/dev/net/tun").name_below("dev"), None);
        assert_eq!(inner("/devil").name_below("dev"), None);
    }

    #[test]
    fn a_path_is_split_before_its_last_component() {
        assert_eq!(inner("/a/b/c").split(), (b"a/b".as_slice(), c"c"));
        assert_eq!(inner("/a").split(), (b"".as_slice(), c"a"));
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert!(InnerPath::new("/a\0b", || "mounts[0]".to_owned()).is_err());
    }
}
