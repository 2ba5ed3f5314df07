//! When a thread runs and how its I/O is served: `sched_setattr(2)` and `ioprio_set(2)`.

use rustix::process::Pid;

use crate::{Result, checked};

/// What `sched_setattr(2)` sets. Fields that the policy has no use for are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchedulerAttributes {
    /// `SCHED_*`
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// Of the policies that share the CPU.
    pub nice: i32,
    /// Of the real-time policies.
    pub priority: u32,
    /// Of the deadline policy, in nanoseconds, as the two that follow.
    pub runtime: u64,
    /// How long a period has for the runtime.
    pub deadline: u64,
    /// How often it is due.
    pub period: u64,
}

/// The kernel's `struct sched_attr` with utilization clamps (Linux 5.3); older kernels take it while those are 0.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    utilization: [u32; 2],
}

const SIZE: u32 = 56;
const _: () = assert!(size_of::<Attributes>() == SIZE as usize);

/// Sets how the thread `pid`, or the calling one, is scheduled.
///
/// # Errors
/// Those of `sched_setattr(2)`.
pub fn set_scheduler(pid: Option<Pid>, attributes: &SchedulerAttributes) -> Result<()> {
    let SchedulerAttributes { policy, flags, nice, priority, runtime, deadline, period } = *attributes;
    let utilization = [0; 2];
    let attributes =
        Attributes { size: SIZE, policy, flags, nice, priority, runtime, deadline, period, utilization };
    // SAFETY: the structure is as long as it says, outlives the call and is only read by the kernel but for its size,
    // which it corrects when it is wrong; it cannot be.
    checked(unsafe { libc::syscall(libc::SYS_sched_setattr, Pid::as_raw(pid), &raw const attributes, 0) })
        .map(drop)
}

/// Sets the class (`IOPRIO_CLASS_*`) and the priority within it by which I/O of the thread `pid`, or of the calling one, is
/// served.
///
/// # Errors
/// Those of `ioprio_set(2)`.
pub fn set_io_priority(pid: Option<Pid>, class: u8, priority: u8) -> Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_SHIFT: u32 = 13;
    let value = libc::c_int::from(class) << CLASS_SHIFT | libc::c_int::from(priority);
    // SAFETY: ioprio_set takes numbers only.
    checked(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, Pid::as_raw(pid), value) }).map(drop)
}
