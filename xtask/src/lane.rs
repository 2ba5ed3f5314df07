//! `cargo xtask lane systemd|vm`: the integration tests in a Debian with systemd as pid 1, in namespaces on this machine's
//! kernel or in a virtual machine, as root and as a user with a session. [`LANES`] says what the two are.
//!
//! The tests are built here. In the lane, an agent runs their binaries, one after the other, with libtest's threads; their
//! events come back through a directory that both sides see. A lane writes to layers of its own, which go away with it.

mod booted;
mod image;
mod pass;
mod report;
mod suite;
mod systemd;
mod vm;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};

use self::booted::{Booted, Ended, Ground};
use self::image::Image;
use self::pass::{Pass, Who};
use self::report::Report;
use crate::build::LINK;
use crate::{build, tools};

/// A lane, and how tests are run in it.
pub(crate) struct Lane {
    name: &'static str,
    /// Programs it needs, with the Debian package.
    programs: &'static [(&'static str, &'static str)],
    boot: fn(&Image, Ground) -> Result<Booted>,
    /// Run before the first test.
    prepare: &'static str,
    /// Where the test binaries and the runtime are in it.
    bin: &'static str,
    threads: u32,
    /// How many times longer things may take than on a machine that is not emulated.
    slowness: u32,
    /// How long one test binary may take.
    limit: Duration,
    /// How long all of them may take together. What is left then is told as not run, and counts as a failure.
    budget: Duration,
    /// Tests that are not run there, by the beginning of their name, and why.
    left_out: &'static [(&'static str, &'static str)],
}

const LANES: &[Lane] = &[
    Lane {
        name: "systemd",
        programs: &[("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs"), ("unshare", "util-linux")],
        boot: systemd::boot,
        // systemd has seen a container, in which it leaves devices alone. For tests it is to be as on a machine: what is
        // made in a user namespace may not show more of sysfs than is shown here.
        prepare: "mount -o remount,bind,rw,nosuid,nodev,noexec /sys",
        bin: "/lane/bin",
        threads: 2,
        slowness: 1,
        limit: Duration::from_secs(300),
        budget: Duration::from_secs(20 * 60),
        left_out: LEFT_OUT,
    },
    Lane {
        name: "vm",
        programs: &[
            ("mmdebstrap", "mmdebstrap"),
            ("mke2fs", "e2fsprogs"),
            ("qemu-system-x86_64", "qemu-system-x86"),
        ],
        boot: vm::boot,
        // From the disk: each page of a program would be a question to the host.
        prepare: "cp -r /lane/bin /opt/lane",
        bin: "/opt/lane",
        threads: 2,
        slowness: 10,
        limit: Duration::from_secs(900),
        budget: Duration::from_secs(40 * 60),
        left_out: LEFT_OUT,
    },
];

/// Nothing about waiting depends on systemd, the kernel or the controllers.
const LEFT_OUT: &[(&str, &str)] =
    &[("distro::a_service_runs_until_it_is_told_to_end", "takes a minute, and is run outside of lanes")];

/// The test binaries that are run as the user, too, if no filter says which: those that are about it.
const AS_USER: &[&str] = &["user_session"];

/// What to run.
#[derive(Debug, Default)]
struct Wanted {
    root: bool,
    user: bool,
    /// A lane that cannot be had is no failure.
    if_possible: bool,
    /// A command instead of the tests.
    command: Option<String>,
    filters: Vec<OsString>,
}

/// Boots the lane and runs what is wanted.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().unwrap_or_default();
    let Some(lane) = LANES.iter().find(|lane| *lane.name == *name) else {
        bail!("which lane? `cargo xtask lane systemd` or `cargo xtask lane vm`");
    };
    let wanted = parse(arguments)?;
    match image(lane) {
        Ok(image) => run_in(lane, &image, &wanted),
        Err(missing) if wanted.if_possible => {
            println!(
                "\n################ The lane `{}` was NOT RUN: {missing:#} ################\n",
                lane.name
            );
            Ok(())
        }
        Err(missing) => Err(missing.context(format!("the lane `{}` was NOT RUN", lane.name))),
    }
}

