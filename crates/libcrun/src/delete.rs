//! Deleting a container and everything it has left.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use cgroups::{Cgroup, Layout};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::container::{Container, Phase, send};
use crate::error::{Code, Error, Result, words};
use crate::id::ContainerId;
use crate::plan;
use crate::spec;
use crate::state::{StateDirectory, StateRoot};

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What deleting left to be told: things that went wrong without keeping the container from being deleted.
pub type Warnings = Vec<Error>;

/// Deletes a container that is created or stopped; with `force` also a running one, after killing it. Forced, an
/// unknown container is no error.
///
/// # Errors
/// When the container does not exist, is running, or something of it cannot be removed.
pub fn delete(root: &StateRoot, id: &ContainerId, force: bool) -> Result<Warnings> {
    let directory = match root.open(id) {
        Err(error) if force && error.code() == Code::ContainerNotFound => return Ok(Vec::new()),
        other => other?,
    };
    let status = match directory.read_status() {
        Ok(status) => status,
        // Its creator was killed before it could write the status, or its remover after removing it. Whatever is
        // there can be found by the configuration, and if that is not there either, nothing was made.
        Err(error) if error.errno() == Some(Errno::NOENT) => return delete_remains(&directory, id),
        Err(error) if force => {
            let mut warnings = delete_remains(&directory, id)?;
            warnings.insert(0, error);
            return Ok(warnings);
        }
        Err(error) => return Err(error),
    };
    let container = Container { id: id.clone(), directory, status };
    if !force && !matches!(container.phase()?, Phase::Created | Phase::Stopped) {
        return Err(words::not_deletable(id.as_str()));
    }
    end_process(&container)?;
    let mut warnings = Vec::new();
    match container.cgroup() {
        Ok(Some(cgroup)) => warnings.extend(cgroup.destroy().err().map(Error::from)),
        Ok(None) => {}
        Err(error) => warnings.push(error),
    }
    container.directory.remove()?;
    Ok(warnings)
}

/// Kills the container's process, and without a pid namespace of its own all others too, and waits for its end.
fn end_process(container: &Container) -> Result<()> {
    let Ok(process) = container.open_process() else { return Ok(()) };
    match send(&process, Signal::KILL.as_raw()) {
        Err(error) if error.errno() != Some(Errno::SRCH) => return Err(error),
        _ => {}
    }
    let cgroup = container.cgroup()?;
    if let Some(cgroup) = &cgroup
        && !container.has_own_pid_namespace().unwrap_or(false)
    {
        cgroup.signal_all(Signal::KILL.as_raw())?;
    }
    wait_for_end(&process, cgroup.as_ref()).map_err(|errno| {
        let message = format!("the process of the container `{}` does not end", container.id);
        Error::os(Code::Signal, message, errno)
    })
}

/// Waits until the process has ended, or at least has left its cgroup: the first process of a pid namespace stays as
/// long as somebody outside has not waited for another process of it.
fn wait_for_end(process: &OwnedFd, cgroup: Option<&Cgroup>) -> core::result::Result<(), Errno> {
    const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let mut polled = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut polled, Some(&SLICE)) {
            Ok(0) if cgroup.is_some_and(|cgroup| cgroup.is_empty().unwrap_or(false)) => return Ok(()),
            Ok(0) | Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
    Err(Errno::TIMEDOUT)
}

/// Removes what a runtime that was killed has left of a container without a status.
fn delete_remains(directory: &StateDirectory, id: &ContainerId) -> Result<Warnings> {
    let mut warnings = Vec::new();
    if let Ok(config) = directory.read_config()
        && let Ok(spec) = spec::parse(&config, &directory.file("config.json"))
    {
        let path = plan::cgroup_path(&spec, id);
        let removed = Layout::detect()
            .and_then(|layout| Cgroup::open(&layout, &path))
            .and_then(|cgroup| cgroup.destroy());
        warnings.extend(removed.err().map(Error::from));
    }
    directory.remove()?;
    Ok(warnings)
}
