//! The place of a container's cgroup below the root of each hierarchy.

use crate::error::{Error, Result};

/// A cleaned cgroup path: no leading slash, no empty component, no `.` and no `..`, so that it cannot leave the
/// hierarchy it is applied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPath(String);

impl CgroupPath {
    /// The path for a container: `linux.cgroupsPath` as it stands in the configuration, below the root of the
    /// hierarchy whether it starts with a slash or not, or else the container's `id`.
    ///
    /// `..` goes up, but never above the root.
    #[must_use]
    pub fn new(configured: Option<&str>, id: &str) -> Self {
        let path = configured.filter(|path| !path.is_empty()).unwrap_or(id);
        let mut clean: Vec<&str> = Vec::new();
        for component in path.split('/') {
            match component {
                "" | "." => {}
                ".." => drop(clean.pop()),
                name => clean.push(name),
            }
        }
        Self(clean.join("/"))
    }

    /// The path of a cgroup below the container's: one that goes up, or nowhere, is a mistake of whoever wrote it.
    ///
    /// # Errors
    /// Names the path.
    pub fn below(path: &str) -> Result<Self> {
        let below = Self::new(Some(path), "");
        if goes_up(path) || below.is_root() {
            return Err(Error::plain(format!("`{path}` is no cgroup below the container's")));
        }
        Ok(below)
    }

    /// The path of `below`, below this one.
    pub(crate) fn join(&self, below: &Self) -> Self {
        if self.is_root() { below.clone() } else { Self(format!("{}/{}", self.0, below.0)) }
    }

    /// The root of the hierarchies.
    pub(crate) fn root() -> Self {
        Self(String::new())
    }

    /// The path below the root of a hierarchy, without a leading slash; empty for the root itself.
    #[must_use]
    pub fn below_root(&self) -> &str {
        &self.0
    }

    /// Whether this is the root of the hierarchies, which belongs to the host and can be no container's.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses the root of the hierarchies.
    ///
    /// # Errors
    /// For that.
    pub fn refuse_root(&self) -> Result<()> {
        match self.is_root() {
            true => Err(Error::plain("linux.cgroupsPath: the root cgroup cannot be a container's")),
            false => Ok(()),
        }
    }

    /// The paths from the first component down to the whole, for creating one level after the other.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.match_indices('/').map(|(index, _)| index).chain(Some(self.0.len()));
        ends.map(|end| &self.0[..end])
    }
}

pub(crate) fn goes_up(path: &str) -> bool {
    path.split('/').any(|component| component == "..")
}

impl std::fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_configured_path_the_cgroup_is_named_after_the_container() {
        assert_eq!(CgroupPath::new(None, "web").to_string(), "/web");
        assert_eq!(CgroupPath::new(Some(""), "web").to_string(), "/web");
    }

    #[test]
    fn relative_and_absolute_paths_lie_below_the_root() {
        assert_eq!(CgroupPath::new(Some("a/b"), "web").to_string(), "/a/b");
        assert_eq!(CgroupPath::new(Some("/a//./b/"), "web").to_string(), "/a/b");
    }

    #[test]
    fn dot_dot_cannot_leave_the_hierarchy() {
        assert_eq!(CgroupPath::new(Some("../../etc"), "web").to_string(), "/etc");
        assert_eq!(CgroupPath::new(Some("/a/../../../b"), "web").to_string(), "/b");
        assert!(CgroupPath::new(Some("/a/.."), "web").is_root());
    }

    #[test]
    fn a_path_below_the_container_leads_nowhere_else() {
        for path in ["", "/", ".", "..", "a/../b", "../a", "a/.."] {
            assert!(CgroupPath::below(path).unwrap_err().message.contains("no cgroup below"), "{path}");
        }
        for (path, below) in [("a", "a"), ("/a", "a"), ("a//b/.", "a/b"), ("a..b", "a..b")] {
            assert_eq!(CgroupPath::below(path).unwrap().below_root(), below);
        }
    }

    #[test]
    fn levels_go_from_the_top_down() {
        let path = CgroupPath::new(Some("/a/b/c"), "web");
        assert_eq!(path.levels().collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
    }
}
