//! What can be found out about any failure by its error number and what it was about.

use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;

use super::path::denied;
use super::similar::{quoted, similar};
use super::{cgroup, containers, limits};
use crate::error::{Code, Error, Object};
use crate::state::StateRoot;

/// The same error with what can be found out about its cause now: a kind that says more, and a hint. `root` is where the
/// container was looked for. Reads files, and so is only for who is about to tell somebody of the error.
#[must_use]
pub fn diagnose(error: Error, root: &StateRoot) -> Error {
    if error.hint().is_some() {
        return of_root(error, root);
    }
    of_root(found_out(error, root), root)
}

/// The same error, in whose hint each command for a container leads to where that is.
fn of_root(error: Error, root: &StateRoot) -> Error {
    if root.path() == StateRoot::default_path() {
        return error;
    }
    let Some(hint) = error.hint() else { return error };
    let shown = root.path().display();
    let commands = ["delete", "resume", "state"];
    let hint = commands.iter().fold(hint.to_owned(), |hint, command| {
        hint.replace(&format!("`crun {command} "), &format!("`crun --root {shown} {command} "))
    });
    error.with_hint(hint)
}

fn found_out(error: Error, root: &StateRoot) -> Error {
    let hint = match (error.code(), error.object()) {
        (Code::ContainerNotFound, Some(Object::Container(id))) => containers::not_found(root.path(), id),
        (Code::ContainerExists, Some(Object::Container(id))) => containers::exists(root.path(), id),
        (Code::RootfsNotFound, Some(Object::Path(path))) => not_found(path),
        (Code::ControllerNotFound, Some(Object::Path(path))) => controllers(path),
        _ => return by_errno(error),
    };
    hint.map_or(error.clone(), |hint| error.with_hint(hint))
}

fn by_errno(error: Error) -> Error {
    let Some(errno) = error.errno() else { return error };
    let found = match errno {
        Errno::MFILE => Some((Code::DescriptorLimit, Some(limits::descriptors()))),
        Errno::NFILE => Some((Code::DescriptorLimit, limits::files())),
        Errno::NODEV if error.code() == Code::Mount => {
            Some((Code::Unsupported, Some(NO_FILESYSTEM.to_owned())))
        }
        _ => match error.object() {
            Some(Object::Path(path)) if error.code() == Code::Cgroup => {
                let path = path.clone();
                return cgroup::failed(error, &path);
            }
            Some(Object::Path(path)) => of_path(errno, path),
            _ => None,
        },
    };
    match found {
        None => error,
        Some((code, hint)) => {
            let says_more = error.code().is_coarse() && !code.is_coarse();
            let error = if says_more { error.with_code(code) } else { error };
            hint.map_or(error.clone(), |hint| error.with_hint(hint))
        }
    }
}

const NO_FILESYSTEM: &str =
    "this kernel has no such filesystem, or its module is not loaded: see `/proc/filesystems`";

fn of_path(errno: Errno, path: &Path) -> Option<(Code, Option<String>)> {
    Some(match errno {
        Errno::ACCESS => (Code::PathDenied, denied(path).map(|obstacle| obstacle.to_string())),
        Errno::NOENT => (Code::PathNotFound, not_found(path)),
        Errno::NOTDIR => (Code::PathNotFound, no_directory(path)),
        Errno::ROFS => (Code::ReadOnly, read_only(path)),
        Errno::NOSPC | Errno::DQUOT => (Code::NoSpace, no_space(errno, path)),
        Errno::CONNREFUSED => {
            (Code::System, Some("the socket is there, but nobody listens on it".to_owned()))
        }
        _ => return None,
    })
}

/// How far a path goes, and what is there instead of what comes next.
fn not_found(path: &Path) -> Option<String> {
    let there = existing(path)?;
    let missing = path.strip_prefix(&there).ok()?.components().next()?;
    let wanted = there.join(missing);
    if let Ok(target) = std::fs::read_link(&wanted) {
        let (link, target) = (wanted.display(), target.display());
        return Some(format!("`{link}` is a symbolic link to `{target}`, which is not there"));
    }
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&there).ok()?.flatten().take(LOOKED_AT) {
        let name = entry.file_name().to_string_lossy().into_owned();
        names.insert(names.partition_point(|there| *there < name), name);
    }
    let wanted = missing.as_os_str().to_string_lossy();
    let (shown, meant) = (there.display(), similar(&wanted, names.iter().map(String::as_str)));
    Some(match (meant.as_slice(), names.len()) {
        ([_, ..], _) => format!("`{shown}` has no `{wanted}`, but {}", quoted(meant)),
        ([], 0) => format!("`{shown}` is empty"),
        ([], 1..=FEW) => format!("in `{shown}` there is only {}", quoted(&names)),
        _ => format!("`{shown}` has no `{wanted}`"),
    })
}

/// How many entries of a directory are looked at, and how many are a few.
const LOOKED_AT: usize = 2000;
const FEW: usize = 5;

