//! What a caller may say about a container that is made, and what it gets back.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::id::ContainerId;
use crate::plan::{CgroupManager, Notify, Request};
use crate::timeline::Timeline;
use crate::warning::{Tell, Warnings};

/// How to create a container.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// The bundle directory.
    pub bundle: PathBuf,
    /// The configuration; `config.json` of the bundle unless another is given.
    pub config: Option<PathBuf>,
    /// A file that gets the pid of the container's process.
    pub pid_file: Option<PathBuf>,
    /// The socket that gets the terminal, if there is one. Without it the process in the foreground is attached to what
    /// the caller has as standard input and output.
    pub console_socket: Option<PathBuf>,
    /// How many descriptors from 3 on the process keeps.
    pub preserve_fds: u32,
    /// How many of these are sockets that systemd has passed: the process is told so (`sd_listen_fds(3)`).
    pub listen_fds: u32,
    /// Whether the process gets a session keyring of its own.
    pub new_keyring: bool,
    /// Whether the root is entered with `pivot_root(2)` (or else `chroot(2)`).
    pub pivot: bool,
    /// The socket of a service manager that waits for the container to be ready (`sd_notify(3)`). The program gets one of
    /// its own for saying so.
    pub notify_socket: Option<PathBuf>,
    /// A socket that gets a descriptor of the container's process (`pidfd_open(2)`).
    pub pidfd_socket: Option<PathBuf>,
    /// The socket of who answers for system calls that the seccomp profile leaves to somebody, where neither that nor an
    /// annotation says whom to ask.
    pub seccomp_receiver: Option<PathBuf>,
    /// Who manages the cgroup.
    pub cgroup_manager: CgroupManager,
    /// Whether the running executable is kept from the container (CVE-2019-5736). An embedder whose executable is not
    /// root's to lose may do without.
    pub self_protection: bool,
    /// Where it is noted what is done when.
    pub timeline: Timeline,
}

impl CreateOptions {
    /// The usual way to create the container of `bundle`.
    #[must_use]
    pub fn new(bundle: PathBuf) -> Self {
        Self {
            bundle,
            config: None,
            pid_file: None,
            console_socket: None,
            preserve_fds: 0,
            listen_fds: 0,
            new_keyring: true,
            pivot: true,
            notify_socket: None,
            pidfd_socket: None,
            seccomp_receiver: None,
            cgroup_manager: CgroupManager::default(),
            self_protection: true,
            timeline: Timeline::default(),
        }
    }
}

impl CreateOptions {
    pub(super) fn request<'a>(
        &'a self,
        id: &'a ContainerId,
        bundle: &'a Path,
        notify_directory: &'a Path,
    ) -> Request<'a> {
        let notify = self.notify_socket.as_deref();
        Request {
            id,
            bundle,
            cgroup_manager: self.cgroup_manager,
            preserve_fds: self.preserve_fds,
            listen_fds: self.listen_fds,
            new_keyring: self.new_keyring,
            pivot: self.pivot,
            seccomp_receiver: self.seccomp_receiver.as_deref(),
            notify: notify.map(|socket| Notify { socket, directory: notify_directory }),
        }
    }
}

/// What becomes of a container that [`crate::run`] has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// The caller waits until it ends; then it is removed unless it is to be kept.
    Foreground {
        /// Whether its state stays until it is deleted.
        keep: bool,
    },
    /// It is left to itself.
    Detached,
}

/// How a process ended that [`crate::run`] or [`crate::exec`] has run.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status, 128 plus the signal that ended it, or 0 when it was detached.
    pub status: i32,
    /// What is to be told of its start, and of what came after its end.
    pub warnings: Warnings,
}

impl Ended {
    /// Collects what `operation` tells while it goes on.
    pub(crate) fn of(operation: impl FnOnce(&mut Tell<'_>) -> Result<i32>) -> Result<Self> {
        let mut warnings = Warnings::new();
        let status = operation(&mut |warning| warnings.push(warning))?;
        Ok(Self { status, warnings })
    }
}
