//! `ps`: a container's processes, by number and as ps(1) shows them.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, wait_for};
use kit::{runtime, runtime_on_v2};

fn family() -> Bundle {
    Bundle::new().sh("sleep 97 & sleep 98 & echo up; wait")
}

fn started(crun: &Crun) -> Container {
    let container = crun.start(&family());
    container.wait_output("up");
    wait_for("the shell and its programs", || {
        let lines: Vec<_> = pids(&container).iter().map(|pid| cmdline(&container, *pid)).collect();
        let programs = lines.iter().filter(|line| line.starts_with("sleep\0")).count();
        (lines.len() == 3 && programs == 2).then_some(())
    });
    container
}

/// The command line of a process by its pid in the caller's namespace; within an exec there is none.
fn cmdline(container: &Container, pid: u64) -> String {
    let path = container.proc().with_file_name(pid.to_string()).join("cmdline");
    fs::read_to_string(path).unwrap_or_default()
}

fn pids(container: &Container) -> Vec<u64> {
    let list = container.cmd(["ps", "--format", "json", "ID"]).json();
    list.as_array().unwrap().iter().map(|pid| pid.as_u64().unwrap()).collect()
}

#[test]
fn every_process_is_listed_as_a_table_and_as_json() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = started(&crun);
        let pids = pids(&container);
        assert!(pids.contains(&container.pid().into()), "{layout}: {pids:?}");
        let table: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
        for args in [&["ps", "ID"][..], &["ps", "-f", "table", "ID"], &["ps", "--format=table", "ID"]] {
            let args: Vec<_> =
                args.iter().map(|arg| if *arg == "ID" { container.id() } else { arg }).collect();
            assert_eq!(crun.cmd(&args).ok(), format!("PID\n{table}"), "{layout}: {args:?}");
        }
        let lines: Vec<_> = pids.iter().map(|pid| format!("  {pid}")).collect();
        let json = container.cmd(["ps", "-f", "json", "ID"]).ok();
        assert_eq!(json, format!("[\n{}\n]\n", lines.join(",\n")), "{layout}");
    }
}

#[test]
fn pids_are_those_of_the_callers_namespace() {
    let crun = runtime_on_v2!();
    let container = started(&crun);
    for pid in pids(&container) {
        let cmdline = cmdline(&container, pid);
        assert!(cmdline.starts_with("sleep\0") || cmdline.starts_with("sh\0"), "{pid}: {cmdline:?}");
    }
}

#[test]
fn processes_in_cgroups_below_are_listed() {
    let crun = runtime!();
    let container = started(&crun);
    let moved = *pids(&container).last().unwrap();
    for (_, cgroup) in container.cgroups().iter().filter(|(_, dir)| dir.ends_with(container.id())) {
        let below = cgroup.join("a/b");
        fs::create_dir_all(&below).unwrap();
        // A cpuset without processors takes no process.
        let _ = fs::write(below.join("cgroup.procs"), moved.to_string());
    }
    assert!(pids(&container).contains(&moved));
}

#[test]
fn a_created_container_has_a_process_and_a_stopped_one_none() {
    let crun = runtime!();
    let container = crun.create(&family());
    assert_eq!(pids(&container), [u64::from(container.pid())]);
    container.kill("KILL");
    container.wait();
    assert_eq!(container.cmd(["ps", "ID"]).ok(), "PID\n");
    assert_eq!(container.cmd(["ps", "-f", "json", "ID"]).ok(), "[\n]\n");
}

#[test]
fn options_behind_the_container_are_those_of_ps() {
    let crun = runtime!();
    let container = started(&crun);
    let pids = pids(&container);
    let full = container.cmd(["ps", "ID", "-ef"]).ok();
    let mut lines = full.lines();
    assert!(lines.next().unwrap().starts_with("UID "), "{full}");
    assert_eq!(lines.clone().count(), 3, "{full}");
    for line in lines {
        let pid = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(pids.contains(&pid), "{full}");
    }
    let chosen = container.cmd(["ps", "ID", "-e", "-o", "pid,args"]).ok();
    assert!(chosen.contains(" sleep 97\n") && chosen.contains(" sleep 98\n"), "{chosen}");
    assert_eq!(container.cmd(["ps", "-f", "json", "ID", "-ef"]).json().as_array().unwrap().len(), 3);
}

#[test]
fn what_ps_cannot_do_is_told_in_one_line() {
    let crun = runtime!();
    let container = started(&crun);
    let error = container.cmd(["ps", "ID", "-e", "-o", "comm"]).error();
    assert_eq!(error, "couldn't find PID field in ps output");
    container.cmd(["ps", "ID", "--nonsense"]).error_with(["`ps`: exit status: 1", "unknown"]);
    assert_eq!(container.cmd(["ps", "-f", "xml", "ID"]).error(), "invalid format `xml`");
    crun.cmd(["ps", "nobody"]).error_with(["container `nobody` does not exist"]);
}
