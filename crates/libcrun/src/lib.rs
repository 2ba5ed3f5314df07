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
//! [`describe`] tells what a start would do, and [`check::check`] whether this machine can do it. What succeeds but is not all
//! that was asked for comes with [`Warnings`]; what was done when, a [`Timeline`] collects.
//! The library prints nothing, keeps no global state and installs no signal handlers. While a container is being made
//! all signals of the calling thread are blocked, and for the moment of the clone the thread may be in another network
//! or pid namespace and the process not be traceable; both are as before when the operation returns.
#![deny(unsafe_code)]

mod capabilities;
mod channel;
pub mod check;
mod clone;
mod console_socket;
mod container;
mod create;
mod delegation;
mod delete;
mod error;
mod events;
mod exec;
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
mod warning;

pub use container::{Phase, Snapshot, annotations, list, matching, snapshot};
pub use create::{CreateOptions, Ended, RunMode, create, create_telling, describe, run, run_telling};
pub use delete::{DeleteOptions, delete, delete_with};
pub use error::{Code, Error, Object, Result, errno_name};
pub use events::{Event, IntelRdt, Statistics, statistics, watch};
pub use exec::{ExecOptions, exec, exec_telling};
pub use features::{Features, OCI_VERSION, features};
pub use host::{Host, SecurityModule};
pub use id::ContainerId;
pub use kill::{kill, kill_all};
pub use mounts::{MountsOptions, add_mounts, remove_mounts};
pub use network_interfaces::NetworkInterface;
pub use pause::{pause, resume};
pub use plan::show::{Action, Description, Detail, DetailValue, Stage};
pub use plan::{CgroupManager, Notify, Request};
pub use processes::processes;
pub use start::{StartOptions, start, start_with};
pub use state::{StateRoot, Status};
pub use timeline::{Span, SpanKind, SpanResult, Timeline, Track};
pub use update::update;
pub use warning::Warnings;
