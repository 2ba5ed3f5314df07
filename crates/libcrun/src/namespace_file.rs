//! What is wrong with a file that could not be joined as a namespace: looked at when it is too late, for the error.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use sys::clone::Namespaces;

use crate::plan::namespace_name;

/// Words to append to the error of a join that failed with `errno`.
pub(crate) fn explain(path: &Path, kind: Namespaces, errno: Errno) -> String {
    let Ok(file) = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return String::new();
    };
    let wanted = namespace_name(kind);
    match (sys::namespace::kind(file.as_fd()), errno) {
        (Err(Errno::NOTTY), _) => {
            format!(" (the file is no namespace, and a {wanted} namespace is asked for)")
        }
        (Ok(found), _) if found != kind => {
            format!(" (it is a {} namespace, and a {wanted} namespace is asked for)", namespace_name(found))
        }
        (_, Errno::PERM) => " (it belongs to a user namespace in which the runtime has no rights)".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_kind_is_called_what_it_is() {
        for (path, words) in [
            ("/etc/passwd", " (the file is no namespace, and a network namespace is asked for)"),
            ("/proc/self/ns/uts", " (it is a uts namespace, and a network namespace is asked for)"),
            ("/proc/self/ns/net", ""),
            ("/nothing", ""),
        ] {
            assert_eq!(explain(Path::new(path), Namespaces::NETWORK, Errno::INVAL), words, "{path}");
        }
        let denied = explain(Path::new("/proc/self/ns/net"), Namespaces::NETWORK, Errno::PERM);
        assert!(denied.contains("has no rights"), "{denied}");
    }
}
