//! `cargo xtask check`: everything that can be said about the sources without running the product.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{sh, tools};

/// Runs every check; stops at the first that fails.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    ensure!(arguments.is_empty(), "check takes no arguments");
    sh::run(sh::cargo().args(["fmt", "--all", "--check"]))?;
    sh::run(sh::cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    sh::run(
        sh::cargo().args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    tools::cargo_tool("deny")?;
    sh::run(sh::cargo().args(["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]))?;
    advisories()
}

/// Known vulnerabilities of the dependencies. The database is on GitHub, which not every machine reaches: then this
/// check is left out, and says so.
fn advisories() -> Result<()> {
    let mut fetch = Command::new("timeout");
    fetch.args(["60", "cargo", "deny", "fetch", "db"]).current_dir(sh::checkout());
    if !sh::succeeds(&mut fetch) {
        println!("SKIPPED: cargo deny check advisories (the advisory database cannot be fetched from here)");
        return Ok(());
    }
    sh::run(sh::cargo().args(["deny", "--log-level", "error", "check", "--disable-fetch", "advisories"]))
}
