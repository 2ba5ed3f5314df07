//! `cargo xtask fuzz`: feeds what reads from outside with bytes that nobody would write (`fuzz/`), and keeps in the corpus
//! what takes a way through the code that nothing before has taken.
//!
//! Needs a nightly compiler (`rustup toolchain install nightly`). The corpus needs none: a test of each crate feeds it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{sh, tools};

/// How long a target runs unless something else is said.
const SECONDS: u32 = 60;

/// The largest input that is kept, in bytes: what is larger is mostly something small in something else.
const LARGEST_KEPT: u64 = 640;

/// What to run, and for how long.
struct Wanted {
    targets: Vec<String>,
    seconds: u32,
}

/// Runs the targets one after the other; stops at the first input that breaks one, which is in `fuzz/artifacts`.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    let Wanted { targets, seconds } = parse(arguments)?;
    tools::cargo_tool("fuzz")?;
    targets.iter().try_for_each(|target| feed(&Directories::of(target)?, target, seconds))
}

/// Where the inputs of a target are.
struct Directories {
    /// Written by hand.
    seeds: PathBuf,
    /// What earlier runs have found, and the repository holds.
    corpus: PathBuf,
    /// What this run finds: many, one from the other.
    found: PathBuf,
    /// The least that goes every way through the code that one of all these goes.
    least: PathBuf,
}

impl Directories {
    fn of(target: &str) -> Result<Self> {
        let directory = |kind: &str| sh::checkout().join("fuzz").join(kind).join(target);
        let [seeds, corpus, found, least] = ["seeds", "corpus", "found", "found/least"].map(directory);
        let this = Self { seeds, corpus, found, least };
        for made in [&this.seeds, &this.corpus, &this.found, &this.least] {
            fs::create_dir_all(made)?;
        }
        Ok(this)
    }
}

fn feed(directories: &Directories, target: &str, seconds: u32) -> Result<()> {
    let Directories { seeds, corpus, found, least } = directories;
    let limits = ["--", &format!("-max_total_time={seconds}"), "-max_len=16384"];
    sh::run(fuzz(target).args([found, corpus, seeds]).args(limits))?;
    for seed in files(seeds)? {
        fs::copy(&seed, least.join(seed.file_name().unwrap_or_default()))?;
    }
    // How often a way was taken is of use while searching, not for keeping.
    let merge = ["--", "-set_cover_merge=1", "-use_counters=0"];
    sh::run(fuzz(target).args([least, corpus, found]).args(merge))?;
    files(corpus)?.iter().try_for_each(fs::remove_file)?;
    for file in files(least)? {
        let name = file.file_name().unwrap_or_default();
        if !seeds.join(name).exists() && fs::metadata(&file)?.len() <= LARGEST_KEPT {
            fs::copy(&file, corpus.join(name))?;
        }
    }
    fs::remove_dir_all(least)?;
    Ok(fs::remove_dir_all(found)?)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    entries.collect()
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
