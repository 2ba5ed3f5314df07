//! Writing below `/proc`, and only below it: what a runtime writes there decides about a container's confinement, so it
//! must not go somewhere else because something is mounted over a part of `/proc` or over all of it
//! (CVE-2019-16884, CVE-2025-52881).

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, StatxFlags, fstat, fstatfs, openat, openat2,
    readlinkat, statx,
};
use rustix::io::{Errno, write};
use rustix::path::Arg;
use rustix::process::Pid;

use crate::error::{Code, Context, Error, Result};

/// The inode of the root of every procfs (`PROC_ROOT_INO`).
const ROOT_INODE: u64 = 1;

/// A descriptor of the root of a procfs, which has been seen to be one.
#[derive(Debug)]
pub(crate) struct ProcFs(OwnedFd);

impl ProcFs {
    /// The host's.
    pub(crate) fn open() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, c"/proc", flags, Mode::empty()).context(Code::System, || "open `/proc`")?;
        match is_procfs_root(&root).context(Code::System, || "look at `/proc`")? {
            true => Ok(Self(root)),
            false => Err(Error::new(Code::System, "`/proc` is not the root of a proc filesystem")),
        }
    }

    /// Writes one of the files by which a process is set up from outside, in one call.
    pub(crate) fn write(&self, pid: Pid, file: &str, value: &str) -> Result<()> {
        self.write_below(&format!("{}/{file}", pid.as_raw_nonzero()), value)
    }

    /// The same for the calling process, which may have another pid in this procfs than it knows itself by.
    pub(crate) fn write_own(&self, file: &str, value: &str) -> Result<()> {
        let own = readlinkat(&self.0, c"self", Vec::new()).context(Code::System, || "read `/proc/self`")?;
        self.write_below(&format!("{}/{file}", own.to_string_lossy()), value)
    }

    /// Writes to a file below the root, in one call. Allocates nothing, for a process that must not; `thread-self` is the
    /// calling thread.
    ///
    /// # Errors
    /// `EXDEV` where something is mounted on the way, `EINVAL` when the kernel takes only a part.
    pub(crate) fn write_at(&self, path: &CStr, value: &[u8]) -> core::result::Result<(), Errno> {
        self.open_at(path).and_then(|file| write_whole(&file, value))
    }

    /// Opens a file to be written to by [`write_whole`]. Allocates nothing.
    pub(crate) fn open_at(&self, path: &CStr) -> core::result::Result<OwnedFd, Errno> {
        // The links `self` and `thread-self` are none that lead out.
        self.open_resolving(path, ResolveFlags::NO_MAGICLINKS)
    }

    /// Opens a namespace of the calling process. Allocates nothing.
    pub(crate) fn open_own_namespace(&self, path: &CStr) -> core::result::Result<OwnedFd, Errno> {
        openat(&self.0, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    }

    fn write_below(&self, path: &str, value: &str) -> Result<()> {
        let name = || format!("write `{}` to `/proc/{path}`", value.trim_end());
        let written = self.open_to_write(path).and_then(|file| write(&file, value.as_bytes()));
        match written.context(Code::System, name)? {
            length if length == value.len() => Ok(()),
            _ => Err(Error::os(Code::System, name(), Errno::NOSPC)),
        }
    }

    fn open_to_write(&self, path: &str) -> core::result::Result<OwnedFd, Errno> {
        self.open_resolving(path, ResolveFlags::NO_SYMLINKS)
    }

    fn open_resolving<P: Arg + Copy>(
        &self,
        path: P,
        links: ResolveFlags,
    ) -> core::result::Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        // Nothing that is mounted on the way.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | links;
        match openat2(&self.0, path, flags, Mode::empty(), resolve) {
            // Linux before 5.6, or a filter: what was opened tells where it lies.
            Err(Errno::NOSYS | Errno::PERM) => {
                let file = openat(&self.0, path, flags, Mode::empty())?;
                if is_of_mount(&file, &self.0)? { Ok(file) } else { Err(Errno::XDEV) }
            }
            other => other,
        }
    }
}

