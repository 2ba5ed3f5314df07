//! System calls that the profile leaves to a seccomp agent: what the agent is told and when, and what becomes of a container
//! whose agent does not do its part.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use kit::bundle::Bundle;
use kit::crun::{Crun, wait_for};
use kit::seccomp_agent::{Agent, Answer, DeafAgent};
use kit::{runtime, runtime_on_v2};
use rustix::io::Errno;
use serde_json::{Value, json};

/// A profile that asks the agent at `path` about `calls`.
fn asking(calls: &[&str], path: &Path) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "who=\"me\"",
        "syscalls": [{"names": calls, "action": "SCMP_ACT_NOTIFY"}],
    })
}

fn bundle(calls: &[&str], path: &Path, script: &str) -> Bundle {
    let annotations = json!({"some": "thing/else"});
    Bundle::new().set("/linux/seccomp", asking(calls, path)).set("/annotations", annotations).sh(script)
}

/// Twice the same: filtered right before the exec, and filtered before that.
fn both_ways(bundle: &Bundle) -> [Bundle; 2] {
    [true, false].map(|late| bundle.clone().set("/process/noNewPrivileges", json!(late)))
}

/// The calls of a process on its way to its program, and the one that hands descriptors over.
const ON_THE_WAY: [&str; 14] = [
    "capset",
    "prctl",
    "getcwd",
    "chdir",
    "faccessat2",
    "newfstatat",
    "sendto",
    "sendmsg",
    "recvfrom",
    "recvmsg",
    "read",
    "rt_sigprocmask",
    "execve",
    "close",
];

#[test]
fn the_agent_decides_what_a_call_does() {
    let crun = runtime!();
    let agent = Agent::new(|call| match call.arguments[1] {
        0o001 => Answer::Return(0),
        0o002 => Answer::GoOn,
        _ => Answer::Fail(Errno::XDEV),
    });
    // chmod(path, mode)
    let script = "cd /dev/shm; umask 0; echo >x; for mode in 1 2 4; do chmod $mode x; stat -c %a x; done";
    for bundle in both_ways(&bundle(&["chmod", "fchmod"], &agent.path(), script)) {
        let output = crun.run(&bundle);
        drop(agent.told());
        assert_eq!(output.stdout, "666\n2\n2\n", "{output}");
        assert!(output.stderr.contains("Invalid cross-device link"), "{output}");
    }
}

#[test]
fn the_agent_is_told_the_state_of_the_process_and_nothing_else() {
    let crun = runtime!();
    let agent = Agent::permissive();
    for bundle in both_ways(&bundle(&["mkdir"], &agent.path(), "sleep 99")) {
        let container = crun.start(&bundle);
        let version = crun.cmd(["features"]).json()["ociVersionMax"].clone();
        let mut expected = json!({
            "ociVersion": version, "fds": ["seccompFd"], "pid": container.pid(), "metadata": "who=\"me\"",
            "state": {
                "ociVersion": version, "id": container.id(), "status": "creating", "pid": container.pid(),
                "bundle": bundle.dir(), "annotations": {"some": "thing/else"},
            },
        });
        assert_eq!(agent.told(), expected);
        let pid_file = bundle.dir().join("pid");
        let pid_option = format!("--pid-file={}", pid_file.display());
        assert_eq!(container.cmd(["exec", "--detach", &pid_option, "ID", "sleep", "99"]).ok(), "");
        let pid: u32 = fs::read_to_string(pid_file).unwrap().parse().unwrap();
        expected["pid"] = json!(pid);
        expected["state"]["pid"] = json!(pid);
        expected["state"]["status"] = json!("running");
        assert_eq!(agent.told(), expected);
        assert!(agent.knows_all());
    }
}

