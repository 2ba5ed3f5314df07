//! The program that decides about devices, under a name by which systemd finds it: so systemd attaches it, and does so
//! again whenever it goes over its units. Without, a `systemctl daemon-reload` makes a program of what `DeviceAllow=`
//! can say, and devices without a link below `/dev/char` are lost.

use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, CWD, FsWord, Mode, OFlags, fstat, mkdir, openat, statfs, unlinkat};
use rustix::io::Errno;

use crate::devices::{Rule, load_program};
use crate::error::{Error, Result};

const FILESYSTEM: &str = "/sys/fs/bpf";
const DIRECTORY: &str = "/sys/fs/bpf/crun";

const BPF_FS_MAGIC: FsWord = 0xcafe_4a11;

/// Whether programs can be given names on this host.
pub(super) fn is_possible() -> bool {
    statfs(FILESYSTEM).is_ok_and(|stat| stat.f_type == BPF_FS_MAGIC)
}

/// The name of the program of a unit. There is no dot in such names, so `a.scope` becomes `a_scope`, and what would be
/// mistaken for that then is written in figures.
pub(super) fn path(unit: &str) -> String {
    let (stem, kind) = unit.rsplit_once('.').unwrap_or((unit, "scope"));
    let mut name = String::with_capacity(unit.len());
    for letter in stem.chars() {
        match letter {
            letter if letter.is_ascii_alphanumeric() || matches!(letter, '-' | ':') => name.push(letter),
            letter => name.push_str(&format!("_{:02x}", u32::from(letter))),
        }
    }
    format!("{DIRECTORY}/{name}_{kind}")
}

/// Loads the program for these rules and gives it the name for this unit, which may be taken by the program of an earlier
/// unit of that name.
pub(super) fn make(unit: &str, rules: &[Rule]) -> Result<String> {
    let path = path(unit);
    let failed = |what: &str, errno| Error::kernel(format!("{what} the device program `{path}`"), errno);
    let program = load_program(rules).map_err(|errno| failed("load", errno))?;
    match mkdir(DIRECTORY, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::kernel(format!("mkdir `{DIRECTORY}`"), errno)),
    }
    check_owner()?;
    remove(unit);
    let name = CString::new(path.as_str()).map_err(|_| failed("pin", Errno::INVAL))?;
    sys::bpf::pin(program.as_fd(), &name).map_err(|errno| failed("pin", errno))?;
    Ok(path)
}

/// Whoever owns the directory could put other programs into it.
fn check_owner() -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stat = openat(CWD, DIRECTORY, flags, Mode::empty())
        .and_then(fstat)
        .map_err(|errno| Error::kernel(format!("open `{DIRECTORY}`"), errno))?;
    match stat.st_uid {
        0 => Ok(()),
        other => Err(Error::plain(format!("`{DIRECTORY}` belongs to user {other}"))),
    }
}

/// Removes the name, if it is there. What has been attached stays.
pub(super) fn remove(unit: &str) {
    let _ = unlinkat(CWD, path(unit), AtFlags::empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_dot() {
        assert_eq!(path("libpod-abc.scope"), "/sys/fs/bpf/crun/libpod-abc_scope");
    }

    #[test]
    fn two_units_have_two_names() {
        let units = ["a_b.scope", "a.b.scope", "a-b.scope", "a_2eb.scope", "a_5fb.scope", "a_scope.scope"];
        let names: std::collections::BTreeSet<_> = units.map(path).into();
        assert_eq!(names.len(), units.len());
        assert!(names.iter().all(|name| !name.contains('.')));
    }
}
