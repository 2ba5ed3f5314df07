//! Which ids a container has: mapped by a user without privileges, by what `/etc/subuid` gives to it, and by root.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::runtime;
use serde_json::json;

const USER: u32 = 1000;

/// What the container says of its ids.
const IDS: &str =
    "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; cat /proc/self/setgroups";

/// The runtime run by an ordinary user named `alice`, in a place with these lines for its subordinate ids.
fn by_user(crun: &Crun, subuid: &str, subgid: &str) -> Crun {
    by_user_in_groups(crun, subuid, subgid, "--clear-groups")
}

/// The same, with the option of setpriv(1) for its supplementary groups.
fn by_user_in_groups(crun: &Crun, subuid: &str, subgid: &str, groups: &str) -> Crun {
    let work = crun.state_dir().parent().unwrap().to_owned();
    chown(&work, Some(USER), Some(USER)).unwrap();
    let program = work.join("crun");
    fs::copy(kit::crun::binary(), &program).unwrap();
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let files = [
        ("subuid", subuid.to_owned()),
        ("subgid", subgid.to_owned()),
        ("passwd", format!("alice:x:{USER}:{USER}::/:/bin/sh\n{passwd}")),
    ];
    let mut commands =
        "[ \"$INSIDE\" ] || INSIDE=1 exec unshare --mount --propagation private \"$0\" \"$@\"\n".to_owned();
    for (name, text) in files {
        let file = work.join(name);
        fs::write(&file, text).unwrap();
        commands.push_str(&format!("mount --bind {} /etc/{name}\n", file.display()));
    }
    commands.push_str(&format!(
        "exec setpriv --reuid {USER} --regid {USER} {groups} env PATH=\"${{CRUN_TEST_PATH:-$PATH}}\" {} \"$@\"",
        program.display()
    ));
    crun.clone().after(&commands)
}

/// A bundle of that user, of whose mounts none needs a group that is not mapped.
fn bundle() -> Bundle {
    let bundle = Bundle::new().edit(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev/pts");
    });
    give_to_user(bundle.dir());
    give_to_user(&bundle.rootfs());
    bundle
}

