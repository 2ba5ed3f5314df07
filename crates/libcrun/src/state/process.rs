//! Whether a recorded process is still the one that was recorded.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read};
use rustix::process::Pid;

/// The start time of a process in clock ticks since boot, or `None` when it is gone or a zombie.
pub(crate) fn start_time(pid: Pid) -> Result<Option<u64>, Errno> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let file = match openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
        other => other?,
    };
    let mut buffer = [0_u8; 1024];
    let length = match read(&file, &mut buffer) {
        Err(Errno::SRCH) => return Ok(None),
        other => other?,
    };
    Ok(parse(&buffer[..length]))
}

/// Field 22, unless field 3 says that the process has ended. The second field is the program's name in parentheses
/// and may hold anything, parentheses included, so counting starts behind the last one (`proc_pid_stat(5)`).
fn parse(stat: &[u8]) -> Option<u64> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
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