#[test]
fn a_created_container_has_its_listener_when_it_is_filtered() {
    let crun = runtime!();
    let agent = Agent::new(|_| Answer::Fail(Errno::DOM));
    let [late, early] = both_ways(&bundle(&["mkdir"], &agent.path(), "mkdir /dev/shm/x; sleep 99"));
    let created = crun.create(&late);
    assert!(agent.knows_all(), "it is not filtered yet");
    created.start();
    assert_eq!(agent.told()["state"]["status"], "creating");
    wait_for("the answer", || created.stderr().contains("argument out of domain").then_some(()));
    created.delete();
    let created = crun.create(&early);
    assert_eq!(agent.told()["pid"], created.pid());
    created.start();
    wait_for("the answer", || created.stderr().contains("argument out of domain").then_some(()));
}

#[test]
fn the_agent_of_the_annotation_and_that_of_the_caller_are_asked_too() {
    let crun = runtime!();
    let (annotated, given) = (Agent::permissive(), Agent::permissive());
    let bundle = bundle(&["mkdir"], &given.path(), "true").unset("/linux/seccomp/listenerPath");
    let of_caller = crun.clone().env("RUN_OCI_SECCOMP_RECEIVER", given.path().to_str().unwrap());
    assert_eq!(of_caller.run(&bundle).ok(), "");
    drop(given.told());
    let bundle = bundle.set("/annotations", json!({"run.oci.seccomp.receiver": annotated.path()}));
    assert_eq!(of_caller.run(&bundle).ok(), "");
    drop(annotated.told());
    assert!(given.knows_all());
}

#[test]
fn the_calls_on_the_way_to_the_program_may_be_left_to_the_agent_too() {
    let crun = runtime!();
    let agent = Agent::permissive();
    for bundle in both_ways(&bundle(&ON_THE_WAY, &agent.path(), "echo up; sleep 99; true")) {
        assert_eq!(crun.run(&bundle.clone().args(["true"])).ok(), "");
        let container = crun.create(&bundle);
        container.start();
        container.wait_output("up");
        assert_eq!(container.cmd(["exec", "ID", "echo", "in"]).ok(), "in\n");
    }
    let every_call = json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": agent.path()});
    for bundle in both_ways(&Bundle::new().set("/linux/seccomp", every_call).args(["true"])) {
        assert_eq!(crun.run(&bundle).ok(), "");
    }
    assert!(!agent.calls().is_empty());
}

#[test]
fn a_call_that_nobody_is_there_to_answer_is_missing() {
    let crun = runtime!();
    let agent = Agent::dropping();
    let output = crun.run(&bundle(&["mkdir"], &agent.path(), "mkdir /dev/shm/x"));
    assert!(output.stderr.contains("Function not implemented"), "{output}");
}

#[test]
fn an_agent_that_goes_away_with_the_listener_is_named_where_the_start_takes_a_call_of_its() {
    let crun = runtime!();
    let agent = Agent::dropping();
    let bundle = bundle(&["sendto", "execve"], &agent.path(), "true");
    crun.run(&bundle).error_with([
        "the container's process exited with status 1 before its program was started",
        "its seccomp agent answers for calls that take part in the start, and may be gone",
    ]);
}

#[test]
fn the_path_of_an_agent_may_be_longer_than_an_address_of_a_socket() {
    let crun = runtime!();
    let agent = Agent::new(|_| Answer::Fail(Errno::DOM));
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("x".repeat(200));
    std::os::unix::fs::symlink(agent.path().parent().unwrap(), &long).unwrap();
    let path = long.join(agent.path().file_name().unwrap());
    let output = crun.run(&bundle(&["mkdir"], &path, "mkdir /tmp/x 2>&1; true"));
    assert!(output.ok().contains("Numerical argument"));
}

#[test]
fn without_its_agent_a_container_is_not_made() {
    let crun = runtime!();
    let missing = Path::new("/nonexistent/agent");
    let bundle = bundle(&["mkdir"], missing, "true");
    let words = ["connect to the seccomp receiver `/nonexistent/agent`", "No such file or directory"];
    crun.run(&bundle).error_with(words);
    let container = crun.container(&bundle);
    container.cmd(["create", "--bundle", "BUNDLE", "ID"]).error_with(words);
    container.assert_nothing_left();
    let relative = bundle.set("/linux/seccomp/listenerPath", json!("agent"));
    crun.run(&relative).error_with(["linux.seccomp.listenerPath", "`agent` is not an absolute path"]);
}

