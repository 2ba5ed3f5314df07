//! Containers from OCI bundles.
//!
//! A container start is a pipeline, one module for each stage:
//!
//! ```text
//! config.json ─► spec ─► plan ◄─ host      decide   (pure; nothing has been touched yet)
//!                         │
//!                      prepare             acquire  (descriptors, detached mounts, the cgroup)
//!                         │
//!                       spawn ─clone3─► init        execute (inside)
//!                         │              │
//!                       state ◄─report── exec
//! ```
//!
//! The operations stand on top: [`create`], [`run`], [`start`], [`exec`], [`kill`], [`delete`], [`snapshot`], [`list`],
//! [`pause`], [`resume`], [`processes`], [`statistics`], [`watch`], [`update`], [`add_mounts`], [`remove_mounts`].
//! The library prints nothing, keeps no global state (what a [`Timeline`] collects is the caller's) and installs no signal handlers. While a container is being made
//! all signals of the calling thread are blocked, and for the moment of the clone the thread may be in another network
//! or pid namespace and the process not be traceable; both are as before when the operation returns.
#![deny(unsafe_code)]

mod capabilities;
mod channel;
mod clone;
mod console_socket;
mod container;
mod create;
mod delegation;
mod delete;
mod error;
mod events;
mod exec;
mod exec_cgroup;
pub mod explain;
mod features;
mod filesystem;
mod following;
mod foreground;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod home;
mod hooks;
mod host;
mod id;
mod idmap;
mod init;
pub mod input;
mod kill;
mod mount_options;
mod mounts;
mod namespace_file;
mod network_interfaces;
mod notify;
mod number_set;
mod oom_score;
mod pause;
mod pid_file;
mod pidfd_receiver;
mod plan;
mod prepare;
mod processes;
mod procfs;
mod receiver;
mod relay;
mod report;
mod rlimits;
mod scheduling;
pub mod self_protection;
pub mod signals;
mod spawn;
pub mod spec;
mod start;
mod state;
mod terminal;
mod timeline;
mod unix_socket;
mod update;
mod user_namespace;

pub use container::{Phase, Snapshot, annotations, list, matching, snapshot};
pub use create::{CreateOptions, Ended, RunMode, create, run};
pub use delete::{DeleteOptions, Warnings, delete, delete_with};
pub use error::{Code, Error, Result};
pub use events::{Event, IntelRdt, Statistics, statistics, watch};
pub use exec::{ExecOptions, exec};
pub use features::{Features, features};
pub use host::{Host, SecurityModule};
pub use id::ContainerId;
pub use kill::{kill, kill_all};
pub use mounts::{MountsOptions, add_mounts, remove_mounts};
pub use network_interfaces::NetworkInterface;
pub use pause::{pause, resume};
pub use plan::{CgroupManager, Notify, Request};
pub use processes::processes;
pub use start::{StartOptions, start, start_with};
pub use state::{StateRoot, Status};
pub use timeline::{Span, SpanKind, SpanResult, Timeline, Track};
pub use update::update;
