//! What a container may leave behind on the machine, found without asking any runtime.

use std::fs;
use std::path::{Path, PathBuf};

/// The mounts of cgroup hierarchies: the controllers (none for version 2) and the mount point.
#[must_use]
pub fn hierarchies() -> Vec<(String, PathBuf)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let hierarchy = |line: &str| {
        // proc_pid_mountinfo(5): id parent dev root mount-point options... - type source super-options
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let list = match right.next()? {
            "cgroup2" => String::new(),
            "cgroup" => {
                right.nth(1)?.split(',').filter(|option| *option != "rw").collect::<Vec<_>>().join(",")
            }
            _ => return None,
        };
        Some((list, PathBuf::from(left.split(' ').nth(4)?)))
    };
    mounts.lines().filter_map(hierarchy).collect()
}

/// The cgroups of the process with this directory in procfs: the controllers of a hierarchy, and the directory.
#[must_use]
pub fn cgroups_of(proc: &Path) -> Vec<(String, PathBuf)> {
    let text = fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
    let mounts = hierarchies();
    let dir = |line: &str| {
        // cgroups(7): id:controllers:path
        let mut fields = line.splitn(3, ':').skip(1);
        let (list, path) = (fields.next()?, fields.next()?);
        let mount = &mounts.iter().find(|(mounted, _)| mounted == list)?.1;
        Some((list.to_owned(), mount.join(path.trim_start_matches('/'))))
    };
    text.lines().filter_map(dir).collect()
}

/// Everything that belongs to the container: its state, its cgroups, its mounts and its processes. With the pid 1 of a
/// view, mounts are looked for there as well.
#[must_use]
pub fn find(id: &str, bundle: &Path, state: &Path, view: Option<u32>) -> Vec<String> {
    let mut left = Vec::new();
    if fs::symlink_metadata(state.join(id)).is_ok() {
        left.push(format!("state {}", state.join(id).display()));
    }
    for (_, mount) in hierarchies() {
        cgroups_named(id, &mount, &mut left);
    }
    for pid in ["self".to_owned()].into_iter().chain(view.map(|pid| pid.to_string())) {
        mounts(id, [bundle, state], &pid, &mut left);
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let number =
            entry.file_name().to_str().is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit()));
        left.extend(number.then(|| process(id, bundle, &entry.path())).flatten());
    }
    left
}

fn cgroups_named(id: &str, dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains(id) {
            let of = fs::read_to_string(entry.path().join("cgroup.procs")).unwrap_or_default();
            let of: Vec<&str> = of.split_whitespace().collect();
            found.push(format!("cgroup {} of the processes {of:?}", entry.path().display()));
        }
        cgroups_named(id, &entry.path(), found);
    }
}

fn mounts(id: &str, below: [&Path; 2], pid: &str, found: &mut Vec<String>) {
    let all = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let ours = |line: &&str| {
        let point = Path::new(line.split(' ').nth(4).unwrap_or_default());
        line.contains(id) || below.iter().any(|dir| point.starts_with(dir))
    };
    found.extend(all.lines().filter(ours).map(|line| format!("mount {line}")));
}

/// A process is the container's if it is in a cgroup of that name, has a mount out of the bundle, or is a runtime with
/// the name among its arguments. A zombie is its parent's matter.
fn process(id: &str, bundle: &Path, proc: &Path) -> Option<String> {
    let read = |name: &str| fs::read(proc.join(name)).map(|b| String::from_utf8_lossy(&b).into_owned());
    let status = read("status").ok()?;
    let arguments = read("cmdline").unwrap_or_default();
    if arguments.is_empty() || status.lines().any(|line| line.starts_with("State:\tZ")) {
        return None;
    }
    let bundle = format!("{}/", bundle.display());
    let ours = arguments.contains(id)
        || read("cgroup").is_ok_and(|text| text.contains(id))
        || read("mountinfo").is_ok_and(|text| text.contains(&bundle));
    ours.then(|| format!("process {} {arguments:?}\n{status}", proc.display()))
}
