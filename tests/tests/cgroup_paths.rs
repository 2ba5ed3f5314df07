//! Where a container's cgroup lies, and what is said when it cannot lie there. (The plain forms of the path are in
//! `cgroups.rs`.)

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, new_id, skipped};
use kit::{runtime, runtime_on_v2};
use serde_json::json;

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

fn at(path: &str) -> Bundle {
    sleeper().set("/linux/cgroupsPath", json!(path))
}

/// The root of the v2 tree that this runtime sees, from outside.
fn root(crun: &Crun) -> &Path {
    crun.view().unwrap().cgroup()
}

fn unified_directory(container: &Container) -> PathBuf {
    container.cgroups().into_iter().find(|(list, _)| list.is_empty()).unwrap().1
}

#[test]
fn a_path_that_is_too_long_is_an_error_that_leaves_nothing() {
    let crun = runtime_on_v2!();
    let name = new_id();
    for long in [vec!["deep"; 900].join("/"), "x".repeat(4200)] {
        let line = crun.run(&at(&format!("/{name}/{long}"))).error();
        assert!(
            line.starts_with(&format!("create the cgroup `/sys/fs/cgroup/{name}/"))
                && line.ends_with("File name too long"),
            "{line}"
        );
        assert!(!root(&crun).join(&name).exists());
    }
}

#[test]
fn a_name_that_the_kernel_does_not_take_is_an_error() {
    let crun = runtime_on_v2!();
    let line = crun.run(&at("/with\nnewline")).error();
    assert!(
        line.starts_with("create the cgroup `/sys/fs/cgroup/with") && line.ends_with("Invalid argument"),
        "{line}"
    );
}

#[test]
fn the_root_is_no_containers_cgroup() {
    let crun = runtime_on_v2!();
    for path in ["/", "..", "/a/.."] {
        crun.run(&at(path)).error_with(["linux.cgroupsPath: the root cgroup cannot be a container's"]);
    }
}

#[test]
fn no_path_at_all_and_an_empty_one_are_the_name_of_the_container() {
    for crun in [Crun::new(), Crun::on_v2()] {
        let crun = match crun {
            Ok(crun) => crun,
            Err(reason) => return skipped(reason),
        };
        for bundle in [sleeper().set("/linux/cgroupsPath", json!(null)), at("")] {
            let container = crun.start(&bundle);
            let own =
                container.cgroups().into_iter().any(|(_, directory)| directory.ends_with(container.id()));
            assert!(own, "{:?}", container.cgroups());
        }
    }
}

#[test]
fn parents_that_were_there_stay_and_those_that_were_made_go_when_the_start_fails() {
    let crun = runtime_on_v2!();
    let name = new_id();
    fs::create_dir(root(&crun).join(&name)).unwrap();
    let bundle = at(&format!("/{name}/made/for/it")).args(["/no/such/program"]);
    crun.run(&bundle).error_with(["not found"]);
    assert_eq!(
        fs::read_dir(root(&crun).join(&name)).unwrap().flatten().filter(|e| e.path().is_dir()).count(),
        0
    );
    fs::remove_dir(root(&crun).join(&name)).unwrap();
}

#[test]
fn a_cgroup_filesystem_that_cannot_be_written_to_is_an_error() {
    let crun = runtime_on_v2!();
    let crun = crun.after("mount -o remount,bind,ro /sys/fs/cgroup");
    for (bundle, name) in [(at("/some/where"), "some"), (sleeper(), "")] {
        let line = crun.run(&bundle).error();
        assert!(
            line.starts_with(&format!("create the cgroup `/sys/fs/cgroup/{name}"))
                && line.ends_with("Read-only file system"),
            "{line}"
        );
    }
}

#[test]
fn a_threaded_cgroup_takes_no_container_and_says_so() {
    let crun = runtime_on_v2!();
    let name = new_id();
    let threaded = root(&crun).join(&name).join("threaded");
    fs::create_dir_all(&threaded).unwrap();
    fs::write(threaded.join("cgroup.type"), "threaded").unwrap();
    let line = crun.run(&at(&format!("/{name}/threaded/web"))).error();
    assert!(
        line.contains(&format!("/sys/fs/cgroup/{name}/threaded/web/cgroup.procs"))
            && (line.ends_with("Operation not supported") || line.ends_with("not supported")),
        "{line}"
    );
    assert!(!threaded.join("web").exists());
    fs::remove_dir(&threaded).unwrap();
    fs::remove_dir(threaded.parent().unwrap()).unwrap();
}

