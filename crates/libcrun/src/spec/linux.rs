//! `linux`: namespaces, devices, cgroup, masked paths (runtime-spec config-linux.md).

use std::collections::BTreeMap;

use cgroups::Resources;
use serde::Deserialize;

use super::{MemoryPolicy, Presence, Seccomp, Text};

/// What concerns Linux.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux<'a> {
    /// The namespaces that are not shared with the runtime.
    #[serde(borrow, default)]
    pub namespaces: Option<Vec<Namespace<'a>>>,
    /// User ids of a new user namespace.
    #[serde(default)]
    pub uid_mappings: Option<Vec<IdMapping>>,
    /// Group ids of a new user namespace.
    #[serde(default)]
    pub gid_mappings: Option<Vec<IdMapping>>,
    /// Offsets of the clocks in a new time namespace.
    #[serde(borrow, default)]
    pub time_offsets: Option<BTreeMap<Text<'a>, TimeOffset>>,
    /// Device nodes beyond the default ones.
    #[serde(borrow, default)]
    pub devices: Option<Vec<Device<'a>>>,
    /// Where the cgroup lies.
    #[serde(borrow, default)]
    pub cgroups_path: Option<Text<'a>>,
    /// Limits.
    #[serde(default)]
    pub resources: Option<Resources>,
    /// Propagation of the root mount.
    #[serde(borrow, default)]
    pub rootfs_propagation: Option<Text<'a>>,
    /// Paths that are hidden.
    #[serde(borrow, default)]
    pub masked_paths: Option<Vec<Text<'a>>>,
    /// Paths that cannot be written to.
    #[serde(borrow, default)]
    pub readonly_paths: Option<Vec<Text<'a>>>,
    /// From which nodes memory comes.
    #[serde(borrow, default)]
    pub memory_policy: Option<MemoryPolicy<'a>>,
    /// Which system calls may be made.
    #[serde(borrow, default)]
    pub seccomp: Option<Seccomp<'a>>,
    /// Kernel parameters of the namespaces, by name.
    #[serde(borrow, default)]
    pub sysctl: Option<BTreeMap<Text<'a>, Text<'a>>>,
    /// What SELinux takes the files for in what is mounted.
    #[serde(borrow, default)]
    pub mount_label: Option<Text<'a>>,
    #[serde(default)]
    pub(crate) intel_rdt: Presence,
    /// Which system the process takes this one for.
    #[serde(borrow, default)]
    pub personality: Option<Personality<'a>>,
    #[serde(default)]
    pub(crate) net_devices: Presence,
}

/// One entry of `linux.namespaces`.
#[derive(Debug, Deserialize)]
pub struct Namespace<'a> {
    /// Its type.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// An existing namespace to join; without it a new one is made.
    #[serde(borrow, default)]
    pub path: Option<Text<'a>>,
}

/// `linux.personality`; the specification has no flags yet.
#[derive(Debug, Deserialize)]
pub struct Personality<'a> {
    /// The execution domain.
    #[serde(borrow)]
    pub domain: Text<'a>,
}

/// One range of `linux.uidMappings` or `linux.gidMappings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMapping {
    /// First id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// One entry of `linux.timeOffsets`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct TimeOffset {
    /// Seconds.
    #[serde(default)]
    pub secs: i64,
    /// Nanoseconds.
    #[serde(default)]
    pub nanosecs: u32,
}

/// One entry of `linux.devices`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device<'a> {
    /// `c`, `u`, `b` or `p`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// Where, inside the container.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Major number.
    #[serde(default)]
    pub major: Option<i64>,
    /// Minor number.
    #[serde(default)]
    pub minor: Option<i64>,
    /// Permissions; 0666 if absent.
    #[serde(default)]
    pub file_mode: Option<u32>,
    /// Owner inside the container.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Group inside the container.
    #[serde(default)]
    pub gid: Option<u32>,
}
