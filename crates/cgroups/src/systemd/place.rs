//! Where the cgroup of a unit is.

use rustix::process::Pid;

use super::properties::UnitPlan;
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::path::CgroupPath;

/// The path of a unit's cgroup, given that of one in it.
#[must_use]
pub fn unit_path(path: &CgroupPath, unit: &str) -> Option<CgroupPath> {
    let below = path.below_root();
    let level = path.levels().find(|level| level.rsplit('/').next() == Some(unit))?;
    below.get(..level.len()).map(|path| CgroupPath::new(Some(path), unit))
}

impl UnitPlan {
    /// Opens the unit's cgroup, in which systemd has put the process `pid`, and makes the one below it for the processes.
    pub(super) fn open(&self, layout: &Layout, pid: Pid) -> Result<Cgroup> {
        let path = match self.unit.is_slice() {
            // Nobody is put into that.
            true => self.unit.expected_path(),
            false => path_of(pid, &self.unit.name)?,
        };
        let mut cgroup = Cgroup::open(layout, &path)?;
        if cgroup.reference_directory().is_none() {
            return Err(Error::systemd(format!("systemd has made no cgroup `{path}`")));
        }
        cgroup.join_named(layout)?;
        if let Some(subgroup) = self.subgroup() {
            cgroup.create_child(subgroup)?;
        }
        Ok(cgroup)
    }
}

/// The cgroup of a process, which systemd has put into this unit.
fn path_of(pid: Pid, unit: &str) -> Result<CgroupPath> {
    let file = format!("/proc/{pid}/cgroup");
    let list = std::fs::read_to_string(&file).map_err(|error| {
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        Error::kernel(format!("open `{file}`"), errno)
    })?;
    unit_in(&list, unit).ok_or_else(|| {
        Error::systemd(format!("process {pid} is not in the cgroup of the systemd unit `{unit}`"))
    })
}

/// The unit's path in the lines `ID:CONTROLLERS:PATH` of `/proc/PID/cgroup` (`cgroups(7)`): in the tree that systemd
/// keeps its units in, which has no controllers.
fn unit_in(list: &str, unit: &str) -> Option<CgroupPath> {
    let paths = list.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        matches!(names, "" | "name=systemd").then(|| CgroupPath::new(Some(path), ""))
    });
    paths.filter_map(|path| unit_path(&path, unit)).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> CgroupPath {
        CgroupPath::new(Some(text), "")
    }

    #[test]
    fn a_unit_is_found_above_what_is_in_it() {
        let unit = unit_path(&path("/machine.slice/x.scope/container"), "x.scope").unwrap();
        assert_eq!(unit, path("/machine.slice/x.scope"));
        assert_eq!(unit_path(&unit, "x.scope"), Some(unit.clone()));
        assert_eq!(unit_path(&path("/machine.slice/xx.scope/container"), "x.scope"), None);
    }

    #[test]
    fn a_unit_is_looked_for_where_systemd_keeps_it() {
        let v1 = "4:memory:/user/x.scope\n1:name=systemd:/system.slice/x.scope\n";
        assert_eq!(unit_in(v1, "x.scope"), Some(path("/system.slice/x.scope")));
        let v2 = "0::/user.slice/user@1000.service/user.slice/x.scope\n";
        assert_eq!(unit_in(v2, "x.scope"), Some(path("/user.slice/user@1000.service/user.slice/x.scope")));
        assert_eq!(unit_in("0::/lab.service\n", "x.scope"), None);
    }
}
