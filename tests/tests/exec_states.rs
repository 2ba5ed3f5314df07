//! `exec` into containers in every state: created, paused, ending, without what it usually has.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::time::Duration;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, signal, wait_for};
use kit::{runtime, runtime_on_v2};

fn sleeper() -> Bundle {
    Bundle::new().args(["sleep", "99"])
}

/// A container that is paused.
fn paused(crun: &Crun) -> Container {
    let container = crun.start(&sleeper());
    assert_eq!(container.cmd(["pause", "ID"]).ok(), "");
    container
}

/// How many processes it has.
fn count(container: &Container) -> usize {
    let listed = container.cmd(["ps", "--format", "json", "ID"]).json();
    listed.as_array().unwrap().len()
}

#[test]
fn a_process_of_a_paused_container_goes_on_when_the_container_does() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = paused(&crun);
        let args = container.args(["exec", "--ignore-paused", "ID", "echo", "hi"]);
        let waiting = crun.spawn(crun.command(args));
        wait_for("the process", || (count(&container) == 2).then_some(()));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(waiting.stdout(), "", "{layout}");
        assert_eq!(container.status(), "paused", "{layout}");
        assert_eq!(container.cmd(["resume", "ID"]).ok(), "", "{layout}");
        assert_eq!(waiting.wait().ok(), "hi\n", "{layout}");
    }
}

#[test]
fn an_error_in_a_paused_container_is_told_of_when_it_goes_on_also_detached() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = paused(&crun);
        let args = container.args(["exec", "--ignore-paused", "--detach", "ID", "no-such"]);
        let waiting = crun.spawn(crun.command(args));
        wait_for("the process", || (count(&container) == 2).then_some(()));
        assert_eq!(container.cmd(["resume", "ID"]).ok(), "", "{layout}");
        let line = waiting.wait().error();
        assert_eq!(
            line, "executable file `no-such` not found in $PATH: No such file or directory",
            "{layout}"
        );
    }
}

#[test]
fn who_waits_for_a_paused_container_ends_on_a_signal_and_so_does_the_process() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = paused(&crun);
        for options in [&["--ignore-paused"] as &[&str], &["--ignore-paused", "--detach"]] {
            let args = [&["exec"], options, &[container.id(), "sleep", "98"]].concat();
            let waiting = crun.spawn(crun.command(args));
            let runtime = waiting.runtime();
            let children = format!("/proc/{runtime}/task/{runtime}/children");
            wait_for("the process", || (!fs::read_to_string(&children).ok()?.is_empty()).then_some(()));
            signal(runtime, 15);
            let words = "given up on signal 15 before the program was started";
            assert_eq!(waiting.wait().error(), words, "{layout}");
        }
        assert_eq!(container.cmd(["resume", "ID"]).ok(), "", "{layout}");
        wait_for("the end of the processes", || (count(&container) == 1).then_some(()));
    }
}

#[test]
fn a_process_runs_in_a_container_that_was_not_started_and_leaves_it_so() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.create(&sleeper());
        assert_eq!(container.cmd(["exec", "ID", "echo", "hi"]).ok(), "hi\n", "{layout}");
        assert_eq!(container.status(), "created", "{layout}");
        container.start();
        assert_eq!(container.status(), "running", "{layout}");
    }
}

#[test]
fn many_execs_while_the_container_is_killed_each_have_run_or_say_that_it_does_not() {
    for (layout, crun) in Crun::on_every_layout() {
        for pid_namespace in [Some(""), None] {
            for delay in [0, 3, 10] {
                let container = crun.start(&sleeper().namespace("pid", pid_namespace));
                let exec = || crun.spawn(crun.command(container.args(["exec", "ID", "true"])));
                let mut waiting: Vec<_> = (0..10).map(|_| exec()).collect();
                std::thread::sleep(Duration::from_millis(delay));
                container.kill("KILL");
                waiting.extend((0..10).map(|_| exec()));
                let not_running = format!("the container `{}` is not running\n", container.id());
                for output in waiting.into_iter().map(kit::running::Running::wait) {
                    match output.code {
                        // Killed with the container, or done before.
                        0 | 137 => assert_eq!(output.stderr, "", "{layout}: {output}"),
                        _ => {
                            assert_eq!((output.code, &output.stderr), (1, &not_running), "{layout}: {output}")
                        }
                    }
                }
                container.delete();
            }
        }
    }
}

#[test]
fn a_container_whose_cgroup_is_gone_takes_no_process() {
    let crun = runtime_on_v2!();
    let container = crun.start(&sleeper());
    let outside = |script: &str| {
        let script = script.replace("PID", &container.pid().to_string()).replace("ID", container.id());
        assert!(crun.beside("sh").args(["-ec", &script]).status().unwrap().success());
    };
    outside("cd /sys/fs/cgroup; echo PID > lab/cgroup.procs; rmdir ID");
    // Elsewhere it would be under nobody's limits.
    container.cmd(["exec", "ID", "true"]).error_with(["cgroup", container.id(), "No such file or directory"]);
    container.cmd(["exec", "--cgroup", "/", "ID", "true"]).error_with(["cgroup"]);
    outside("cd /sys/fs/cgroup; mkdir ID; echo PID > ID/cgroup.procs");
    assert_eq!(container.cmd(["exec", "ID", "true"]).ok(), "");
}

#[test]
fn home_is_the_root_directory_where_there_is_no_list_of_users() {
    let crun = runtime!();
    let bundle = sleeper();
    fs::remove_file(bundle.rootfs().join("etc/passwd")).unwrap();
    let container = crun.start(&bundle);
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", "echo $HOME"]).ok(), "/\n");
    fs::remove_dir_all(bundle.rootfs().join("etc")).unwrap();
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", "echo $HOME"]).ok(), "/\n");
    assert_eq!(container.cmd(["exec", "-e", "HOME=/x", "ID", "sh", "-c", "echo $HOME"]).ok(), "/x\n");
}

#[test]
fn a_root_filesystem_that_cannot_be_written_is_none_to_exec_either() {
    let crun = runtime!();
    let container = crun.start(&sleeper().set("/root/readonly", true.into()));
    let output = container.cmd(["exec", "ID", "sh", "-c", "echo hi; echo x > /file"]);
    assert_eq!((output.code, output.stdout.as_str()), (1, "hi\n"));
    assert!(output.stderr.contains("Read-only file system"), "{output}");
}