/// Writes all of `value` in one call, which is how these files are written.
pub(crate) fn write_whole(file: &OwnedFd, value: &[u8]) -> core::result::Result<(), Errno> {
    match write(file, value)? {
        length if length == value.len() => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// Whether a file lies in a mount, and not in one on top of it. Before Linux 5.8 a mount of the same filesystem cannot be
/// told from it.
fn is_of_mount(file: &OwnedFd, root: &OwnedFd) -> core::result::Result<bool, Errno> {
    let mount = |file: &OwnedFd| {
        let known = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok();
        known.filter(|known| known.stx_mask & StatxFlags::MNT_ID.bits() != 0).map(|known| known.stx_mnt_id)
    };
    let same_filesystem = fstat(file)?.st_dev == fstat(root)?.st_dev;
    Ok(same_filesystem && mount(file) == mount(root))
}

fn is_procfs_root(root: &OwnedFd) -> core::result::Result<bool, Errno> {
    Ok(fstatfs(root)?.f_type == PROC_SUPER_MAGIC && fstat(root)?.st_ino == ROOT_INODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_process_is_written() {
        let proc = ProcFs::open().unwrap();
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        proc.write(rustix::process::getpid(), "oom_score_adj", own.trim()).unwrap();
        proc.write_own("oom_score_adj", own.trim()).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let error = ProcFs::open().unwrap().write(rustix::process::getpid(), "nothing", "1").unwrap_err();
        let pid = rustix::process::getpid().as_raw_nonzero();
        assert_eq!(
            error.to_string(),
            format!("write `1` to `/proc/{pid}/nothing`: No such file or directory")
        );
    }

    #[test]
    fn only_the_root_of_a_procfs_counts_as_one() {
        for path in ["/proc/self", "/proc/sys", "/sys", "/tmp"] {
            let other = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
            assert!(!is_procfs_root(&other).unwrap(), "{path}");
        }
    }

    /// Takes `openat2(2)` away from the calling thread.
    fn forget_openat2() {
        use sys::seccomp::Instruction;
        let instruction = |code, operand, jump_false| Instruction { code, jump_true: 0, jump_false, operand };
        // The number of the call; if it is 437, ENOSYS, else allow.
        let program = [
            instruction(0x20, 0, 0),
            instruction(0x15, 437, 1),
            instruction(0x06, 0x0005_0000 | 38, 0),
            instruction(0x06, 0x7fff_0000, 0),
        ];
        sys::seccomp::filter(&program).unwrap();
    }

    /// CVE-2025-52881 and CVE-2019-16884: the file to be written is covered by another one of procfs, by one of another
    /// filesystem, or lies behind a link.
    #[test]
    fn what_covers_a_file_of_procfs_is_not_written_to() {
        use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can mount");
            return;
        }
        sys::namespace::unshare(sys::clone::Namespaces::MOUNT).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let own = format!("{}/oom_score_adj", rustix::process::getpid().as_raw_nonzero());
        let covered = format!("/proc/{own}");
        let file = std::env::temp_dir().join(format!("crun-procfs-{}", std::process::id()));
        std::fs::write(&file, "unwritten").unwrap();
        let proc = ProcFs::open().unwrap();
        for rung in ["openat2", "openat"] {
            assert!(proc.open_to_write(&own).is_ok(), "{rung}");
            for cover in [std::path::Path::new("/proc/self/coredump_filter"), &file] {
                mount_bind(cover, &covered).unwrap();
                assert_eq!(proc.open_to_write(&own).unwrap_err(), Errno::XDEV, "{rung}: {}", cover.display());
                unmount(&covered, UnmountFlags::DETACH).unwrap();
            }
            assert_eq!(proc.open_to_write("self/oom_score_adj").is_err(), rung == "openat2");
            forget_openat2();
        }
        std::fs::remove_file(file).unwrap();
    }
}
