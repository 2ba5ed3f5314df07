//! Whether a recorded process is still the one that was recorded.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read};
use rustix::process::Pid;

/// The start time of a process in clock ticks since boot, or `None` when it is gone or a zombie.
pub(crate) fn start_time(pid: Pid) -> Result<Option<u64>, Errno> {
    let mut buffer = [0_u8; 1024];
    Ok(stat(pid, &mut buffer)?.and_then(parse))
}

/// Whether a process has become another program since it was forked. One that is gone counts as if it had.
pub(crate) fn has_executed(pid: Pid) -> bool {
    let mut buffer = [0_u8; 1024];
    let flags = stat(pid, &mut buffer).ok().flatten().and_then(flags);
    flags.is_none_or(|flags| flags & FORKED_NO_EXEC == 0)
}

/// Whether a process has ended or begun to: the first of a pid namespace first ends the others, and waits until their
/// parents have taken note of it.
pub(crate) fn is_ending(pid: Pid) -> Result<bool, Errno> {
    let mut buffer = [0_u8; 1024];
    let flags = stat(pid, &mut buffer)?.and_then(flags);
    Ok(flags.is_none_or(|flags| flags & EXITING != 0))
}

/// The kernel's `PF_FORKNOEXEC`.
const FORKED_NO_EXEC: u32 = 0x40;

/// The kernel's `PF_EXITING`.
const EXITING: u32 = 0x4;

/// The text of `/proc/PID/stat`; `None` when the process is gone.
fn stat(pid: Pid, buffer: &mut [u8; 1024]) -> Result<Option<&[u8]>, Errno> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let file = match openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
        other => other?,
    };
    match read(&file, &mut *buffer) {
        Err(Errno::SRCH) => Ok(None),
        length => Ok(Some(&buffer[..length?])),
    }
}

/// The fields from the third on. The second is the program's name in parentheses and may hold anything, parentheses
/// included, so counting starts behind the last one (`proc_pid_stat(5)`).
fn fields(stat: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    Some(std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?.split_ascii_whitespace())
}

/// Field 9.
fn flags(stat: &[u8]) -> Option<u32> {
    fields(stat)?.nth(6)?.parse().ok()
}

/// Field 22, unless field 3 says that the process has ended.
fn parse(stat: &[u8]) -> Option<u64> {
    let mut fields = fields(stat)?;
    match fields.next()? {
        "Z" | "X" | "x" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// Whether process `pid` exists and started at `time`.
pub(crate) fn is_same_process(pid: Pid, time: u64) -> Result<bool, Errno> {
    Ok(start_time(pid)? == Some(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_cannot_confuse_the_fields() {
        let stat = b"7 (a) R 1) S 1 7 7 0 -1 4194560 95 0 0 0 0 0 0 0 20 0 1 0 4242 0 0 0";
        assert_eq!(parse(stat), Some(4242));
    }

    #[test]
    fn the_flags_are_the_ninth_field() {
        let stat = b"7 (a) R 1) S 1 7 7 0 -1 4194560 95 0 0 0 0 0 0 0 20 0 1 0 4242 0 0 0";
        assert_eq!(flags(stat), Some(4_194_560));
        assert!(has_executed(rustix::process::getpid()));
        assert_eq!(is_ending(rustix::process::getpid()), Ok(false));
    }

    #[test]
    fn a_zombie_is_gone() {
        let stat = b"7 (sh) Z 1 7 7 0 -1 4194560 95 0 0 0 0 0 0 0 20 0 1 0 4242 0 0 0";
        assert_eq!(parse(stat), None);
    }

    #[test]
    fn this_process_has_a_start_time() {
        let pid = rustix::process::getpid();
        let time = start_time(pid).unwrap().unwrap();
        assert!(is_same_process(pid, time).unwrap());
        assert!(!is_same_process(pid, time + 1).unwrap());
    }
}
