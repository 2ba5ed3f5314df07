//! `cargo xtask test`: installs what the tests need, builds the release binary, runs the tests on it; with `--all` then also
//! those of the lanes.
//!
//! | variable | for the tests |
//! |---|---|
//! | `CRUN_BIN` | the runtime under test: the static release binary, unless set by the caller |

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Result, bail};

use crate::build::LINK;
use crate::{build, lane, sh, tools};

/// What to run.
#[derive(Debug, Default)]
struct Wanted {
    /// Also the tests marked `#[ignore]`, which take long, and the lanes.
    all: bool,
    /// Only tests whose name contains one of these.
    filters: Vec<OsString>,
}

/// Runs the tests. The runner's own summary is what is printed last.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    let wanted = parse(arguments)?;
    tools::install_packages();
    let runtime = match std::env::var_os("CRUN_BIN") {
        Some(given) => given,
        None => build::release("crun", "crun", LINK)?.into_os_string(),
    };
    // Made here, before the clock of any test runs; each says so itself when it cannot be had.
    drop(kit::rootfs::busybox_rootfs());
    drop(kit::rootfs::debian_rootfs());
    drop(kit::rootfs::peers_root());
    // The programs that tests run others by.
    sh::run(sh::cargo().args(["build", "--quiet", "--package", "crun-kit", "--bins"]))?;
    if wanted.filters.is_empty() {
        sh::run(sh::cargo().args(["test", "--workspace", "--doc", "--quiet"]))?;
    }
    sh::run(runner(&wanted).env("CRUN_BIN", runtime))?;
    if wanted.all { lane::run_all(&wanted.filters) } else { Ok(()) }
}

fn parse(arguments: Vec<OsString>) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--all") => wanted.all = true,
            Some("--") => wanted.filters.extend(arguments.by_ref()),
            _ => bail!("unknown argument {argument:?}; test names go after `--`"),
        }
    }
    Ok(wanted)
}

/// cargo-nextest where it is installed: a process for each test, and a limit on its time. Building it takes longer
/// than all tests together, so where it is missing `cargo test` has to do.
fn runner(wanted: &Wanted) -> Command {
    let mut cargo = sh::cargo();
    if sh::succeeds(sh::cargo().args(["nextest", "--version"])) {
        cargo.args(["nextest", "run", "--workspace", "--status-level=slow", "--final-status-level=slow"]);
        cargo.args(wanted.all.then_some("--run-ignored=all"));
        cargo.args(&wanted.filters);
    } else {
        println!("cargo-nextest is not installed (cargo install --locked cargo-nextest): using cargo test");
        cargo.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast", "--quiet", "--"]);
        cargo.args(wanted.all.then_some("--include-ignored"));
        cargo.args(&wanted.filters);
    }
    cargo
}
