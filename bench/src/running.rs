//! Containers that stay while something is done with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bundle;
use crate::operation::{Place, cgroup_of_floor, fresh_id, run_command, timed};
use crate::runtime::Runtime;

/// A container that runs until dropped, alone or in a crowd.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    runtime: &'a Runtime,
    pub(crate) id: String,
    /// The state directories of the others.
    crowd: Vec<PathBuf>,
    /// Who waits for the end of a container of the floor, which keeps no state.
    floor: Option<Child>,
}

impl<'a> Running<'a> {
    /// Starts one container. The others of a crowd are copies of its state: a runtime finds the same to be read, opened and
    /// looked at for each as if they had processes of their own.
    pub(crate) fn start(place: &Place, runtime: &'a Runtime, bundle: &str, count: u32) -> Result<Self> {
        let mut running = Self { runtime, id: fresh_id(), crowd: Vec::new(), floor: None };
        if runtime.is_floor() {
            let mut command = run_command(place, runtime, bundle::SLEEP, &running.id);
            running.floor = Some(command.spawn().context("cannot run the floor")?);
            await_program(&cgroup_of_floor(&running.id))?;
            return Ok(running);
        }
        let bundle = place.bundle(bundle);
        timed(&mut runtime.command(&["run", "--detach", "--bundle", &bundle, &running.id]))?;
        let own = runtime.state.join(&running.id);
        for index in 1..count {
            let copy = runtime.state.join(format!("{}-{index}", running.id));
            fs::create_dir(&copy)?;
            running.crowd.push(copy.clone());
            for entry in fs::read_dir(&own)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    fs::copy(entry.path(), copy.join(entry.file_name()))?;
                }
            }
        }
        Ok(running)
    }
}

/// Waits until the only process of a cgroup is what it is to be.
fn await_program(cgroup: &Path) -> Result<()> {
    let is_it = || -> Option<bool> {
        let first = fs::read_to_string(cgroup.join("cgroup.procs")).ok()?;
        let name = fs::read_to_string(Path::new("/proc").join(first.trim()).join("comm")).ok()?;
        Some(name == "sleep\n")
    };
    for _ in 0..1000 {
        if is_it() == Some(true) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    bail!("the floor's container does not start")
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        for copy in &self.crowd {
            drop(fs::remove_dir_all(copy));
        }
        match &mut self.floor {
            None => self.runtime.remove(&self.id),
            Some(floor) => {
                drop(fs::write(cgroup_of_floor(&self.id).join("cgroup.kill"), "1"));
                drop(floor.wait());
            }
        }
    }
}
