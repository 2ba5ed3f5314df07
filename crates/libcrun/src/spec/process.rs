//! `process`: what runs in the container and as whom (runtime-spec config.md#process).

use serde::Deserialize;

use super::{ExecCpuAffinity, IoPriority, Scheduler, Text};

/// The process to run.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process<'a> {
    /// Whether it gets a terminal.
    #[serde(default)]
    pub terminal: Option<bool>,
    /// How large that is.
    #[serde(default)]
    pub console_size: Option<ConsoleSize>,
    /// As whom it runs.
    #[serde(default)]
    pub user: Option<User>,
    /// The program and its arguments.
    #[serde(borrow, default)]
    pub args: Option<Vec<Text<'a>>>,
    /// The environment, `NAME=value`.
    #[serde(borrow, default)]
    pub env: Option<Vec<Text<'a>>>,
    /// The directory it starts in.
    #[serde(borrow, default)]
    pub cwd: Option<Text<'a>>,
    /// What it may do.
    #[serde(borrow, default)]
    pub capabilities: Option<Capabilities<'a>>,
    /// How much it may use.
    #[serde(borrow, default)]
    pub rlimits: Option<Vec<Rlimit<'a>>>,
    /// Whether `execve(2)` may give it more privileges.
    #[serde(default)]
    pub no_new_privileges: Option<bool>,
    /// How likely the kernel is to kill it when memory runs out.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// When it gets a CPU.
    #[serde(borrow, default)]
    pub scheduler: Option<Scheduler<'a>>,
    /// How its I/O is served.
    #[serde(borrow, default)]
    pub io_priority: Option<IoPriority<'a>>,
    /// On which CPUs a process runs that is executed in the running container.
    #[serde(borrow, rename = "execCPUAffinity", default)]
    pub exec_cpu_affinity: Option<ExecCpuAffinity<'a>>,
    /// What AppArmor confines it to.
    #[serde(borrow, default)]
    pub apparmor_profile: Option<Text<'a>>,
    /// What SELinux takes it for.
    #[serde(borrow, default)]
    pub selinux_label: Option<Text<'a>>,
}

/// `process.consoleSize`, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct ConsoleSize {
    /// The number of lines.
    #[serde(default)]
    pub height: u32,
    /// The length of a line.
    #[serde(default)]
    pub width: u32,
}

/// `process.user`: ids inside the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// User id.
    #[serde(default)]
    pub uid: u32,
    /// Group id.
    #[serde(default)]
    pub gid: u32,
    /// File mode creation mask; 0022 if absent.
    #[serde(default)]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(default)]
    pub additional_gids: Option<Vec<u32>>,
}

/// `process.capabilities`: the five sets of `capabilities(7)`, by name.
#[derive(Debug, Default, Deserialize)]
pub struct Capabilities<'a> {
    /// What `execve(2)` can ever give.
    #[serde(borrow, default)]
    pub bounding: Option<Vec<Text<'a>>>,
    /// What the kernel checks.
    #[serde(borrow, default)]
    pub effective: Option<Vec<Text<'a>>>,
    /// What is kept across `execve(2)` of a file that has it too.
    #[serde(borrow, default)]
    pub inheritable: Option<Vec<Text<'a>>>,
    /// What may be made effective.
    #[serde(borrow, default)]
    pub permitted: Option<Vec<Text<'a>>>,
    /// What a non-root program keeps across `execve(2)`.
    #[serde(borrow, default)]
    pub ambient: Option<Vec<Text<'a>>>,
}

/// One entry of `process.rlimits`.
#[derive(Debug, Clone, Deserialize)]
pub struct Rlimit<'a> {
    /// `RLIMIT_NOFILE` and the like.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// The soft limit.
    pub soft: u64,
    /// The ceiling of the soft limit.
    pub hard: u64,
}
