//! Cgroups: where a container's processes are counted, limited, frozen and killed.
//!
//! The crate answers three questions, each in a module of its own: how does this host lay its cgroups out
//! ([`layout`]), what has to be written where for a set of limits ([`resources`], [`devices`]: pure functions from
//! the OCI configuration to a list of writes or a program), and how is it done ([`cgroup`]: create, join, list,
//! kill, remove, always below a directory descriptor of the hierarchy). [`systemd`] has the same done by systemd.
#![forbid(unsafe_code)]

mod apply;
pub mod cgroup;
mod child;
mod controllers;
pub mod devices;
mod error;
mod files;
pub mod freezer;
mod freezers;
pub mod layout;
mod make;
mod oom;
mod ownership;
pub mod path;
mod presence;
mod processes;
mod remove;
pub mod resources;
mod signal;
pub mod stats;
pub mod systemd;
mod update;
mod usage;
mod walk;
mod watch;

pub use cgroup::{Cgroup, Removed};
pub use controllers::CONTROLLERS;
pub use error::{Error, ErrorKind, Result};
pub use freezers::Freezers;
pub use layout::Layout;
pub use path::CgroupPath;
pub use presence::Presence;
pub use remove::Leftovers;
pub use resources::Resources;
pub use update::{Manager, update};
pub use watch::Watch;
