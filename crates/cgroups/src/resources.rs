//! The limits of a container: what the configuration says, and what is to be written where.
//!
//! [`Resources::writes`] is a pure function; [`crate::Cgroup::apply`] does the writing.
//! Sources: runtime-spec config-linux.md#control-groups, the kernel's cgroup-v2.rst and cgroup-v1/*.rst.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::devices::DeviceRule;
use crate::error::{Error, Result};
use crate::layout::Layout;

mod block_io;
mod former;
mod hugepages;
mod legacy;
mod network;
#[cfg(test)]
mod properties;
mod rdma;
mod unified;
mod write;

pub use block_io::{BlockIo, ThrottleDevice, WeightDevice};
pub(crate) use former::former;
pub use hugepages::HugepageLimit;
pub use network::{InterfacePriority, Network};
pub use rdma::RdmaLimit;
pub use write::{IfMissing, Write};

/// `linux.resources` of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resources {
    /// Which devices may be used, in order; the last rule that matches decides.
    #[serde(deserialize_with = "null_is_default")]
    pub devices: Vec<DeviceRule>,
    /// Memory and swap.
    pub memory: Option<Memory>,
    /// Processor time and placement.
    pub cpu: Option<Cpu>,
    /// Number of tasks.
    pub pids: Option<Pids>,
    /// Block devices.
    #[serde(rename = "blockIO")]
    pub block_io: Option<BlockIo>,
    /// Huge pages of each size.
    #[serde(deserialize_with = "null_is_default")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// v1: marks of the network packets.
    pub network: Option<Network>,
    /// Resources of RDMA devices, by name.
    #[serde(deserialize_with = "null_is_default")]
    pub rdma: BTreeMap<String, RdmaLimit>,
    /// Files of the v2 tree, written as they stand.
    #[serde(deserialize_with = "null_is_default")]
    pub unified: BTreeMap<String, String>,
}

/// Lists and maps that an engine writes as `null` when they are empty.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
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
    /// v1: count what is in the cgroups below, too; the kernel always does since 5.11.
    pub use_hierarchy: Option<bool>,
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

/// Whether the cgroup is to get its first limits or others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// It has none: what asks for no limit needs no write.
    Start,
    /// What is given replaces what is there, also by nothing.
    Update,
}

impl Resources {
    /// Everything to be written for these limits into a cgroup on a host with this layout, in order; devices apart
    /// (see [`crate::devices`]).
    ///
    /// # Errors
    /// When a limit contradicts another or cannot be expressed on this layout.
    pub fn writes(&self, layout: &Layout) -> Result<Vec<Write>> {
        self.writes_at(Moment::Start, layout)
    }

    /// The same for a cgroup that has limits already.
    ///
    /// # Errors
    /// As [`Self::writes`].
    pub fn changes(&self, layout: &Layout) -> Result<Vec<Write>> {
        self.writes_at(Moment::Update, layout)
    }

    fn writes_at(&self, moment: Moment, layout: &Layout) -> Result<Vec<Write>> {
        if layout.is_unified() { unified::writes(self, moment) } else { legacy::writes(self, moment, layout) }
    }

    /// Whether anything is limited, apart from devices.
    #[must_use]
    pub fn has_limits(&self) -> bool {
        fn says_something<T: Default + PartialEq>(section: Option<&T>) -> bool {
            section.is_some_and(|section| *section != T::default())
        }
        let Self { devices: _, memory, cpu, pids, unified, block_io, hugepage_limits, network, rdma } = self;
        says_something(memory.as_ref())
            || says_something(cpu.as_ref())
            || says_something(pids.as_ref())
            || says_something(block_io.as_ref())
            || says_something(network.as_ref())
            || !hugepage_limits.is_empty()
            || !rdma.is_empty()
            || !unified.is_empty()
    }
}

impl Cpu {
    /// The shares and what `cpu.idle` gets. A group that is idle has no shares the kernel would take.
    fn shares_and_idle(&self) -> Result<(Option<u64>, Option<i64>)> {
        let shares = self.shares.filter(|shares| *shares != 0);
        match (shares, self.idle) {
            (_, Some(idle)) if !(0..=1).contains(&idle) => {
                Err(invalid("cpu.idle", format!("{idle} is neither 0 nor 1")))
            }
            (Some(_), Some(1)) => Err(invalid("cpu.idle", "an idle cgroup cannot have `shares`")),
            both => Ok(both),
        }
    }
}

impl Pids {
    /// What is written for it. The kernel takes no limit beyond the number of pids there can be (`PID_MAX_LIMIT`), and
    /// such a one is none.
    fn value(self) -> Option<String> {
        const MOST: i64 = 4_194_304;
        match self.limit {
            0 => None,
            1..=MOST => Some(self.limit.to_string()),
            _ => Some("max".to_owned()),
        }
    }
}

/// A mistake in the limits.
fn invalid(path: &str, what: impl std::fmt::Display) -> Error {
    Error::plain(format!("linux.resources.{path}: {what}"))
}
