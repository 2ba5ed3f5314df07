//! How the start depends on the number of mounts in the mount namespace the runtime is started in.
//!
//! A new mount namespace begins as a copy of the old one, and a host with many containers has many mounts. The mounts
//! are made in a namespace of a process of its own (this program again, below `unshare`), and are gone with it.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::bundle;
use crate::measure::{self, Options};
use crate::operation::Operation;
use crate::results::Series;

/// How many mounts more there are. With none more, it is the scenario `run`.
const COUNTS: &[u32] = &[1000, 5000];
const ROUNDS: u32 = 40;

fn name(count: u32) -> String {
    format!("run, {count} mounts more")
}

/// Measures each number of mounts in a process of its own.
pub(crate) fn all(options: &Options) -> Result<Vec<Series>> {
    let mut series = Vec::new();
    for count in COUNTS.iter().filter(|count| options.wants(&name(**count))) {
        eprintln!("measuring {}", name(*count));
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(std::env::current_exe()?)
            .arg("mounts")
            .args(options.to_arguments())
            .args(["--count", &count.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run unshare")?;
        ensure!(child.status.success(), "measuring with {count} mounts failed");
        series.extend(serde_json::from_slice::<Vec<Series>>(&child.stdout)?);
    }
    Ok(series)
}

/// That process: makes the mounts, measures, prints the series.
pub(crate) fn child(parser: lexopt::Parser) -> Result<()> {
    let (options, _) = Options::parse(parser)?;
    let dir = options.place.state.join("mounts");
    let source = dir.join("source");
    fs::create_dir_all(&source)?;
    for number in 0..options.count {
        let target = dir.join(number.to_string());
        fs::create_dir_all(&target)?;
        rustix::mount::mount_bind(&source, &target).context("cannot bind")?;
    }
    let runtimes = options.participants()?;
    let rounds = options.rounds(ROUNDS);
    let run = Operation::Run(bundle::TRUE);
    let series = measure::scenario(&options, &runtimes, &name(options.count), run, rounds);
    print!("{}", serde_json::to_string(&series)?);
    Ok(())
}
