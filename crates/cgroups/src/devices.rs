//! Which devices a container may use: the rules, the eBPF program that enforces them on v2, and the lines that do
//! on v1.
//!
//! The rules of the configuration apply in order and the last one that matches decides, for each of the three
//! kinds of access by itself (runtime-spec config-linux.md#allowed-device-list). Both enforcers come from the
//! same list, and [`decide`] is the same rule book in plain words, for tests.

mod allow_list;
mod enforce;
mod legacy;
mod program;
mod rules;
mod tighten;

use serde::Deserialize;

pub(crate) use allow_list::AllowList;
pub(crate) use enforce::load_program;
pub use legacy::legacy_writes;
pub use program::program;
pub use rules::{MKNOD, READ, Rule, WRITE, decide, rules};

/// One entry of `linux.resources.devices`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeviceRule {
    /// Whether the rule grants or takes away.
    pub allow: bool,
    /// Character devices, block devices or both.
    #[serde(rename = "type", default)]
    pub kind: DeviceKind,
    /// Major number; none stands for all.
    #[serde(default)]
    pub major: Option<i64>,
    /// Minor number; none stands for all.
    #[serde(default)]
    pub minor: Option<i64>,
    /// Any of `r`, `w` and `m`; none stands for all.
    #[serde(default)]
    pub access: Option<String>,
}

/// The kind of device a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum DeviceKind {
    /// Both kinds.
    #[default]
    #[serde(rename = "a")]
    All,
    /// Block devices.
    #[serde(rename = "b")]
    Block,
    /// Character devices.
    #[serde(rename = "c", alias = "u")]
    Char,
}

#[cfg(test)]
mod tests;
