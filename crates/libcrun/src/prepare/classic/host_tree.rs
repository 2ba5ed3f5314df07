//! A directory of the host's that is shown where a container cannot have a filesystem of its own, for `mount(2)`: it
//! makes one mount read-only at a time, so those further down have to be known by name.

use std::ffi::{CStr, CString};

use cgroups::Cgroup;
use sys::mount::Reach;

use crate::error::{Code, Context, Result};
use crate::plan::Fallback;

/// What is shown, and how far.
#[derive(Debug)]
pub(crate) struct HostTree {
    pub(crate) path: CString,
    pub(crate) reach: Reach,
    /// The mounts below, relative to the path, in the order in which they were mounted.
    pub(crate) below: Vec<CString>,
    /// Whether nothing of it is the container's, so that it must not be written to whatever is asked for.
    pub(crate) read_only: bool,
}

impl HostTree {
    /// Nothing where the host has nothing to show.
    pub(super) fn new(fallback: Fallback, cgroup: Option<&Cgroup>) -> Result<Option<Self>> {
        let own = cgroup.and_then(Cgroup::unified_path);
        match (fallback, own) {
            (Fallback::Tree(path), _) => Self::whole(path, false).map(Some),
            (Fallback::Cgroup, Some(path)) => {
                let tree = |path| Self { path, reach: Reach::Mount, below: Vec::new(), read_only: false };
                Ok(CString::new(path).ok().map(tree))
            }
            // The container has none: these are all the host's.
            (Fallback::Cgroup, None) => Self::whole(c"/sys/fs/cgroup", true).map(Some),
        }
    }

    fn whole(path: &CStr, read_only: bool) -> Result<Self> {
        const MOUNTS: &str = "/proc/self/mountinfo";
        let mounts = std::fs::read(MOUNTS).context(Code::Rootfs, || format!("read `{MOUNTS}`"))?;
        let below = mount_points_below(&mounts, path.to_bytes());
        Ok(Self { path: path.to_owned(), reach: Reach::Tree, below, read_only })
    }
}

/// The mount points below `path`, relative to it, from lines of `proc_pid_mountinfo(5)`.
fn mount_points_below(mountinfo: &[u8], path: &[u8]) -> Vec<CString> {
    let points =
        mountinfo.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let below = points.filter_map(|point| point.strip_prefix(path)?.strip_prefix(b"/"));
    below.filter_map(|point| CString::new(unescape(point)).ok()).collect()
}

/// Spaces and the like stand in octal.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let number = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match number.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => (plain.push(byte), rest = &after[3..]),
            None => (plain.push(*first), rest = after),
        };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_found_below_a_path_and_read_as_they_are_written() {
        let text = b"22 1 0:22 / /sys rw - sysfs sysfs rw\n\
                     28 22 0:28 / /sys/fs/cgroup ro shared:1 - tmpfs tmpfs ro\n\
                     29 28 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw\n\
                     30 22 0:30 / /sys/with\\040space\\134and\\011tab rw - tmpfs x rw\n\
                     31 1 0:31 / /system rw - tmpfs x rw\n\nnonsense\n";
        let expected = [c"fs/cgroup", c"fs/cgroup/cpu,cpuacct", c"with space\\and\ttab"];
        assert_eq!(mount_points_below(text, b"/sys"), expected.map(std::ffi::CStr::to_owned));
    }
}
