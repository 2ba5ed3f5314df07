//! The end of a container that [`crate::run`] has run, or whose start has failed.

use cgroups::{Cgroup, Leftovers};

use super::Starting;
use crate::delete::{leftovers, remove_cgroup, remove_unit};
use crate::error::{Error, Result};
use crate::notify::Proxy;
use crate::warning::Tell;

impl Starting<'_> {
    /// Removes a container whose process has ended.
    pub(super) fn remove(&self, tell: &mut Tell<'_>) -> Result<()> {
        let (timeline, cgroup) = (&self.timeline, self.cgroup.get());
        let has_own_pids = || self.has_own_pid_namespace;
        let removed = timeline.measure("remove the cgroup", || match &self.unit_name {
            Some(unit) => remove_unit(unit, cgroup),
            None => cgroup
                .map_or(Ok(()), |cgroup| remove_cgroup(self.root, self.id, cgroup, has_own_pids).map(drop)),
        });
        self.proxy.iter().filter_map(Proxy::failure).for_each(&mut *tell);
        timeline.look("poststop hooks", || self.run_poststop()).into_iter().for_each(tell);
        timeline.measure("remove the state", || self.directory.remove())?;
        removed
    }

    fn run_poststop(&self) -> Vec<Error> {
        self.hooks.as_ref().map(|hooks| hooks.run_poststop()).unwrap_or_default()
    }

    /// Takes back what a start has made that has failed.
    pub(super) fn take_back(&mut self) {
        // The error that led here is the one to be told; nothing of what fails now could be helped.
        if let Some(spawned) = &self.spawned {
            spawned.end();
        }
        if let Some(cgroup) = self.cgroup.get() {
            drop(cgroup.undo(&|| self.leftovers(cgroup)));
        }
        drop(self.unit.take());
        if self.spawned.is_some()
            && let Some(hooks) = &self.hooks
        {
            drop(hooks.run_poststop());
        }
        drop(self.directory.remove());
    }

    /// What becomes of those that are in the cgroup after the end of a process whose start has failed: what that has started
    /// is found by the cgroup only, as at the end of any container. As long as it was none of its program, it started nothing.
    fn leftovers(&self, cgroup: &Cgroup) -> Leftovers {
        match &self.spawned {
            Some(spawned) if spawned.was_let_go() => {
                leftovers(self.root, self.id, cgroup, self.has_own_pid_namespace)
            }
            _ => Leftovers::Leave,
        }
    }
}
