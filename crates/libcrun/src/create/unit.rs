//! The cgroup of a container that is being made: made by the runtime before the process, or by systemd, with the process
//! in it, while that is at its mounts.

use std::rc::Rc;

use cgroups::systemd::{MissingProperties, UnitStart};
use cgroups::{Cgroup, CgroupPath, Leftovers};
use rustix::process::Pid;

use super::Starting;
use crate::error::Result;
use crate::plan::{CgroupPlan, Plan};

impl Starting<'_> {
    /// Makes the cgroup, or connects to who is to make it.
    pub(super) fn begin_cgroup(&mut self, plan: &CgroupPlan) -> Result<()> {
        if let Some(unit) = &plan.unit {
            let cache = MissingProperties::below(self.root.path());
            *self.unit.get_mut() = Some(UnitStart::connect(Rc::clone(unit), cache)?);
            if plan.layout.is_unified() {
                return Ok(());
            }
            // systemd makes only some of the v1 hierarchies' directories, and takes those that are there.
        }
        let made = self.timeline.measure("directories", || Ok(Cgroup::create(&plan.layout, &plan.path)?));
        let cgroup = made?;
        if let Err(error) = self.timeline.measure("limits", || Ok(cgroup.apply(&plan.writes)?)) {
            drop(cgroup.undo(&|| Leftovers::Leave));
            return Err(error);
        }
        let _ = self.cgroup.set(cgroup);
        Ok(())
    }

    /// Has the unit of a process that did not come far ended, and connects for that of the next.
    pub(super) fn begin_unit_again(&mut self, plan: &Plan) -> Result<()> {
        let Some(cgroup) = plan.cgroup.as_ref().filter(|cgroup| cgroup.unit.is_some()) else { return Ok(()) };
        if let Some(cgroup) = self.cgroup.take() {
            drop(cgroup.undo(&|| Leftovers::Leave));
        }
        drop(self.unit.take());
        self.begin_cgroup(cgroup)
    }

    /// Asks systemd for the unit, and does not wait for it.
    pub(super) fn begin_unit(&self, pid: Pid) -> Result<()> {
        match self.unit.borrow_mut().as_mut() {
            Some(unit) => Ok(unit.begin(pid)?),
            None => Ok(()),
        }
    }

    /// The cgroup for the process, when systemd has made it.
    pub(super) fn finish_cgroup(&self, plan: &Plan, pid: Pid) -> Result<Option<&Cgroup>> {
        if let (Some(unit), Some(planned)) = (self.unit.borrow_mut().as_mut(), &plan.cgroup) {
            let cgroup =
                self.timeline.measure_wait("waits for systemd", || Ok(unit.finish(&planned.layout, pid)?))?;
            // On v1 it is there already.
            let _ = self.cgroup.set(cgroup);
        }
        Ok(self.cgroup.get())
    }

    /// Gives the unit's cgroup the limits, now that the process is in its place. Returns the path of that.
    pub(super) fn finish_unit(&self, plan: &Plan) -> Result<Option<CgroupPath>> {
        let (Some(cgroup), Some(planned), Some(unit)) = (self.cgroup.get(), &plan.cgroup, plan.unit()) else {
            return Ok(None);
        };
        self.timeline.measure("limits", || {
            cgroup.hand_on_controllers()?;
            cgroup.apply(&planned.writes)?;
            Ok(cgroup.apply_below(&planned.writes)?)
        })?;
        Ok(Some(unit.container_path(cgroup.path())))
    }

    /// The cgroup the process is in by itself, where that lies below the unit's: of a container's, that is its own.
    pub(super) fn cgroup_below_unit(&self, plan: &Plan) -> Result<Option<Cgroup>> {
        let (Some(cgroup), Some(planned), Some(unit)) = (self.cgroup.get(), &plan.cgroup, plan.unit()) else {
            return Ok(None);
        };
        Ok(Some(Cgroup::open(&planned.layout, &unit.container_path(cgroup.path()))?))
    }

    /// Whether systemd has been given the program that decides about devices, and has it attached.
    pub(super) fn has_device_program(&self) -> bool {
        let is_given = self.unit.borrow().as_ref().is_some_and(UnitStart::has_program);
        is_given && self.cgroup.get().is_some_and(Cgroup::has_device_program)
    }
}
