//! What a user namespace that exists lets its processes be, as it shows at a process in it.

use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::error::{Code, Context, Result, doing};
use crate::plan::{IdMaps, UserNamespace};

/// That of a process.
pub(crate) fn of(pid: Pid) -> Result<UserNamespace> {
    below(Path::new(&format!("/proc/{pid}")))
}

/// That of a file. Nothing where the path is not that of a process: a file alone does not tell.
pub(crate) fn at(path: &Path) -> Option<UserNamespace> {
    let process = path.strip_prefix("/proc").ok()?.to_str()?.strip_suffix("/ns/user")?;
    below(&PathBuf::from("/proc").join(process)).ok()
}

/// By the directory of a process in procfs.
fn below(process: &Path) -> Result<UserNamespace> {
    let read = |name: &str| {
        let path = process.join(name);
        std::fs::read_to_string(&path).context(Code::Namespace, || doing("read", &path))
    };
    Ok(UserNamespace {
        maps: IdMaps::parse(&read("uid_map")?, &read("gid_map")?),
        denies_groups: read("setgroups")?.trim() == "deny",
    })
}

/// Whether the user namespace at this path is the one this process is in, which cannot be joined once more (`setns(2)`).
pub(crate) fn is_own(path: &Path) -> bool {
    let stat = |path: &Path| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    stat(path).is_ok_and(|other| stat(Path::new("/proc/self/ns/user")) == Ok(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_of_a_process_is_read_from_its_files() {
        let own = of(rustix::process::getpid()).unwrap();
        assert_eq!(own.maps.outside_uid(0), Some(0));
        assert_eq!(at(Path::new("/proc/self/ns/user")), Some(own));
        for path in ["/proc/self/ns/net", "/proc/nobody/ns/user", "/run/userns/x", "/proc/../ns/user"] {
            assert_eq!(at(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn ones_own_is_known() {
        assert!(is_own(Path::new("/proc/self/ns/user")));
        assert!(!is_own(Path::new("/proc/self/ns/net")) && !is_own(Path::new("/nothing")));
    }
}
