//! A bundle, what was made of it, and the machine it is for.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat};
use rustix::io::Errno;

use super::super::subject::Subject;
use crate::init::inner;
use crate::plan::{InnerPath, MountSource, Plan};
use crate::spec::Spec;

/// Everything there is to look at.
pub(in super::super) struct Examined<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) spec: &'a Spec<'a>,
    /// For all of it that was not refused.
    pub(super) plan: &'a Plan,
}

/// Where a path of the container leads.
#[derive(Debug)]
pub(super) enum Located {
    /// To this file.
    File(OwnedFd),
    /// Nowhere, for this reason.
    Nowhere(Errno),
    /// To something that is not there before the container is; the number is that of the mount.
    Unknown(usize),
}

const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

impl Examined<'_> {
    /// Follows a path of the container, in its root filesystem or in what is bound over a part of that. Nothing is made, and
    /// nothing leads out.
    pub(super) fn locate(&self, path: &str) -> Located {
        let Ok(inner) = InnerPath::new(path, || path.to_owned()) else {
            return Located::Nowhere(Errno::INVAL);
        };
        let covers = |destination: &InnerPath| *destination == inner || destination.is_above(&inner);
        let mounts = self.plan.rootfs.mounts.iter().rev();
        let made = |source: &MountSource| !matches!(source, MountSource::Remount { .. });
        let over = mounts.clone().find(|mount| made(&mount.source) && covers(&mount.destination));
        let found = match over {
            None => in_tree(&self.plan.rootfs.path, inner.as_c_str()),
            Some(mount) => {
                let MountSource::Bind(bind) = &mount.source else { return Located::Unknown(mount.index) };
                let source = Path::new(std::ffi::OsStr::new(bind.source.to_str().unwrap_or_default()));
                let all = inner.to_string();
                let rest = all.strip_prefix(&mount.destination.to_string()).unwrap_or_default();
                match rest.trim_start_matches('/') {
                    "" => openat(CWD, source, PATH, Mode::empty()),
                    rest => CString::new(rest).or(Err(Errno::INVAL)).and_then(|rest| in_tree(source, &rest)),
                }
                // A link in there may lead to what is not below the source.
                .or(Err(Errno::NOSYS))
            }
        };
        match (found, over) {
            (Ok(file), _) => Located::File(file),
            (Err(_), Some(mount)) => Located::Unknown(mount.index),
            (Err(errno), None) => match self.hidden_by() {
                // A link on the way may lead into a mount.
                Some(index) if has_links(&self.plan.rootfs.path, inner.as_c_str()) => Located::Unknown(index),
                _ => Located::Nowhere(errno),
            },
        }
    }

    /// A mount with files that are not those of the root filesystem.
    fn hidden_by(&self) -> Option<usize> {
        let is_usual = |path: &str| {
            ["/dev", "/proc", "/sys", "/run", "/tmp", "/etc"].iter().any(|usual| path.starts_with(usual))
        };
        let mounts = self.plan.rootfs.mounts.iter();
        mounts.clone().find(|mount| !is_usual(&mount.destination.to_string())).map(|mount| mount.index)
    }
}

/// Whether there are symbolic links on the way.
fn has_links(root: &Path, path: &CStr) -> bool {
    look_up(root, path, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS).err() == Some(Errno::LOOP)
}

fn in_tree(root: &Path, path: &CStr) -> Result<OwnedFd, Errno> {
    look_up(root, path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

fn look_up(root: &Path, path: &CStr, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    let root = openat(CWD, root, PATH | OFlags::DIRECTORY, Mode::empty())?;
    inner::resolve(root.as_fd(), path, OFlags::empty(), how).unwrap_or(Err(Errno::NOSYS))
}

/// The beginning of a file; nothing where it cannot be read.
pub(super) fn beginning(path: impl AsRef<Path>) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    File::open(path).ok()?.take(4096).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
