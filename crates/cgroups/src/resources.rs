//! The limits of a container: what the configuration says, and what is to be written where.
//!
//! [`Resources::writes`] is a pure function; [`crate::Cgroup::apply`] does the writing.
//! Sources: runtime-spec config-linux.md#control-groups, the kernel's cgroup-v2.rst and cgroup-v1/*.rst.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::devices::DeviceRule;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::presence::Presence;

mod legacy;
mod unified;

/// `linux.resources` of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resources {
    /// Which devices may be used, in order; the last rule that matches decides.
    pub devices: Vec<DeviceRule>,
    /// Memory and swap.
    pub memory: Option<Memory>,
    /// Processor time and placement.
    pub cpu: Option<Cpu>,
    /// Number of tasks.
    pub pids: Option<Pids>,
    /// Files of the v2 tree, written as they stand.
    pub unified: BTreeMap<String, String>,
    // Sections this version cannot apply yet, kept to be refused by name.
    #[serde(rename = "blockIO")]
    block_io: Presence,
    hugepage_limits: Presence,
    network: Presence,
    rdma: Presence,
}

/// `linux.resources.memory`; sizes in bytes, −1 for no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Memory {
    /// The most memory the container may use.
    pub limit: Option<i64>,
    /// The amount the kernel tries to leave to the container (v2) or to push it back to (v1).
    pub reservation: Option<i64>,
    /// The most memory and swap together.
    pub swap: Option<i64>,
    /// v1: TCP buffer memory.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    /// v1: kernel memory; the kernel ignores it since 5.4.
    pub kernel: Option<i64>,
    /// v1: how eagerly to swap, 0 to 100.
    pub swappiness: Option<u64>,
    /// v1: stop processes instead of killing them when the limit is reached.
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    /// Refuse a limit below the present usage.
    pub check_before_update: Option<bool>,
}

/// `linux.resources.cpu`; times in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cpu {
    /// Relative weight, 2 to 262 144.
    pub shares: Option<u64>,
    /// Time the container may use in each period.
    pub quota: Option<i64>,
    /// Time it may save up beyond the quota.
    pub burst: Option<u64>,
    /// Length of a period.
    pub period: Option<u64>,
    /// v1: realtime share of a realtime period.
    pub realtime_runtime: Option<i64>,
    /// v1: length of a realtime period.
    pub realtime_period: Option<u64>,
    /// CPUs, as a list `0-3,7`.
    pub cpus: Option<String>,
    /// Memory nodes, as a list.
    pub mems: Option<String>,
    /// 1: only run when nothing else wants to.
    pub idle: Option<i64>,
}

/// `linux.resources.pids`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Pids {
    /// The most tasks; 0 is taken for "not set" (as engines mean it), below 0 for no limit.
    #[serde(default)]
    pub limit: i64,
}

/// One value to be written into one file of a container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The controller the file belongs to; names the hierarchy on v1.
    pub controller: &'static str,
    /// The file's name.
    pub file: Cow<'static, str>,
    /// The value.
    pub value: String,
    /// What a missing file means.
    pub if_missing: IfMissing,
}

/// What it means when the file of a [`Write`] is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// The limit cannot be had: an error.
    Fail,
    /// The kernel was built without the feature and the value asks for nothing beyond its absence.
    Ignore,
}

impl Write {
    fn new(controller: &'static str, file: &'static str, value: impl ToString) -> Self {
        let file = Cow::Borrowed(file);
        Self { controller, file, value: value.to_string(), if_missing: IfMissing::Fail }
    }
}

impl Resources {
    /// Everything to be written for these limits on a host with this layout, in order; devices apart
    /// (see [`crate::devices`]).
    ///
    /// # Errors
    /// When a limit contradicts another or cannot be expressed on this layout.
    pub fn writes(&self, layout: &Layout) -> Result<Vec<Write>> {
        self.refuse_unsupported()?;
        if layout.is_unified() { unified::writes(self) } else { legacy::writes(self) }
    }

    /// Whether anything is limited, apart from devices.
    #[must_use]
    pub fn has_limits(&self) -> bool {
        let Self { devices: _, memory, cpu, pids, unified, block_io, hugepage_limits, network, rdma } = self;
        let sections = [block_io, hugepage_limits, network, rdma];
        memory.as_ref().is_some_and(|memory| *memory != Memory::default())
            || cpu.as_ref().is_some_and(|cpu| *cpu != Cpu::default())
            || pids.is_some_and(|pids| pids.limit != 0)
            || !unified.is_empty()
            || sections.into_iter().any(|section| section.is_present())
    }

    fn refuse_unsupported(&self) -> Result<()> {
        for (name, section) in [
            ("blockIO", self.block_io),
            ("hugepageLimits", self.hugepage_limits),
            ("network", self.network),
            ("rdma", self.rdma),
        ] {
            if section.is_present() {
                return Err(Error::plain(format!(
                    "linux.resources.{name}: limits of this kind are not supported yet"
                )));
            }
        }
        Ok(())
    }
}
