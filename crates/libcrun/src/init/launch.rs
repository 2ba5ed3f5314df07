//! The end of init: finding the program, waiting for the start, and the exec. Shared by containers and `exec`.

use std::convert::Infallible;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, statat};
use rustix::io::{Errno, read, writev};
use sys::signal::{SignalSet, reset_actions, set_mask};

use super::filter;
use crate::channel::{At, Failure, InitEnd, Step};
use crate::following;
use crate::hooks::Hooks;
use crate::plan::ProcessPlan;
use crate::prepare::PreparedProcess;
use crate::timeline::marks;

/// Makes the runtime's executable unwritable for the container, where [`crate::self_protection`] found that needed.
pub(crate) fn protect_executable(process: &PreparedProcess<'_>) -> Result<(), Failure> {
    match &process.executable_view {
        Some(view) => sys::exe::replace(view).at(Step::SelfProtection),
        None => Ok(()),
    }
}

/// Closes every descriptor of the host before anything is looked up by a path of the container's (CVE-2024-21626), and
/// before the container's limits are set: that on descriptors would say nothing about how many are open.
pub(crate) fn close_descriptors(
    process: &PreparedProcess<'_>,
    channel: &InitEnd,
    exec_fifo: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    let keep = [
        Some(channel.as_fd()),
        exec_fifo,
        process.report,
        process.agent.map(AsFd::as_fd),
        process.hooks.and_then(Hooks::stdout),
        process.hooks.and_then(Hooks::stderr),
    ];
    sys::exec::close_all_but(keep, process.plan.first_closed_fd).at(Step::Runtime)?;
    // Early, because a filter may forbid it later.
    reset_actions();
    Ok(())
}

/// The first candidate that can be executed by the user the process has become; returns its place in the list.
pub(crate) fn find_executable(process: &ProcessPlan) -> Result<usize, Failure> {
    let mut best = Failure::new(Step::FindExecutable, 0, Errno::NOENT);
    for index in 0..process.candidates.len() {
        match try_candidate(process, index) {
            Ok(()) => return Ok(index),
            // A file that is there but unfit says more than one that is not.
            Err(failure) if failure.errno == Errno::NOENT || failure.errno == Errno::NOTDIR => {}
            Err(failure) if best.errno == Errno::NOENT => best = failure,
            Err(_) => {}
        }
    }
    Err(best)
}

fn try_candidate(process: &ProcessPlan, index: usize) -> Result<(), Failure> {
    let Some(path) = process.candidates.get(index) else { return Err(Errno::NOENT).at(Step::FindExecutable) };
    let path = path.as_c_str();
    let executable = accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS);
    let stat = match statat(CWD, path, AtFlags::empty()) {
        Ok(stat) => stat,
        Err(errno) => return Err(errno).at_entry(Step::FindExecutable, index),
    };
    match (FileType::from_raw_mode(stat.st_mode), executable) {
        (FileType::RegularFile, Ok(())) => Ok(()),
        // The answer of a filter that does not know faccessat2(2); the exec will tell.
        (FileType::RegularFile, Err(Errno::PERM | Errno::NOSYS)) => Ok(()),
        (FileType::RegularFile, Err(Errno::ACCESS)) if stat.st_mode & 0o111 == 0 => {
            Err(Errno::PERM).at_entry(Step::NotExecutable, index)
        }
        (FileType::RegularFile, Err(errno)) => Err(errno).at_entry(Step::FindExecutable, index),
        _ => Err(Errno::PERM).at_entry(Step::NotRegular, index),
    }
}

/// Waits until `start` writes its byte. The descriptor is open for writing too, so that a `start` that dies between
/// opening and writing is not taken for the signal.
pub(crate) fn wait_on_fifo(fifo: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut byte = [0_u8; 1];
    marks::wait_for_start();
    loop {
        match read(fifo, &mut byte) {
            Ok(1) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Filters the calls of a process that has nothing left to do but to execute.
pub(crate) fn confine(process: &PreparedProcess<'_>, channel: &InitEnd) -> Result<(), Failure> {
    set_mask(SignalSet::EMPTY).at(Step::Runtime)?;
    filter::load_at_last(process, channel)
}

/// Becomes the program.
pub(crate) fn execute(process: &PreparedProcess<'_>, program: usize) -> Result<Infallible, Failure> {
    let plan = process.plan;
    let Some(path) = plan.candidates.get(program) else { return Err(Errno::NOENT).at(Step::Exec) };
    let errno = sys::exec::exec(path, &plan.argv, &process.env);
    Err(errno).at_entry(Step::Exec, program)
}

/// Reports a failure and returns the exit status. Where nobody listens any more (a created container whose exec fails at
/// its start) it is said to who starts the container, if he asked for it, or else on the standard error, which is the
/// container's and the only place left.
pub(crate) fn report_failure(channel: &InitEnd, process: &PreparedProcess<'_>, failure: Failure) -> i32 {
    if !channel.has_parted() {
        let _ = channel.tell_failed(failure);
        return 1;
    }
    if process.report.is_some_and(|fifo| following::tell_failed(fifo, failure).is_ok()) {
        return 1;
    }
    let process = process.plan;
    let program = process.candidates.get(usize::from(failure.index));
    let program = program.map_or(&b""[..], |program| program.to_bytes());
    let [begin, object, end]: [&[u8]; 3] = match failure.step {
        Step::Exec => [b"exec container process `", program, b"`: "],
        Step::Seccomp => [b"linux.seccomp: load the filter", b"", b": "],
        Step::SeccompReceiver => [b"hand the listener over to the seccomp receiver", b"", b": "],
        _ => return 1,
    };
    let text = [begin, object, end, reason(failure.errno).as_bytes(), b"\n"];
    let _ = writev(rustix::stdio::stderr(), &text.map(IoSlice::new));
    1
}

/// The C library's words for what `execve(2)` can fail with; its own function for them allocates.
fn reason(errno: Errno) -> &'static str {
    REASONS.iter().find(|(known, _)| *known == errno).map_or("failed", |(_, words)| words)
}

const REASONS: [(Errno, &str); 17] = [
    (Errno::PERM, "Operation not permitted"),
    (Errno::NOENT, "No such file or directory"),
    (Errno::IO, "Input/output error"),
    (Errno::TOOBIG, "Argument list too long"),
    (Errno::NOEXEC, "Exec format error"),
    (Errno::AGAIN, "Resource temporarily unavailable"),
    (Errno::NOMEM, "Cannot allocate memory"),
    (Errno::ACCESS, "Permission denied"),
    (Errno::NOTDIR, "Not a directory"),
    (Errno::ISDIR, "Is a directory"),
    (Errno::INVAL, "Invalid argument"),
    (Errno::NFILE, "Too many open files in system"),
    (Errno::TXTBSY, "Text file busy"),
    (Errno::NAMETOOLONG, "File name too long"),
    (Errno::PIPE, "Broken pipe"),
    (Errno::LOOP, "Too many levels of symbolic links"),
    (Errno::LIBBAD, "Accessing a corrupted shared library"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::reason as words_of_the_c_library;

    #[test]
    fn the_reasons_are_those_of_the_c_library() {
        for (errno, words) in REASONS {
            assert_eq!(words, words_of_the_c_library(errno));
        }
    }
}
