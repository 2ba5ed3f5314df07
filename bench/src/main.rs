//! Measures container runtimes side by side: this one, others, and a floor that does only the kernel's work.
//!
//! `crun-bench measure` is the measuring process itself. It starts each runtime directly and waits for it, with no
//! shell in between, going round-robin over the runtimes so that whatever disturbs the machine disturbs all of them.
//! `cargo xtask bench` builds everything, makes a private pure-v2 view with the other runtimes in it, runs this there,
//! and then `crun-bench report`, which turns samples into a table, a JSON file and a chart.
//! `crun-bench seccomp` measures the compiler of seccomp profiles, in this process.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a measuring tool reports to whoever runs it")]

mod bundle;
mod cgroup;
mod measure;
mod memory;
mod mounts;
mod operation;
mod results;
mod running;
mod runtime;
mod seccomp;
mod svg;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

use crate::measure::Options;
use crate::results::Results;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crun-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let mut parser = lexopt::Parser::from_env();
    match parser.value()?.string()?.as_str() {
        "measure" => measure_command(parser),
        "mounts" => mounts::child(parser),
        "report" => report_command(parser),
        "seccomp" => seccomp::run_command(parser),
        other => bail!("unknown command {other:?}; there are measure, report and seccomp"),
    }
}

/// `measure --dir DIR --state DIR --out FILE [--this PATH] [--native PATH] [--also NAME]... [--search DIR]... [--quick]
/// [--only NAME]...`
fn measure_command(parser: lexopt::Parser) -> Result<()> {
    let (options, out) = Options::parse(parser)?;
    let results = measure::all(&options)?;
    let out = out.context("measure needs --out")?;
    fs::write(&out, serde_json::to_vec(&results)?).with_context(|| format!("cannot write {}", out.display()))
}

/// `report [--json FILE] [--svg FILE] RESULTS...`: several results are shown as one.
fn report_command(mut parser: lexopt::Parser) -> Result<()> {
    let (mut json, mut chart, mut results) = (None, None, Results::default());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => json = Some(PathBuf::from(parser.value()?)),
            Long("svg") => chart = Some(PathBuf::from(parser.value()?)),
            Value(file) => {
                let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                results.merge(serde_json::from_slice(&bytes)?);
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    print!("{}", table::render(&results));
    if let Some(path) = json {
        fs::write(path, serde_json::to_vec_pretty(&results.summarised())?)?;
    }
    if let Some(path) = chart {
        fs::write(path, svg::render(&results))?;
    }
    Ok(())
}
