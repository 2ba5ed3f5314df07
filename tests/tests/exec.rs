//! `exec`: another process in a running container.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::Crun;
use kit::{runtime, runtime_on_v2};
use serde_json::{Value, json};

fn running(crun: &Crun) -> Container {
    let container = crun.start(&Bundle::new().env("FROM=config").sh("echo up; sleep 99; true"));
    container.wait_output("up");
    container
}

#[test]
fn exec_runs_a_program_in_the_containers_namespaces_and_cgroup() {
    for crun in [Crun::new(), Crun::on_v2()] {
        let crun = match crun {
            Ok(crun) => crun,
            Err(reason) => return kit::crun::skipped(reason),
        };
        let container = running(&crun);
        for name in ["pid", "net", "ipc", "uts", "cgroup", "mnt"] {
            let inside = container.cmd(["exec", "ID", "readlink", &format!("/proc/self/ns/{name}")]).ok();
            let init = fs::read_link(container.proc().join("ns").join(name)).unwrap();
            assert_eq!(inside.trim(), init.to_str().unwrap());
        }
        let cgroup = container.cmd(["exec", "ID", "cat", "/proc/self/cgroup"]).ok();
        assert_eq!(cgroup, container.cmd(["exec", "ID", "cat", "/proc/1/cgroup"]).ok());
        assert_eq!(container.cmd(["exec", "ID", "hostname"]).ok(), "crun\n");
    }
}

#[test]
fn exec_returns_the_exit_status() {
    let crun = runtime!();
    let container = running(&crun);
    for code in [0, 3, 255] {
        assert_eq!(container.cmd(["exec", "ID", "sh", "-c", &format!("exit {code}")]).code, code);
    }
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", "kill -KILL $$"]).code, 137);
    assert_eq!(container.status(), "running");
}

#[test]
fn exec_takes_the_arguments_behind_the_name_as_they_are() {
    let crun = runtime!();
    let container = running(&crun);
    let text = container.cmd(["exec", "ID", "printf", "[%s]", "--detach", "-f", "--", "a b", ""]).ok();
    assert_eq!(text, "[--detach][-f][--][a b][]");
    assert_eq!(container.cmd(["exec", "--", "ID", "echo", "-e", "x"]).ok(), "x\n");
}

#[test]
fn exec_has_the_containers_environment_and_adds_to_it() {
    let crun = runtime!();
    let container = running(&crun);
    let text = container.cmd(["exec", "--env", "ADDED=1", "-e", "TERM=dumb", "ID", "env"]).ok();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["ADDED=1", "FROM=config", "HOME=/root", path, "TERM=dumb"]);
}

#[test]
fn exec_changes_the_directory_and_the_user() {
    let crun = runtime!();
    let container = running(&crun);
    assert_eq!(container.cmd(["exec", "--cwd", "/etc", "ID", "pwd"]).ok(), "/etc\n");
    let ids = |option: &str| container.cmd(["exec", "--user", option, "ID", "sh", "-c", "id -u; id -g"]).ok();
    assert_eq!(ids("1000:2000"), "1000\n2000\n");
    assert_eq!(ids("1000"), "1000\n0\n");
}

#[test]
fn exec_refuses_a_user_that_is_no_number() {
    let crun = runtime!();
    let container = running(&crun);
    for user in ["root", "1x", "-1", "1:", ":1", "4294967295999", ""] {
        let output = container.cmd(["exec", "--user", user, "ID", "id"]);
        assert!(output.code != 0 && output.stdout.is_empty(), "{user:?}: {output}");
    }
}

#[test]
fn exec_has_the_containers_capabilities_and_inherits_none() {
    let crun = runtime!();
    let container = running(&crun);
    let caps = |args: &[&str]| {
        let args = [&["exec"], args, &[container.id(), "grep", "Cap", "/proc/self/status"]].concat();
        crun.cmd(args).ok()
    };
    let init = container.cmd(["exec", "ID", "grep", "Cap", "/proc/1/status"]).ok();
    assert_eq!(caps(&[]), init);
    assert!(caps(&["--cap", "CAP_CHOWN"]).contains("CapInh:\t0000000000000000"));
    assert!(
        caps(&["--cap", "CAP_CHOWN"]).contains("CapEff:\t0000000000000001")
            || caps(&["--cap", "CAP_CHOWN"]).contains("CapEff:\t0000000020000421")
    );
}

#[test]
fn exec_leaks_no_descriptor() {
    let crun = runtime!();
    let container = running(&crun);
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", "ls /proc/$$/fd; true"]).ok(), "0\n1\n2\n");
}

#[test]
fn exec_is_the_leader_of_a_session_of_its_own() {
    let crun = runtime!();
    let container = running(&crun);
    // proc_pid_stat(5): the sixth field is the session, the fifth the process group.
    let script = "set -- $(cat /proc/$$/stat); echo $(($1 == $6)) $(($1 == $5))";
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", script]).ok(), "1 1\n");
}

