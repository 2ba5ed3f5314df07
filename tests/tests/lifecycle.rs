//! The life of a container: run, create, start, kill, delete, and what each leaves.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;

use kit::bundle::Bundle;
use kit::crun::{signal, wait_for};
use kit::runtime;
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// A payload that stays until it is told to go, and says when it is up.
fn sleeper() -> Bundle {
    Bundle::new().sh("trap 'exit 42' TERM; echo up; while :; do sleep 0.02; done")
}

#[test]
fn run_returns_the_exit_status_of_the_payload() {
    let crun = runtime!();
    for code in [0, 1, 7, 255] {
        assert_eq!(crun.run(&Bundle::new().sh(&format!("exit {code}"))).code, code);
    }
}

#[test]
fn run_returns_128_plus_the_signal_that_killed_the_payload() {
    let crun = runtime!();
    // The kernel does not let pid 1 of a pid namespace kill itself, so there is none.
    for (name, number) in [("TERM", 15), ("KILL", 9), ("HUP", 1)] {
        let bundle = Bundle::new().namespace("pid", None).sh(&format!("kill -{name} $$; sleep 9"));
        assert_eq!(crun.run(&bundle).code, 128 + number, "{name}");
    }
}

#[test]
fn run_and_exec_return_also_where_the_ends_of_children_are_ignored() {
    let crun = runtime!().after("trap '' CHLD");
    assert_eq!(crun.run(&Bundle::new().sh("exit 7")).code, 7);
    let container = crun.start(&sleeper());
    assert_eq!(container.cmd(["exec", "ID", "sh", "-c", "exit 8"]).code, 8);
}

#[test]
fn run_passes_the_standard_streams_through() {
    let crun = runtime!();
    let output = crun.run(&Bundle::new().sh("echo out; echo err >&2"));
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn run_reads_the_callers_standard_input() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["cat"]);
    let container = crun.container(&bundle);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "hello from outside\n").unwrap();
    let mut command = crun.command(container.args(["run", "-b", "BUNDLE", "ID"]));
    command.stdin(fs::File::open(&file).unwrap());
    assert_eq!(crun.spawn(command).wait().ok(), "hello from outside\n");
}

#[test]
fn foreground_run_forwards_signals_to_the_payload() {
    let crun = runtime!();
    for (number, name) in [(15, "TERM"), (1, "HUP"), (2, "INT"), (10, "USR1"), (12, "USR2")] {
        let bundle =
            Bundle::new().sh(&format!("trap 'exit {number}' {name}; echo up; while :; do sleep 0.02; done"));
        let container = crun.container(&bundle);
        let running = crun.spawn(crun.command(container.args(["run", "-b", "BUNDLE", "ID"])));
        wait_for("the payload", || running.stdout().contains("up").then_some(()));
        signal(running.pid(), number);
        assert_eq!(running.wait().code, number, "{name}");
        container.assert_nothing_left();
    }
}

#[test]
fn keep_leaves_a_stopped_container_behind() {
    let crun = runtime!();
    let mut container = crun.container(&Bundle::new().sh("exit 0"));
    container.make("run", ["--keep"]);
    assert_eq!(container.status(), "stopped");
    assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
    container.deleted();
}

#[test]
fn detach_returns_while_the_payload_runs() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    container.wait_output("up");
    assert_eq!(container.status(), "running");
    let pid = container.pid();
    assert!(fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("NSpid:"));
}

#[test]
fn create_waits_for_start_before_it_runs_the_payload() {
    let crun = runtime!();
    let container = crun.create(&sleeper());
    assert_eq!(container.status(), "created");
    let (pid, exe) = (container.pid(), fs::read_link(container.proc().join("exe")).unwrap_or_default());
    assert!(!exe.ends_with("busybox"), "{exe:?}");
    container.start();
    container.wait_output("up");
    assert_eq!((container.status().as_str(), container.pid()), ("running", pid));
}

#[test]
fn a_container_that_ends_is_stopped_with_pid_0() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    container.wait_output("up");
    container.kill("TERM");
    container.wait();
    assert_eq!(container.state()["pid"], 0);
}

#[test]
fn a_second_start_fails_because_the_fifo_is_gone() {
    let crun = runtime!();
    let container = crun.create(&sleeper());
    container.start();
    container.wait_output("up");
    let words = [container.id(), "exec.fifo`: No such file or directory", "it was started before"];
    container.cmd(["start", "ID"]).error_with(words);
    assert_eq!(container.status(), "running");
}

#[test]
fn a_program_that_cannot_be_executed_at_the_start_is_told_of_on_the_containers_standard_error() {
    let crun = runtime!();
    for (content, words) in [
        (None, "exec container process `/program`: No such file or directory\n"),
        (Some("\x7fNOT ELF"), "exec container process `/program`: Exec format error\n"),
    ] {
        let bundle = Bundle::new().args(["/program"]);
        let program = bundle.rootfs().join("program");
        fs::copy(bundle.rootfs().join("bin/busybox"), &program).unwrap();
        let container = crun.create(&bundle);
        fs::remove_file(&program).unwrap();
        if let Some(content) = content {
            fs::write(&program, content).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        container.start();
        container.wait();
        assert_eq!(container.stderr(), words);
    }
}

#[test]
fn start_of_a_stopped_container_fails() {
    let crun = runtime!();
    let container = crun.create(&sleeper());
    container.kill("KILL");
    container.wait();
    container.cmd(["start", "ID"]).error_with(["is not running", container.id()]);
}

#[test]
fn the_pid_file_holds_the_pid_and_no_newline() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    for command in ["create", "run"] {
        let mut container = crun.container(&sleeper());
        let pid_file = format!("--pid-file={}", file.display());
        let options: &[&str] = if command == "run" { &["--detach"] } else { &[] };
        let options = [options, &[&pid_file]].concat();
        match options.as_slice() {
            [a] => container.make(command, [a]),
            [a, b] => container.make(command, [a, b]),
            _ => unreachable!(),
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), container.pid().to_string(), "{command}");
    }
}

