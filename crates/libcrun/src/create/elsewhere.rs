//! A cgroup for a container that has asked for none in particular, where the usual place is out of reach.

use cgroups::{CgroupPath, Layout};
use rustix::io::Errno;

use super::Starting;
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::plan::Plan;

impl Starting<'_> {
    /// Makes the cgroup where it was planned, or else, if the configuration does not say where it has to be, beside that of
    /// this process. In a user namespace, where often neither can be had, the container does without, as `planned_without`
    /// has it; but not one that systemd was to make on v2, which any user can have. Returns why it has to do without.
    pub(super) fn begin_cgroup_anywhere(
        &mut self,
        plan: &mut Plan,
        host: &Host,
        planned_without: impl FnOnce() -> Result<Plan>,
    ) -> Result<Option<Error>> {
        let Some(cgroup) = &mut plan.cgroup else { return Ok(None) };
        let Err(error) = self.begin_cgroup(cgroup) else { return Ok(None) };
        if cgroup.is_configured {
            return Err(error);
        }
        if is_out_of_reach(&error)
            && cgroup.unit.is_none()
            && let Some(beside) = beside_own(&cgroup.layout, cgroup.path.below_root())
            && beside != cgroup.path
            && let planned = std::mem::replace(&mut cgroup.path, beside)
        {
            if self.begin_cgroup(cgroup).is_ok() {
                return Ok(None);
            }
            cgroup.path = planned;
        }
        let is_for_all = cgroup.layout.is_unified() && cgroup.unit.is_some();
        if is_for_all || !host.is_rootless() {
            return Err(error);
        }
        // What cannot be done without a cgroup, limits, cannot be done for the reason there is none.
        let filter = plan.process.filter.take();
        *plan = planned_without().map_err(|_| {
            error.clone().because(NOT_DELEGATED).with_hint(DELEGATE).with_code(Code::CgroupDenied)
        })?;
        plan.process.filter = filter;
        drop(self.unit.take());
        self.unit_name = None;
        Ok(Some(error))
    }
}

/// Why somebody without power over the host has no cgroup to make others in.
const NOT_DELEGATED: &str = "the limits take a cgroup that has been given to this user";
const DELEGATE: &str = "run it with `--systemd-cgroup` in a session of systemd's, or below `systemd-run --user --scope \
                        --property=Delegate=yes`";

/// Whether it is a matter of place: somebody else's directory, or a mount that cannot be written to.
fn is_out_of_reach(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

/// The place of that name beside the cgroup of this process, where that is one path.
pub(crate) fn beside_own(layout: &Layout, name: &str) -> Option<CgroupPath> {
    if !layout.is_unified() {
        return None;
    }
    let list = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    beside(&list, name)
}

/// What is called `name` beside the v2 cgroup in the lines `ID:CONTROLLERS:PATH` of `/proc/self/cgroup` (`cgroups(7)`). That
/// may lie outside the cgroup namespace.
fn beside(list: &str, name: &str) -> Option<CgroupPath> {
    let own = list.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (parent, _) = own.rsplit_once('/')?;
    let is_inside = !parent.split('/').any(|component| component == "..");
    is_inside.then(|| CgroupPath::new(Some(&format!("{parent}/{name}")), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_means_in_the_same_cgroup_of_version_2() {
        let place = |list| beside(list, "web").map(|path| path.to_string());
        assert_eq!(place("0::/user.slice/app/shell\n").as_deref(), Some("/user.slice/app/web"));
        assert_eq!(place("1:name=systemd:/x\n0::/shell\n").as_deref(), Some("/web"));
        assert_eq!(place("0::/\n").as_deref(), Some("/web"));
        assert_eq!(place("0::/../other\n"), None);
        assert_eq!(place("3:memory:/a\n"), None);
    }
}
