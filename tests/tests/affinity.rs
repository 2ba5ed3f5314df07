//! On which CPUs a container's processes run: the cpuset, whatever the caller is pinned to, and `process.execCPUAffinity`
//! for those that are executed in it.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, skipped};
use kit::runtime;
use serde_json::{Value, json};

const STATUS: &str = "/proc/self/status";

/// A line of /proc/PID/status.
fn line(status: &str, name: &str) -> String {
    let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    found.unwrap_or_else(|| panic!("no {name} in {status}")).to_owned()
}

fn cpus(status: &str) -> String {
    line(status, "Cpus_allowed_list")
}

/// The CPUs that this test may run on, if CPUs 0 and 1 are among them; says so if not.
fn own_cpus() -> Option<String> {
    let own = cpus(&fs::read_to_string(STATUS).unwrap());
    let has_two = own.starts_with("0-") || own.starts_with("0,1");
    if !has_two {
        skipped(format!("it takes the CPUs 0 and 1, and here is {own}"));
    }
    has_two.then_some(own)
}

/// The runtime called by somebody who is pinned to CPU 0.
fn pinned(crun: &Crun) -> Crun {
    crun.clone().after("taskset -pc 0 $$ >/dev/null")
}

fn sleeper(bundle: Bundle) -> Bundle {
    bundle.args(["sleep", "99"])
}

/// Whether containers have a cpuset here; says so if not.
fn has_cpuset(crun: &Crun) -> bool {
    let found = crun.start(&sleeper(Bundle::new())).cgroup("cpuset").is_some();
    if !found {
        skipped("there is no cpuset controller here");
    }
    found
}

/// The CPUs of a program executed in the container as its configuration says.
fn by_exec(container: &Container) -> String {
    cpus(&container.cmd(["exec", "ID", "cat", STATUS]).ok())
}

/// A process object with these members more.
fn process_file(more: Value) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut process = json!({"args": ["/bin/cat", STATUS], "cwd": "/"});
    process.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fs::write(&file, process.to_string()).unwrap();
    file
}

/// Executes a process object with this affinity in the container.
fn exec(container: &Container, affinity: Value) -> kit::running::Output {
    let file = process_file(json!({"execCPUAffinity": affinity}));
    container.cmd(["exec", "--process", file.path().to_str().unwrap(), "ID"])
}

/// Each runtime that these tests can be run with: on this machine as it is, and on pure cgroup v2.
fn runtimes() -> Vec<Crun> {
    let found = [Crun::new(), Crun::on_v2()].into_iter();
    found.filter_map(|crun| crun.map_err(skipped).ok()).collect()
}

#[test]
fn a_caller_that_is_pinned_does_not_pin_the_container() {
    let Some(own) = own_cpus() else { return };
    for crun in runtimes() {
        let crun = pinned(&crun);
        assert_eq!(cpus(&crun.run(&Bundle::new().args(["cat", STATUS])).ok()), own);
        let bundle = Bundle::new().in_user_namespace();
        assert_eq!(cpus(&crun.run(&bundle.args(["cat", STATUS])).ok()), own, "in a user namespace");
        let container = crun.create(&sleeper(Bundle::new()));
        assert_eq!(cpus(&fs::read_to_string(container.proc().join("status")).unwrap()), own);
        assert_eq!(by_exec(&container), own);
    }
}

#[test]
fn the_cpuset_decides_where_a_container_runs_and_has_its_memory() {
    let crun = runtime!();
    let Some(own) = own_cpus() else { return };
    if !has_cpuset(&crun) {
        return;
    }
    for crun in [crun.clone(), pinned(&crun)] {
        let bundle = Bundle::new().set("/linux/resources/cpu", json!({"cpus": "1", "mems": "0"}));
        let output = crun.run(&bundle.clone().sh("nproc; cat /proc/self/status")).ok();
        let (count, status) = output.split_once('\n').unwrap();
        assert_eq!((count, cpus(status).as_str()), ("1", "1"));
        assert_eq!(line(status, "Mems_allowed_list"), "0");
        let container = crun.start(&sleeper(bundle));
        assert_eq!(by_exec(&container), "1");
        let bundle = Bundle::new().set("/linux/resources/cpu", json!({"cpus": own}));
        assert_eq!(cpus(&crun.run(&bundle.args(["cat", STATUS])).ok()), own);
    }
}

#[test]
fn what_is_executed_ends_up_on_the_final_cpus() {
    if own_cpus().is_none() {
        return;
    }
    for crun in runtimes() {
        let affinity = json!({"initial": "0", "final": "1"});
        let container = crun.start(&sleeper(Bundle::new().set("/process/execCPUAffinity", affinity)));
        assert_eq!(by_exec(&container), "1");
        assert_eq!(cpus(&exec(&container, json!({"final": "0"})).ok()), "0");
        assert_eq!(cpus(&exec(&container, json!({"initial": "1", "final": "0-1"})).ok()), "0-1");
    }
}

