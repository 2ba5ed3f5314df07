//! Which limit something has run into.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, geteuid, getrlimit};

/// The number in a file; nothing for `max`.
fn number(path: impl AsRef<Path>) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Which limit on processes is reached: that of a cgroup on the way to one of `cgroups`, that of the user, or the
/// machine's (`fork(2)`, EAGAIN).
pub(super) fn processes(cgroups: &[PathBuf]) -> Option<String> {
    let of_cgroup = cgroups.iter().find_map(|cgroup| of_cgroup(cgroup));
    of_cgroup.or_else(of_user).or_else(of_machine)
}

fn of_cgroup(cgroup: &Path) -> Option<String> {
    // Above the root of the hierarchy there are no such files.
    let full = cgroup.ancestors().find_map(|level| {
        let (most, current) = (number(level.join("pids.max"))?, number(level.join("pids.current"))?);
        (current >= most).then(|| (level.join("pids.max"), most, current))
    });
    let (file, most, current) = full?;
    Some(format!("`{}` is {most}, and {current} are there: end some, or raise it", file.display()))
}

/// The limit on memory of a cgroup, or of the nearest one above it that has one.
pub(super) fn memory(cgroup: &Path) -> Option<String> {
    // Without a limit version 1 says the largest number of pages there can be.
    const NONE: u64 = 1 << 60;
    cgroup.ancestors().find_map(|level| {
        let files = ["memory.max", "memory.limit_in_bytes"].map(|file| level.join(file));
        let of = |file: &PathBuf| number(file).filter(|limit| *limit < NONE);
        let (file, limit) = files.iter().find_map(|file| Some((file, of(file)?)))?;
        Some(format!("`{}` is {limit} bytes", file.display()))
    })
}

fn of_user() -> Option<String> {
    let user = geteuid();
    let most = getrlimit(Resource::Nproc).current?;
    let owned = tasks_of(user.as_raw());
    let free_of_it = user.is_root();
    (!free_of_it && owned >= most)
        .then(|| format!("user {user} may have {most} threads (RLIMIT_NPROC, `ulimit -u`), and has {owned}"))
}

/// How many threads a user has, as far as they can be seen.
fn tasks_of(user: u32) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let is_its = |entry: &std::fs::DirEntry| entry.metadata().is_ok_and(|meta| meta.uid() == user);
    let is_process = |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_process = |entry: std::fs::DirEntry| {
        std::fs::read_dir(entry.path().join("task")).map_or(1, |tasks| tasks.count() as u64)
    };
    processes.filter(is_process).filter(is_its).map(of_process).sum()
}

fn of_machine() -> Option<String> {
    // The fourth field: threads that run, and all there are.
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let all: u64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    ["kernel.threads-max", "kernel.pid_max"].into_iter().find_map(|name| {
        let most = number(format!("/proc/sys/{}", name.replace('.', "/")))?;
        (all >= most).then(|| format!("the sysctl `{name}` is {most}, and there are {all} threads"))
    })
}

/// The cgroups of this process, as directories.
pub(super) fn own_cgroups() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    text.lines().flat_map(directories).collect()
}

/// Where the directory of a line of `/proc/self/cgroup` may be.
fn directories(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return Vec::new() };
    let mounts = match controllers {
        "" => vec!["/sys/fs/cgroup".to_owned(), "/sys/fs/cgroup/unified".to_owned()],
        list => vec![format!("/sys/fs/cgroup/{}", list.trim_start_matches("name="))],
    };
    mounts.into_iter().map(|mount| PathBuf::from(mount + path)).filter(|path| path.is_dir()).collect()
}

/// How many descriptors this process may have (`open(2)`, EMFILE).
pub(super) fn descriptors() -> String {
    let limit = getrlimit(Resource::Nofile);
    let shown = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    format!(
        "this process may have {} open descriptors (RLIMIT_NOFILE, at most {}): raise it by `ulimit -n`, or by LimitNOFILE= \
         of the service that starts it",
        shown(limit.current),
        shown(limit.maximum)
    )
}

/// How many open files the machine may have (`open(2)`, ENFILE).
pub(super) fn files() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    let mut fields = text.split_whitespace();
    let (open, most) = (fields.next()?, fields.nth(1)?);
    Some(format!("the sysctl `fs.file-max` is {most}, and {open} files are open on this machine"))
}

/// How many mounts a mount namespace may have (`mount(2)`, ENOSPC).
pub(super) fn mounts() -> Option<String> {
    let most = number("/proc/sys/fs/mount-max")?;
    Some(format!("a mount namespace may have {most} mounts (the sysctl `fs.mount-max`)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_that_is_full_is_named_wherever_it_is_on_the_way() {
        let top = std::env::temp_dir().join(format!("crun-limits-{}", std::process::id()));
        let inner = top.join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let write = |file: &str, text: &str| std::fs::write(top.join(file), text).unwrap();
        write("a/b/pids.max", "max\n");
        write("a/b/pids.current", "3\n");
        write("a/pids.max", "7\n");
        write("a/pids.current", "6\n");
        assert_eq!(of_cgroup(&inner), None);
        write("a/pids.current", "7\n");
        let file = top.join("a/pids.max");
        let said = of_cgroup(&inner).unwrap();
        assert_eq!(said, format!("`{}` is 7, and 7 are there: end some, or raise it", file.display()));
        std::fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn the_limit_on_memory_is_the_nearest_there_is() {
        let top = std::env::temp_dir().join(format!("crun-memory-{}", std::process::id()));
        std::fs::create_dir_all(top.join("a")).unwrap();
        std::fs::write(top.join("a/memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
        assert_eq!(memory(&top.join("a")), None);
        std::fs::write(top.join("memory.max"), "4096\n").unwrap();
        let said = format!("`{}` is 4096 bytes", top.join("memory.max").display());
        assert_eq!(memory(&top.join("a")), Some(said));
        std::fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn what_this_machine_allows_can_be_told() {
        assert!(descriptors().contains("RLIMIT_NOFILE"));
        assert!(files().unwrap().contains("fs.file-max"));
        assert!(mounts().unwrap().contains("fs.mount-max"));
        assert!(tasks_of(geteuid().as_raw()) >= 1);
    }
}
