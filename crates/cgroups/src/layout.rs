//! How this host lays out its cgroups: one unified tree (v2), one tree for each controller (v1), or both.

use rustix::fs::{FsWord, statfs};

use crate::cgroup::mount_point;
use crate::error::{Error, Result};
use crate::path::CgroupPath;

/// Where cgroups are mounted on every distribution there is.
pub const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// The named v1 hierarchy of systemd, and its directory.
const NAMED: &str = "systemd";

const CGROUP2_MAGIC: FsWord = 0x6367_7270;
const CGROUP_MAGIC: FsWord = 0x0027_e0eb;
const TMPFS_MAGIC: FsWord = 0x0102_1994;

/// One tree of cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its directory below [`MOUNT_POINT`]: `memory`, `cpu,cpuacct`, `systemd`, `unified`; empty for a pure v2 host.
    pub directory: String,
    /// Whether it is the v2 tree.
    pub unified: bool,
    /// The v1 controllers attached to it; empty for the v2 tree and for named hierarchies.
    pub controllers: Vec<String>,
}

impl Hierarchy {
    /// Whether it is the named v1 hierarchy of systemd, which has no controllers.
    #[must_use]
    pub fn is_named(&self) -> bool {
        !self.unified && self.controllers.is_empty() && self.directory == NAMED
    }

    /// The directory of a cgroup in it.
    #[must_use]
    pub fn directory_of(&self, path: &CgroupPath) -> String {
        format!("{}/{}", mount_point(self), path.below_root())
    }

    /// Whether it is the v1 hierarchy of a controller.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// All the trees a container takes part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The trees, the v2 one (if there is one) first.
    pub hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// A host with nothing but the v2 tree.
    #[must_use]
    pub fn unified() -> Self {
        Self { hierarchies: vec![Hierarchy { directory: String::new(), unified: true, controllers: vec![] }] }
    }

    /// Whether limits go to the v2 tree.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        let [first, others @ ..] = self.hierarchies.as_slice() else { return false };
        first.unified && first.directory.is_empty() && others.iter().all(Hierarchy::is_named)
    }

    /// Whether there is a v2 tree, alone or beside v1 hierarchies.
    #[must_use]
    pub fn has_unified(&self) -> bool {
        self.hierarchies.iter().any(|hierarchy| hierarchy.unified)
    }

    /// Whether a controller, if the host has it, is in the v2 tree: also beside v1 hierarchies, where none of them has it.
    #[must_use]
    pub fn is_unified_for(&self, controller: &str) -> bool {
        self.has_unified() && !self.hierarchies.iter().any(|hierarchy| hierarchy.has(controller))
    }

    /// The directories of a cgroup, one in each hierarchy.
    #[must_use]
    pub fn directories(&self, path: &CgroupPath) -> Vec<String> {
        self.hierarchies.iter().map(|hierarchy| hierarchy.directory_of(path)).collect()
    }

    /// The directory of a cgroup in the v2 tree.
    #[must_use]
    pub fn unified_directory(&self, path: &CgroupPath) -> Option<String> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.unified).map(|unified| unified.directory_of(path))
    }

    /// The directory of a cgroup where the files of a controller are.
    #[must_use]
    pub fn directory_of(&self, controller: &str, path: &CgroupPath) -> Option<String> {
        let own = self.hierarchies.iter().find(|hierarchy| hierarchy.has(controller));
        own.map(|own| own.directory_of(path)).or_else(|| self.unified_directory(path))
    }

    /// The same with the named v1 hierarchy `systemd`, which has no controllers, if an operator has mounted it in the v2 tree
    /// for containers with an older systemd (`run.oci.systemd.force_cgroup_v1`).
    #[must_use]
    pub fn with_named_hierarchy(mut self) -> Self {
        if self.is_unified() {
            let mut named =
                Hierarchy { directory: NAMED.to_owned(), unified: false, controllers: Vec::new() };
            if find(&mut named, filesystem) {
                self.hierarchies.push(named);
            }
        }
        self
    }

    /// Looks at what is mounted on [`MOUNT_POINT`]: on a v2 host one call, otherwise also the kernel's list of the
    /// hierarchies (`/proc/self/cgroup`, one line each).
    ///
    /// # Errors
    /// When nothing known is mounted there.
    pub fn detect() -> Result<Self> {
        Self::detect_those(|_| true)
    }

    /// The same for those who only want some of the hierarchies, and need not look for the others.
    ///
    /// # Errors
    /// As [`Layout::detect`].
    pub fn detect_those(wanted: impl Fn(&Hierarchy) -> bool) -> Result<Self> {
        let kind = statfs(MOUNT_POINT)
            .map_err(|errno| Error::kernel(format!("statfs `{MOUNT_POINT}`"), errno))?
            .f_type;
        match kind {
            CGROUP2_MAGIC => {
                let mut layout = Self::unified();
                layout.hierarchies.retain(wanted);
                Ok(layout)
            }
            TMPFS_MAGIC => {
                let list = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| {
                    let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
                    Error::kernel("open `/proc/self/cgroup`", errno)
                })?;
                Ok(Self::from_list(&list, |hierarchy| wanted(hierarchy) && find(hierarchy, filesystem)))
            }
            _ => Err(Error::plain(format!("invalid file system type on `{MOUNT_POINT}`"))),
        }
    }

    /// Reads the lines `ID:CONTROLLERS:PATH` of `/proc/self/cgroup` (`cgroups(7)`); hierarchies that are not
    /// `kept` are left out: those that are not mounted, because nothing can be done in them.
    fn from_list(list: &str, kept: impl Fn(&mut Hierarchy) -> bool) -> Self {
        let mut hierarchies = Vec::with_capacity(16);
        for line in list.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(names), Some(_)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let unified = names.is_empty();
            let directory = if unified { "unified" } else { names.trim_start_matches("name=") };
            let controllers = if unified || names.starts_with("name=") {
                Vec::new()
            } else {
                names.split(',').map(str::to_owned).collect()
            };
            let mut hierarchy = Hierarchy { directory: directory.to_owned(), unified, controllers };
            match kept(&mut hierarchy) {
                true if unified => hierarchies.insert(0, hierarchy),
                true => hierarchies.push(hierarchy),
                false => {}
            }
        }
        Self { hierarchies }
    }
}

