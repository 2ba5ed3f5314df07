//! `crun`: the command line of the container runtime.
//!
//! What was typed becomes an [`cli::args::Invocation`] (by the tables in [`cli::table`]), a command turns it into a call of
//! `libcrun` and prints the answer ([`commands`]), and a failure is said once, here. There is no container logic in
//! this crate.
//!
//! The program starts at C's `main`: the set-up of Rust's own runtime is a measurable part of a short command, and
//! nothing here needs it (see [`sys::entry`]).
#![cfg_attr(not(test), no_main)]
#![deny(unsafe_code)]
#![cfg_attr(test, allow(dead_code, reason = "the tests have a main of their own"))]

mod commands;
mod duration;
mod failed;
mod log;
mod output;
mod runc;
mod size;
mod trace;

use std::ffi::c_int;

use cli::{args, help};
use failed::failed;

/// The exit status of a runtime error; that of a wrong command line is argp's 64 (`EX_USAGE`).
const FAILURE: c_int = 1;
const USAGE: c_int = 64;

/// Where the C library enters the program.
#[cfg(not(test))]
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "the name has to be C's; nothing in the function is unsafe")]
extern "C" fn main() -> c_int {
    match sys::entry::prepare() {
        // Everything is written and closed; nothing is left for the C library to tidy up.
        Ok(()) => sys::clone::exit_now(command_line()),
        Err(_) => FAILURE,
    }
}

/// Runs the command line of this process; returns its exit status.
fn command_line() -> c_int {
    let args: Vec<_> = std::env::args_os().collect();
    if runc::is_asked_for(&args) {
        return runc::command_line(args);
    }
    match args::parse(&args) {
        Ok(invocation) => {
            // Who asks for help gets it, wherever the log should have gone.
            if let Some(text) = help::asked(&invocation) {
                return ended(commands::print(&text), None);
            }
            let log = log::Log::new(&invocation);
            let result = log.as_ref().map_err(Clone::clone).and_then(|log| commands::run(&invocation, log));
            let result =
                result.map_err(|error| libcrun::explain::diagnose(error, &commands::state_root(&invocation)));
            ended(result, log.ok().as_ref())
        }
        Err(args::Mistake::Usage(message)) => {
            log::say_usage(&message);
            USAGE
        }
        Err(args::Mistake::Wrong(message)) => {
            log::say(&message);
            FAILURE
        }
    }
}

/// The exit status; a failure is said.
fn ended(result: libcrun::Result<c_int>, log: Option<&log::Log>) -> c_int {
    match result {
        Ok(status) => status & 0xff,
        Err(error) => {
            log::say_error(log, &error);
            FAILURE
        }
    }
}
