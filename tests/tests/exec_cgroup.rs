//! In which cgroup of a container a further process of it runs.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped};
use kit::{runtime, runtime_on_v2};
use serde_json::json;

/// A container that may change its cgroups.
fn container(crun: &Crun, script: &str) -> Container {
    let bundle = Bundle::new().edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        let options = json!(["nosuid", "noexec", "nodev"]);
        mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": options}));
    });
    let container = crun.start(&bundle.sh(&format!("{script}; echo up; sleep 99; true")));
    container.wait_output("up");
    container
}

/// The container's cgroups in all hierarchies.
fn directories(container: &Container) -> Vec<(String, PathBuf)> {
    let all = container.cgroups().into_iter();
    all.filter(|(_, directory)| directory.ends_with(container.id())).collect()
}

/// The directory of its first process in the v2 tree.
fn unified_directory(container: &Container) -> PathBuf {
    let found = container.cgroups().into_iter().find(|(list, _)| list.is_empty());
    found.expect("a cgroup of version 2").1
}

/// Makes a cgroup below the container's.
fn make(directory: &Path, name: &str) {
    let below = directory.join(name);
    fs::create_dir(&below).unwrap();
    // cpuset of version 1 takes no process before it has processors and memory.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if directory.join("cgroup.clone_children").exists()
            && let Ok(value) = fs::read_to_string(directory.join(file))
        {
            fs::write(below.join(file), value).unwrap();
        }
    }
}

/// Where a process is that `exec` runs with these options: the lines of `/proc/self/cgroup`.
fn place<const N: usize>(container: &Container, options: [&str; N]) -> String {
    let args = [&["exec"], options.as_slice(), &["ID", "cat", "/proc/self/cgroup"]].concat();
    let args: Vec<_> = args.into_iter().map(|arg| if arg == "ID" { container.id() } else { arg }).collect();
    container.crun().cmd(args).ok()
}

#[test]
fn the_cgroup_asked_for_is_below_that_of_the_container() {
    let crun = runtime_on_v2!();
    let container = container(&crun, "true");
    let directory = unified_directory(&container);
    make(&directory, "sub");
    make(&directory.join("sub"), "leaf");
    for (asked, place_inside) in [("sub", "/sub"), ("/sub", "/sub"), ("sub/leaf/", "/sub/leaf"), ("/", "/")] {
        assert_eq!(unified(&place(&container, ["--cgroup", asked])), place_inside, "{asked}");
    }
    assert_eq!(unified(&place(&container, [])), "/");
}

#[test]
fn a_cgroup_that_is_not_there_or_not_the_containers_is_an_error() {
    let crun = runtime_on_v2!();
    let container = container(&crun, "true");
    let refused = |asked: &str| container.cmd(["exec", "--cgroup", asked, "ID", "true"]).error();
    let line = refused("no/such");
    assert!(
        line.contains(&format!("/sys/fs/cgroup/{}/no/such", container.id()))
            && line.ends_with("No such file or directory"),
        "{line}"
    );
    for asked in ["..", "../x", "a/../..", ""] {
        let line = refused(asked);
        assert!(line.ends_with(&format!("`{asked}` is no cgroup below the container's")), "{line}");
    }
    let line = refused("memory:x");
    assert!(line.contains("controller `memory` is not available"), "{line}");
}

#[test]
fn on_version_1_controllers_can_have_cgroups_of_their_own() {
    let crun = runtime!();
    let container = container(&crun, "true");
    let all = directories(&container);
    let legacy: Vec<_> = all.iter().filter(|(list, _)| !list.is_empty()).collect();
    if legacy.len() < 3 {
        return skipped("there are no hierarchies of cgroup v1 here");
    }
    for (_, directory) in &legacy {
        make(directory, "sub");
    }
    for (list, path) in place(&container, ["--cgroup", "sub"]).lines().filter_map(parts) {
        let is_limited = !list.is_empty() && !list.starts_with("name=");
        assert!(!is_limited || path == "/sub", "{list}: {path}");
    }
    let (first, second) = (&legacy[0].0, &legacy[1].0);
    let asked = format!("{first}:/sub");
    let text = place(&container, ["--cgroup", &asked, "--cgroup", &format!("{second}:/")]);
    for (list, path) in text.lines().filter_map(parts) {
        assert_eq!(path, if list == first { "/sub" } else { "/" }, "{list}");
    }
    let line = container.cmd(["exec", "--cgroup", "pids:no", "ID", "true"]).error();
    assert!(line.contains("/pids/") && line.ends_with("No such file or directory"), "{line}");
    for asked in ["pids:..", "frob:sub"] {
        let line = container.cmd(["exec", "--cgroup", asked, "ID", "true"]).error();
        assert!(line.contains("no cgroup below") || line.contains("controller `frob`"), "{line}");
    }
}