/// Finds the directory of a hierarchy: that of its name, or for one of several controllers that of one of them, which may
/// be a link. Whether there is one, and not just a place for one.
fn find(hierarchy: &mut Hierarchy, filesystem: impl Fn(&str) -> Option<FsWord>) -> bool {
    let kind = if hierarchy.unified { CGROUP2_MAGIC } else { CGROUP_MAGIC };
    let names = std::iter::once(&hierarchy.directory).chain(&hierarchy.controllers);
    let found = names.into_iter().find(|name| filesystem(name) == Some(kind)).cloned();
    found.map(|name| hierarchy.directory = name).is_some()
}

/// What filesystem a directory below [`MOUNT_POINT`] is of.
fn filesystem(directory: &str) -> Option<FsWord> {
    statfs(format!("{MOUNT_POINT}/{directory}")).ok().map(|found| found.f_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGACY: &str = "12:cpu,cpuacct:/user\n2:memory:/user\n1:name=systemd:/\n";

    #[test]
    fn a_v1_host_has_a_tree_for_each_line() {
        let layout = Layout::from_list(LEGACY, |_| true);
        let directories: Vec<_> = layout.hierarchies.iter().map(|h| h.directory.as_str()).collect();
        assert_eq!(directories, ["cpu,cpuacct", "memory", "systemd"]);
        assert_eq!(layout.hierarchies[0].controllers, ["cpu", "cpuacct"]);
        assert!(layout.hierarchies[2].controllers.is_empty());
        assert!(!layout.is_unified() && !layout.has_unified());
    }

    #[test]
    fn a_hybrid_host_has_the_v2_tree_first() {
        let layout = Layout::from_list(&format!("{LEGACY}0::/\n"), |_| true);
        assert_eq!(layout.hierarchies[0].directory, "unified");
        assert!(layout.has_unified() && !layout.is_unified());
    }

    #[test]
    fn a_hierarchy_that_is_not_mounted_is_left_out() {
        let layout = Layout::from_list(LEGACY, |hierarchy| hierarchy.directory != "memory");
        assert_eq!(layout.hierarchies.len(), 2);
    }

    #[test]
    fn a_v2_host_is_unified() {
        assert!(Layout::unified().is_unified());
    }

    fn found(list: &str, mounted: &[(&str, FsWord)]) -> Vec<String> {
        let filesystem =
            |name: &str| mounted.iter().find(|(mounted, _)| *mounted == name).map(|(_, kind)| *kind);
        let layout = Layout::from_list(list, |hierarchy| find(hierarchy, filesystem));
        layout.hierarchies.into_iter().map(|hierarchy| hierarchy.directory).collect()
    }

    #[test]
    fn controllers_that_are_mounted_together_are_found_by_the_name_of_one() {
        // `cpu` and `cpuacct` are links to `cpuacct,cpu`.
        let mounted = [("cpuacct,cpu", CGROUP_MAGIC), ("cpu", CGROUP_MAGIC), ("cpuacct", CGROUP_MAGIC)];
        assert_eq!(found(LEGACY, &mounted), ["cpu"]);
        assert_eq!(found(LEGACY, &[("cpu,cpuacct", CGROUP_MAGIC), ("cpu", CGROUP_MAGIC)]), ["cpu,cpuacct"]);
    }

    #[test]
    fn a_directory_where_nothing_is_mounted_is_no_hierarchy() {
        let mounted = [("memory", TMPFS_MAGIC), ("systemd", CGROUP_MAGIC), ("unified", TMPFS_MAGIC)];
        assert_eq!(found(&format!("{LEGACY}0::/\n"), &mounted), ["systemd"]);
    }
}
