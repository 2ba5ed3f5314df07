//! systemd as the one who makes and removes a container's cgroup: as that of a transient unit, a scope, with the process
//! in it.
//!
//! What is decided are functions: what the unit is called (`unit`), what is said about it (`properties`: `limits`,
//! devices, and the `annotations`, whose values [`text`] reads). It is done by `manager` over a `connection`: one call
//! starts the unit, the job it makes is waited for, and there is one deadline for all of it.
//!
//! # Why the client is written by hand
//! Measured by starting scopes with a real systemd 262, 100 of each in turn: a process with a static binary that connects,
//! calls `StartTransientUnit` and waits for the job, beyond one that does nothing.
//!
//! | client | by way of | time | binary |
//! |---|---|---|---|
//! | by hand | the bus | 1.8 ms | 0.18 MB with everything of this module and what it needs |
//! | zbus 5, blocking | the bus | 2.7 ms | 1.6 MB and a thread |
//! | by hand | systemd's own socket | 3.4 ms | |
//! | `zvariant` for the values, the rest by hand | systemd's own socket | 3.1 ms | 0.1 MB for the values alone |
//! | zbus 5, blocking | systemd's own socket | panics: a peer that is no bus has a sender it takes for no name | |
//!
//! The time is systemd's; a client can only add to it. Of a library only the encoder of values would be used, and that is
//! ninety lines, for a type of values that the text form needs anyway. Letting somebody in on its own socket takes systemd
//! longer than it takes a bus to pass the call on, so that socket is for hosts without a bus.

mod address;
mod annotations;
mod connection;
mod limits;
mod manager;
mod message;
mod missing;
mod pin;
mod place;
mod properties;
mod start;
pub mod text;
mod unit;
mod update;
pub mod value;
mod version;

pub use annotations::properties as annotated_properties;
pub use missing::MissingProperties;
pub use place::unit_path;
pub use properties::{Property, UnitPlan, Wanted};
pub use start::{UnitStart, stop_unit};
pub use unit::Unit;
pub use update::update_unit;
pub use version::version;
