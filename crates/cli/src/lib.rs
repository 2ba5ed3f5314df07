//! The command line as a definition: every option and command ([`table`]), how what was typed is read by it ([`args`]),
//! and the help that is made from it ([`help`]).
//!
//! A crate of its own because two programs read it: `crun`, and `cargo xtask`, which makes manual pages and completions
//! from the same tables. It knows nothing of containers.
#![forbid(unsafe_code)]

pub mod args;
pub mod help;
pub mod kind;
mod suggest;
pub mod table;
