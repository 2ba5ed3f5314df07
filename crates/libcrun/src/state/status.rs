//! The status file of a container.

use cgroups::CgroupPath;
use serde::{Deserialize, Serialize};

/// What a container's later commands have to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The container's first process, in the pid namespace of its creator.
    pub pid: i32,
    /// When it started, in clock ticks since boot (`proc_pid_stat(5)`, field 22): tells it from a later process with
    /// the same pid.
    pub process_start_time: u64,
    /// The cgroup below the root of each hierarchy; empty when the container has none of its own.
    #[serde(default)]
    pub cgroup_path: String,
    /// The systemd unit, if one was made.
    #[serde(default)]
    pub scope: Option<String>,
    /// The root filesystem as the configuration gives it.
    #[serde(default)]
    pub rootfs: String,
    /// Whether systemd manages the cgroup.
    #[serde(default)]
    pub systemd_cgroup: bool,
    /// The bundle directory.
    pub bundle: String,
    /// When the container was created, in UTC with microseconds (RFC 3339).
    pub created: String,
    /// Name of the user who created it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Whether the runtime left it to itself.
    #[serde(default)]
    pub detached: bool,
    /// Whether there are hooks for its start and its deletion. The C crun does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later_hooks: Option<bool>,
    /// A JSON array, as a string, of what the three standard descriptors were.
    #[serde(default, rename = "external_descriptors")]
    pub external_descriptors: Option<String>,
}

impl Status {
    /// Says where the cgroup is; returns whether that is news.
    pub(crate) fn change_path(&mut self, path: &CgroupPath) -> bool {
        let path = path.to_string();
        let is_other = self.cgroup_path != path;
        self.cgroup_path = path;
        is_other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As crun 1.28 writes it.
    const FROM_C: &str = r#"{
  "pid": 27,
  "process-start-time": 134057,
  "cgroup-path": "\/c1",
  "scope": "",
  "rootfs": "rootfs",
  "systemd-cgroup": false,
  "bundle": "\/tmp\/b",
  "created": "2026-11-23T23:32:06.072928Z",
  "owner": "root",
  "detached": true,
  "external_descriptors": "[\n  \"\\\/dev\\\/null\"\n]"
}"#;

    #[test]
    fn the_file_of_the_c_crun_is_understood() {
        let status: Status = serde_json::from_str(FROM_C).unwrap();
        assert_eq!((status.pid, status.process_start_time), (27, 134_057));
        assert_eq!((status.cgroup_path.as_str(), status.bundle.as_str()), ("/c1", "/tmp/b"));
        assert_eq!(status.external_descriptors.as_deref(), Some("[\n  \"\\/dev\\/null\"\n]"));
    }

    #[test]
    fn the_file_has_the_names_of_the_c_crun() {
        let status: Status = serde_json::from_str(FROM_C).unwrap();
        let own: serde_json::Value = serde_json::to_value(&status).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(FROM_C).unwrap();
        assert_eq!(own, theirs);
    }
}
