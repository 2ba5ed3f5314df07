//! Whether the programs of the hooks are there.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, fstat, stat};
use rustix::io::Errno;

use super::super::{Answer, Finding};
use super::Examined;
use super::examined::Located;
use super::refusals::NO_HOOK;
use crate::error::{Code, Error};
use crate::explain;
use crate::plan::{HookKind, hook_name};

pub(super) fn look(examined: &Examined<'_>) -> Vec<Finding> {
    let Some(plan) = &examined.plan.hooks else { return Vec::new() };
    let mut findings = Vec::new();
    for kind in HookKind::ALL {
        for (index, hook) in plan.list(kind).hooks.iter().enumerate() {
            let path = hook.path.to_string_lossy();
            if path == NO_HOOK {
                continue;
            }
            let reached = match kind {
                HookKind::StartContainer => inside(examined, &path),
                _ => outside(Path::new(path.as_ref())),
            };
            let Err(errno) = reached else { continue };
            let name = hook_name(kind, index);
            let what = format!("{} hook failed: error executing hook `{path}` ({name})", kind.name());
            let found = Error::os(Code::Hook, what, errno).to_string();
            let place = if kind == HookKind::StartContainer { "in the rootfs" } else { "on the host" };
            let denied = if errno == Errno::ACCESS {
                explain::denied(Path::new(path.as_ref())).map(|closed| closed.to_string())
            } else {
                None
            };
            let remedy =
                denied.unwrap_or_else(|| format!("install it {place}, executable, or leave the hook out"));
            findings.push(Answer::missing(found, remedy).about(name));
        }
    }
    findings
}

fn outside(path: &Path) -> Result<(), Errno> {
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?;
    match FileType::from_raw_mode(stat(path)?.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(Errno::ACCESS),
    }
}

fn inside(examined: &Examined<'_>, path: &str) -> Result<(), Errno> {
    match examined.locate(path) {
        Located::Nowhere(Errno::NOSYS) | Located::Unknown(_) => Ok(()),
        Located::Nowhere(errno) => Err(errno),
        Located::File(file) if fstat(&file)?.st_mode & 0o111 == 0 => Err(Errno::ACCESS),
        Located::File(_) => Ok(()),
    }
}
