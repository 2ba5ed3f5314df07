//! The measuring loop: every scenario, round-robin over the runtimes.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lexopt::prelude::*;

use crate::operation::{Operation, Place};
use crate::results::{Participant, Results, Series};
use crate::running::Running;
use crate::runtime::{self, FLOOR, NATIVE, Runtime, THIS};
use crate::{bundle, cgroup, memory, mounts};

/// What to measure, where, how often.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) place: Place,
    /// The runtime built here and the name it goes by.
    pub(crate) this: Option<(&'static str, PathBuf)>,
    /// Other builds of it to compare with, by name: `bin/also/NAME/crun` in the place.
    pub(crate) also: Vec<String>,
    pub(crate) search: Vec<PathBuf>,
    pub(crate) quick: bool,
    pub(crate) only: Vec<String>,
    /// For [`mounts`]: how many.
    pub(crate) count: u32,
}

/// A scenario's name, the operation, and how many rounds.
const SCENARIOS: &[(&str, Operation, u32)] = &[
    ("run", Operation::Run(bundle::TRUE), 200),
    ("run, default seccomp profile", Operation::Run(bundle::CONFINED), 200),
    ("run, engine-like bundle", Operation::Run(bundle::ENGINE), 100),
    ("create+start+delete", Operation::Lifecycle, 100),
    ("run, systemd driver", Operation::RunSystemd, 100),
    ("run, rootless", Operation::RunRootless, 100),
    ("exec", Operation::Exec(bundle::SLEEP), 100),
    ("exec, 1 MB of annotations", Operation::Exec(bundle::LARGE), 100),
    ("100 exec at once", Operation::ParallelExec(100), 7),
    ("state", Operation::State, 100),
    ("kill 0", Operation::Kill, 100),
    ("pause and resume", Operation::Freeze, 100),
    ("ps", Operation::Ps, 100),
    ("update", Operation::Update, 100),
    ("1000 containers", Operation::Crowd(1000), 20),
    ("--version", Operation::Version, 100),
    ("50 at once", Operation::Parallel(50), 7),
];

/// Rounds that are not counted: they warm the caches.
const WARM_UP: u32 = 2;

impl Options {
    /// Reads the arguments of `measure` and `mounts`; returns with them where to write results.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<(Self, Option<PathBuf>)> {
        let (mut dir, mut state, mut out) = (None, None, None);
        let place = Place { dir: PathBuf::new(), state: PathBuf::new() };
        let mut options = Self {
            place,
            this: None,
            also: Vec::new(),
            search: Vec::new(),
            quick: false,
            only: Vec::new(),
            count: 0,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("dir") => dir = Some(PathBuf::from(parser.value()?)),
                Long("state") => state = Some(PathBuf::from(parser.value()?)),
                Long("out") => out = Some(PathBuf::from(parser.value()?)),
                Long("this") => options.this = Some((THIS, parser.value()?.into())),
                Long("native") => options.this = Some((NATIVE, parser.value()?.into())),
                Long("also") => options.also.push(parser.value()?.string()?),
                Long("search") => options.search.push(parser.value()?.into()),
                Long("quick") => options.quick = true,
                Long("only") => options.only.push(parser.value()?.string()?),
                Long("count") => options.count = parser.value()?.parse()?,
                _ => return Err(argument.unexpected().into()),
            }
        }
        options.place.dir = dir.context("--dir is missing")?;
        options.place.state = state.context("--state is missing")?;
        Ok((options, out))
    }

    /// The same as arguments, for a process that measures in other surroundings.
    pub(crate) fn to_arguments(&self) -> Vec<PathBuf> {
        let mut arguments =
            vec!["--dir".into(), self.place.dir.clone(), "--state".into(), self.place.state.clone()];
        if let Some((name, path)) = &self.this {
            arguments.extend([if *name == THIS { "--this" } else { "--native" }.into(), path.clone()]);
        }
        arguments.extend(self.also.iter().flat_map(|name| ["--also".into(), name.into()]));
        arguments.extend(self.search.iter().flat_map(|dir| ["--search".into(), dir.clone()]));
        arguments.extend(self.quick.then(|| PathBuf::from("--quick")));
        arguments
    }

    /// Whether the user asked for this scenario: all, or those whose name contains one of the words given.
    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| scenario.contains(word.as_str()))
    }

    /// A number of rounds, fewer when in a hurry.
    pub(crate) fn rounds(&self, rounds: u32) -> u32 {
        if self.quick { (rounds / 8).max(2) } else { rounds }
    }

    /// Everyone who takes part, the runtime built here first, the floor last.
    pub(crate) fn participants(&self) -> Result<Vec<Runtime>> {
        let state = &self.place.state;
        let mut all = Vec::new();
        if let Some((name, path)) = &self.this {
            all.push(runtime::new(name, path.clone(), state)?);
        }
        for name in &self.also {
            all.push(runtime::new(name, self.place.dir.join("bin/also").join(name).join("crun"), state)?);
        }
        all.extend(runtime::others(&self.search, state)?);
        let floor = self.place.dir.join("bin").join(FLOOR);
        // The floor puts its cgroup right below the mount, which is not where one can be made on a hybrid host.
        if floor.is_file() && std::path::Path::new("/sys/fs/cgroup/cgroup.procs").is_file() {
            all.push(runtime::new(FLOOR, floor, state)?);
        }
        ensure!(!all.is_empty(), "there is nothing to measure");
        Ok(all)
    }
}

