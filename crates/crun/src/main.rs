//! `crun`: the command line of the container runtime.
//!
//! What was typed becomes an [`args::Invocation`] (by the tables in [`table`]), a command turns it into a call of
//! `libcrun` and prints the answer ([`commands`]), and a failure is said once, here. There is no container logic in
//! this crate.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod help;
mod log;
mod output;
mod table;

use std::process::ExitCode;

/// The exit status of a runtime error; that of a wrong command line is argp's 64 (`EX_USAGE`).
const FAILURE: u8 = 1;
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    match args::parse(&args) {
        Ok(invocation) => {
            let log = log::Log::new(&invocation);
            let result = log.as_ref().map_err(Clone::clone).and_then(|log| commands::run(&invocation, log));
            match result {
                Ok(status) => ExitCode::from(u8::try_from(status & 0xff).unwrap_or(FAILURE)),
                Err(error) => {
                    log::say_error(log.ok().as_ref(), &error);
                    ExitCode::from(FAILURE)
                }
            }
        }
        Err(args::Mistake::Usage(message)) => {
            log::say_usage(&message);
            ExitCode::from(USAGE)
        }
        Err(args::Mistake::Wrong(message)) => {
            log::say(&message);
            ExitCode::from(FAILURE)
        }
    }
}
