//! Running one hook: by the runtime, or by init, which does not allocate. So this does not either.
//!
//! The hook is not trusted with anything: it may read its input or not, write without end, fork, leave somebody behind
//! who keeps its output open, or never end. Its end is that of its process; its output is read meanwhile, and only the
//! last of it is kept.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_setfl};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, chdir, kill_process_group, setsid, umask, waitid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use sys::clone::Child;
use sys::exec::StringArray;
use sys::signal::{SignalSet, reset_actions, set_mask};

use super::tail::Tail;
use crate::clone;
use crate::plan::HookPlan;

/// How long a hook that was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// A hook with all that it gets.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) hook: &'a HookPlan,
    pub(crate) env: &'a StringArray,
    /// Where it starts; `None` is where its maker is.
    pub(crate) directory: Option<&'a CStr>,
    pub(crate) umask: Option<Mode>,
    /// What it reads: the parts of a text.
    pub(crate) input: [&'a [u8]; 3],
    /// Where it writes, if not to its maker.
    pub(crate) stdout: Option<BorrowedFd<'a>>,
    pub(crate) stderr: Option<BorrowedFd<'a>>,
    /// What ends it early: such an event there.
    pub(crate) interruption: Option<(BorrowedFd<'a>, PollFlags)>,
}

/// Why a hook has not done what it was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It could not be executed.
    NotExecuted(Errno),
    /// It could not be made, or not be looked after.
    Kernel(Errno),
    Exited(i32),
    Killed(i32),
    TimedOut,
    Interrupted,
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

/// Runs the hook to its end; what it wrote is in `tail`.
pub(crate) fn call(call: &Call<'_>, tail: &mut Tail) -> Result<(), Trouble> {
    let (input, feeder) = pipe()?;
    let mut feed = Feed::new(feeder, call.input)?;
    feed.go_on()?;
    let (reader, output) = pipe()?;
    fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    let (verdict, judge) = pipe()?;
    let ends = Ends { input: input.as_fd(), output: output.as_fd(), judge: judge.as_fd() };
    let child = clone::spawn_filtered(|| become_hook(call, &ends))?;
    drop((output, judge));
    let ended = Watch { call, child: &child, reader: &reader, feed }.attend(tail);
    // The hook has put everything in there by now; who it has left behind may go on as long as he likes.
    tail.drain(reader.as_fd());
    let status = reap(&child, ended.is_err())?;
    // As long as this end was open too, the other one took what nobody read.
    drop(input);
    ended?;
    let mut errno = [0_u8; 4];
    if matches!(read(&verdict, &mut errno), Ok(4)) {
        return Err(Trouble::NotExecuted(Errno::from_raw_os_error(i32::from_ne_bytes(errno))));
    }
    match status {
        Ended::Exited(0) => Ok(()),
        Ended::Exited(code) => Err(Trouble::Exited(code)),
        Ended::Killed(signal) => Err(Trouble::Killed(signal)),
    }
}

/// A pipe whose ends are none of the standard descriptors, even if those are closed.
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let above = |end: OwnedFd| if end.as_raw_fd() < 3 { fcntl_dupfd_cloexec(&end, 3) } else { Ok(end) };
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((above(reader)?, above(writer)?))
}

/// The hook's ends of the pipes.
struct Ends<'a> {
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    /// Where it says why it could not be executed.
    judge: BorrowedFd<'a>,
}

/// The life of the hook's process up to the exec; returns the exit status.
fn become_hook(call: &Call<'_>, ends: &Ends<'_>) -> i32 {
    let errno = match prepare(call, ends) {
        Ok(()) => sys::exec::exec(&call.hook.path, &call.hook.argv, call.env),
        Err(errno) => errno,
    };
    let _ = write(ends.judge, &errno.raw_os_error().to_ne_bytes());
    127
}