#[test]
fn the_initial_cpus_stay_where_no_final_ones_are_given() {
    if own_cpus().is_none() {
        return;
    }
    for crun in runtimes() {
        let container = crun.start(&sleeper(Bundle::new()));
        assert_eq!(cpus(&exec(&container, json!({"initial": "1"})).ok()), "1");
        assert_eq!(cpus(&exec(&container, json!({"initial": " 1 , 1-1 ,"})).ok()), "1");
    }
}

#[test]
fn the_initial_cpus_need_not_be_in_the_containers_cpuset() {
    let crun = runtime!();
    if own_cpus().is_none() || !has_cpuset(&crun) {
        return;
    }
    let container = crun.start(&sleeper(Bundle::new().set("/linux/resources/cpu", json!({"cpus": "1"}))));
    assert_eq!(cpus(&exec(&container, json!({"initial": "0", "final": "1"})).ok()), "1");
    assert_eq!(cpus(&exec(&container, json!({"initial": "0"})).ok()), "1");
    exec(&container, json!({"initial": "0", "final": "0"})).error_with(["process.execCPUAffinity.final"]);
}

#[test]
fn a_process_with_initial_cpus_is_in_the_containers_cgroup_all_the_same() {
    if own_cpus().is_none() {
        return;
    }
    for crun in runtimes() {
        let affinity = json!({"initial": "0", "final": "1"});
        let container = crun.start(&sleeper(Bundle::new().set("/process/execCPUAffinity", affinity)));
        let inside = container.cmd(["exec", "ID", "cat", "/proc/self/cgroup"]).ok();
        assert_eq!(inside, container.cmd(["exec", "ID", "cat", "/proc/1/cgroup"]).ok());
    }
}

#[test]
fn the_affinity_of_the_configuration_holds_for_a_process_object_without_one() {
    if own_cpus().is_none() {
        return;
    }
    let crun = runtime!();
    let affinity = json!({"final": "1"});
    let container = crun.start(&sleeper(Bundle::new().set("/process/execCPUAffinity", affinity)));
    let file = process_file(json!({}));
    let status = container.cmd(["exec", "--process", file.path().to_str().unwrap(), "ID"]).ok();
    assert_eq!(cpus(&status), "1");
}

#[test]
fn an_empty_affinity_is_none() {
    let Some(own) = own_cpus() else { return };
    let crun = runtime!();
    let container = pinned(&crun).start(&sleeper(Bundle::new()));
    assert_eq!(cpus(&exec(&container, json!({"initial": "", "final": ""})).ok()), own);
    assert_eq!(cpus(&exec(&container, json!({})).ok()), own);
}

#[test]
fn the_containers_own_process_runs_on_all_cpus_whatever_is_executed_later() {
    let Some(own) = own_cpus() else { return };
    let crun = runtime!();
    let bundle = Bundle::new().set("/process/execCPUAffinity", json!({"initial": "0", "final": "0"}));
    assert_eq!(cpus(&crun.run(&bundle.args(["cat", STATUS])).ok()), own);
}

#[test]
fn cpus_beyond_those_that_are_there_are_left_out() {
    if own_cpus().is_none() {
        return;
    }
    let crun = runtime!();
    let container = crun.start(&sleeper(Bundle::new()));
    assert_eq!(cpus(&exec(&container, json!({"final": "1,1024-5000"})).ok()), "1");
}

#[test]
fn cpus_of_which_none_is_there_are_an_error_that_names_them() {
    let crun = runtime!();
    let container = crun.start(&sleeper(Bundle::new()));
    for field in ["initial", "final"] {
        for list in ["4000", "4000-4002,5000"] {
            let error = exec(&container, json!({field: list})).error();
            let expected = format!(
                "process.execCPUAffinity.{field}: run on the CPUs `{list}` (are any of them in the cpuset?): Invalid \
                 argument"
            );
            assert_eq!(error, expected);
        }
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn a_list_with_a_mistake_is_refused_when_the_container_is_made_and_by_exec() {
    let crun = runtime!();
    let container = crun.start(&sleeper(Bundle::new()));
    for (list, words) in [("x", "is not a number"), ("1-0", "ends before it begins")] {
        exec(&container, json!({"final": list})).error_with(["process.execCPUAffinity.final", words]);
        let bundle = Bundle::new().set("/process/execCPUAffinity", json!({"initial": list}));
        crun.run(&sleeper(bundle)).error_with(["process.execCPUAffinity.initial", words]);
    }
}
