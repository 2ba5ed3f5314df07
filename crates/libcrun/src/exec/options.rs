//! What a caller may say about a process that is run in a container.

use std::path::PathBuf;

use crate::timeline::Timeline;

/// What to run, where it differs from the container's own process.
#[derive(Debug, Clone)]
pub struct ExecOptions {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Variables that are added to the container's or replace those of the same name, `NAME=value`.
    pub env: Vec<String>,
    /// The directory to start in.
    pub cwd: Option<String>,
    /// User and group.
    pub user: Option<(u32, u32)>,
    /// Groups that are added to the supplementary ones.
    pub additional_gids: Vec<u32>,
    /// Capabilities that are added to all sets but the inheritable one.
    pub capabilities: Vec<String>,
    /// Whether `execve(2)` may give no more privileges, whatever the container's own process is allowed.
    pub no_new_privileges: bool,
    /// Whether the resource limits and the OOM score of the container's own process hold for it, too.
    pub limits_of_container: bool,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// The AppArmor profile, if it is not to be the container's.
    pub apparmor_profile: Option<String>,
    /// The SELinux label, if it is not to be the container's.
    pub selinux_label: Option<String>,
    /// A file with a process object, instead of all of the above.
    pub process: Option<PathBuf>,
    /// A file that gets the pid of the process.
    pub pid_file: Option<PathBuf>,
    /// As for [`crate::CreateOptions`].
    pub console_socket: Option<PathBuf>,
    /// A socket that gets a descriptor of the process (`pidfd_open(2)`).
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on the process keeps.
    pub preserve_fds: u32,
    /// Whether not to wait for the process.
    pub detach: bool,
    /// The cgroup below the container's to run in; with v1 hierarchies also several, for a part of them each:
    /// `[CONTROLLER[,CONTROLLER...]:]PATH`.
    pub cgroups: Vec<String>,
    /// Whether a paused container will do. The process is made and, like the others, goes on when the container does; a
    /// signal that would end the caller ends the wait for that.
    pub ignore_paused: bool,
    /// As for [`crate::CreateOptions`].
    pub seccomp_receiver: Option<PathBuf>,
    /// As for [`crate::CreateOptions`]. A program with several threads can only be kept from the container by being
    /// executed through a read-only mount.
    pub self_protection: bool,
    /// As for [`crate::CreateOptions`].
    pub timeline: Timeline,
}

impl Default for ExecOptions {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            user: None,
            additional_gids: Vec::new(),
            capabilities: Vec::new(),
            no_new_privileges: false,
            limits_of_container: false,
            terminal: false,
            apparmor_profile: None,
            selinux_label: None,
            process: None,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            preserve_fds: 0,
            detach: false,
            cgroups: Vec::new(),
            ignore_paused: false,
            seccomp_receiver: None,
            self_protection: true,
            timeline: Timeline::default(),
        }
    }
}
