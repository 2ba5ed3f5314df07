//! Signalling all processes of a cgroup, also those that are forking at that moment.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};

use crate::cgroup::{Cgroup, Member};
use crate::error::{Error, Result};
use crate::files::write_value;
use crate::freezer::request;
use crate::processes::processes;

/// How long processes may take to freeze before they are signalled as they are.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often SIGKILL is sent to all where nothing keeps them from forking meanwhile.
const ATTEMPTS: u32 = 100;

/// How many processes are open at a time.
const CHUNK: usize = 256;

impl Cgroup {
    /// Sends `signal` to every process of the cgroup and of those below it: SIGKILL in one step where the kernel has
    /// `cgroup.kill` (Linux 5.14), otherwise process by process, while all of them are frozen.
    ///
    /// What was frozen before stays frozen. A v1 freezer keeps what it has frozen even from SIGKILL ([`Cgroup::thaw`]).
    ///
    /// # Errors
    /// When the processes cannot be listed or killed.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        let Some(directory) = self.reference_directory() else { return Ok(()) };
        self.signal_in(directory, signal).map_err(|errno| {
            Error::kernel(
                format!("send signal {signal} to the processes in the cgroup `{}`", self.path),
                errno,
            )
        })
    }

    /// The same for the cgroup's directory in one of the hierarchies, or one below it.
    pub(crate) fn signal_in(
        &self,
        directory: BorrowedFd<'_>,
        signal: i32,
    ) -> core::result::Result<(), Errno> {
        let kills = signal == Signal::KILL.as_raw();
        if kills && write_value(directory, "cgroup.kill", b"1").is_ok() {
            return Ok(());
        }
        let stillness = self.freeze_for_a_moment(directory)?;
        let mut reached = signal_each(directory, signal)?;
        let was_still = stillness.is_some();
        drop(stillness);
        if kills && !was_still {
            for _ in 0..ATTEMPTS {
                if reached == 0 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
                reached = signal_each(directory, signal)?;
            }
        }
        Ok(())
    }

    /// Freezes the processes until the value is dropped: not what is frozen already and is to stay so, and not the calling
    /// process. Without a freezer, or where it takes long, there is no value.
    fn freeze_for_a_moment(
        &self,
        directory: BorrowedFd<'_>,
    ) -> core::result::Result<Option<Stillness<'_>>, Errno> {
        let freezer = self.legacy_freezer().or(self.unified());
        let Some(freezer) = freezer.filter(|_| !self.is_frozen()) else { return Ok(None) };
        if processes(directory)?.contains(&getpid()) {
            return Ok(None);
        }
        Ok(self.freeze_within(PATIENCE).is_ok().then_some(Stillness(freezer)))
    }
}

/// The freezer in which the processes are frozen for a moment.
struct Stillness<'a>(&'a Member);

impl Drop for Stillness<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a failure: the file has just been written.
        let _ = request(self.0, false);
    }
}

/// Sends `signal` to each process in a cgroup and below it, once; returns how many there were.
///
/// A number can have passed to a stranger between reading and using it. Therefore only those processes are signalled whose
/// number is still in the cgroup after they were opened.
fn signal_each(directory: BorrowedFd<'_>, signal: i32) -> core::result::Result<usize, Errno> {
    let all = processes(directory)?;
    for chunk in all.chunks(CHUNK) {
        let mut open: Vec<(Pid, Option<OwnedFd>)> = Vec::with_capacity(chunk.len());
        for pid in chunk {
            match pidfd_open(*pid, PidfdFlags::empty()) {
                Ok(process) => open.push((*pid, Some(process))),
                // Linux before 5.3, a filter that does not know the call, or too many open files.
                Err(Errno::NOSYS | Errno::PERM | Errno::MFILE | Errno::NFILE) => open.push((*pid, None)),
                Err(_) => {}
            }
        }
        let still_there: HashSet<Pid> = processes(directory)?.into_iter().collect();
        for (pid, process) in open.iter().filter(|(pid, _)| still_there.contains(pid)) {
            // That it has ended meanwhile is no failure.
            let _ = match process {
                Some(process) => sys::signal::send(process.as_fd(), signal),
                None => Signal::from_named_raw(signal)
                    .map_or(Err(Errno::NOSYS), |named| kill_process(*pid, named)),
            };
        }
    }
    Ok(all.len())
}
