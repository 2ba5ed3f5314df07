//! A real distribution: Debian minbase, read-only, as the images of engines would be.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use kit::bundle::Bundle;
use kit::crun::skipped;
use kit::rootfs::debian_rootfs;
use kit::runtime;

/// A bundle over Debian; returns from the test where there can be none.
macro_rules! debian {
    () => {
        match debian_rootfs() {
            Some(root) => {
                Bundle::over(&root).mount("/tmp", "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=1777"])
            }
            None => return skipped("there is no Debian root filesystem"),
        }
    };
}

#[test]
fn a_shell_of_debian_runs() {
    let crun = runtime!();
    let text = crun.run(&debian!().sh(". /etc/os-release; echo $ID; echo $$; cat /etc/debian_version | wc -l; ldd /bin/sh | grep -c libc")).ok();
    assert_eq!(text, "debian\n1\n1\n1\n");
}

#[test]
fn apt_get_runs() {
    let crun = runtime!();
    let text = crun.run(&debian!().args(["apt-get", "--version"])).ok();
    assert!(text.starts_with("apt "), "{text}");
}

#[test]
fn ps_sees_only_the_containers_processes() {
    let crun = runtime!();
    // The shell waits, by itself, until the process in the background is its program.
    let script = "sleep 99 & until read name </proc/$!/comm && [ $name = sleep ]; do :; done; \
                  ps -eo pid,user,comm --no-headers; true";
    let text = crun.run(&debian!().sh(script)).ok();
    let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["1", "root", "sh"], ["2", "root", "sleep"], ["3", "root", "ps"]], "{text}");
}

#[test]
fn a_program_finds_its_user_and_its_terminal_devices() {
    let crun = runtime!();
    let script = "id -un; test -c /dev/ptmx && echo ptmx; df --output=fstype / /dev | tail -n +2 | wc -l; python3 -V 2>/dev/null; perl -e 'print 6*7'";
    assert_eq!(crun.run(&debian!().sh(script)).ok(), "root\nptmx\n2\n42");
}

/// How long the service runs: `CRUN_TEST_SERVICE_SECONDS`, a minute by default.
fn service_time() -> Duration {
    let seconds = std::env::var("CRUN_TEST_SERVICE_SECONDS")
        .map_or(60, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

#[test]
fn a_service_runs_until_it_is_told_to_end() {
    let crun = runtime!();
    let script =
        "trap 'echo bye; exit 3' TERM; n=0; while :; do n=$((n + 1)); echo beat $n; sleep 1 & wait $!; done";
    let container = crun.create(&debian!().args(["bash", "-c", script]));
    container.start();
    container.wait_output("beat 1\n");
    let (pid, end) = (container.pid(), Instant::now() + service_time());
    while Instant::now() < end {
        assert_eq!((container.status().as_str(), container.pid()), ("running", pid));
        std::thread::sleep(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now())));
    }
    let beats = container.stdout().lines().count();
    container.wait_output(&format!("beat {}\n", beats + 1));
    container.kill("TERM");
    container.wait_output("bye\n");
    container.wait();
    assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
    container.deleted();
}
