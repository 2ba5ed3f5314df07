//! How much of what a start takes is left, and where the state of containers goes.

use cgroups::layout::MOUNT_POINT;
use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};
use rustix::io::Errno;

use super::subject::Subject;
use super::{Answer, Question, cgroups as places};
use crate::explain;

pub(super) const QUESTIONS: [Question; 5] = [
    Question { name: "state-directory", look: state_directory },
    Question {
        name: "open-files",
        look: |subject| own_limit(subject, "Max open files", 256, "`ulimit -n 1024`"),
    },
    Question {
        name: "processes",
        look: |subject| own_limit(subject, "Max processes", 64, "`ulimit -u 4096`"),
    },
    Question { name: "pids", look: pids },
    Question { name: "ipv6", look: ipv6 },
];

fn state_directory(subject: &Subject<'_>) -> Option<Answer> {
    let path = subject.state_root.path();
    let shown = path.display();
    let there = |path: &std::path::Path| subject.machine.file(&path.to_string_lossy());
    let nearest = path.ancestors().find(|path| there(path).exists())?;
    let remedy = "give `--root` a directory of your own, or set XDG_RUNTIME_DIR to one";
    let access = Access::WRITE_OK | Access::EXEC_OK;
    if let Err(errno) = accessat(CWD, there(nearest), access, AtFlags::EACCESS) {
        let why = match errno {
            Errno::ROFS => format!("`{}` lies on a read-only filesystem", nearest.display()),
            _ => explain::closed_to(&there(nearest), subject.machine.uid).unwrap_or_default(),
        };
        return Some(Answer::missing(
            format!("the state of containers cannot be kept in `{shown}`: {why}"),
            remedy,
        ));
    }
    let stat = statvfs(there(nearest)).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    // Some filesystems do not count their files.
    let is_without_files = stat.f_files > 0 && stat.f_favail == 0;
    Some(match free < 1 << 20 || is_without_files {
        false => Answer::ok(format!("`{shown}`, with {} MiB free", free >> 20)),
        true => Answer::missing(
            format!("`{shown}`: the filesystem is full"),
            format!("make room there, or {remedy}"),
        ),
    })
}

/// A limit of this process (`proc_pid_limits(5)`).
fn own_limit(subject: &Subject<'_>, name: &str, least: u64, remedy: &str) -> Option<Answer> {
    let text = subject.machine.text("/proc/self/limits")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace();
    let (soft, hard) = (words.next()?, words.next()?);
    let shown = format!("{soft} (at most {hard})");
    Some(match soft.parse::<u64>() {
        Ok(number) if number < least => {
            Answer::limited(format!("{shown}: fewer than a start may take"), remedy)
        }
        _ => Answer::ok(shown),
    })
}

/// How many processes the cgroups around this process still allow.
fn pids(subject: &Subject<'_>) -> Option<Answer> {
    let layout = subject.host.cgroups().ok()?;
    let own = places::own(subject, layout, Some("pids"))?;
    let number = |directory: &str, file: &str| -> Option<u64> {
        subject.machine.text(&format!("{directory}/{file}"))?.parse().ok()
    };
    let left = |directory: &str| {
        Some(number(directory, "pids.max")?.saturating_sub(number(directory, "pids.current")?))
    };
    let ways = own.match_indices('/').map(|(end, _)| &own[..end]).chain([own.as_str()]);
    let around = ways.filter(|way| way.starts_with(MOUNT_POINT));
    let least = around.filter_map(|way| left(way).map(|left| (left, way))).min();
    Some(match least {
        None => Answer::ok("the cgroups around this process do not limit them"),
        Some((left, way)) if left < 16 => Answer::limited(
            format!("{left} more are allowed in {way}: a start may fail"),
            format!("raise `{way}/pids.max` (systemd: TasksMax=)"),
        ),
        Some((left, way)) => Answer::ok(format!("{left} more are allowed in {way}")),
    })
}

fn ipv6(subject: &Subject<'_>) -> Option<Answer> {
    Some(match subject.machine.file("/proc/sys/net/ipv6").is_dir() {
        true => Answer::ok("this kernel has it"),
        false => Answer::limited(
            "this kernel has none: containers have no such addresses, and `net.ipv6.*` of linux.sysctl is refused",
            "a kernel with it, started without `ipv6.disable=1`",
        ),
    })
}
