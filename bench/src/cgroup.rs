//! The cgroup stage alone: all that is done to a container's cgroup from its creation to its removal.
//!
//! The runtime's part is the same code, called here in the measuring process; the floor's is timed by the floor itself.
//! Both go in short turns, so that what disturbs the machine disturbs both.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cgroups::devices::DeviceRule;
use cgroups::{Cgroup, CgroupPath, Layout, Leftovers, devices};

use crate::measure::Options;
use crate::operation::fresh_id;
use crate::results::Series;
use crate::runtime::{FLOOR, Runtime, THIS};

const SCENARIO: &str = "cgroup stage";
/// Rounds in one turn.
const TURN: u32 = 10;

/// Measures it where the floor takes part: on pure v2.
pub(crate) fn all(options: &Options, runtimes: &[Runtime]) -> Result<Vec<Series>> {
    let Some(floor) = runtimes.iter().find(|runtime| runtime.is_floor()) else { return Ok(Vec::new()) };
    if !options.wants(SCENARIO) {
        return Ok(Vec::new());
    }
    eprintln!("measuring {SCENARIO}");
    let (mut own, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds(20) {
        for _ in 0..TURN {
            own.push(stage()?);
        }
        floors.extend(floor_stage(floor)?);
    }
    let series = |runtime: &str, samples| Series {
        scenario: SCENARIO.into(),
        runtime: runtime.into(),
        unit: "us".into(),
        samples,
        ..Series::default()
    };
    Ok(vec![series(THIS, own), series(FLOOR, floors)])
}

/// Microseconds.
fn stage() -> Result<f64> {
    let denied = DeviceRule {
        allow: false,
        kind: Default::default(),
        major: None,
        minor: None,
        access: Some("rwm".into()),
    };
    let path = CgroupPath::new(None, &fresh_id());
    let start = Instant::now();
    let cgroup = Cgroup::create(&Layout::detect()?, &path)?;
    cgroup.restrict_devices(&devices::rules(&[denied])?)?;
    cgroup.remove(&|| Leftovers::Kill)?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

fn floor_stage(floor: &Runtime) -> Result<Vec<f64>> {
    let path = format!("/sys/fs/cgroup/{}", fresh_id());
    let output = Command::new(&floor.path).args(["--cgroup", &path, &TURN.to_string()]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let nanoseconds = text.lines().map(|line| line.parse::<u32>().context("a number of nanoseconds"));
    nanoseconds.map(|time| time.map(|time| f64::from(time) / 1e3)).collect()
}
