//! Which part of a path keeps somebody out.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::Obstacle;
use crate::error::{Code, Error};

/// An error about `path`, with the directory on the way to it that does not let this process through.
pub(crate) fn closed(error: Error, path: &Path) -> Error {
    let cause = (error.errno() == Some(Errno::ACCESS)).then(|| denied(path)).flatten();
    match cause {
        Some(cause) => cause.stands_behind(error).with_code(Code::PathDenied),
        None => error,
    }
}

/// An error about a directory with the state of containers, with whose that is.
pub(crate) fn state_root_closed(error: Error, path: &Path) -> Error {
    let user = geteuid();
    if user.is_root() || !matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM)) {
        return error;
    }
    let Some(closed) = path.ancestors().find_map(|path| closed_to(path, user.as_raw())) else { return error };
    let usual = format!("/run/user/{user}");
    let remedy = match path.starts_with(&usual) {
        true => {
            format!("a login makes `{usual}`; give a directory of your own by `--root` where there is none")
        }
        false => format!("set XDG_RUNTIME_DIR to a directory of your own, such as {usual}, or give `--root`"),
    };
    Obstacle::new(closed, remedy).stands_behind(error).with_code(Code::PathDenied)
}

/// Says which directory on the way to `path` does not let this process through; nothing where all do.
pub(crate) fn denied(path: &Path) -> Option<Obstacle> {
    let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
    way.reverse();
    let is_closed = |directory: &Path| {
        matches!(accessat(CWD, directory, Access::EXEC_OK, AtFlags::EACCESS), Err(Errno::ACCESS))
    };
    let closed = way.into_iter().find(|directory| is_closed(directory))?;
    let found = closed_to(closed, geteuid().as_raw())?;
    Some(Obstacle::new(found, "`chmod o+x` it, or use another"))
}

/// A directory that this user may not enter, in words.
pub(crate) fn closed_to(directory: &Path, user: u32) -> Option<String> {
    let metadata = std::fs::metadata(directory).ok()?;
    let (owner, group) = (metadata.uid(), metadata.gid());
    let mode = metadata.permissions().mode() & 0o7777;
    let shown = directory.display();
    Some(format!("the directory `{shown}` of {owner}:{group} with mode {mode:04o} is closed to user {user}"))
}

/// Whether this user and group may enter a directory, as far as its owner and mode say.
pub(crate) fn lets_in(directory: &Path, user: u32, group: u32) -> bool {
    let Ok(metadata) = std::fs::metadata(directory) else { return true };
    let mode = metadata.permissions().mode();
    match (metadata.uid() == user, metadata.gid() == group) {
        (true, _) => mode & 0o100 != 0,
        (false, true) => mode & 0o010 != 0,
        (false, false) => mode & 0o001 != 0,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, remove_dir, set_permissions};

    use super::*;

    #[test]
    fn a_directory_lets_in_whom_its_mode_allows() {
        let directory = std::env::temp_dir().join(format!("crun-lets-in-{}", std::process::id()));
        create_dir(&directory).unwrap();
        let own = std::fs::metadata(&directory).unwrap();
        let (user, group) = (own.uid(), own.gid());
        for (mode, owner, member, other) in
            [(0o700, true, false, false), (0o710, true, true, false), (0o705, true, false, true)]
        {
            set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            assert_eq!(lets_in(&directory, user, group + 1), owner);
            assert_eq!(lets_in(&directory, user + 1, group), member);
            assert_eq!(lets_in(&directory, user + 1, group + 1), other);
        }
        let words = closed_to(&directory, 77).unwrap();
        assert!(
            words.ends_with(&format!("of {user}:{group} with mode 0705 is closed to user 77")),
            "{words}"
        );
        remove_dir(&directory).unwrap();
    }
}
