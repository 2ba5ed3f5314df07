//! Whether cgroups are frozen, asked about many of them.

use std::cell::OnceCell;
use std::os::fd::{AsFd, OwnedFd};

use crate::cgroup::open_root;
use crate::files::read_below;
use crate::freezer::{is_freezer, says_frozen, state_file};
use crate::layout::Layout;
use crate::path::CgroupPath;

/// The freezers of this host, found out with the first question: to list a thousand containers must not take a thousand
/// looks at how cgroups are laid out.
#[derive(Debug, Default)]
pub struct Freezers {
    roots: OnceCell<Vec<(OwnedFd, &'static str)>>,
}

impl Freezers {
    /// Whether the processes of a cgroup are frozen. Where there are no cgroups, nothing is.
    #[must_use]
    pub fn is_frozen(&self, path: &CgroupPath) -> bool {
        self.roots.get_or_init(find).iter().any(|(root, file)| {
            let file = format!("{}/{file}", path.below_root());
            read_below(root.as_fd(), &file).is_ok_and(|content| says_frozen(&content))
        })
    }
}

fn find() -> Vec<(OwnedFd, &'static str)> {
    let hierarchies = Layout::detect_those(is_freezer).map(|layout| layout.hierarchies).unwrap_or_default();
    let root = |hierarchy| Some((open_root(hierarchy).ok()?, state_file(hierarchy)?));
    hierarchies.iter().filter_map(root).collect()
}