#[test]
fn a_device_given_as_the_pid_file_stays_one() {
    let crun = runtime!();
    // Where devices can be used: the directory for temporary files may be a mount without.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let device = dir.path().join("null");
    let (mode, null) = (Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 3));
    mknodat(CWD, &device, FileType::CharacterDevice, mode, null).unwrap();
    let mut container = crun.container(&sleeper());
    container.make("run", ["--detach", "--pid-file", device.to_str().unwrap()]);
    let exec = ["exec", "-d", "--pid-file", device.to_str().unwrap(), "ID", "true"];
    assert_eq!(container.cmd(exec).ok(), "");
    assert!(fs::symlink_metadata(&device).unwrap().file_type().is_char_device());
}

#[test]
fn delete_of_a_running_container_refuses_and_leaves_it_running() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    container.wait_output("up");
    container.cmd(["delete", "ID"]).error_with(["is not in `created` or `stopped` state", container.id()]);
    assert_eq!(container.status(), "running");
}

#[test]
fn delete_of_a_created_container_ends_it() {
    let crun = runtime!();
    let container = crun.create(&sleeper());
    assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
    container.deleted();
}

#[test]
fn delete_by_force_ends_a_running_container() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().sh("trap '' TERM; sleep 99 & echo up; sleep 98; sleep 97"));
    container.wait_output("up");
    assert_eq!(container.cmd(["delete", "-f", "ID"]).ok(), "");
    container.deleted();
}

#[test]
fn delete_by_force_of_an_unknown_container_is_fine() {
    let crun = runtime!();
    assert_eq!(crun.cmd(["delete", "--force", "unknown"]).ok(), "");
}

#[test]
fn delete_by_force_removes_a_state_directory_without_a_status() {
    let crun = runtime!();
    let dir = crun.state_dir().join("half");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("status.tmp"), "{").unwrap();
    assert_eq!(crun.cmd(["delete", "--force", "half"]).ok(), "");
    assert!(!dir.exists());
}

#[test]
fn delete_by_regular_expression_deletes_the_containers_that_match() {
    let crun = runtime!();
    let (one, two, other) = (crun.create(&sleeper()), crun.create(&sleeper()), crun.create(&sleeper()));
    let pattern = format!("{}|{}", one.id(), two.id());
    assert_eq!(crun.cmd(["delete", "--regex", "--force", &pattern]).ok(), "");
    one.deleted();
    two.deleted();
    assert_eq!(other.status(), "created");
}

#[test]
fn a_container_can_be_made_again_under_the_name_of_a_deleted_one() {
    let crun = runtime!();
    let mut container = crun.container(&sleeper());
    for _ in 0..3 {
        container.make("create", []);
        container.start();
        container.wait_output("up");
        assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "");
        container.assert_nothing_left();
    }
}

#[test]
fn twenty_containers_can_start_at_once() {
    let crun = runtime!();
    let bundles: Vec<_> = (0..20).map(|n| Bundle::new().sh(&format!("echo {n}; exit {n}"))).collect();
    let containers: Vec<_> = bundles.iter().map(|bundle| crun.container(bundle)).collect();
    let start =
        |c: &kit::container::Container| crun.spawn(crun.command(c.args(["run", "-b", "BUNDLE", "ID"])));
    let running: Vec<_> = containers.iter().map(start).collect();
    for (n, running) in running.into_iter().enumerate() {
        let output = running.wait();
        assert_eq!((output.code, output.stdout.trim()), (n.try_into().unwrap(), n.to_string().as_str()));
    }
}

#[test]
fn a_hundred_starts_succeed_while_others_go_on() {
    let crun = runtime!();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let bundle = Bundle::new().args(["true"]);
                for _ in 0..25 {
                    assert_eq!(crun.run(&bundle).ok(), "");
                }
            });
        }
    });
}

#[test]
fn a_container_whose_processes_take_long_to_end_is_deleted_completely() {
    const SIZE: u64 = 1_500_000_000;
    let crun = runtime!();
    // Giving back that much memory takes the kernel a while, and the first process does not wait for it in the cgroup.
    let program = format!("tail -c {SIZE} /dev/zero & wait");
    let mut container = crun.container(&Bundle::new().args(["sh", "-c", &program]));
    container.make("run", ["--detach"]);
    let resident = |pid: u32| {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
    };
    let children = format!("/proc/{0}/task/{0}/children", container.pid());
    wait_for("the memory to be used", || {
        let list = fs::read_to_string(&children).ok()?;
        let child = list.trim().parse().ok()?;
        (resident(child) > SIZE - 100_000_000).then_some(())
    });
    assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "");
    container.deleted();
}
