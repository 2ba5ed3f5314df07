//! Which ids a container has: mapped by a user without privileges, by what `/etc/subuid` gives to it, and by root.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::chown;
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
        "exec setpriv --reuid {USER} --regid {USER} --clear-groups {} \"$@\"",
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