fn prepare(call: &Call<'_>, ends: &Ends<'_>) -> Result<(), Errno> {
    // By its group it can be killed together with its children.
    setsid()?;
    dup2_stdin(ends.input)?;
    dup2_stdout(call.stdout.unwrap_or(ends.output))?;
    dup2_stderr(call.stderr.unwrap_or(ends.output))?;
    sys::exec::close_all_but([Some(ends.judge), None], 3)?;
    if let Some(directory) = call.directory {
        match chdir(directory) {
            // Root of a user namespace need not be let into the bundle.
            Err(Errno::ACCESS | Errno::PERM) => chdir(c"/")?,
            other => other?,
        }
    }
    if let Some(mask) = call.umask {
        umask(mask);
    }
    reset_actions();
    set_mask(SignalSet::EMPTY).map(drop)
}

/// What the hook is given to read, as far as it has not taken it yet.
struct Feed<'a> {
    /// Closed when everything is in there.
    pipe: Option<OwnedFd>,
    parts: [&'a [u8]; 3],
}

impl<'a> Feed<'a> {
    fn new(pipe: OwnedFd, parts: [&'a [u8]; 3]) -> Result<Self, Errno> {
        fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        Ok(Self { pipe: Some(pipe), parts })
    }

    /// Writes what the pipe takes.
    fn go_on(&mut self) -> Result<(), Errno> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        for part in &mut self.parts {
            while !part.is_empty() {
                match write(pipe, part) {
                    Ok(written) => *part = part.get(written..).unwrap_or_default(),
                    Err(Errno::AGAIN) => return Ok(()),
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        self.pipe = None;
        Ok(())
    }
}

/// The hook while it runs.
struct Watch<'a> {
    call: &'a Call<'a>,
    child: &'a Child,
    reader: &'a OwnedFd,
    feed: Feed<'a>,
}

impl Watch<'_> {
    /// Feeds the hook and listens to it until it has ended.
    fn attend(mut self, tail: &mut Tail) -> Result<(), Trouble> {
        let start = Instant::now();
        let mut is_open = true;
        loop {
            let rest = self.call.hook.timeout.map(|limit| limit.saturating_sub(start.elapsed()));
            if rest.is_some_and(|rest| rest.is_zero()) {
                return Err(Trouble::TimedOut);
            }
            // The process takes the place of what there is nothing more to wait for.
            let nothing = PollFd::new(&self.child.pidfd, PollFlags::empty());
            let mut awaited = [
                PollFd::new(&self.child.pidfd, PollFlags::IN),
                if is_open { PollFd::new(self.reader, PollFlags::IN) } else { nothing.clone() },
                self.feed.pipe.as_ref().map_or(nothing.clone(), |pipe| PollFd::new(pipe, PollFlags::OUT)),
                self.call.interruption.as_ref().map_or(nothing, |(file, event)| PollFd::new(file, *event)),
            ];
            match poll(&mut awaited, rest.map(timespec).as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let [process, output, input, interruption] = awaited.map(|polled| !polled.revents().is_empty());
            if process {
                return Ok(());
            }
            if interruption {
                return Err(Trouble::Interrupted);
            }
            if output && is_open {
                is_open = tail.read(self.reader.as_fd()) != Ok(0);
            }
            if input {
                self.feed.go_on()?;
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().cast_signed(), tv_nsec: duration.subsec_nanos().into() }
}

/// How a hook has ended.
enum Ended {
    Exited(i32),
    Killed(i32),
}

/// Waits for the end of the hook; with `kill`, of one that is not to go on, and only as long as a kill may take.
fn reap(child: &Child, kill: bool) -> Result<Ended, Trouble> {
    if kill {
        let _ = kill_process_group(child.pid, Signal::KILL);
        // Before it has a group of its own it cannot be found by it.
        let _ = sys::signal::send(child.pidfd.as_fd(), Signal::KILL.as_raw());
        if !crate::foreground::ends_within(&child.pidfd, PATIENCE) {
            return Ok(Ended::Killed(Signal::KILL.as_raw()));
        }
    }
    loop {
        match waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(status) => {
                let code = status.as_ref().and_then(|status| status.exit_status());
                let signal = status.as_ref().and_then(|status| status.terminating_signal());
                return Ok(code.map_or(Ended::Killed(signal.unwrap_or_default()), Ended::Exited));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
