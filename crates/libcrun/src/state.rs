//! What is known about containers between two commands: the state directory (`<root>/<id>/`).
//!
//! Names and formats are those of the C crun, so that either runtime can look after the other's containers. The
//! configuration is written first and the directory removed last: whatever moment a runtime is killed at, what is left
//! is enough for `delete --force` to find the cgroup and everything in it.

mod directory;
mod process;
mod status;

pub use directory::StateRoot;
pub(crate) use directory::{EXEC_FIFO, StateDirectory};
pub(crate) use process::{has_executed, is_ending, is_same_process, start_time};
pub use status::Status;
