//! `cargo xtask COMMAND`: what a developer of this project types.
//!
//! Each command is one module with one `run`; [`COMMANDS`] is the table of them. Nothing here is part of the product.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a developer's tool talks to its developer")]

mod bench;
mod build;
mod check;
mod completions;
mod demo;
mod fuzz;
mod lane;
mod manual;
mod order;
mod sh;
mod syscalls;
mod test;
mod tools;
mod trace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};

/// A command's name, its arguments for humans, what it does, and the function that does it.
type Row = (&'static str, &'static str, &'static str, fn(Vec<OsString>) -> Result<()>);

const COMMANDS: &[Row] = &[
    ("demo", "", "run a container that says who and where it is", demo::run),
    (
        "test",
        "[--all] [-- FILTER...]",
        "install what the tests need, run them; --all: in the lanes, too",
        test::run,
    ),
    (
        "lane",
        "systemd|vm [--root|--user|--sh COMMAND] [-- FILTER...]",
        "run the integration tests, or a command, in a Debian with systemd",
        lane::run,
    ),
    (
        "fuzz",
        "[TARGET...] [--seconds N]",
        "feed what reads from outside with bytes nobody would write (nightly)",
        fuzz::run,
    ),
    ("check", "", "format, lints, documentation, licenses of dependencies", check::run),
    ("syscalls", "", "write the table of system calls anew, from the kernel's headers", syscalls::run),
    ("order", "", "write down which functions a start runs, for the linker to put side by side", order::run),
    ("man", "[DIR]", "write the manual pages (default: target/dist/man)", manual::run),
    (
        "completions",
        "[DIR]",
        "write the completions for bash, zsh and fish (default: target/dist/completions)",
        completions::run,
    ),
    ("build", "[--pie]", "build the static release binary and print its path", build::run),
    (
        "bench",
        "[--quick] [--only NAME]... [--also NAME=PATH]...",
        "measure this runtime next to others and the floor",
        bench::run,
    ),
    ("trace", "[FILE]", "draw docs/trace.svg from a trace (default: docs/trace.json)", trace::run),
];

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments.next().and_then(|name| name.into_string().ok()).unwrap_or_default();
    if matches!(name.as_str(), "" | "help" | "--help" | "-h") {
        println!("Usage: cargo xtask COMMAND\n");
        for (name, arguments, about, _) in COMMANDS {
            println!("  {:<60} {about}", format!("{name} {arguments}"));
        }
        return Ok(());
    }
    match COMMANDS.iter().find(|row| row.0 == name) {
        Some((.., run)) => run(arguments.collect()),
        None => bail!("unknown command {name:?}; `cargo xtask help` lists them"),
    }
}
