//! The marks that init leaves on its way: what it has just done or is about to wait for, and when.
//!
//! Init has nowhere to allocate and nobody to tell: a mark is two numbers in memory that the runtime has mapped before the
//! clone and reads when init has become its program or has ended. Where they go is known to the child alone, a process of
//! its own with one thread: the runtime itself never has a place for marks.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, OnceLock};

use rustix::io::Errno;
use seccomp::{Action, Architecture, Data};
use sys::clock::Clock;
use sys::clone::Namespaces;
use sys::shared::Shared;

use crate::channel::{Failure, Step, ToInit};
use crate::error::{Code, Context, Result};
use crate::plan::{FilterPlan, Plan, ProcessPlan};

/// The place for marks of this process, if it is one that was made with such a place. Only [`Marks::begin`] sets it.
static OWN: OnceLock<Arc<Marks>> = OnceLock::new();

/// How much room there is to be, and how the process will see the time.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    /// How many entries of lists it works through.
    entries: usize,
    /// Whether it gets to be in a time namespace.
    changes_clocks: bool,
    filter: Option<&'a FilterPlan>,
}

impl<'a> Room<'a> {
    /// For a container's first process.
    pub(crate) fn for_container(plan: &'a Plan) -> Self {
        let rootfs = &plan.rootfs;
        let others = [rootfs.devices.len(), rootfs.masked.len(), rootfs.read_only_paths.len()];
        Self {
            // A mount takes the most steps.
            entries: 8 * rootfs.mounts.len() + 2 * others.iter().sum::<usize>() + plan.sysctls.len(),
            changes_clocks: plan.namespaces.contains(Namespaces::TIME),
            filter: plan.process.filter.as_ref(),
        }
    }

    /// For a process that joins a container's namespaces.
    pub(crate) fn for_joining(process: &'a ProcessPlan, namespaces: Namespaces) -> Self {
        let changes_clocks = namespaces.contains(Namespaces::TIME);
        Self { entries: 0, changes_clocks, filter: process.filter.as_ref() }
    }
}

/// Marks of steps that every process takes.
const BASE: usize = 200;

/// The place for the marks of one process.
#[derive(Debug)]
pub(crate) struct Marks {
    /// First how many there are, then two numbers for each: what, and when.
    shared: Shared,
    clock: Clock,
    /// How far the monotonic clock is ahead of it.
    ahead: u64,
    /// Whether the time is not to be looked at any more once a filter is loaded.
    ends_at_filter: bool,
}

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The process is there.
    Born,
    /// A step was taken, at an entry of its list.
    Done(Step, u16),
    /// It was refused. That need not be the end.
    Refused(Step, u16, Errno),
    /// It begins to wait for what the runtime says.
    Waits(ToInit),
    /// It begins to wait for the start of the container.
    WaitsForStart,
    /// What it was waiting for has come.
    Heard,
    /// It loads its filter, and cannot look at the time from there on.
    Filtered,
    /// Something could not be done, and it has said so.
    Failed(Step, u16),
}

/// The kinds of marks, as they are kept. 0 is none.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Kind {
    Born = 1,
    Done,
    Refused,
    Waits,
    WaitsForStart,
    Heard,
    Filtered,
    Failed,
}

impl Marks {
    pub(super) fn new(room: &Room<'_>) -> Result<Self> {
        let shared = Shared::new(1 + 2 * (BASE + room.entries))
            .context(Code::System, || "get memory for the timeline of the container's process")?;
        // In a time namespace the monotonic clock is another one; that of the calendar is the same everywhere.
        let clock = if room.changes_clocks { Clock::Realtime } else { Clock::Monotonic };
        let ahead = Clock::Monotonic.now().wrapping_sub(clock.now());
        let ahead = if room.changes_clocks { ahead } else { 0 };
        Ok(Self { shared, clock, ahead, ends_at_filter: room.filter.is_some_and(forbids_to_look) })
    }

