//! Descriptors: whatever the runtime has inherited or opened, the container's processes get the standard ones and what they
//! were promised, and no directory of the host is a way out (CVE-2024-21626, CVE-2016-9962).

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::runtime;
use serde_json::json;

/// What a shell does before it becomes the runtime: opens the host's root directory as each of 3 to 1000.
/// (The shell reads its script from 255.)
const MANY: &str =
    "ulimit -n 4096; for ((fd = 3; fd <= 1000; fd++)); do ((fd == 255)) || eval \"exec $fd</\"; done";

/// Lists the descriptors of the program that the container or exec starts.
const LIST: [&str; 3] = ["sh", "-c", "ls /proc/$$/fd; true"];

#[test]
fn none_of_a_thousand_inherited_descriptors_comes_along() {
    let crun = runtime!();
    for (rung, crun) in [("all calls", crun.clone()), ("no close_range", crun.without(["close_range"]))] {
        let crun = crun.after(MANY);
        assert_eq!(crun.run(&Bundle::new().args(LIST)).ok(), "0\n1\n2\n", "{rung}");
        let container = crun.start(&Bundle::new().args(["sleep", "99"]));
        assert_eq!(container.cmd(["exec", "ID", LIST[0], LIST[1], LIST[2]]).ok(), "0\n1\n2\n", "{rung}");
    }
}

#[test]
fn a_container_that_waits_for_its_start_holds_none_of_the_inherited_descriptors() {
    let crun = runtime!();
    for (rung, crun) in [("all calls", crun.clone()), ("no close_range", crun.without(["close_range"]))] {
        let container = crun.after(MANY).create(&Bundle::new());
        let held = fs::read_dir(container.proc().join("fd")).unwrap().flatten();
        let held: Vec<_> = held.map(|entry| fs::read_link(entry.path()).unwrap()).collect();
        assert!(held.len() <= 5, "{rung}: {held:?}");
        assert!(!held.iter().any(|file| file.is_dir()), "{rung}: {held:?}");
    }
}

#[test]
fn promised_descriptors_with_gaps_come_along_and_the_gaps_stay_gaps() {
    let crun = runtime!();
    let open = "exec 4</etc/hostname 6</etc/hostname 8</etc/hostname 9</";
    for (rung, crun) in [("all calls", crun.clone()), ("no close_range", crun.without(["close_range"]))] {
        let crun = crun.after(open);
        let output = crun.run_with(&Bundle::new().args(LIST), ["--preserve-fds", "5"]);
        assert_eq!(output.ok(), "0\n1\n2\n4\n6\n", "{rung}");
        let container = crun.start(&Bundle::new().args(["sleep", "99"]));
        let output = container.cmd(["exec", "--preserve-fds", "5", "ID", LIST[0], LIST[1], LIST[2]]);
        assert_eq!(output.ok(), "0\n1\n2\n4\n6\n", "{rung}");
    }
}

/// What the container's program has as its standard descriptors, on a shell's descriptor 9 that is a file.
fn standard(crun: &Crun, closed: &str) -> String {
    let script = "(for n in 0 1 2; do stat -L -c %t:%T /proc/$$/fd/$n; done) >&9; true";
    let told = tempfile::NamedTempFile::new().unwrap();
    let path = told.path().display();
    let crun = crun.clone().after(&format!("exec 9>>{path} {closed}"));
    let output = crun.run_with(&Bundle::new().sh(script), ["--preserve-fds", "7"]);
    assert_eq!(output.code, 0, "{closed}: {output}");
    fs::read_to_string(told.path()).unwrap()
}

#[test]
fn a_standard_descriptor_that_the_runtime_lacks_is_the_null_device_inside() {
    let crun = runtime!();
    for (closed, numbers) in
        [("0<&-", vec![0]), ("1>&-", vec![1]), ("2>&-", vec![2]), ("0<&- 1>&- 2>&-", vec![0, 1, 2])]
    {
        let told = standard(&crun, closed);
        for number in numbers {
            assert_eq!(told.lines().nth(number), Some("1:3"), "{closed}: {told}");
        }
    }
}

#[test]
fn a_standard_descriptor_that_exec_lacks_is_the_null_device_inside() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let told = tempfile::NamedTempFile::new().unwrap();
    let closed = crun.after(&format!("exec 9>>{} 0<&- 1>&- 2>&-", told.path().display()));
    let script = "(for n in 0 1 2; do stat -L -c %t:%T /proc/$$/fd/$n; done) >&9; true";
    let output = closed.cmd(["exec", "--preserve-fds", "7", container.id(), "sh", "-c", script]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(fs::read_to_string(told.path()).unwrap(), "1:3\n1:3\n1:3\n");
}

#[test]
fn a_directory_of_the_host_that_was_promised_is_no_working_directory() {
    let crun = runtime!().after("exec 3</ 4</etc");
    let words = ["working directory", "outside"];
    let users = [json!({"uid": 0, "gid": 0}), json!({"uid": 1000, "gid": 1000})];
    for (cwd, user) in ["/proc/self/fd/3", "/proc/self/fd/4/../tmp"].iter().zip(users) {
        let bundle = Bundle::new().args(["pwd"]).set("/process/cwd", json!(cwd)).set("/process/user", user);
        crun.run_with(&bundle, ["--preserve-fds", "2"]).error_with(words);
    }
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let inside = ["exec", "--preserve-fds", "2", "--cwd", "/proc/self/fd/3", "ID", "pwd"];
    container.cmd(inside).error_with(words);
}

#[test]
fn the_program_is_born_as_if_by_a_shell_whatever_the_runtime_has_inherited() {
    let odd = "trap '' HUP INT QUIT TERM PIPE CHLD USR1 USR2 TSTP TTIN TTOU ALRM; umask 0077; cd /tmp";
    let crun = runtime!().after(odd).env("LEAKED", "1");
    let look = "grep -E '^Sig(Blk|Ign|Cgt|Pnd)' /proc/self/status; umask; pwd; echo ${LEAKED-none}; \
                read pid name state parent group session rest </proc/self/stat; echo $((pid == group && pid == session))";
    let sets = ["SigPnd", "SigBlk", "SigIgn", "SigCgt"].map(|set| format!("{set}:\t{:016}\n", 0)).concat();
    let expected = format!("{sets}0022\n/\nnone\n1\n");
    assert_eq!(crun.run(&Bundle::new().sh(look)).ok(), expected);
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", look]).ok(), expected);
}
