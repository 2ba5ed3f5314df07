//! The configuration of a container: `config.json` as types that borrow from its text.
//!
//! First stage of the pipeline. The types follow the OCI runtime specification 1.3; fields that do not concern
//! Linux are not read. What is read but cannot be honoured yet is refused by name, never ignored.

mod hooks;
mod linux;
mod load;
mod objects;
mod process;
mod profile;
mod scheduling;
mod seccomp;
mod template;
mod text;
mod unsupported;

use std::collections::BTreeMap;

pub(crate) use cgroups::Presence;
pub use cgroups::Resources;
pub use cgroups::resources::{BlockIo, Cpu, Memory, Pids};
use serde::Deserialize;

pub use hooks::{Hook, Hooks};
pub use linux::{Device, IdMapping, Linux, Namespace, Personality, TimeOffset};
pub(crate) use load::parse_annotations;
pub use load::{parse, parse_mounts, parse_process, parse_resources};
pub use process::{Capabilities, ConsoleSize, Process, Rlimit, User};
pub use profile::parse_seccomp;
pub use scheduling::{ExecCpuAffinity, IoPriority, MemoryPolicy, Scheduler};
pub use seccomp::{Argument, Seccomp, Syscall};
pub use template::template;
pub use text::Text;
pub(crate) use unsupported::refuse_unsupported;

/// Free text by key.
pub type Annotations<'a> = BTreeMap<Text<'a>, Text<'a>>;

/// A whole configuration (runtime-spec config.md).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec<'a> {
    /// The version of the specification it was written for.
    #[serde(borrow)]
    pub oci_version: Text<'a>,
    /// The process to run.
    #[serde(borrow, default)]
    pub process: Option<Process<'a>>,
    /// The root filesystem.
    #[serde(borrow, default)]
    pub root: Option<Root<'a>>,
    /// The host name inside.
    #[serde(borrow, default)]
    pub hostname: Option<Text<'a>>,
    /// The NIS domain name inside.
    #[serde(borrow, default)]
    pub domainname: Option<Text<'a>>,
    /// What is mounted below the root filesystem, in order.
    #[serde(borrow, default)]
    pub mounts: Option<Vec<Mount<'a>>>,
    /// Free text for engines and operators.
    #[serde(borrow, default)]
    pub annotations: Option<Annotations<'a>>,
    /// What concerns Linux.
    #[serde(borrow, default)]
    pub linux: Option<Linux<'a>>,
    /// Programs that take part in its life.
    #[serde(borrow, default)]
    pub hooks: Option<Hooks<'a>>,
}

/// `root` (runtime-spec config.md#root).
#[derive(Debug, Default, Deserialize)]
pub struct Root<'a> {
    /// Path of the root filesystem, relative to the bundle or absolute.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Whether it is mounted read-only.
    #[serde(default)]
    pub readonly: Option<bool>,
}

/// One entry of `mounts` (runtime-spec config.md#mounts).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount<'a> {
    /// Where, inside the container.
    #[serde(borrow)]
    pub destination: Text<'a>,
    /// The filesystem type, or `bind`.
    #[serde(borrow, rename = "type", default)]
    pub kind: Option<Text<'a>>,
    /// What: a host path for a bind, otherwise a name.
    #[serde(borrow, default)]
    pub source: Option<Text<'a>>,
    /// How.
    #[serde(borrow, default)]
    pub options: Option<Vec<Text<'a>>>,
    /// User ids of the files: in the filesystem, and as they are shown.
    #[serde(default)]
    pub uid_mappings: Option<Vec<IdMapping>>,
    /// The same for group ids.
    #[serde(default)]
    pub gid_mappings: Option<Vec<IdMapping>>,
}
