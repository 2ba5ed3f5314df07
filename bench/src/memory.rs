//! The memory of the runtime's own process: at its peak, and while a container runs in the foreground.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::bundle;
use crate::measure::Options;
use crate::operation::{Place, fresh_id, run_command};
use crate::results::Series;
use crate::running::Running;
use crate::runtime::Runtime;

/// Memory hardly varies between calls.
const ROUNDS: u32 = 5;

/// A scenario and the function that takes one sample of it, in KiB.
type Row = (&'static str, fn(&Place, &Runtime) -> Result<f64>);

const SCENARIOS: &[Row] = &[
    ("peak memory of run", peak_of_run),
    ("peak memory of create", peak_of_create),
    ("peak memory of exec", |place, runtime| peak_of_exec(place, runtime, bundle::SLEEP)),
    ("peak memory of exec, 1 MB of annotations", |place, runtime| {
        peak_of_exec(place, runtime, bundle::LARGE)
    }),
    ("peak memory of state", peak_of_state),
    ("memory while running (RSS)", |place, runtime| while_running(place, runtime, "Rss:")),
    ("memory while running (PSS)", |place, runtime| while_running(place, runtime, "Pss:")),
];

/// Measures all of them.
pub(crate) fn all(options: &Options, runtimes: &[Runtime]) -> Vec<Series> {
    let mut all = Vec::new();
    for (name, sample) in SCENARIOS.iter().filter(|(name, _)| options.wants(name)) {
        eprintln!("measuring {name}");
        for runtime in runtimes.iter().filter(|runtime| !runtime.is_floor()) {
            let runtime_name = runtime.name.clone();
            let mut series = Series {
                scenario: (*name).into(),
                runtime: runtime_name,
                unit: "KiB".into(),
                ..Series::default()
            };
            let samples: Result<Vec<f64>> =
                (0..options.rounds(ROUNDS)).map(|_| sample(&options.place, runtime)).collect();
            match samples {
                Ok(samples) => series.samples = samples,
                Err(error) => series.failure = Some(format!("{error:#}")),
            }
            all.push(series);
        }
    }
    all
}

fn peak_of_run(place: &Place, runtime: &Runtime) -> Result<f64> {
    peak(place, &run_command(place, runtime, bundle::TRUE, &fresh_id()))
}

fn peak_of_create(place: &Place, runtime: &Runtime) -> Result<f64> {
    let id = fresh_id();
    let peak = peak(place, &runtime.command(&["create", "--bundle", &place.bundle(bundle::TRUE), &id]));
    runtime.remove(&id);
    peak
}

fn peak_of_exec(place: &Place, runtime: &Runtime, bundle: &str) -> Result<f64> {
    let running = Running::start(place, runtime, bundle, 1)?;
    peak(place, &runtime.command(&["exec", &running.id, "/bin/true"]))
}

fn peak_of_state(place: &Place, runtime: &Runtime) -> Result<f64> {
    let running = Running::start(place, runtime, bundle::SLEEP, 1)?;
    peak(place, &runtime.command(&["state", &running.id]))
}

/// Runs a command below `peak`, which is small enough not to be what is measured (see `floor/peak.c`).
fn peak(place: &Place, command: &Command) -> Result<f64> {
    let output = Command::new(place.dir.join("bin/peak"))
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .context("cannot run peak")?;
    ensure!(output.status.success(), "failed ({})", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// What the runtime's process holds while it waits for its container: a line of /proc/PID/smaps_rollup.
fn while_running(place: &Place, runtime: &Runtime, field: &str) -> Result<f64> {
    let id = fresh_id();
    let mut child = run_command(place, runtime, bundle::SLEEP, &id).spawn()?;
    // Long enough for every runtime to have come to rest.
    std::thread::sleep(Duration::from_millis(300));
    let rollup = fs::read_to_string(Path::new("/proc").join(child.id().to_string()).join("smaps_rollup"));
    runtime.remove(&id);
    drop(child.wait());
    let rollup = rollup?;
    let line =
        rollup.lines().find_map(|line| line.strip_prefix(field)).context("the runtime did not stay")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