    /// From here on this process leaves its marks there. To be called in the process that they are for.
    pub(crate) fn begin(marks: &Arc<Self>) {
        if OWN.set(Arc::clone(marks)).is_ok() {
            note(Kind::Born, 0, 0, None);
        }
    }

    /// Those left so far, and when.
    pub(super) fn read(&self) -> Vec<(Mark, u64)> {
        let [_, slots @ ..] = self.shared.words() else { return Vec::new() };
        let both = slots.chunks_exact(2).map(|slot| (slot[0].load(Acquire), slot[1].load(Relaxed)));
        both.map_while(|(what, when)| Some((understand(what)?, when.wrapping_add(self.ahead)))).collect()
    }
}

/// Whether a filter may take the call amiss by which the time is looked at. Most machines have no need of a call for it.
fn forbids_to_look(filter: &FilterPlan) -> bool {
    let native = Architecture::NATIVE;
    let Some(number) = native.syscall_number("clock_gettime") else { return true };
    let call = Data { number, architecture: native.token(), ..Data::default() };
    seccomp::run(&filter.program, &call).is_none_or(|answer| answer.action != Action::ALLOW)
}

/// A step was taken, or was not.
pub(crate) fn step(step: Step, index: u16, refused: Option<Errno>) {
    let kind = if refused.is_some() { Kind::Refused } else { Kind::Done };
    note(kind, step as u8, index, refused);
}

/// What could not be done has been told.
pub(crate) fn failed(failure: Failure) {
    note(Kind::Failed, failure.step as u8, failure.index, Some(failure.errno));
}

/// Waits for what the runtime says.
pub(crate) fn wait<T>(message: ToInit, wait: impl FnOnce() -> T) -> T {
    note(Kind::Waits, message as u8, 0, None);
    let heard = wait();
    note(Kind::Heard, 0, 0, None);
    heard
}

/// Begins to wait for the start of the container.
pub(crate) fn wait_for_start() {
    note(Kind::WaitsForStart, 0, 0, None);
}

/// A filter is about to be loaded.
pub(crate) fn filter() {
    if OWN.get().is_some_and(|marks| marks.ends_at_filter) {
        note(Kind::Filtered, 0, 0, None);
    }
}

/// Leaves a mark, if this process has a place for it and that has room.
#[inline(never)]
fn note(kind: Kind, what: u8, index: u16, errno: Option<Errno>) {
    let Some(marks) = OWN.get() else { return };
    let [count, slots @ ..] = marks.shared.words() else { return };
    let number = count.load(Relaxed);
    let mut places = slots.chunks_exact(2);
    let Some([slot, time]) = usize::try_from(number).ok().and_then(|number| places.nth(number)) else {
        return;
    };
    time.store(marks.clock.now(), Relaxed);
    let errno = errno.map_or(0, Errno::raw_os_error).to_ne_bytes();
    let [i0, i1] = index.to_ne_bytes();
    let word = [kind as u8, what, i0, i1, errno[0], errno[1], errno[2], errno[3]];
    slot.store(u64::from_ne_bytes(word), Release);
    // No room is left after this one.
    let next = if matches!(kind, Kind::Filtered) { u64::MAX } else { number.saturating_add(1) };
    count.store(next, Relaxed);
}

