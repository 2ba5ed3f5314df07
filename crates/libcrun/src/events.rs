//! What a container uses, once and over time, and what happens to it for want of memory.

use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use cgroups::{Cgroup, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

use crate::container::Container;
use crate::error::{Code, Error, Result, words};
use crate::id::ContainerId;
use crate::network_interfaces::{NetworkInterface, network_interfaces};
use crate::state::StateRoot;

/// How long to wait before looking again for a kill that the kernel has announced.
const SOON: Duration = Duration::from_millis(20);

/// How often to look then.
const LOOKS: u32 = 50;

/// How often to look for the end of the last process where the kernel does not tell of it.
const NOW_AND_THEN: Duration = Duration::from_millis(250);

/// What a container has used up to now, serialised as runc does it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// What its cgroup counts.
    #[serde(flatten)]
    pub cgroup: cgroups::stats::Statistics,
    /// Cache and memory bandwidth are not measured.
    pub intel_rdt: IntelRdt,
    /// The interfaces of its network namespace but the loopback device; `None` without one of its own, or others.
    pub network_interfaces: Option<Vec<NetworkInterface>>,
}

/// Stands where runc reports cache and memory bandwidth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IntelRdt {}

/// Something to be told about a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What it has used up to now.
    Statistics(Box<Statistics>),
    /// One of its processes was killed for want of memory.
    OutOfMemory,
}

/// What a container has used up to now.
///
/// # Errors
/// When it does not run or has no cgroup, or a file of its cgroup cannot be read.
pub fn statistics(root: &StateRoot, id: &ContainerId) -> Result<Statistics> {
    let container = open(root, id)?;
    let cgroup = container.cgroup()?.ok_or_else(words::no_cgroup)?;
    collect(&container, &cgroup)
}

/// Tells what a container has used every `interval`, and of each process that is killed for want of memory, until its last
/// process has ended, the `reader` hangs up, or it is told to break off.
///
/// # Errors
/// As [`statistics`].
pub fn watch(
    root: &StateRoot,
    id: &ContainerId,
    interval: Duration,
    reader: Option<BorrowedFd<'_>>,
    mut tell: impl FnMut(Event) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let container = open(root, id)?;
    let cgroup = container.cgroup()?.ok_or_else(words::no_cgroup)?;
    let mut watcher =
        Watcher { first: container.open_process().ok(), watch: cgroup.watch()?, looks: 0, reader };
    let mut next = Instant::now() + interval;
    loop {
        if watcher.wait_until(next)? == Heard::HangUp {
            return Ok(());
        }
        // Asked before the kills are counted: those of the last process are to be told, too.
        let is_over = watcher.is_over(&cgroup)?;
        for _ in 0..watcher.new_kills() {
            if tell(Event::OutOfMemory)?.is_break() {
                return Ok(());
            }
        }
        if is_over {
            return Ok(());
        }
        if Instant::now() < next {
            continue;
        }
        match collect(&container, &cgroup) {
            Ok(statistics) => {
                if tell(Event::Statistics(Box::new(statistics)))?.is_break() {
                    return Ok(());
                }
            }
            // Its last process has ended meanwhile, and somebody has removed it.
            Err(_) if watcher.is_over(&cgroup)? => return Ok(()),
            Err(error) => return Err(error),
        }
        next = (next + interval).max(Instant::now());
    }
}

fn open(root: &StateRoot, id: &ContainerId) -> Result<Container> {
    let container = Container::open(root, id)?;
    if container.is_alive()? { Ok(container) } else { Err(words::events_not_running(id.as_str())) }
}

fn collect(container: &Container, cgroup: &Cgroup) -> Result<Statistics> {
    let interfaces = match container.has_network_namespace() {
        Ok(true) => network_interfaces(container.status.pid),
        _ => Vec::new(),
    };
    Ok(Statistics {
        cgroup: cgroup.statistics()?,
        intel_rdt: IntelRdt {},
        network_interfaces: Some(interfaces).filter(|interfaces| !interfaces.is_empty()),
    })
}

/// Why waiting came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// There may be something new.
    Something,
    /// Nobody reads any more.
    HangUp,
}

struct Watcher<'a> {
    watch: Watch,
    /// The container's first process, until it has ended.
    first: Option<OwnedFd>,
    /// How often more to look for a kill that was announced.
    looks: u32,
    reader: Option<BorrowedFd<'a>>,
}

impl Watcher<'_> {
    fn wait_until(&mut self, next: Instant) -> Result<Heard> {
        let mut rest = next.saturating_duration_since(Instant::now());
        if self.looks > 0 {
            rest = rest.min(SOON);
        } else if self.first.is_none() {
            rest = rest.min(NOW_AND_THEN);
        }
        let rest =
            Timespec::try_from(rest).map_err(|_| Error::new(Code::System, "the interval is too long"))?;
        let mut polled = self.watch.descriptors();
        let others = polled.len();
        polled.extend(self.first.as_ref().map(|first| PollFd::new(first, PollFlags::IN)));
        let reader = polled.len();
        // A reader that hangs up is an error on its end of the pipe, which need not be asked for.
        polled.extend(self.reader.as_ref().map(|reader| PollFd::new(reader, PollFlags::empty())));
        match poll(&mut polled, Some(&rest)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::os(Code::System, "wait for events", errno)),
        }
        let has_hung_up = polled.get(reader).is_some_and(|polled| !polled.revents().is_empty());
        let has_ended = others < reader && !polled[others].revents().is_empty();
        if has_ended {
            self.first = None;
        }
        Ok(if has_hung_up { Heard::HangUp } else { Heard::Something })
    }

    fn new_kills(&mut self) -> u64 {
        if self.watch.expects_a_kill() {
            self.looks = LOOKS;
        }
        let kills = self.watch.new_kills();
        self.looks = if kills > 0 { 0 } else { self.looks.saturating_sub(1) };
        kills
    }

    fn is_over(&self, cgroup: &Cgroup) -> Result<bool> {
        match self.watch.is_populated() {
            Some(populated) => Ok(!populated),
            None if self.first.is_some() => Ok(false),
            None => Ok(cgroup.processes().map_or_else(
                |error| if error.errno == Some(Errno::NODEV) { Ok(true) } else { Err(error) },
                |pids| Ok(pids.is_empty()),
            )?),
        }
    }
}
