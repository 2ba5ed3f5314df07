//! `cargo xtask fuzz`: feeds what reads from outside with bytes that nobody would write (`fuzz/`), and keeps in the corpus
//! what takes a way through the code that nothing before has taken.
//!
//! Needs a nightly compiler (`rustup toolchain install nightly`). The corpus needs none: a test of each crate feeds it.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{sh, tools};

/// How long a target runs unless something else is said.
const SECONDS: u32 = 60;

/// What to run, and for how long.
struct Wanted {
    targets: Vec<String>,
    seconds: u32,
}

/// Runs the targets one after the other; stops at the first input that breaks one.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    let Wanted { targets, seconds } = parse(arguments)?;
    tools::cargo_tool("fuzz")?;
    for target in targets {
        let corpus = sh::checkout().join("fuzz/corpus").join(&target);
        // A run finds many, one from the other; the repository is to hold what is left of them at the end.
        let found = sh::checkout().join("fuzz/found").join(&target);
        fs::create_dir_all(&found)?;
        let limits = ["--", &format!("-max_total_time={seconds}"), "-max_len=16384"];
        sh::run(fuzz(&target).args([&found, &corpus]).args(limits))?;
        sh::run(fuzz(&target).args([&corpus, &found]).args(["--", "-merge=1"]))?;
        fs::remove_dir_all(&found)?;
    }
    Ok(())
}

fn parse(arguments: Vec<OsString>) -> Result<Wanted> {
    let mut wanted = Wanted { targets: Vec::new(), seconds: SECONDS };
    let known = targets()?;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--seconds") => {
                let given = arguments.next().and_then(|given| given.to_str()?.parse().ok());
                wanted.seconds = given.context("--seconds needs a number")?;
            }
            Some(name) if known.iter().any(|target| target == name) => wanted.targets.push(name.to_owned()),
            _ => bail!("{argument:?} is none of the targets: {}", known.join(", ")),
        }
    }
    if wanted.targets.is_empty() {
        wanted.targets = known;
    }
    Ok(wanted)
}

/// The names of all targets: a file each.
fn targets() -> Result<Vec<String>> {
    let files = fs::read_dir(sh::checkout().join("fuzz/fuzz_targets"))?;
    let name = |file: std::io::Result<fs::DirEntry>| {
        Some(file.ok()?.path().file_stem()?.to_string_lossy().into_owned())
    };
    let mut targets: Vec<String> = files.filter_map(name).collect();
    targets.sort();
    ensure!(!targets.is_empty(), "there is nothing in fuzz/fuzz_targets");
    Ok(targets)
}

fn fuzz(target: &str) -> Command {
    let mut cargo = Command::new("cargo");
    // The toolchain this was built with would be handed on otherwise.
    cargo.env_remove("RUSTUP_TOOLCHAIN").current_dir(sh::checkout());
    // What is fed is safe code; without the sanitizer it gets through several times as much.
    cargo.args(["+nightly", "fuzz", "run", "--sanitizer", "none", target]);
    cargo
}
