//! Why a cgroup cannot be made, written to or removed.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Code, Error};

/// How many processes are named.
const NAMED: usize = 4;

/// What is known of a failure at a file or directory of a cgroup.
pub(super) fn failed(error: Error, path: &Path) -> Error {
    let (code, hint) = match error.errno() {
        Some(Errno::BUSY) if path.file_name().is_some_and(|name| name == "cgroup.subtree_control") => {
            let directory = path.parent().unwrap_or(path);
            // Those in cgroups below are where they should be.
            (Code::Cgroup, holders(directory, |_| Vec::new()).map(|who| format!("{who}, and beside processes the kernel gives no controllers on: move them to a cgroup below")))
        }
        Some(Errno::BUSY | Errno::NOTEMPTY) => (Code::CgroupBusy, holders(path, below)),
        Some(Errno::AGAIN) => (Code::Cgroup, too_many(path)),
        Some(Errno::NOSPC) => (Code::Cgroup, empty_cpuset(path)),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => (Code::CgroupDenied, None),
        _ => return error,
    };
    let error = error.with_code(code);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Which processes are in a cgroup, and in the `others` to which each leads.
fn holders(directory: &Path, others: fn(&Path) -> Vec<PathBuf>) -> Option<String> {
    let (mut who, mut all) = (Vec::new(), 0);
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let list = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        all += list.lines().count();
        let room = NAMED - who.len();
        who.extend(list.lines().take(room).map(|pid| in_words(pid, &directory)));
        left.extend(others(&directory));
    }
    let more = match all.checked_sub(who.len()) {
        Some(more @ 1..) => format!(" and {more} more"),
        _ => String::new(),
    };
    (all > 0).then(|| format!("in it are {}{more}", who.join(", ")))
}

/// A process, by what it is called and does. Those of an outer pid namespace have the number 0.
fn in_words(pid: &str, cgroup: &Path) -> String {
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let state = of("stat").rsplit(") ").next().unwrap_or_default().chars().next();
    let state = if state == Some('D') { ", which waits for a device and cannot be ended" } else { "" };
    match of("comm").trim() {
        "" => format!("process {pid} in `{}`", cgroup.display()),
        name => format!("process {pid} ({name}{state})"),
    }
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Which limit on cgroups is reached (cgroup-v2.rst, `cgroup.max.depth` and `cgroup.max.descendants`).
fn too_many(path: &Path) -> Option<String> {
    let number = |file: PathBuf| std::fs::read_to_string(file).ok()?.trim().parse::<usize>().ok();
    path.ancestors().skip(1).enumerate().find_map(|(depth, level)| {
        let (deepest, most) = (level.join("cgroup.max.depth"), level.join("cgroup.max.descendants"));
        if number(deepest.clone()).is_some_and(|limit| depth >= limit) {
            return Some(format!("`{}` allows no cgroup as deep as that", deepest.display()));
        }
        let stat = std::fs::read_to_string(level.join("cgroup.stat")).ok()?;
        let there: usize =
            stat.lines().find_map(|line| line.strip_prefix("nr_descendants "))?.parse().ok()?;
        let limit = number(most.clone()).filter(|limit| there >= *limit)?;
        Some(format!("`{}` is {limit}, and {there} are there", most.display()))
    })
}

/// A cpuset without CPUs or memory nodes takes no process (cgroup-v1/cpusets.rst).
fn empty_cpuset(path: &Path) -> Option<String> {
    let directory = if path.is_dir() { path } else { path.parent()? };
    let is_empty =
        |file: &&str| std::fs::read_to_string(directory.join(file)).is_ok_and(|text| text.trim().is_empty());
    let file = ["cpuset.cpus", "cpuset.mems"].into_iter().find(is_empty)?;
    Some(format!("`{}/{file}` is empty: such a cgroup takes no process", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(name: &str) -> PathBuf {
        let top = std::env::temp_dir().join(format!("crun-cgroup-{name}-{}", std::process::id()));
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        top
    }

    #[test]
    fn who_is_below_is_not_in_the_way_of_controllers() {
        let top = play("beside");
        std::fs::write(top.join("a/cgroup.procs"), "1\n").unwrap();
        std::fs::write(top.join("a/b/cgroup.procs"), "2\n").unwrap();
        let file = top.join("a/cgroup.subtree_control");
        let hint = failed(Error::os(Code::Cgroup, "write", Errno::BUSY), &file).hint().unwrap().to_owned();
        assert!(hint.contains("process 1 ") && !hint.contains("process 2 "), "{hint}");
        std::fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn who_is_in_a_cgroup_or_below_it_is_named() {
        let top = play("holders");
        let own = std::process::id();
        std::fs::write(top.join("a/cgroup.procs"), "").unwrap();
        assert_eq!(holders(&top.join("a"), below), None);
        std::fs::write(top.join("a/b/cgroup.procs"), format!("{own}\n0\n{own}\n{own}\n{own}\n1\n")).unwrap();
        let said = holders(&top.join("a"), below).unwrap();
        assert!(said.starts_with(&format!("in it are process {own} (")), "{said}");
        assert!(said.contains("process 0 in `") && said.ends_with(" and 2 more"), "{said}");
        std::fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn a_limit_on_cgroups_is_named() {
        let top = play("limits");
        let write = |file: &str, text: &str| std::fs::write(top.join(file), text).unwrap();
        let wanted = top.join("a/b/c");
        write("cgroup.max.depth", "3\n");
        write("a/cgroup.max.descendants", "1\n");
        write("a/cgroup.stat", "nr_descendants 0\nnr_dying_descendants 5\n");
        assert_eq!(too_many(&wanted), None);
        write("a/cgroup.stat", "nr_descendants 1\n");
        assert!(too_many(&wanted).unwrap().ends_with("a/cgroup.max.descendants` is 1, and 1 are there"));
        write("cgroup.max.depth", "2\n");
        write("a/cgroup.stat", "nr_descendants 0\n");
        assert!(too_many(&wanted).unwrap().contains("cgroup.max.depth"));
        std::fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn an_empty_cpuset_is_named() {
        let top = play("cpuset");
        std::fs::write(top.join("a/cpuset.cpus"), "0\n").unwrap();
        std::fs::write(top.join("a/cpuset.mems"), "\n").unwrap();
        assert!(empty_cpuset(&top.join("a/cgroup.procs")).unwrap().contains("a/cpuset.mems"));
        std::fs::write(top.join("a/cpuset.mems"), "0\n").unwrap();
        assert_eq!(empty_cpuset(&top.join("a")), None);
        std::fs::remove_dir_all(top).unwrap();
    }
}
