//! The parent's part beside the container's process, from the clone to the exec.

use std::os::fd::AsFd;
use std::path::Path;

use cgroups::Cgroup;

use super::status::status;
use super::{Kind, Starting};
use crate::channel::Failure;
use crate::error::{Code, Result};
use crate::pid_file;
use crate::plan::{CgroupPlan, Plan};
use crate::report;
use crate::scheduling;
use crate::spawn::Spawned;
use crate::state::Status;
use crate::timeline::of_container;

/// From the clone to the exec (or to the FIFO): does the parent's part while the child does its own, and makes sure
/// that the child gets there.
pub(super) fn attend(
    starting: &Starting<'_>,
    plan: &Plan,
    bundle: &Path,
    kind: Kind,
    pid_file: Option<&Path>,
) -> Result<()> {
    let Some(spawned) = &starting.spawned else { return Ok(()) };
    let describe = |failure: Failure| report::container_failure(plan, failure);
    if let Err(error) = attend_outside(starting, plan, spawned, bundle, kind) {
        // Where the child has failed already, what it has to say is the cause, and that it is gone only the effect.
        spawned.give_up();
        return match spawned.make_ready(&[], starting.cgroup.get(), describe) {
            Err(cause) if cause.code() != Code::System || spawned.has_failed_by_itself() => Err(cause),
            _ => Err(error),
        };
    }
    let cgroup = starting.cgroup.get();
    spawned.tell_attended();
    let timeline = &starting.timeline;
    let write = |path: &Path| timeline.measure("pid file", || pid_file::write(path, spawned.child().pid));
    let write_pid_file = || pid_file.map_or(Ok(()), write);
    let mut limits = plan.limits_from_outside();
    let delegation = plan.cgroup.as_ref().and_then(|cgroup| cgroup.delegation.as_ref());
    if kind == Kind::Create || delegation.is_some() || starting.terminal.is_some() {
        spawned.make_ready(std::mem::take(&mut limits), cgroup, describe)?;
        if let (Some(delegation), Some(cgroup)) = (delegation, cgroup) {
            let below = starting.cgroup_below_unit(plan)?;
            let cgroup = below.as_ref().unwrap_or(cgroup);
            timeline.measure("delegation", || {
                delegation.carry_out(cgroup, spawned.child().pid, plan.namespaces.id_maps.as_ref())
            })?;
        }
        if let Some(terminal) = &starting.terminal {
            timeline.measure("terminal", || terminal.take_over(spawned))?;
        }
    }
    if kind == Kind::Create {
        // Go comes last: a container whose creator is killed before is not to be left waiting for a start.
        write_pid_file()?;
        spawned.let_go();
        return Ok(());
    }
    spawned.execute(limits, cgroup, describe)?;
    // A filter may have kept the process from saying what failed.
    if plan.limits_memory() || plan.process.filter.is_some() {
        spawned.confirm_execution(cgroup)?;
    }
    write_pid_file()
}

/// The parent's part: everything about the process that is done from outside.
fn attend_outside(
    starting: &Starting<'_>,
    plan: &Plan,
    spawned: &Spawned,
    bundle: &Path,
    kind: Kind,
) -> Result<()> {
    let pid = spawned.child().pid;
    let timeline = &starting.timeline;
    if let Some(filter) = &plan.process.filter {
        // Before the status, which tells others that they can join.
        timeline.measure("keep the filter", || starting.directory.write_filter(&filter.to_bytes()))?;
    }
    let restrict_devices = || match (starting.cgroup.get(), &plan.cgroup) {
        (Some(cgroup), Some(planned)) if !starting.has_device_program() => {
            timeline.measure("device program", || Ok(cgroup.restrict_devices(&planned.device_rules)?))
        }
        _ => Ok(()),
    };
    let write_status =
        |status: &Status| timeline.measure("keep the status", || starting.directory.write_status(status));
    let path = |cgroup: &CgroupPlan| cgroup.path.clone();
    let mut status = status(plan, pid, bundle, kind, plan.cgroup.as_ref().map(path).as_ref())?;
    let at_once = starting.cgroup.get().is_none_or(Cgroup::restricts_devices_at_once);
    if !at_once {
        restrict_devices()?;
    }
    if plan.unit().is_some() {
        // Whatever becomes of this runtime, the unit is not lost: it can be found by what is written here.
        write_status(&status)?;
        timeline.measure("ask systemd for the unit", || starting.begin_unit(pid))?;
    }
    spawned.serve(plan, || starting.finish_cgroup(plan, pid))?;
    let unit_path = starting.finish_unit(plan)?;
    if plan.unit().is_none() || unit_path.as_ref().is_some_and(|path| status.change_path(path)) {
        write_status(&status)?;
    }
    if at_once {
        restrict_devices()?;
    }
    // Last, because it may slow down what the process is still doing.
    timeline.measure("scheduler and I/O priority", || scheduling::apply(&plan.process, pid))?;
    starting.run_early_hooks(plan, spawned)?;
    starting.receivers.send(spawned.child().pidfd.as_fd())
}

impl Starting<'_> {
    /// Adds to the timeline what init did, which has come as far as `attended` says.
    pub(super) fn tell(&self, plan: &Plan, attended: &Result<()>) {
        let Some(spawned) = &self.spawned else { return };
        let outcome = || spawned.outcome(attended, &plan.process.name);
        let of = |step, index| of_container(plan, step, index);
        spawned.tell(|| format!("init ({})", self.directory.id()), outcome, &of);
    }
}