#[test]
fn a_limit_without_its_controller_is_an_error_that_names_it() {
    let crun = runtime_on_v2!();
    let has = fs::read_to_string(root(&crun).join("cgroup.controllers")).unwrap();
    for (controller, limit) in [
        ("memory", json!({"memory": {"limit": 100_000_000}})),
        ("pids", json!({"pids": {"limit": 10}})),
        ("cpu", json!({"cpu": {"shares": 512}})),
        ("rdma", json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}})),
        ("frob", json!({"unified": {"frob.max": "1"}})),
    ] {
        if has.split_whitespace().any(|name| name == controller) {
            continue;
        }
        let line = crun.run(&sleeper().set("/linux/resources", limit)).error();
        assert!(line.contains(&format!("controller `{controller}` is not available under")), "{line}");
    }
}

#[test]
fn below_a_cgroup_with_processes_a_limit_waits_for_them_to_go() {
    let crun = runtime_on_v2!();
    if !fs::read_to_string(root(&crun).join("cgroup.controllers")).unwrap().contains("memory") {
        return skipped("there is no memory controller of cgroup v2 here");
    }
    let name = new_id();
    let first = crun.start(&at(&format!("/{name}")));
    let limited = at(&format!("/{name}/below")).set("/linux/resources/memory", json!({"limit": 50_000_000}));
    let line = crun.run(&limited).error();
    assert_eq!(
        line,
        format!("write `+memory` to `/sys/fs/cgroup/{name}/cgroup.subtree_control`: Device or resource busy")
    );
    // What is on its way out does not matter.
    let parent = root(&crun).join(format!("{name}-parent"));
    fs::create_dir(&parent).unwrap();
    let mut transient = std::process::Command::new("sleep").arg("0.3").spawn().unwrap();
    fs::write(parent.join("cgroup.procs"), transient.id().to_string()).unwrap();
    let reaper = std::thread::spawn(move || transient.wait().unwrap());
    let limited =
        at(&format!("/{name}-parent/below")).set("/linux/resources/memory", json!({"limit": 50_000_000}));
    let container = crun.start(&limited);
    reaper.join().unwrap();
    assert_eq!(fs::read_to_string(unified_directory(&container).join("memory.max")).unwrap(), "49999872\n");
    container.delete();
    first.delete();
    kit::crun::wait_for("the parent to be empty", || fs::remove_dir(&parent).ok());
}

