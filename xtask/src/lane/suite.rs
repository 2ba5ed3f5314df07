//! The integration tests as files: built, listed, and put where a lane finds them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::sh;

/// A test binary and those of its tests that are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    /// The name of the file in `tests/tests`.
    pub(crate) name: String,
    path: PathBuf,
    /// The tests that are wanted.
    pub(crate) tests: Vec<String>,
}

/// Builds the test binaries and lists the tests whose name, `BINARY::TEST`, has one of the filters in it.
pub(crate) fn build(filters: &[OsString]) -> Result<Vec<Binary>> {
    let mut cargo = sh::cargo();
    cargo.args([
        "test",
        "--package",
        "crun-tests",
        "--tests",
        "--no-run",
        "--quiet",
        "--message-format=json-render-diagnostics",
    ]);
    let messages = sh::read(&mut cargo)?;
    let mut binaries = Vec::new();
    for message in messages.lines() {
        let message: Value = serde_json::from_str(message).context("cargo's messages")?;
        let is_test = message["target"]["kind"][0] == "test" && message["profile"]["test"] == true;
        if let (true, Some(path), Some(name)) =
            (is_test, message["executable"].as_str(), message["target"]["name"].as_str())
        {
            let tests = list(Path::new(path), name, filters)?;
            binaries.push(Binary { name: name.to_owned(), path: path.into(), tests });
        }
    }
    binaries.retain(|binary| !binary.tests.is_empty());
    binaries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(binaries)
}

/// The tests of a binary, which tells them by itself; without those marked `#[ignore]`.
fn list(path: &Path, binary: &str, filters: &[OsString]) -> Result<Vec<String>> {
    let ask = |more: &[&str]| -> Result<Vec<String>> {
        let text = sh::read(Command::new(path).args(["--list", "--format", "terse"]).args(more))?;
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    };
    let (mut all, ignored) = (ask(&[])?, ask(&["--ignored"])?);
    all.retain(|test| {
        let full = format!("{binary}::{test}");
        let is_wanted = |filter: &OsString| full.contains(&*filter.to_string_lossy());
        !ignored.contains(test) && (filters.is_empty() || filters.iter().any(is_wanted))
    });
    Ok(all)
}

/// Puts the binaries, the runtime and the kit's programs into a directory, without the parts only a debugger reads.
pub(crate) fn stage(binaries: &[Binary], runtime: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    let programs = kit_programs()?;
    for (path, name) in binaries.iter().map(|b| (b.path.clone(), b.name.clone())).chain(programs) {
        let mut strip = Command::new("strip");
        strip.args(["--strip-debug", "-o"]).arg(to.join(&name)).arg(&path);
        if !sh::succeeds(&mut strip) {
            fs::copy(&path, to.join(&name)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    fs::copy(runtime, to.join("crun")).with_context(|| format!("cannot copy {}", runtime.display()))?;
    Ok(())
}

/// The programs that tests run others by.
fn kit_programs() -> Result<Vec<(PathBuf, String)>> {
    let mut cargo = sh::cargo();
    cargo.args([
        "build",
        "--package",
        "crun-kit",
        "--bins",
        "--quiet",
        "--message-format=json-render-diagnostics",
    ]);
    let messages = sh::read(&mut cargo)?;
    let program = |message: Value| {
        let (path, name) = (message["executable"].as_str()?, message["target"]["name"].as_str()?);
        (message["target"]["kind"][0] == "bin").then(|| (PathBuf::from(path), name.to_owned()))
    };
    Ok(messages.lines().filter_map(|line| program(serde_json::from_str(line).ok()?)).collect())
}