/// Runs every lane that can be had, and says loudly which cannot.
pub(crate) fn run_all(filters: &[OsString]) -> Result<()> {
    let mut failures = Vec::new();
    for lane in LANES {
        let arguments = [lane.name, "--if-possible", "--"].map(OsString::from);
        let outcome = run(arguments.into_iter().chain(filters.iter().cloned()).collect());
        failures.extend(outcome.err().map(|error| format!("{error:#}")));
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--root") => wanted.root = true,
            Some("--user") => wanted.user = true,
            Some("--if-possible") => wanted.if_possible = true,
            Some("--sh") => {
                let command = arguments.next().and_then(|command| command.into_string().ok());
                wanted.command = Some(command.unwrap_or_default());
            }
            Some("--") => wanted.filters.extend(arguments.by_ref()),
            _ => bail!("unknown argument {argument:?}; test names go after `--`"),
        }
    }
    Ok(wanted)
}

/// What has to be there before anything is built.
fn image(lane: &Lane) -> Result<Image> {
    ensure!(kit::rootfs::is_root(), "only root can make its namespaces and its image");
    ensure!(cfg!(target_arch = "x86_64"), "its image is made for x86_64 only");
    tools::install(lane.programs)?;
    Image::get()
}

fn run_in(lane: &Lane, image: &Image, wanted: &Wanted) -> Result<()> {
    let runtime = match std::env::var_os("CRUN_BIN") {
        Some(given) => PathBuf::from(given),
        None => build::release("crun", "crun", LINK)?,
    };
    let binaries = suite::build(&wanted.filters)?;
    if binaries.is_empty() {
        println!("No integration test has one of {:?} in its name (BINARY::TEST)", wanted.filters);
        return if wanted.if_possible { Ok(()) } else { Err(anyhow!("nothing to run")) };
    }
    let start = Instant::now();
    let ground = Ground::new()?;
    suite::stage(&binaries, &runtime, &ground.share().join("bin"))?;
    println!("Booting the lane `{}`", lane.name);
    let mut booted = (lane.boot)(image, ground)?;
    ready(lane, &mut booted)?;
    if let Some(command) = &wanted.command {
        return run_command(command, &mut booted);
    }
    let (mut reports, mut died) = (Vec::new(), Ok(()));
    for who in [Who::Root, Who::User] {
        let is_wanted = if who == Who::Root { wanted.root } else { wanted.user };
        if !is_wanted && (wanted.root || wanted.user) {
            continue;
        }
        let mut binaries = binaries.clone();
        if who == Who::User && (wanted.filters.is_empty() || !wanted.user) {
            binaries.retain(|binary| AS_USER.contains(&binary.name.as_str()));
        }
        if binaries.is_empty() {
            continue;
        }
        println!("\nIn the lane `{}` as {}:", lane.name, who.name());
        let mut pass = Pass { lane, booted: &mut booted, who, report: Report::default() };
        died = pass.run(&binaries);
        reports.push((who, pass.report));
        if died.is_err() {
            break;
        }
    }
    let told = tell(lane, &reports, start);
    died.and(told)
}

/// Brings the lane into the state in which tests expect it, and says what it is.
fn ready(lane: &Lane, booted: &mut Booted) -> Result<()> {
    const SAY: &str = "echo \"  kernel $(uname -r), $(systemctl --version | head -n 1), controllers: \
                       $(cat /sys/fs/cgroup/cgroup.controllers)\"";
    let script = format!("{}\n{SAY}", lane.prepare);
    let ended = booted.run(&script, lane.limit, &mut |line| println!("{line}"))?;
    ensure!(ended == Ended::Exit(0), "the lane cannot be prepared: {ended:?}{}", booted.end_of_console());
    Ok(())
}

fn run_command(command: &str, booted: &mut Booted) -> Result<()> {
    let ended = booted.run(command, Duration::from_secs(24 * 3600), &mut |line| println!("{line}"))?;
    match ended {
        Ended::Exit(0) => Ok(()),
        Ended::Exit(status) => bail!("the command ended with exit status {status}"),
        Ended::Died | Ended::Lost => bail!("the lane ended{}", booted.end_of_console()),
    }
}

/// The details first, so that what is read last is the summary.
fn tell(lane: &Lane, reports: &[(Who, Report)], start: Instant) -> Result<()> {
    println!();
    for (who, report) in reports {
        let details = report.details();
        if !details.is_empty() {
            println!("As {}:\n{details}", who.name());
        }
    }
    println!("\nSummary of the lane `{}` [{:.0} s]", lane.name, start.elapsed().as_secs_f64());
    for (who, report) in reports {
        println!("  as {}: {}", who.name(), report.numbers());
    }
    let failed: usize = reports.iter().map(|(_, report)| report.failed().len()).sum();
    ensure!(failed == 0, "{failed} tests failed in the lane `{}`", lane.name);
    Ok(())
}
