//! When and where processes run: `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity` (runtime-spec
//! config.md#linux-process) and `linux.memoryPolicy` (runtime-spec config-linux.md#memory-policy).

use serde::Deserialize;

use super::Text;

/// `process.scheduler`: when it gets a CPU (`sched_setattr(2)`).
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Scheduler<'a> {
    /// `SCHED_OTHER` and the like.
    #[serde(borrow)]
    pub policy: Text<'a>,
    /// −20 (a large share) to 19 (a small one).
    #[serde(default)]
    pub nice: Option<i32>,
    /// 1 to 99, for the real-time policies.
    #[serde(default)]
    pub priority: Option<i32>,
    /// `SCHED_FLAG_RESET_ON_FORK` and the like.
    #[serde(borrow, default)]
    pub flags: Option<Vec<Text<'a>>>,
    /// Nanoseconds that it may run in each period, for the deadline policy.
    #[serde(default)]
    pub runtime: Option<u64>,
    /// Nanoseconds from the begin of a period within which it gets them.
    #[serde(default)]
    pub deadline: Option<u64>,
    /// Nanoseconds of a period; as long as the deadline if absent.
    #[serde(default)]
    pub period: Option<u64>,
}

/// `process.ioPriority`: how its I/O is served (`ioprio_set(2)`).
#[derive(Debug, Clone, Default, Deserialize)]
pub struct IoPriority<'a> {
    /// `IOPRIO_CLASS_BE` and the like.
    #[serde(borrow)]
    pub class: Text<'a>,
    /// 0 (first) to 7 (last) within the class.
    #[serde(default)]
    pub priority: Option<i32>,
}

/// `process.execCPUAffinity`: on which CPUs a process runs that is executed in a running container. Lists (`0-3,7`).
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ExecCpuAffinity<'a> {
    /// Before it is moved into the container's cgroup.
    #[serde(borrow, default)]
    pub initial: Option<Text<'a>>,
    /// After that.
    #[serde(borrow, default, rename = "final")]
    pub last: Option<Text<'a>>,
}

/// `linux.memoryPolicy`: from which nodes memory comes (`set_mempolicy(2)`).
#[derive(Debug, Clone, Default, Deserialize)]
pub struct MemoryPolicy<'a> {
    /// `MPOL_BIND` and the like.
    #[serde(borrow)]
    pub mode: Text<'a>,
    /// A list (`0-3,7`).
    #[serde(borrow, default)]
    pub nodes: Option<Text<'a>>,
    /// `MPOL_F_STATIC_NODES` and the like.
    #[serde(borrow, default)]
    pub flags: Option<Vec<Text<'a>>>,
}
