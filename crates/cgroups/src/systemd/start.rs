//! A container's unit from the first word to systemd until the process is in it.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Pid;

use super::manager::{Manager, Refusal, Started, patience};
use super::missing::MissingProperties;
use super::pin;
use super::properties::{BPF_PROGRAM, UnitPlan};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::layout::Layout;

/// How many properties systemd may refuse before that is an error.
const MOST_MISSING: usize = 32;

/// How long systemd may take to end a unit where it has been waited for already.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

/// The connection over which a unit is started. Dropped before [`UnitStart::keep`], it has the unit stopped.
#[derive(Debug)]
pub struct UnitStart {
    plan: Rc<UnitPlan>,
    manager: Manager,
    cache: MissingProperties,
    missing: BTreeSet<String>,
    under_way: Option<UnderWay>,
    kept: bool,
}

/// What has been asked for.
#[derive(Debug)]
struct UnderWay {
    pid: Pid,
    started: Started,
    /// Whether systemd's answer has been waited for.
    is_settled: bool,
    /// The program that systemd is to attach.
    program: Option<String>,
}

impl UnitStart {
    /// Connects to systemd; the greeting is on its way when this returns.
    ///
    /// # Errors
    /// When systemd cannot be reached.
    pub fn connect(plan: Rc<UnitPlan>, cache: MissingProperties) -> Result<Self> {
        let manager = Manager::connect(plan.is_rootless, patience())?;
        let missing = cache.names();
        Ok(Self { plan, manager, cache, missing, under_way: None, kept: false })
    }

    /// Asks for the unit with this process in it, and does not wait.
    ///
    /// # Errors
    /// Names the unit.
    pub fn begin(&mut self, pid: Pid) -> Result<()> {
        let program = self.make_program()?;
        self.ask(pid, program)
    }

    /// The program for the devices, where systemd can be given one.
    fn make_program(&self) -> Result<Option<String>> {
        let is_wanted = self.plan.wants_device_program() && !self.missing.contains(BPF_PROGRAM);
        if !is_wanted || !pin::is_possible() {
            return Ok(None);
        }
        pin::make(&self.plan.unit.name, self.plan.device_rules()).map(Some)
    }

    fn ask(&mut self, pid: Pid, program: Option<String>) -> Result<()> {
        let number = pid.as_raw_nonzero().get().unsigned_abs();
        let properties = self.plan.properties(number, program.as_deref(), &self.missing);
        let started = match self.manager.start(&self.plan.unit.name, &properties) {
            Ok(started) => started,
            Err(error) => {
                if program.is_some() {
                    pin::remove(&self.plan.unit.name);
                }
                return Err(error);
            }
        };
        self.under_way = Some(UnderWay { pid, started, is_settled: false, program });
        Ok(())
    }

    /// Waits until the unit is there, and opens its cgroup, and the one below it for the processes.
    ///
    /// # Errors
    /// Names the unit, and what systemd says or what became of the job; or the cgroup.
    pub fn finish(&mut self, layout: &Layout, pid: Pid) -> Result<Cgroup> {
        self.wait()?;
        self.plan.open(layout, pid)
    }

    /// Waits until systemd has done it; asks again without what it does not know, and once more where only the remains of a
    /// failed unit have been in the way.
    ///
    /// # Errors
    /// Names the unit, and what systemd says or what became of the job.
    fn wait(&mut self) -> Result<()> {
        let mut refused = 0;
        let mut was_in_the_way = false;
        while let Some(under_way) = &mut self.under_way {
            under_way.is_settled = true;
            let (pid, program) = (under_way.pid, under_way.program.clone());
            match self.manager.wait_for_start(&under_way.started) {
                Ok(()) => {
                    return Ok(());
                }
                Err(Refusal::Property(name)) => {
                    refused += 1;
                    let is_new = self.missing.insert(name.clone());
                    if self.plan.is_annotated(&name) || !is_new || refused > MOST_MISSING {
                        return Err(self.refuses(&name));
                    }
                    self.cache.note(&name);
                    let program = program.filter(|_| name != BPF_PROGRAM);
                    if program.is_none() {
                        pin::remove(&self.plan.unit.name);
                    }
                    self.ask(pid, program)?;
                }
                Err(Refusal::Exists(error)) => {
                    if was_in_the_way {
                        // It is somebody else's, who is not to lose it.
                        self.forget(program.is_some());
                        return Err(error);
                    }
                    was_in_the_way = true;
                    self.manager.reset_failed(&self.plan.unit.name)?;
                    self.ask(pid, program)?;
                }
                Err(Refusal::Other(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn refuses(&self, property: &str) -> Error {
        let unit = &self.plan.unit.name;
        Error::plain(format!(
            "error `start` systemd unit `{unit}`: it does not know the property `{property}`"
        ))
    }

    /// Whether systemd has been given a program for the devices.
    #[must_use]
    pub fn has_program(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.program.is_some())
    }

    /// Leaves the unit as it is.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    fn forget(&mut self, has_program: bool) {
        self.under_way = None;
        if has_program {
            pin::remove(&self.plan.unit.name);
        }
    }
}

impl Drop for UnitStart {
    fn drop(&mut self) {
        let Some(under_way) = self.under_way.as_ref().filter(|_| !self.kept) else { return };
        let unit = &self.plan.unit.name;
        if !under_way.is_settled {
            let _ = self.manager.wait_for_start(&under_way.started);
        }
        // A unit for which there is no job may be somebody else's; the process that was to be in it is the caller's to end.
        if self.manager.has_job() && self.manager.stop(unit).is_err() {
            let _ = Manager::connect(self.plan.is_rootless, LAST_PATIENCE)
                .and_then(|mut manager| manager.stop(unit));
        }
        pin::remove(unit);
    }
}

/// Ends the unit of a container, and takes away what was kept for it.
///
/// # Errors
/// Names the unit, and what systemd says or what became of the job.
pub fn stop_unit(unit: &str, is_rootless: bool) -> Result<()> {
    let stopped = Manager::connect(is_rootless, patience()).and_then(|mut manager| manager.stop(unit));
    if !is_rootless {
        pin::remove(unit);
    }
    stopped
}
