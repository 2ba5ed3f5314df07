//! Cgroups that are given to their container, and those that are not.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::new_id;
use kit::{runtime, runtime_on_v2};
use serde_json::{Value, json};

const ANNOTATION: &str = "/annotations/run.oci.delegate-cgroup";

/// With the cgroup filesystem mounted with these options.
fn mounted(bundle: Bundle, options: Value) -> Bundle {
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": options}));
    })
}

fn writable(bundle: Bundle) -> Bundle {
    mounted(bundle, json!(["nosuid", "noexec", "nodev"]))
}

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

/// The directory of its first process in the v2 tree.
fn directory(container: &Container) -> PathBuf {
    container.cgroups().into_iter().find(|(list, _)| list.is_empty()).unwrap().1
}

fn owner(path: &Path) -> u32 {
    fs::metadata(path).unwrap().uid()
}

/// The files of a cgroup that belong to this user.
fn files_of(directory: &Path, uid: u32) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<_> = files
        .filter(|file| file.file_type().unwrap().is_file() && owner(&file.path()) == uid)
        .map(|file| file.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The files that go with a cgroup (`/sys/kernel/cgroup/delegate`), as far as they are in this one.
fn delegated_files(directory: &Path) -> Vec<String> {
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    let mut names: Vec<_> =
        list.lines().filter(|name| directory.join(name).exists()).map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn a_container_of_a_user_namespace_owns_a_cgroup_that_it_may_write_to_but_not_its_limits() {
    let crun = runtime_on_v2!();
    let container = crun.start(&writable(sleeper()).in_user_namespace());
    let own = directory(&container);
    assert_eq!(owner(&own), 100_000);
    assert_eq!(files_of(&own, 100_000), delegated_files(&own));
    let text = container
        .cmd(["exec", "ID", "sh", "-c", "mkdir /sys/fs/cgroup/mine && ls -nd /sys/fs/cgroup/mine && echo $$ >/sys/fs/cgroup/mine/cgroup.procs && grep ^0: /proc/self/cgroup"])
        .ok();
    assert!(text.ends_with("0::/mine\n"), "{text}");
    let output = container.cmd(["exec", "ID", "sh", "-c", "echo 1 >/sys/fs/cgroup/cgroup.max.depth"]);
    assert!(output.code != 0 && output.stderr.contains("Permission denied"), "{output}");
}

#[test]
fn the_owner_is_the_user_of_the_process() {
    let crun = runtime_on_v2!();
    let bundle = writable(sleeper()).in_user_namespace().set("/process/user/uid", json!(7));
    assert_eq!(owner(&directory(&crun.start(&bundle))), 100_007);
}

#[test]
fn in_a_user_namespace_that_is_joined_too() {
    let crun = runtime_on_v2!();
    let first = crun.start(&sleeper().in_user_namespace());
    let path = format!("/proc/{}/ns/user", first.pid());
    let bundle = writable(sleeper()).in_user_namespace().namespace("user", Some(&path));
    let bundle = bundle.unset("/linux/uidMappings").unset("/linux/gidMappings");
    let second = crun.start(&bundle);
    assert_eq!((owner(&directory(&first)), owner(&directory(&second))), (0, 100_000));
}

#[test]
fn a_cgroup_that_the_container_cannot_write_to_stays_the_hosts() {
    let crun = runtime_on_v2!();
    let read_only = mounted(sleeper(), json!(["ro", "nosuid"]));
    let not_mounted = sleeper().edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    });
    let without_namespace = writable(sleeper()).namespace("cgroup", None);
    for bundle in [read_only, not_mounted, without_namespace] {
        let container = crun.start(&bundle.in_user_namespace());
        let own = directory(&container);
        assert_eq!((owner(&own), files_of(&own, 100_000).len()), (0, 0));
    }
    let container = crun.start(&writable(sleeper()).set("/process/user/uid", json!(7)));
    assert_eq!(owner(&directory(&container)), 0);
}

#[test]
fn beside_version_1_hierarchies_nothing_is_given() {
    let crun = runtime!();
    if fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok() {
        return kit::crun::skipped("there are no hierarchies of cgroup v1 here");
    }
    let container = crun.start(&writable(sleeper()).in_user_namespace());
    for (list, directory) in container.cgroups() {
        assert_eq!(owner(&directory), 0, "{list}");
    }
}

#[test]
fn the_cgroup_asked_for_is_below_the_containers_and_its_own() {
    let crun = runtime_on_v2!();
    for (bundle, uid) in [(writable(sleeper()), 0), (writable(sleeper()).in_user_namespace(), 100_000)] {
        for create in [true, false] {
            let bundle = bundle.clone().set(ANNOTATION, json!("payload/inner"));
            let container = if create { crun.create(&bundle) } else { crun.start(&bundle) };
            let own = directory(&container);
            assert!(own.ends_with(format!("{}/payload/inner", container.id())), "{}", own.display());
            if create {
                container.start();
            }
            assert_eq!(directory(&container), own);
            assert_eq!(owner(&own), uid);
            if uid != 0 {
                assert_eq!(files_of(&own, uid), delegated_files(&own));
                assert_eq!(fs::metadata(&own).unwrap().gid(), uid);
            }
            let whole = own.ancestors().nth(2).unwrap();
            assert_eq!((owner(whole), owner(own.parent().unwrap())), (0, 0));
            let read = |dir: &Path, name: &str| fs::read_to_string(dir.join(name)).unwrap();
            // What the container's cgroup has, that below has too.
            assert_eq!(read(whole, "cgroup.controllers"), read(&own, "cgroup.controllers"));
            assert_eq!(read(whole, "cgroup.procs"), "");
            assert_eq!(container.cmd(["exec", "ID", "true"]).ok(), "");
            container.delete();
            assert!(!whole.exists());
        }
    }
}

