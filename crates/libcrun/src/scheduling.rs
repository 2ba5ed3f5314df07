//! When a process gets a CPU and how its I/O is served: set from outside, because the rights for that are those of the
//! runtime, which a process in a user namespace does not have. And its CPUs as long as it is outside itself.

use rustix::io::Errno;
use rustix::process::Pid;
use sys::binding::{EVERY_CPU, set_affinity};
use sys::scheduling::{set_io_priority, set_scheduler};

use crate::error::{Code, Context, Error, Result};
use crate::number_set::NumberSet;
use crate::plan::{ProcessPlan, Scheduler, SchedulerKind};

/// Puts `pid`, which is not in the container's cgroup yet, on the CPUs that the plan has for that time. It cannot do so
/// itself, because it may be moved before it has come to it.
pub(crate) fn begin(process: &ProcessPlan, pid: Pid) -> Result<()> {
    let initial = process.affinity.initial.as_ref();
    initial
        .map_or(Ok(()), |cpus| set_affinity(Some(pid), cpus.mask()))
        .context(Code::System, || cpus_refused("initial", initial))
}

/// What `execCPUAffinity` asked for in vain.
pub(crate) fn cpus_refused(field: &str, cpus: Option<&NumberSet>) -> String {
    let cpus = cpus.map(ToString::to_string).unwrap_or_default();
    format!("process.execCPUAffinity.{field}: run on the CPUs `{cpus}` (are any of them in the cpuset?)")
}

/// Sets for `pid`, which is in its cgroup, what the plan has for it.
pub(crate) fn apply(process: &ProcessPlan, pid: Pid) -> Result<()> {
    if let Some(scheduler) = &process.scheduler {
        if scheduler.kind == SchedulerKind::Deadline {
            // Only a process that may run wherever its cpuset reaches gets a deadline, and a pinned caller may have left
            // it less. It does the same itself, but perhaps later.
            set_affinity(Some(pid), &EVERY_CPU)
                .context(Code::System, || "let the container's process run on every CPU")?;
        }
        set_scheduler(Some(pid), &scheduler.attributes)
            .map_err(|errno| scheduler_refused(scheduler, errno))?;
    }
    if let Some(io) = &process.io_priority {
        set_io_priority(Some(pid), io.class, io.priority).context(Code::System, || {
            format!("process.ioPriority: set the class `{}` and priority {}", io.name, io.priority)
        })?;
    }
    Ok(())
}

/// The kernel has one word for many reasons.
fn scheduler_refused(scheduler: &Scheduler, errno: Errno) -> Error {
    let hint = match (scheduler.kind, errno) {
        _ if scheduler.name == "SCHED_ISO" => " (Linux has reserved the name and does not implement it)",
        (SchedulerKind::RealTime, Errno::PERM) => {
            " (it takes CAP_SYS_NICE, and on cgroup v1 a share of real time: linux.resources.cpu.realtimeRuntime)"
        }
        (SchedulerKind::Deadline, Errno::PERM) => {
            " (it takes CAP_SYS_NICE and a cpuset with all CPUs of its root domain)"
        }
        (SchedulerKind::Deadline, Errno::BUSY) => " (the CPUs have not so much time left)",
        _ => "",
    };
    let message = format!("process.scheduler: set the policy `{}`{hint}", scheduler.name);
    Error::os(Code::System, message, errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn refused(json: &str, errno: Errno) -> String {
        let scheduler: spec::Scheduler<'_> = serde_json::from_str(json).unwrap();
        scheduler_refused(&Scheduler::new(&scheduler).unwrap(), errno).to_string()
    }

    #[test]
    fn a_refusal_names_the_policy_and_what_it_may_lack() {
        let text = refused(r#"{"policy":"SCHED_FIFO","priority":1}"#, Errno::PERM);
        assert!(
            text.starts_with("process.scheduler: set the policy `SCHED_FIFO` (it takes CAP_SYS_NICE"),
            "{text}"
        );
        assert!(text.ends_with("realtimeRuntime): Operation not permitted"), "{text}");
        let text = refused(r#"{"policy":"SCHED_BATCH"}"#, Errno::ACCESS);
        assert_eq!(text, "process.scheduler: set the policy `SCHED_BATCH`: Permission denied");
        let text = refused(r#"{"policy":"SCHED_ISO"}"#, Errno::INVAL);
        assert!(text.contains("does not implement it"), "{text}");
    }
}