/// Measures everything that was asked for, and leaves nothing but the results.
pub(crate) fn all(options: &Options) -> Result<Results> {
    let results = measured(options);
    drop(fs::remove_dir_all(&options.place.state));
    results
}

fn measured(options: &Options) -> Result<Results> {
    bundle::write_all(&options.place.dir)?;
    let runtimes = options.participants()?;
    let mut results = describe(&runtimes)?;
    let wanted = |(name, operation, _): &&(&str, Operation, u32)| {
        options.wants(name) && operation.is_possible(&options.place)
    };
    for (name, operation, rounds) in SCENARIOS.iter().filter(wanted) {
        eprintln!("measuring {name}");
        results.series.extend(scenario(options, &runtimes, name, *operation, options.rounds(*rounds)));
    }
    results.series.extend(cgroup::all(options, &runtimes)?);
    results.series.extend(mounts::all(options)?);
    results.series.extend(memory::all(options, &runtimes));
    Ok(results)
}

fn describe(runtimes: &[Runtime]) -> Result<Results> {
    let participant =
        |runtime: &Runtime| Ok(Participant { name: runtime.name.clone(), version: runtime.version()? });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    Ok(Results {
        time: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        machine: format!("Linux {}, {cpus} processors", kernel.trim()),
        participants: runtimes.iter().map(participant).collect::<Result<_>>()?,
        series: Vec::new(),
    })
}

/// One operation, by all who can do it, in rounds.
pub(crate) fn scenario(
    options: &Options,
    all: &[Runtime],
    name: &str,
    operation: Operation,
    rounds: u32,
) -> Vec<Series> {
    let mut lanes: Vec<Lane> = all
        .iter()
        .filter(|runtime| operation.has_floor() || !runtime.is_floor())
        .map(|runtime| Lane::new(options, runtime, name, operation))
        .collect();
    for round in 0..rounds + WARM_UP {
        // Someone else begins each round, so that nobody always runs behind the same neighbour.
        let count = lanes.len();
        lanes.rotate_left(1.min(count));
        lanes.iter_mut().for_each(|lane| lane.go(options, operation, round >= WARM_UP));
    }
    let order = |lane: &Lane| all.iter().position(|runtime| runtime.name == lane.runtime.name);
    lanes.sort_by_key(order);
    lanes.into_iter().flat_map(|lane| lane.series).collect()
}

/// One runtime's part in a scenario.
struct Lane<'a> {
    runtime: &'a Runtime,
    running: Option<Running<'a>>,
    scenario: &'a str,
    series: Vec<Series>,
}

impl<'a> Lane<'a> {
    fn new(options: &Options, runtime: &'a Runtime, scenario: &'a str, operation: Operation) -> Self {
        let mut lane = Self { runtime, running: None, scenario, series: Vec::new() };
        if operation.needs_running() {
            match Running::start(&options.place, runtime, operation.stays(), operation.crowd()) {
                Ok(running) => lane.running = Some(running),
                Err(error) => lane.fail(&error),
            }
        }
        lane
    }

    /// One round. A runtime that fails once is out: what follows would not be comparable.
    fn go(&mut self, options: &Options, operation: Operation, counts: bool) {
        if self.series.iter().any(|series| series.failure.is_some()) {
            return;
        }
        let id = self.running.as_ref().map_or("", |running| &running.id);
        match operation.measure(&options.place, self.runtime, id) {
            Err(error) => self.fail(&error),
            Ok(times) if counts => {
                times
                    .iter()
                    .for_each(|(part, time)| self.series_of(part).samples.push(time.as_secs_f64() * 1e6));
            }
            Ok(_) => {}
        }
    }

    fn series_of(&mut self, part: &str) -> &mut Series {
        let scenario = format!("{}{part}", self.scenario);
        let at = self.series.iter().position(|series| series.scenario == scenario).unwrap_or_else(|| {
            let runtime = self.runtime.name.clone();
            self.series.push(Series { scenario, runtime, unit: "us".into(), ..Series::default() });
            self.series.len() - 1
        });
        &mut self.series[at]
    }

    fn fail(&mut self, error: &anyhow::Error) {
        eprintln!("{}: {} fails: {error:#}", self.scenario, self.runtime.name);
        self.series.clear();
        self.series_of("").failure = Some(format!("{error:#}"));
    }
}