#[test]
fn its_cgroup_namespace_shows_the_containers_cgroup_as_the_root() {
    let crun = runtime_on_v2!();
    let script = "grep ^0: /proc/self/cgroup; ls -d /sys/fs/cgroup/payload";
    let bundle = writable(Bundle::new()).set(ANNOTATION, json!("payload")).sh(script);
    assert_eq!(crun.run(&bundle).ok(), "0::/payload\n/sys/fs/cgroup/payload\n");
}

#[test]
fn a_cgroup_that_is_not_below_the_containers_cannot_be_asked_for() {
    let crun = runtime_on_v2!();
    for path in ["..", "../x", "a/../../b", "/", "."] {
        let line = crun.run(&sleeper().set(ANNOTATION, json!(path))).error();
        assert!(
            line.ends_with(&format!(
                "annotations.run.oci.delegate-cgroup: `{path}` is no cgroup below the container's"
            )),
            "{line}"
        );
    }
    let disabled = crun.clone().with("--cgroup-manager=disabled");
    let bundle = sleeper().unset("/linux/resources").set(ANNOTATION, json!("payload"));
    disabled.run(&bundle).error_with(["run.oci.delegate-cgroup", "there is none"]);
}

#[test]
fn version_1_has_nothing_to_be_given() {
    let crun = runtime!();
    if fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok() {
        return kit::crun::skipped("there are no hierarchies of cgroup v1 here");
    }
    crun.run(&sleeper().set(ANNOTATION, json!("payload"))).error_with(["needs a cgroup v2 host"]);
}

#[test]
fn a_start_that_fails_afterwards_leaves_the_cgroup_of_others_as_it_was() {
    let crun = runtime_on_v2!();
    let path = format!("/{}", new_id());
    let bundle = || sleeper().set("/linux/cgroupsPath", json!(path));
    let first = crun.start(&bundle());
    let own = directory(&first);
    let second = bundle().set(ANNOTATION, json!("payload")).args(["/bin/nothing"]);
    crun.run(&second).error_with(["not found"]);
    // The file is found and cannot be executed: that shows after everything else is done.
    fs::write(second.rootfs().join("broken"), "no program").unwrap();
    std::process::Command::new("chmod").arg("755").arg(second.rootfs().join("broken")).status().unwrap();
    crun.run(&second.args(["/broken"])).error_with(["broken"]);
    assert!(own.exists() && !own.join("payload").exists());
    assert_eq!(first.status(), "running");
}

/// What a runtime leaves that is killed before it has written down what it has made.
#[test]
fn what_a_killed_runtime_has_left_is_removed_with_the_cgroup_below() {
    let crun = runtime_on_v2!();
    let container = crun.start(&writable(sleeper()).set(ANNOTATION, json!("payload")));
    let whole = directory(&container).parent().unwrap().to_owned();
    fs::remove_file(crun.state_dir().join(container.id()).join("status")).unwrap();
    assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "");
    assert!(!whole.exists());
    container.deleted();
}

/// Where systemd makes the cgroup, everything is in the one that it leaves to the container.
#[test]
fn in_a_unit_of_systemd_it_is_below_the_cgroup_that_systemd_leaves_alone() {
    if !Path::new("/run/systemd/private").exists() {
        return kit::crun::skipped("systemd is not the init of this machine");
    }
    let crun = runtime!().with("--systemd-cgroup");
    let named = |bundle: Bundle| {
        let id = new_id();
        (
            bundle.set("/linux/cgroupsPath", json!(format!("machine.slice:test:{id}"))),
            format!("test-{id}.scope"),
        )
    };
    let (bundle, unit) = named(writable(sleeper()).in_user_namespace());
    let container = crun.start(&bundle);
    let own = directory(&container);
    assert!(own.ends_with(format!("{unit}/container")), "{}", own.display());
    assert_eq!((owner(&own), owner(own.parent().unwrap())), (100_000, 0));
    let (bundle, unit) = named(writable(sleeper()).in_user_namespace().set(ANNOTATION, json!("payload")));
    let container = crun.start(&bundle);
    let own = directory(&container);
    assert!(own.ends_with(format!("{unit}/container/payload")), "{}", own.display());
    assert_eq!((owner(&own), owner(own.parent().unwrap())), (100_000, 0));
    assert_eq!(container.cmd(["exec", "ID", "true"]).ok(), "");
    container.delete();
    assert!(!own.exists());
}