/// The path in the v2 tree.
fn unified(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap()
}

fn parts(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

/// What systemd does as the first process of a container: it leaves the container's cgroup for one below.
const LEAVES: &str = "for procs in $(find /sys/fs/cgroup -name cgroup.procs); do dir=${procs%/*}; \
    grep -q '^1$' $procs && mkdir $dir/init.scope && \
    for file in cpuset.cpus cpuset.mems; do [ -e $dir/cgroup.clone_children ] && [ -e $dir/$file ] && cat $dir/$file >$dir/init.scope/$file; done; \
    [ -d $dir/init.scope ] && echo 1 >$dir/init.scope/cgroup.procs; done";

#[test]
fn a_container_whose_first_process_has_gone_below_takes_others() {
    for crun in [Crun::new(), Crun::on_v2()] {
        let crun = match crun {
            Ok(crun) => crun,
            Err(reason) => return skipped(reason),
        };
        let container = container(&crun, LEAVES);
        let own = fs::read_to_string(container.proc().join("cgroup")).unwrap();
        assert!(own.contains("/init.scope\n"), "{own}");
        for (list, path) in place(&container, []).lines().filter_map(parts) {
            assert!(path == "/" || path == "/init.scope", "{list}: {path}");
        }
        container.delete();
    }
}

/// Hands on what there is to be handed on.
const HANDS_ON: &str = "cd /sys/fs/cgroup; mkdir init.scope; echo 1 >init.scope/cgroup.procs; \
    for name in $(cat cgroup.controllers); do echo +$name >cgroup.subtree_control; done; cd /";

#[test]
fn where_the_containers_cgroup_takes_no_process_another_joins_the_first_one() {
    let crun = runtime_on_v2!();
    let container = container(&crun, HANDS_ON);
    let directory = unified_directory(&container);
    let whole = directory.parent().unwrap();
    if fs::read_to_string(whole.join("cgroup.subtree_control")).unwrap().trim().is_empty() {
        return skipped("there is no controller of cgroup v2 here");
    }
    assert_eq!(unified(&place(&container, [])), "/init.scope");
    let line = container.cmd(["exec", "--cgroup", "/", "ID", "true"]).error();
    assert!(line.contains("cgroup.procs") && line.ends_with("Device or resource busy"), "{line}");
}

#[test]
fn where_the_first_process_takes_no_company_either_the_process_gets_a_cgroup_that_goes_with_the_container() {
    let crun = runtime_on_v2!();
    let container = container(&crun, HANDS_ON);
    let inits = unified_directory(&container);
    let whole = inits.parent().unwrap();
    if fs::read_to_string(whole.join("cgroup.subtree_control")).unwrap().trim().is_empty() {
        return skipped("there is no controller of cgroup v2 here");
    }
    // The first process goes where it is not looked for: out of the container's cgroup.
    let elsewhere = whole.with_file_name(format!("{}-elsewhere", container.id()));
    fs::create_dir(&elsewhere).unwrap();
    fs::write(
        elsewhere.join("cgroup.procs"),
        fs::read_to_string(inits.join("cgroup.procs")).unwrap().lines().next().unwrap(),
    )
    .unwrap();
    assert_eq!(unified(&place(&container, [])), "/crun-exec");
    assert_eq!(unified(&place(&container, [])), "/crun-exec");
    container.kill("KILL");
    container.wait();
    kit::crun::wait_for("the cgroup to be empty", || fs::remove_dir(&elsewhere).ok());
    container.delete();
    assert!(!whole.exists());
}
