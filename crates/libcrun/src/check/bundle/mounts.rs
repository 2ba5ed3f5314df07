//! Whether there is what is to be mounted.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, statat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::probe::Call;

use super::super::kernel::{Found, Known};
use super::super::subject::Ability;
use super::super::{Answer, Finding};
use super::Examined;
use crate::error::{Code, Error};
use crate::explain;
use crate::idmap::UserNamespaces;
use crate::plan::{Bind, Idmap, MountOperation, MountSource, SourceLink};

pub(super) fn look(examined: &Examined<'_>) -> Vec<Finding> {
    let known = Known::of(examined.subject);
    let mounts = examined.plan.rootfs.mounts.iter();
    let answer = |mount: &MountOperation| {
        let answer = match &mount.source {
            MountSource::Bind(bind) => bound(examined, mount, bind),
            MountSource::Filesystem(filesystem) => match &filesystem.idmap {
                Some(_) if !can_idmap(examined) => Some(no_idmap(mount)),
                _ => made(&known, mount, &filesystem.kind.to_string_lossy()),
            },
            MountSource::CgroupTree(_) | MountSource::Remount { .. } => None,
        };
        answer.map(|answer| answer.about(format!("mounts[{}]", mount.index)))
    };
    mounts.filter_map(answer).collect()
}

fn bound(examined: &Examined<'_>, mount: &MountOperation, bind: &Bind) -> Option<Answer> {
    let flags = match bind.link {
        SourceLink::Follow => AtFlags::empty(),
        SourceLink::NoFollow | SourceLink::Copy => AtFlags::SYMLINK_NOFOLLOW,
    };
    if let Err(errno) = statat(CWD, bind.source.as_c_str(), flags) {
        let what = bind.opening(mount);
        let remedy = match errno {
            Errno::ACCESS => explain::denied(Path::new(OsStr::from_bytes(bind.source.to_bytes())))
                .map(|closed| closed.to_string()),
            _ => None,
        };
        let remedy = remedy.unwrap_or_else(|| "make it before, or leave the mount out".to_owned());
        return Some(Answer::missing(Error::of(Code::Rootfs, what, Some(errno)).to_string(), remedy));
    }
    let idmap = bind.idmap.as_ref()?;
    if !can_idmap(examined) {
        return Some(no_idmap(mount));
    }
    if examined.subject.host.is_rootless() {
        let found = mount.name("only root of the host may id-map what is bound");
        return Some(Answer::missing(found, "run it as root, or leave the mapping out"));
    }
    mapped(mount, bind, idmap)
}

fn can_idmap(examined: &Examined<'_>) -> bool {
    examined.subject.kernel.can(Ability::Call(Call::MountSetattr))
}

fn no_idmap(mount: &MountOperation) -> Answer {
    Answer::missing(
        mount.name("this kernel has no id-mapped mounts"),
        "a kernel with mount_setattr(2) (Linux 5.12)",
    )
}

/// Maps the ids of a clone of the mount, which goes away with its descriptor: which filesystems can do it, only they know.
fn mapped(mount: &MountOperation, bind: &Bind, idmap: &Idmap) -> Option<Answer> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, bind.source.as_c_str(), flags).ok()?;
    let error = UserNamespaces::default().apply(tree.as_fd(), idmap, &mount.name_only()).err()?;
    let remedy = match error.errno() {
        Some(Errno::INVAL) => {
            "put it on a filesystem that can be id-mapped, leave the mapping out, or `chown` the files"
        }
        _ => "see user_namespaces(7) and mount_setattr(2)",
    };
    Some(Answer::missing(error.to_string(), remedy))
}

fn made(known: &Known, mount: &MountOperation, kind: &str) -> Option<Answer> {
    match known.find(kind.split('.').next().unwrap_or(kind)) {
        Found::BuiltIn | Found::Module => None,
        Found::Nowhere => Some(Answer::missing(
            mount.name(&format!("this kernel has no filesystem `{kind}`")),
            format!("a kernel with it, or its module (`modprobe {kind}`)"),
        )),
    }
}