#[test]
fn exec_refuses_a_container_whose_confinement_it_cannot_give() {
    let crun = runtime!();
    let container = running(&crun);
    let config = crun.state_dir().join(container.id()).join("config.json");
    let original: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    let process = tempfile::NamedTempFile::new().unwrap();
    fs::write(&process, json!({"args": ["true"], "cwd": "/"}).to_string()).unwrap();
    for (section, field, value, words) in [
        // There is a profile, and no filter that was made of it.
        ("linux", "seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}), ["/seccomp.bpf`", "No such file"]),
        (
            "process",
            "apparmorProfile",
            json!("no-such-profile"),
            ["process.apparmorProfile: ", "`no-such-profile`"],
        ),
        (
            "process",
            "selinuxLabel",
            json!("some_u:some_r:some_t:s0"),
            ["process.selinuxLabel: ", "selinux is disabled or not supported"],
        ),
    ] {
        // As another runtime may have made it.
        let mut confined = original.clone();
        confined[section][field] = value;
        fs::write(&config, confined.to_string()).unwrap();
        container.cmd(["exec", "ID", "true"]).error_with(words);
        let by_file = ["exec", "--process", process.path().to_str().unwrap(), "ID"];
        container.cmd(by_file).error_with(words);
    }
    fs::write(&config, original.to_string()).unwrap();
    assert_eq!(container.cmd(["exec", "ID", "true"]).ok(), "");
}

#[test]
fn exec_is_in_the_containers_root_also_where_the_mount_namespace_was_joined() {
    let crun = runtime!();
    let mut holder = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", "echo up; exec sleep 99"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let bundle = Bundle::new()
        .writable()
        .unset("/linux/maskedPaths")
        .unset("/linux/readonlyPaths")
        .set("/mounts", json!([]))
        .namespace("mount", Some(&format!("/proc/{}/ns/mnt", holder.id())))
        .args(["sleep", "99"]);
    let container = crun.start(&bundle);
    let release = container.cmd(["exec", "ID", "cat", "/etc/os-release"]).ok();
    assert_eq!(release, "NAME=busybox\nID=busybox\n");
    assert_eq!(container.cmd(["exec", "--cwd", "/etc", "ID", "pwd"]).ok(), "/etc\n");
    container.delete();
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn exec_detached_returns_while_the_program_runs() {
    let crun = runtime!();
    let container = running(&crun);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let text = container.cmd(["exec", "-d", "--pid-file", file.to_str().unwrap(), "ID", "sleep", "77"]).ok();
    assert_eq!(text, "");
    let pid = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap(), "sleep\x0077\0");
    let inside = fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert_eq!(inside, fs::read_link(container.proc().join("ns/pid")).unwrap());
}

#[test]
fn exec_runs_the_process_of_a_file() {
    let crun = runtime!();
    let container = running(&crun);
    let file = tempfile::NamedTempFile::new().unwrap();
    let process = json!({
        "args": ["sh", "-c", "pwd; id -u; id -g; echo $ONLY$FROM; grep NoNewPrivs /proc/self/status; ulimit -n"],
        "cwd": "/usr", "env": ["PATH=/bin", "ONLY=this"], "user": {"uid": 5, "gid": 6}, "noNewPrivileges": true,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}],
    });
    fs::write(&file, process.to_string()).unwrap();
    let text = container.cmd(["exec", "--process", file.path().to_str().unwrap(), "ID"]).ok();
    assert_eq!(text, "/usr\n5\n6\nthis\nNoNewPrivs:\t1\n99\n");
}

#[test]
fn exec_of_what_does_not_exist_says_so() {
    let crun = runtime!();
    let container = running(&crun);
    let line = container.cmd(["exec", "ID", "no-such"]).error();
    assert_eq!(line, "executable file `no-such` not found in $PATH: No such file or directory");
    container.cmd(["exec", "--cwd", "/no/such/dir", "ID", "true"]).error_with(["/no/such/dir"]);
    container.cmd(["exec", "--process", "/no/such/file", "ID"]).error_with(["/no/such/file"]);
    assert_eq!(container.status(), "running");
}

#[test]
fn exec_needs_a_running_container() {
    let crun = runtime!();
    let container = crun.create(&Bundle::new().args(["sleep", "99"]));
    container.kill("KILL");
    container.wait();
    container.cmd(["exec", "ID", "true"]).error_with([container.id(), "is not running"]);
}

#[test]
fn fifty_execs_in_a_row_leave_one_process() {
    let crun = runtime_on_v2!();
    let container = running(&crun);
    for _ in 0..50 {
        assert_eq!(container.cmd(["exec", "ID", "true"]).ok(), "");
    }
    let (_, dir) = container.cgroups().into_iter().find(|(_, dir)| dir.ends_with(container.id())).unwrap();
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
    assert_eq!(procs.lines().count(), 2, "sh and sleep: {procs}");
}

#[test]
fn a_process_nobody_reaps_does_not_keep_its_container_from_being_deleted() {
    let crun = runtime!();
    let container = running(&crun);
    // What `exec -d` leaves behind now comes to this process, which does not wait for it; until somebody does, the
    // kernel does not let go of the container's first process.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let _ = container.cmd(["exec", "-d", "ID", "sleep", "77"]).ok();
    assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "");
}
