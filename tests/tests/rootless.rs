//! An ordinary user runs containers, with no help but that of `newuidmap(1)` and `newgidmap(1)`.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::crun::{Crun, skipped};
use kit::runtime_of_user;
use kit::user::{SUBIDS, UID};

fn bundle() -> Bundle {
    Bundle::new().of_user()
}

fn sleeper() -> Bundle {
    bundle().sh("echo up; sleep 99; true")
}

/// Without a right to a cgroup, and with one.
fn everywhere() -> Vec<Crun> {
    let all = [Crun::new().and_then(Crun::as_user), Crun::as_user_with_cgroup()];
    all.into_iter().filter_map(|crun| crun.map_err(skipped).ok()).collect()
}

#[test]
fn a_container_lives_through_its_whole_life() {
    for crun in everywhere() {
        let container = crun.create(&sleeper());
        assert_eq!(container.status(), "created");
        container.start();
        container.wait_output("up");
        assert_eq!(container.status(), "running");
        let uid = fs::read_to_string(container.proc().join("status")).unwrap();
        assert!(uid.contains(&format!("\nUid:\t{UID}\t{UID}\t")), "{uid}");
        assert_eq!(container.cmd(["exec", "ID", "id", "-u"]).ok(), "0\n");
        assert_eq!(container.cmd(["exec", "ID", "sh", "-c", "exit 7"]).code, 7);
        container.kill("TERM");
        container.kill("KILL");
        container.wait();
        assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
        container.deleted();
        assert_eq!(crun.run(&bundle().sh("echo $$; ls /sys/fs/cgroup >/dev/null")).ok(), "1\n");
    }
}

#[test]
fn its_ids_are_the_users_own_and_the_subordinate_ones() {
    let crun = runtime_of_user!();
    let (first, count) = SUBIDS;
    let text = crun.run(&bundle().args(["cat", "/proc/self/uid_map", "/proc/self/gid_map"])).ok();
    let rows: Vec<Vec<u32>> = text
        .lines()
        .map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect())
        .collect();
    let map = [vec![0, UID, 1], vec![1, first, count]];
    assert_eq!(rows, [map.clone(), map].concat());
}