fn give_to_user(path: &Path) {
    chown(path, Some(USER), Some(USER)).unwrap();
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

#[test]
fn a_user_without_a_range_is_the_only_one_in_its_container() {
    let crun = by_user(&runtime!(), "", "");
    let text = crun.run(&bundle().sh(IDS)).ok();
    assert_eq!(lines(&text), ["0", "0", "0 1000 1", "0 1000 1", "deny"]);
}

#[test]
fn a_users_range_lies_around_the_id_that_its_process_has() {
    let crun = by_user(&runtime!(), "eve:1:1\nalice:200000:3000\nalice:7:7\n", "1000:300000:3000\n");
    let text = crun.run(&bundle().sh(IDS)).ok();
    let zero = ["0", "0", "0 1000 1", "1 200000 3000", "0 1000 1", "1 300000 3000", "allow"];
    assert_eq!(lines(&text), zero);
    let text = crun.run(&bundle().set("/process/user", json!({"uid": 5, "gid": 7})).sh(IDS)).ok();
    let users = ["5", "7", "0 200000 5", "5 1000 1", "6 200005 2995"];
    let groups = ["0 300000 7", "7 1000 1", "8 300007 2993", "allow"];
    assert_eq!(lines(&text), [users.as_slice(), groups.as_slice()].concat());
}

#[test]
fn a_users_container_lives_through_its_whole_life() {
    let crun = by_user(&runtime!(), "alice:200000:65536\n", "alice:300000:65536\n");
    let user = json!({"uid": 5, "gid": 7, "additionalGids": [3, 9]});
    let container = crun.create(&bundle().set("/process/user", user).sh("echo up; exec sleep 99"));
    assert_eq!(container.status(), "created");
    container.start();
    container.wait_output("up");
    let status = fs::read_to_string(container.proc().join("status")).unwrap();
    assert!(status.contains("\nUid:\t1000\t1000\t") && status.contains("\nGid:\t1000\t1000\t"), "{status}");
    assert!(status.contains("\nGroups:\t300003 300008"), "{status}");
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", "id -u; id -G"]).ok(), "5\n7 3 9\n");
    assert_eq!(container.cmd(["exec", "--user", "6:0", "ID", "sh", "-c", "id -u; echo $$"]).ok().len(), 4);
    container.cmd(["exec", "--user", "70000", "ID", "true"]).error_with(["process.user.uid: 70000"]);
    container.kill("KILL");
    container.wait();
    assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
    container.deleted();
}

#[test]
fn a_users_container_can_join_the_namespaces_of_another() {
    let crun = by_user(&runtime!(), "alice:200000:65536\n", "alice:300000:65536\n");
    let first = crun.start(&bundle().sh("echo up; exec sleep 99"));
    first.wait_output("up");
    let pid = first.state()["pid"].to_string();
    let mut second = bundle().sh("ps | grep -c 'sleep 9[9]'; id -u; ls /sys/class/net");
    for (kind, file) in [("user", "user"), ("pid", "pid"), ("network", "net"), ("ipc", "ipc")] {
        second = second.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")));
    }
    assert_eq!(crun.run(&second).ok(), "1\n0\nlo\n");
    let own_pids = bundle().sh("echo $$").namespace("user", Some(&format!("/proc/{pid}/ns/user")));
    assert_eq!(crun.run(&own_pids).ok(), "1\n");
}

#[test]
fn groups_that_cannot_be_set_are_refused_before_anything_is_made() {
    let crun = by_user(&runtime!(), "", "");
    let user = json!({"uid": 0, "gid": 0, "additionalGids": [0]});
    crun.run(&bundle().set("/process/user", user)).error_with([
        "process.user.additionalGids",
        "setgroups(2) is denied",
        "/etc/subgid",
    ]);
}

/// CVE-2014-8989: who is denied a file as a member of a group must not get it by leaving the group in a user namespace.
#[test]
fn a_group_cannot_be_left_in_a_container_of_a_user_without_ranges() {
    const GROUP: u32 = 4242;
    let crun = by_user_in_groups(&runtime!(), "", "", &format!("--groups {GROUP}"));
    let bundle = bundle().caps(["CAP_SETGID", "CAP_SETUID"]);
    let file = bundle.rootfs().join("etc/denied");
    fs::write(&file, "secret").unwrap();
    chown(&file, Some(0), Some(GROUP)).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o707)).unwrap();
    let text = crun.run(&bundle.sh("cat /etc/denied 2>&1; setpriv --clear-groups true 2>&1; id -G")).stdout;
    assert!(text.contains("Permission denied") && !text.contains("secret"), "{text}");
    assert!(text.trim().ends_with("0 65534"), "{text}");
}

#[test]
fn the_groups_of_the_caller_are_kept_where_that_is_asked_for() {
    for (name, value, expected) in [
        ("run.oci.keep_original_groups", "1", "Groups:\t77 78"),
        ("io.crun.keep_original_groups", "1", "Groups:\t77 78"),
        ("run.oci.keep_original_groups", "0", "Groups:\t \n"),
    ] {
        let crun = runtime!()
            .after(&format!("exec setpriv --groups 77,78 {} \"$@\"", kit::crun::binary().display()));
        let bundle = Bundle::new().set(&format!("/annotations/{name}"), json!(value));
        let container = crun.start(&bundle.sh("echo up; exec sleep 99"));
        container.wait_output("up");
        let status = fs::read_to_string(container.proc().join("status")).unwrap();
        assert!(status.contains(expected), "{name}={value}: {status}");
        let text = container.cmd(["exec", "ID", "grep", "Groups", "/proc/self/status"]).ok();
        assert_eq!(text.trim_end(), expected.trim_end(), "{name}={value}");
    }
}

/// Mappings that only a program with privileges can make.
fn wide() -> Bundle {
    let mapping = json!([
        {"containerID": 0, "hostID": USER, "size": 1}, {"containerID": 1, "hostID": 200_000, "size": 10}
    ]);
    bundle()
        .namespace("user", Some(""))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping)
        .args(["true"])
}