#[test]
fn an_agent_that_accepts_nothing_is_waited_for_in_bounds() {
    let crun = runtime!();
    let agent = DeafAgent::default();
    crun.run(&bundle(&["mkdir"], &agent.path(), "true")).error_with(["it accepts no connection"]);
}

#[test]
fn an_agent_that_hangs_up_is_an_error() {
    let crun = runtime!();
    let agent = Agent::closing();
    for bundle in both_ways(&bundle(&["mkdir", "sendto", "execve"], &agent.path(), "true")) {
        let said = crun.run(&bundle).error();
        let refused =
            said.contains("hand the listener over to the seccomp receiver") && said.contains("Broken pipe");
        // It may hang up with the listener in its hands.
        assert!(refused || said.contains("its seccomp agent answers for calls"), "{said}");
    }
    let created = crun.create(&bundle(&["mkdir", "sendto", "execve"], &agent.path(), "true"));
    created.start();
    created.wait();
    assert_eq!(created.stderr(), "hand the listener over to the seccomp receiver: Broken pipe\n");
}

#[test]
fn an_agent_that_never_answers_is_waited_for_in_bounds() {
    let crun = runtime!();
    let agent = Agent::new(|_| Answer::Nothing);
    let [late, early] = both_ways(&bundle(&["execve", "capset"], &agent.path(), "true"));
    crun.run(&late).error_with(["does not answer for a call that takes part in the start"]);
    let container = crun.container(&early);
    let created = container.cmd(["create", "--bundle", "BUNDLE", "ID"]);
    created.error_with(["does not answer for a call that takes part in the start"]);
    container.assert_nothing_left();
    // Where nobody waits any more, the container can still be ended.
    let created = crun.create(&late);
    created.start();
    created.kill("KILL");
    created.wait();
}

#[test]
fn a_process_that_joins_needs_the_agent_too() {
    let crun = runtime!();
    let agent = Agent::permissive();
    let container = crun.start(&bundle(&["mkdir"], &agent.path(), "sleep 99"));
    let path = agent.path();
    fs::remove_file(path).unwrap();
    container.cmd(["exec", "ID", "true"]).error_with(["connect to the seccomp receiver"]);
    assert_eq!(container.status(), "running");
}

#[test]
fn plugins_are_refused() {
    let crun = runtime!();
    let annotation = json!({"run.oci.seccomp.plugins": "/x.so"});
    let bundle = Bundle::new().set("/annotations", annotation);
    crun.run(&bundle).error_with(["run.oci.seccomp.plugins", "cannot load"]);
}

#[test]
fn root_of_a_user_namespace_has_its_listener_handed_over_too() {
    let crun = match Crun::new().and_then(Crun::as_mapped_root) {
        Ok(crun) => crun,
        Err(reason) => return kit::crun::skipped(reason),
    };
    let agent = Agent::new(|_| Answer::Fail(Errno::DOM));
    for bundle in both_ways(&bundle(&["mkdir"], &agent.path(), "mkdir /dev/shm/x")) {
        for user in [0, 1000] {
            let user = json!({"uid": user, "gid": user});
            let bundle = bundle.clone().of_mapped_root().namespace("cgroup", None).set("/process/user", user);
            let output = crun.run(&bundle);
            assert!(output.stderr.contains("argument out of domain"), "{output}");
        }
    }
}

#[test]
fn a_real_time_process_with_one_processor_hands_its_listener_over() {
    let crun = runtime_on_v2!();
    let agent = Agent::permissive();
    let bundle = bundle(&["mkdir"], &agent.path(), "sleep 99")
        .set("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 1}))
        .set("/process/execCPUAffinity", json!({"final": "0"}));
    let container = crun.start(&bundle);
    // The thread that is to do it waits for the one that waits for it.
    let script = "grep Cpus_allowed_list /proc/self/status; mkdir /dev/shm/x";
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", script]).ok(), "Cpus_allowed_list:\t0\n");
}