#[test]
fn every_controller_that_a_container_may_use_is_handed_on_to_it() {
    let crun = runtime_on_v2!();
    let container = crun.start(&sleeper());
    let own = unified_directory(&container);
    let read = |directory: &Path| fs::read_to_string(directory.join("cgroup.controllers")).unwrap();
    for name in read(root(&crun))
        .split_whitespace()
        .filter(|name| ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids"].contains(name))
    {
        assert!(read(&own).split_whitespace().any(|own| own == name), "{name}");
    }
}

#[test]
fn removal_stays_below_the_cgroup_and_bears_company() {
    let crun = runtime_on_v2!();
    let name = new_id();
    let container = crun.start(&at(&format!("/{name}/one")));
    let own = unified_directory(&container);
    let beside = own.with_file_name("two");
    for directory in ["a", "a/b", "c"] {
        fs::create_dir(own.join(directory)).unwrap();
    }
    fs::create_dir(&beside).unwrap();
    // Somebody else removes the same at the same time.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (other, target) = (std::sync::Arc::clone(&stop), own.clone());
    let remover = std::thread::spawn(move || {
        while !other.load(std::sync::atomic::Ordering::Relaxed) {
            for directory in ["a/b", "c", "a", ""] {
                let _ = fs::remove_dir(target.join(directory));
            }
        }
    });
    assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    remover.join().unwrap();
    assert!(!own.exists() && beside.exists());
    container.deleted();
    fs::remove_dir(&beside).unwrap();
    fs::remove_dir(beside.parent().unwrap()).unwrap();
}

const FORCE_V1: &str = "/annotations/run.oci.systemd.force_cgroup_v1";

/// What an older systemd finds: the named hierarchy and nothing else, and its own cgroup as the root of it.
fn shows_named_hierarchy(crun: &Crun) {
    let script = "ls /sys/fs/cgroup; grep ' /sys/fs/cgroup' /proc/self/mounts | cut -d' ' -f2,3; \
        grep name=systemd: /proc/self/cgroup | cut -d: -f2,3; mkdir /sys/fs/cgroup/systemd/init.scope && \
        echo 1 >/sys/fs/cgroup/systemd/init.scope/cgroup.procs && grep -x 1 /sys/fs/cgroup/systemd/init.scope/cgroup.procs; echo ready; sleep 99";
    let bundle = Bundle::new().set(FORCE_V1, json!("/sys/fs/cgroup")).sh(script);
    let container = crun.start(&bundle);
    container.wait_output("ready");
    let text = container.stdout();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "systemd", "{text}");
    assert_eq!(lines[1..3], ["/sys/fs/cgroup tmpfs", "/sys/fs/cgroup/systemd cgroup"], "{text}");
    assert_eq!(lines[3..], ["name=systemd,/".replace(',', ":").as_str(), "1", "ready"], "{text}");
    let seen = crun.view().map_or_else(PathBuf::new, |view| format!("/proc/{}/root", view.init()).into());
    let named = PathBuf::from(format!("{}/sys/fs/cgroup/systemd/{}", seen.display(), container.id()));
    assert!(named.join("init.scope").exists());
    let text = container.cmd(["exec", "ID", "cat", "/proc/self/cgroup"]).ok();
    assert!(text.contains(":name=systemd:/\n"), "{text}");
    container.delete();
    assert!(!named.exists());
}

#[test]
fn an_older_systemd_gets_the_named_hierarchy_of_version_1() {
    let crun = runtime!();
    if !Path::new("/sys/fs/cgroup/systemd/cgroup.procs").exists() {
        return skipped("there is no named hierarchy of cgroup v1 here");
    }
    shows_named_hierarchy(&crun);
}

#[test]
fn beside_version_2_an_older_systemd_gets_it_where_the_operator_has_mounted_it() {
    let crun = runtime_on_v2!();
    crun.run(&Bundle::new().set(FORCE_V1, json!("/sys/fs/cgroup")))
        .error_with(["force_cgroup_v1", "no cgroup v1 mount on `/sys/fs/cgroup/systemd`"]);
    let mount = "mkdir /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd,xattr cgroup /sys/fs/cgroup/systemd";
    let mounted = crun.view().unwrap().command("sh").args(["-c", mount]).output().unwrap();
    if !mounted.status.success() {
        return skipped("the named hierarchy of cgroup v1 cannot be mounted here");
    }
    shows_named_hierarchy(&crun);
    // Limits go where they went.
    let files = json!({"unified": {"cgroup.max.depth": "3"}});
    let bundle = Bundle::new().set(FORCE_V1, json!("/run/cg")).set("/linux/resources", files);
    let text = crun.run(&bundle.sh("cat /sys/fs/cgroup/cgroup.max.depth; ls /run/cg")).ok();
    assert_eq!(text, "3\nsystemd\n");
}

#[test]
fn what_an_older_systemd_cannot_get_is_refused() {
    let crun = runtime!();
    let bundle = || sleeper().set(FORCE_V1, json!("/sys/fs/cgroup"));
    crun.run(&bundle().namespace("cgroup", None)).error_with(["force_cgroup_v1: needs a cgroup namespace"]);
    let disabled = crun.clone().with("--cgroup-manager=disabled");
    disabled.run(&bundle().unset("/linux/resources")).error_with(["force_cgroup_v1", "there is none"]);
    for path in ["relative", "/", "/.."] {
        let line = crun.run(&sleeper().set(FORCE_V1, json!(path))).error();
        assert!(
            line.contains("no path to mount something at") || line.contains("no cgroup v1 mount"),
            "{line}"
        );
    }
}
