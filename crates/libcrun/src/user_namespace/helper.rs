//! newuidmap(1) and newgidmap(1): set-user-id programs that map the ids which `/etc/subuid` and `/etc/subgid` give to their
//! caller.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, getegid, geteuid};
use rustix::thread::CapabilitySet;

use super::reasons;
use crate::error::{Code, Context, Error, Result};
use crate::host::users::SUBORDINATE;
use crate::spec::IdMapping;

/// Which ids are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Users,
    Groups,
}

impl Kind {
    /// The kernel's file.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Users => "uid_map",
            Self::Groups => "gid_map",
        }
    }

    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Users => "newuidmap",
            Self::Groups => "newgidmap",
        }
    }

    /// What the configuration calls the mappings.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Users => "linux.uidMappings",
            Self::Groups => "linux.gidMappings",
        }
    }
}

impl Kind {
    /// What the program has to have, if it is not set-user-id root.
    pub(super) const fn capability(self) -> &'static str {
        match self {
            Self::Users => "cap_setuid",
            Self::Groups => "cap_setgid",
        }
    }

    /// The same as a bit.
    pub(super) const fn capability_bit(self) -> CapabilitySet {
        match self {
            Self::Users => CapabilitySet::SETUID,
            Self::Groups => CapabilitySet::SETGID,
        }
    }

    /// The file that says which ids are whose.
    pub(super) const fn subordinate_file(self) -> &'static str {
        match self {
            Self::Users => SUBORDINATE[0],
            Self::Groups => SUBORDINATE[1],
        }
    }

    /// The id that the caller may map in any case.
    pub(super) fn own_id(self) -> u32 {
        match self {
            Self::Users => geteuid().as_raw(),
            Self::Groups => getegid().as_raw(),
        }
    }
}

/// Has the program map them. A caller who may do it after all (`direct`) needs none.
pub(super) fn map(
    mappings: &[IdMapping],
    kind: Kind,
    pid: Pid,
    direct: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let called = match find(kind.program()) {
        Some(path) => call(&path, mappings, kind, pid),
        None => Err(missing(kind)),
    };
    // What the program has to say, says more than the kernel's reason.
    called.or_else(|refused| direct().map_err(|_| refused))
}

fn call(path: &Path, mappings: &[IdMapping], kind: Kind, pid: Pid) -> Result<()> {
    let numbers = mappings.iter().flat_map(|mapping| [mapping.container_id, mapping.host_id, mapping.size]);
    let output = Command::new(path)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::null())
        .output()
        .context(Code::Namespace, || format!("{}: run `{}`", kind.name(), path.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut message = format!("{}: `{}`: {}", kind.name(), path.display(), said.trim());
    if let Some(reason) = reasons::explain(path, mappings, kind) {
        message = format!("{message}: {reason}");
    }
    Err(Error::new(Code::IdsNotMapped, message))
}

/// The path of a program in PATH.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

fn missing(kind: Kind) -> Error {
    let (name, program) = (kind.name(), kind.program());
    Error::new(
        Code::IdsNotMapped,
        format!(
            "{name}: to map more than its own id, a user without privileges needs the program `{program}`, which \
             is not in PATH: install it (package uidmap, in other distributions shadow-utils or shadow)"
        ),
    )
}
