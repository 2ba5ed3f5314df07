//! An ordinary user with a systemd of its own: containers in cgroups that this delegates, and in units of it.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped};
use kit::lane::{SUBIDS, UID};
use serde_json::json;

macro_rules! in_session {
    () => {
        match Crun::in_user_session() {
            Ok(crun) => crun,
            Err(reason) => return skipped(reason),
        }
    };
}

fn sleeper() -> Bundle {
    Bundle::new().owned_by(UID).sh("echo up; sleep 99; true")
}

fn started(crun: &Crun, bundle: &Bundle) -> Container {
    let container = crun.start(bundle);
    container.wait_output("up");
    container
}

fn own_cgroup(container: &Container) -> String {
    let all = container.cgroups();
    all.into_iter().find(|(list, _)| list.is_empty()).unwrap().1.display().to_string()
}

/// Everything that a cgroup is for.
fn assert_is_managed(container: &Container) {
    assert_eq!(container.cmd(["exec", "ID", "id", "-u"]).ok(), "0\n");
    assert_eq!(container.cmd(["pause", "ID"]).ok(), "");
    assert_eq!(container.status(), "paused");
    assert_eq!(container.cmd(["resume", "ID"]).ok(), "");
    assert!(container.cmd(["ps", "ID"]).ok().contains(&container.pid().to_string()));
    assert!(container.cmd(["events", "--stats", "ID"]).ok().contains("\"type\""));
    assert_eq!(container.cmd(["kill", "--all", "ID", "KILL"]).ok(), "");
    container.wait();
}

#[test]
fn a_container_has_a_cgroup_beside_that_of_the_runtime() {
    let container = started(&in_session!(), &sleeper());
    let cgroup = own_cgroup(&container);
    assert!(
        cgroup.contains(&format!("/user@{UID}.service/")) && cgroup.ends_with(container.id()),
        "{cgroup}"
    );
    assert_is_managed(&container);
}

#[test]
fn a_container_is_in_a_unit_of_the_users_systemd() {
    let crun = in_session!().with("--systemd-cgroup");
    let container = started(&crun, &sleeper());
    let cgroup = own_cgroup(&container);
    let scope = format!("crun-{}.scope", container.id());
    assert!(cgroup.contains(&format!("/user@{UID}.service/")) && cgroup.contains(&scope), "{cgroup}");
    assert_is_managed(&container);
}

/// The process is in the unit before it belongs to somebody else than the user.
#[test]
fn a_container_whose_root_is_a_subordinate_id_is_in_a_unit_too() {
    let crun = in_session!().with("--systemd-cgroup");
    let map = json!([{"containerID": 0, "hostID": SUBIDS.0, "size": 1000}]);
    let bundle = sleeper()
        .namespace("user", Some(""))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    let container = started(&crun, &bundle);
    assert!(own_cgroup(&container).contains(".scope"));
    assert_is_managed(&container);
}

#[test]
fn limits_are_those_that_the_configuration_and_update_give() {
    for crun in [in_session!(), in_session!().with("--systemd-cgroup")] {
        if kit::lane::current() == Some(kit::lane::Lane::Systemd) {
            return skipped("no controllers here");
        }
        let bundle = sleeper().set("/linux/resources/pids", json!({"limit": 33}));
        let container = started(&crun, &bundle);
        let limit = || {
            let path = container.cgroup("pids").expect("the pids controller");
            let at = |path: &std::path::Path| std::fs::read_to_string(path.join("pids.max")).unwrap();
            let (own, above) = (at(&path), at(path.parent().unwrap()));
            // With systemd the limit is that of the unit.
            if own == "max\n" { above } else { own }
        };
        assert_eq!(limit(), "33\n");
        assert_eq!(container.cmd(["update", "--pids-limit", "44", "ID"]).ok(), "");
        assert_eq!(limit(), "44\n");
        container.delete();
    }
}