#[test]
fn a_program_that_is_missing_is_named_with_its_package() {
    let crun = by_user(&runtime!(), "alice:200000:10\n", "alice:200000:10\n");
    assert_eq!(crun.run(&wide()).ok(), "");
    crun.env("CRUN_TEST_PATH", "/nowhere").run(&wide()).error_with([
        "linux.gidMappings",
        "`newgidmap`, which is not in PATH",
        "uidmap",
    ]);
}

#[test]
fn a_program_without_its_privileges_is_said_to_have_none() {
    let crun = by_user(&runtime!(), "alice:200000:10\n", "alice:200000:10\n");
    let tools = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    for name in ["newuidmap", "newgidmap"] {
        fs::copy(format!("/usr/bin/{name}"), tools.path().join(name)).unwrap();
        fs::set_permissions(tools.path().join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let output = crun.clone().env("CRUN_TEST_PATH", tools.path().to_str().unwrap()).run(&wide());
    output.error_with(["linux.gidMappings", "newgidmap", "neither set-user-id root", "cap_setgid"]);
    let crun =
        by_user_in_groups(&crun, "alice:200000:10\n", "alice:200000:10\n", "--clear-groups --no-new-privs");
    crun.run(&wide()).error_with(["linux.gidMappings", "newgidmap", "no_new_privs"]);
}

#[test]
fn a_range_that_is_not_the_users_is_named() {
    let crun = by_user(&runtime!(), "alice:200000:5\n", "alice:200000:10\n");
    crun.run(&wide()).error_with([
        "linux.uidMappings[1]: the ids 200000-200009 are not among those that /etc/subuid gives to this user",
        "200000-200004",
    ]);
}

#[test]
fn as_many_ranges_as_the_kernel_takes_can_be_mapped() {
    let crun = runtime!();
    let ranges = |count: u32, first: u32| {
        let range = |id| json!({"containerID": id, "hostID": first + 2 * id, "size": 1});
        json!((0..count).map(range).collect::<Vec<_>>())
    };
    let bundle = |count, first| {
        let bundle = Bundle::new().namespace("user", Some(""));
        for path in [bundle.dir().to_owned(), bundle.rootfs()] {
            chown(path, Some(first), Some(first)).unwrap();
        }
        bundle.set("/linux/uidMappings", ranges(count, first)).set("/linux/gidMappings", ranges(count, first))
    };
    assert_eq!(crun.run(&bundle(340, 1).sh("wc -l </proc/self/uid_map; id -u")).ok(), "340\n0\n");
    crun.run(&bundle(341, 1))
        .error_with(["linux.uidMappings: 341 mappings, of which the kernel takes at most 340"]);
    // It takes them in one write of less than a page.
    crun.run(&bundle(340, 100_000)).error_with(["linux.uidMappings: 340 mappings, which take 4", " bytes"]);
}

#[test]
fn ranges_that_continue_each_other_are_one() {
    let crun = runtime!();
    let ranges = |count: u32| {
        let range = |id| json!({"containerID": id, "hostID": 100_000 + id, "size": 1});
        json!((0..count).map(range).collect::<Vec<_>>())
    };
    let bundle = Bundle::new().in_user_namespace();
    let bundle = bundle.set("/linux/uidMappings", ranges(500)).set("/linux/gidMappings", ranges(500));
    assert_eq!(crun.run(&bundle.sh("tr -s ' ' </proc/self/uid_map")).ok(), " 0 100000 500\n");
}

#[test]
fn root_without_mappings_keeps_all_ids_as_they_are() {
    let bundle = Bundle::new().namespace("user", Some("")).sh(IDS);
    assert_eq!(lines(&runtime!().run(&bundle).ok()), ["0", "0", "0 0 4294967295", "0 0 4294967295", "allow"]);
}

#[test]
fn a_users_container_has_clocks_with_offsets() {
    let crun = by_user(&runtime!(), "alice:200000:65536\n", "alice:300000:65536\n");
    let bundle =
        bundle().namespace("time", Some("")).set("/linux/timeOffsets", json!({"boottime": {"secs": 5000}}));
    let text = crun.run(&bundle.args(["cat", "/proc/self/timens_offsets"])).ok();
    assert!(text.contains("boottime") && text.contains(" 5000 "), "{text}");
}
