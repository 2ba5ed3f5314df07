//! On which CPUs the process runs and from which nodes its memory comes. Both it has to do itself, or may do itself in any
//! user namespace, and both depend on its cgroup: the cpuset limits them.

use sys::binding::{EVERY_CPU, set_affinity, set_memory_policy};

use crate::channel::{At, Failure, Step};
use crate::plan::ProcessPlan;

/// Once it is in the container's cgroup.
pub(crate) fn settle(process: &ProcessPlan) -> Result<(), Failure> {
    match (&process.affinity.last, &process.affinity.initial) {
        (Some(cpus), _) => set_affinity(None, cpus.mask()).at(Step::FinalCpus)?,
        // What is left of the first ones is the kernel's matter (runtime-spec config.md#linux-process).
        (None, Some(_)) => {}
        // A caller that is pinned to some CPUs (CPUAffinity= of systemd, say) does not pin the container. Since Linux 6.2
        // that does not end with the move to another cpuset. Where a filter forbids it, it stays as it is.
        (None, None) => drop(set_affinity(None, &EVERY_CPU)),
    }
    match &process.memory_policy {
        Some(policy) => set_memory_policy(policy.mode, policy.nodes.mask()).at(Step::MemoryPolicy),
        None => Ok(()),
    }
}