fn understand(word: u64) -> Option<Mark> {
    let [kind, what, i0, i1, errno @ ..] = word.to_ne_bytes();
    let index = u16::from_ne_bytes([i0, i1]);
    let step = Step::numbered(what);
    Some(match kind {
        kind if kind == Kind::Born as u8 => Mark::Born,
        kind if kind == Kind::Done as u8 => Mark::Done(step, index),
        kind if kind == Kind::Refused as u8 => {
            Mark::Refused(step, index, Errno::from_raw_os_error(i32::from_ne_bytes(errno)))
        }
        kind if kind == Kind::Waits as u8 => Mark::Waits(ToInit::numbered(what)?),
        kind if kind == Kind::WaitsForStart as u8 => Mark::WaitsForStart,
        kind if kind == Kind::Heard as u8 => Mark::Heard,
        kind if kind == Kind::Filtered as u8 => Mark::Filtered,
        kind if kind == Kind::Failed as u8 => Mark::Failed(step, index),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::At;
    use crate::clone::spawn;
    use crate::foreground::reap;
    use crate::spec;

    /// The marks that a process leaves which does this.
    fn left(room: &Room<'_>, work: impl Fn()) -> Vec<(Mark, u64)> {
        let marks = Arc::new(Marks::new(room).unwrap());
        let live = || {
            Marks::begin(&marks);
            work();
            0
        };
        reap(&spawn(Namespaces::empty(), None, live).unwrap()).unwrap();
        assert!(OWN.get().is_none(), "the runtime has got a place for marks of its own");
        marks.read()
    }

    fn room(filter: Option<&FilterPlan>) -> Room<'_> {
        Room { entries: 0, changes_clocks: false, filter }
    }

    #[test]
    fn a_process_leaves_one_at_each_step_and_around_each_wait() {
        let before = Clock::Monotonic.now();
        let marks = left(&room(None), || {
            let _ = Ok(()).at_entry(Step::Device, 7);
            let _ = Err::<(), _>(Errno::NOSPC).at(Step::Pivot);
            wait(ToInit::Go, || ());
            failed(Failure::new(Step::Pivot, 3, Errno::NOSPC));
        });
        let said: Vec<_> = marks.iter().map(|(mark, _)| *mark).collect();
        let expected = [
            Mark::Born,
            Mark::Done(Step::Device, 7),
            Mark::Refused(Step::Pivot, 0, Errno::NOSPC),
            Mark::Waits(ToInit::Go),
            Mark::Heard,
            Mark::Failed(Step::Pivot, 3),
        ];
        assert_eq!(said, expected);
        assert!(marks.is_sorted_by_key(|(_, time)| *time));
        assert!(marks[0].1 >= before && marks[5].1 <= Clock::Monotonic.now());
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out() {
        let marks = left(&room(None), || {
            for index in 0..BASE + 10 {
                let _ = Ok(()).at_entry(Step::Device, index);
            }
        });
        assert_eq!(marks.len(), BASE);
        assert_eq!(marks[BASE - 1].0, Mark::Done(Step::Device, u16::try_from(BASE).unwrap() - 2));
    }

    #[test]
    fn the_time_is_the_runtimes_also_by_the_clock_that_all_namespaces_share() {
        let before = Clock::Monotonic.now();
        let marks = left(&Room { changes_clocks: true, ..room(None) }, || ());
        let (_, born) = marks[0];
        // The one is set by a little now and then, to go as the other.
        assert!(born + 1_000_000 >= before && born <= Clock::Monotonic.now() + 1_000_000);
    }

    #[test]
    fn the_time_is_looked_at_under_a_filter_that_allows_it_only() {
        for (action, calls, more) in [
            ("SCMP_ACT_ALLOW", "", true),
            ("SCMP_ACT_KILL", "", false),
            ("SCMP_ACT_KILL", "clock_gettime", true),
            ("SCMP_ACT_ERRNO", "read", false),
        ] {
            let config = format!(
                r#"{{"ociVersion": "1.0.0", "linux": {{"seccomp": {{"defaultAction": "{action}", "syscalls": [
                    {{"names": ["{calls}"], "action": "SCMP_ACT_ALLOW"}}]}}}}}}"#
            );
            let spec = spec::parse(config.as_bytes(), "config.json").unwrap();
            let id = crate::id::ContainerId::new("c").unwrap();
            let subject = crate::plan::FilterSubject {
                id: &id,
                bundle: std::path::Path::new("/"),
                status: "creating",
                receiver: None,
            };
            let plan = FilterPlan::new(&spec, subject).unwrap().unwrap();
            let marks = left(&room(Some(&plan)), || {
                filter();
                let _ = Ok(()).at(Step::Seccomp);
            });
            let last = marks.last().unwrap().0;
            assert_eq!(last == Mark::Done(Step::Seccomp, 0), more, "{action} but {calls}: {last:?}");
        }
    }
}
