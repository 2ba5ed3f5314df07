//! `cargo xtask bench`: this runtime, other runtimes and the floor, measured side by side.
//!
//! The measuring itself is in the package `crun-bench`. Here everything it needs is built and laid out in one
//! directory, which appears as `/bench` in a private pure-v2 view ([`kit::view`]) inside the root filesystem the other
//! runtimes live in, so that all of them start from the same place. On a host with the version 1 controllers this
//! runtime is then measured once more where it stands, since that is where it will be used there.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use kit::view::View;

use crate::build::{self, LINK};
use crate::{sh, tools};

/// Where the working directory is in the view.
const INSIDE: &str = "/bench";

/// The containers project's seccomp profile, in Debian.
const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// What the user asked for; `passed` goes on to `crun-bench`.
#[derive(Debug, Default)]
struct Wanted {
    partial: bool,
    also: Vec<(String, PathBuf)>,
    passed: Vec<OsString>,
}

/// Builds, measures, and writes the table, `bench/results/DATE.json` and, after a full run, `docs/performance.svg`.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    let wanted = parse(arguments)?;
    ensure!(kit::rootfs::is_root(), "the benchmark must be run as root: it makes cgroups and namespaces");
    tools::install_packages();
    let load = fs::read_to_string("/proc/loadavg")?;
    let place = Place::new()?;
    place.fill(&wanted)?;
    let mut results = vec![measure_in_view(&place, &wanted)?];
    if !Path::new("/sys/fs/cgroup/cgroup.procs").exists() {
        results.push(measure_natively(&place, &wanted)?);
    }
    report(&place, &results, wanted.partial)?;
    if load.split('.').next() != Some("0") {
        println!("WARNING: the machine was busy before the start (load {}): measure again.", load.trim());
    }
    Ok(())
}

fn parse(arguments: Vec<OsString>) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--quick") => wanted.passed.push(argument),
            Some("--only") => {
                let name =
                    arguments.next().context("--only needs the name of a scenario, or a part of it")?;
                wanted.passed.extend([argument, name]);
            }
            Some("--also") => {
                let given = arguments.next().and_then(|given| given.into_string().ok()).unwrap_or_default();
                let (name, path) =
                    given.split_once('=').context("--also needs NAME=PATH, a static binary")?;
                wanted.also.push((name.to_owned(), path.into()));
            }
            _ => bail!("unknown argument {argument:?}"),
        }
        wanted.partial = true;
    }
    Ok(wanted)
}

/// The working directory: `bin` with all programs, `rootfs`, and what `crun-bench` adds. Removed with the value.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self> {
        let cache = kit::rootfs::cache_dir()?;
        // Those of runs that were interrupted.
        for entry in fs::read_dir(&cache)?.flatten() {
            let owner = entry.file_name().to_string_lossy().strip_prefix("bench-").map(str::to_owned);
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let dir = cache.join(format!("bench-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.0.join("bin").join(name)
    }

    fn fill(&self, wanted: &Wanted) -> Result<()> {
        fs::create_dir(self.0.join("bin"))?;
        fs::copy(build::release("crun", "crun", LINK)?, self.bin("crun"))?;
        fs::copy(build::release("crun-bench", "crun-bench", LINK)?, self.bin("crun-bench"))?;
        for (name, path) in &wanted.also {
            let dir = self.bin("also").join(name);
            fs::create_dir_all(&dir)?;
            fs::copy(path, dir.join("crun")).with_context(|| format!("cannot copy {}", path.display()))?;
        }
        for program in ["floor", "peak"] {
            let source = sh::checkout().join("bench/floor").join(format!("{program}.c"));
            let mut cc = Command::new("cc");
            cc.args(["-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o"])
                .arg(self.bin(program))
                .arg(source);
            sh::run(&mut cc)?;
        }
        // The view's root may not have it.
        if Path::new(PROFILE).is_file() {
            fs::copy(PROFILE, self.0.join("seccomp.json"))?;
        }
        // A copy, because a runtime makes what it mounts on, and the cached one is shared.
        let root = kit::rootfs::busybox_rootfs()?;
        sh::run(Command::new("cp").arg("-a").arg(root).arg(self.0.join("rootfs")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("xtask: cannot remove {}: {error}", self.0.display());
        }
    }
}

fn measure_in_view(place: &Place, wanted: &Wanted) -> Result<PathBuf> {
    let mut view = View::builder().bind(&place.0, INSIDE);
    let mut search = vec!["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    match kit::rootfs::peers_root() {
        Some(root) => {
            view = view.root(root);
            // What is installed here comes last: of two of a name, the one in the root has its libraries with it.
            for (at, dir) in ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"].iter().zip(HOST) {
                if Path::new(at).is_dir() {
                    view = view.bind(at, dir);
                    search.push(dir);
                }
            }
        }
        None => println!("Only the runtimes installed on this machine take part."),
    }
    let view = view.enter()?;
    let inside = Path::new(INSIDE);
    let mut command = view.command(inside.join("bin/crun-bench"));
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    measure(&mut command, inside, Path::new("/run/crun-bench"), "--this", &wanted.passed);
    command.args(wanted.also.iter().flat_map(|(name, _)| ["--also", name]));
    command.args(search.iter().flat_map(|dir| ["--search", dir]));
    command.arg("--out").arg(inside.join("view.json"));
    println!("Measuring in a pure-v2 view");
    ensure!(command.status()?.success(), "measuring failed");
    Ok(place.0.join("view.json"))
}

/// Where the host's own directories of programs appear in the view.
const HOST: [&str; 4] = ["/host/1", "/host/2", "/host/3", "/host/4"];

fn measure_natively(place: &Place, wanted: &Wanted) -> Result<PathBuf> {
    let state = PathBuf::from(format!("/dev/shm/crun-bench-{}", std::process::id()));
    let mut command = Command::new(place.bin("crun-bench"));
    measure(&mut command, &place.0, &state, "--native", &wanted.passed);
    command.arg("--out").arg(place.0.join("native.json"));
    println!("Measuring on this machine's own cgroup layout");
    ensure!(command.status()?.success(), "measuring failed");
    Ok(place.0.join("native.json"))
}

fn measure(command: &mut Command, dir: &Path, state: &Path, this: &str, passed: &[OsString]) {
    command.arg("measure").arg("--dir").arg(dir).arg("--state").arg(state);
    command.arg(this).arg(dir.join("bin/crun")).args(passed);
}

fn report(place: &Place, results: &[PathBuf], partial: bool) -> Result<()> {
    let directory = sh::checkout().join("bench/results");
    fs::create_dir_all(&directory)?;
    let date = sh::read(Command::new("date").args(["-u", "+%Y-%m-%dT%H%M%S"]))?;
    let json = directory.join(format!("{date}.json"));
    let chart = sh::checkout().join("docs/performance.svg");
    let mut command = Command::new(place.bin("crun-bench"));
    command.arg("report").arg("--json").arg(&json);
    if !partial {
        command.args([OsStr::new("--svg"), chart.as_os_str()]);
    }
    command.args(results);
    let status = command.status().context("cannot run crun-bench report")?;
    ensure!(status.success(), "crun-bench report failed");
    println!("\nAll samples: {}", json.display());
    if !partial {
        println!("Chart: {}", chart.display());
    }
    Ok(())
}