/// The longest part of a path that exists.
fn existing(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().skip(1).find(|part| part.is_dir()).map(Path::to_owned)
}

fn no_directory(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let file = path.ancestors().find(|part| part.exists() && !part.is_dir())?;
    Some(format!("`{}` is no directory", file.display()))
}

/// The mount that cannot be written to.
fn read_only(path: &Path) -> Option<String> {
    let there = existing(path)?;
    let is_read_only =
        |part: &Path| statvfs(part).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    // The filesystem begins at the last part that still is read-only.
    let mount = there.ancestors().take_while(|part| is_read_only(part)).last()?;
    Some(format!("what is mounted at or above `{}` is read-only", mount.display()))
}

fn no_space(errno: Errno, path: &Path) -> Option<String> {
    let there = existing(path)?;
    let shown = there.display();
    if errno == Errno::DQUOT {
        return Some(format!("the quota of this user for the filesystem of `{shown}` is used up"));
    }
    let stat = statvfs(&there).ok()?;
    Some(match (stat.f_bavail, stat.f_favail, stat.f_files) {
        (0, _, _) => format!("the filesystem of `{shown}` has no block left: see `df {shown}`"),
        (_, 0, 1..) => format!("the filesystem of `{shown}` has no inode left: see `df -i {shown}`"),
        _ => return None,
    })
}

/// Which controllers there are in a cgroup that lacks one, or above it.
fn controllers(cgroup: &Path) -> Option<String> {
    let file =
        cgroup.ancestors().map(|level| level.join("cgroup.controllers")).find(|file| file.is_file())?;
    let text = std::fs::read_to_string(&file).ok()?;
    Some(match text.trim() {
        "" => format!("`{}` is empty: nobody above has given controllers on", file.display()),
        list => format!("`{}` has {list}", file.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> PathBuf {
        let top = std::env::temp_dir().join(format!("crun-general-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&top));
        std::fs::create_dir_all(&top).unwrap();
        top
    }

    fn diagnosed(errno: Errno, path: &Path) -> Error {
        let error = Error::os(Code::System, "open", errno).about(path);
        diagnose(error, &StateRoot::new("/nowhere".into()))
    }

    #[test]
    fn a_path_that_is_not_there_is_told_by_what_is() {
        let top = place("missing");
        let said = |path: &str| {
            let error = diagnosed(Errno::NOENT, &top.join(path));
            assert_eq!(error.code(), Code::PathNotFound);
            error.hint().unwrap().replace(top.to_str().unwrap(), "TOP")
        };
        assert_eq!(said("a/b/c"), "`TOP` is empty");
        std::fs::create_dir(top.join("rootfs")).unwrap();
        assert_eq!(said("x"), "in `TOP` there is only `rootfs`");
        assert_eq!(said("rootf/etc"), "`TOP` has no `rootf`, but `rootfs`");
        std::os::unix::fs::symlink("/nope", top.join("link")).unwrap();
        assert_eq!(said("link/x"), "`TOP/link` is a symbolic link to `/nope`, which is not there");
        std::fs::write(top.join("file"), "").unwrap();
        let error = diagnosed(Errno::NOTDIR, &top.join("file/x"));
        assert!(error.hint().unwrap().ends_with("/file` is no directory"));
        std::fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn a_limit_on_descriptors_is_told_whatever_was_to_be_opened() {
        let error = diagnose(Error::os(Code::System, "x", Errno::MFILE), &StateRoot::new("/".into()));
        assert_eq!(error.code(), Code::DescriptorLimit);
        assert!(error.hint().unwrap().contains("RLIMIT_NOFILE"));
    }

    #[test]
    fn what_is_known_already_stays() {
        let error = Error::os(Code::State, "x", Errno::MFILE).with_hint("known");
        assert_eq!(diagnose(error.clone(), &StateRoot::new("/".into())), error);
        let error = Error::new(Code::Hook, "x");
        assert_eq!(diagnose(error.clone(), &StateRoot::new("/".into())), error);
    }

    #[test]
    fn a_command_that_helps_names_the_root_unless_it_is_the_usual_one() {
        let error = crate::error::words::not_deletable("web");
        let said = |root| diagnose(error.clone(), &StateRoot::new(root)).hint().unwrap().to_owned();
        assert_eq!(said("/srv/state".into()), "`crun --root /srv/state delete --force web` ends it first");
        assert_eq!(said(StateRoot::default_path()), "`crun delete --force web` ends it first");
    }

    #[test]
    fn a_filesystem_that_is_read_only_is_found() {
        // The kernel's own are, in most places; where not, there is nothing to find.
        if let Some(said) = read_only(Path::new("/sys/kernel/x")) {
            assert!(said.contains("/sys") || said.contains("`/`"), "{said}");
        }
        assert_eq!(no_space(Errno::NOSPC, Path::new("/tmp/x")), None);
    }
}
