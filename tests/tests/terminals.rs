//! A container's terminal, seen from inside: in which devpts it is, whose it is, and `/dev/console`.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, wait_for};
use kit::runtime;
use kit::terminal::Terminal;
use serde_json::{Value, json};

fn with_terminal() -> Bundle {
    Bundle::new().set("/process/terminal", json!(true))
}

/// Runs the bundle in the foreground at a new terminal; returns its status and what was shown.
fn run(crun: &Crun, bundle: &Bundle) -> (i32, String) {
    let container = crun.container(bundle);
    let ran = at_terminal(&container, ["run", "-b", "BUNDLE", "ID"]);
    container.assert_nothing_left();
    ran
}

fn at_terminal<const N: usize>(container: &Container, args: [&str; N]) -> (i32, String) {
    let terminal = Terminal::new();
    let mut child = terminal.start(&container.crun().command(container.args(args)));
    let status = wait_for("the end of the command", || child.try_wait().unwrap());
    let _ = terminal.settled();
    (status.code().unwrap(), terminal.shown())
}

/// What a process says of its terminal and of the container's console: whether it is the same, and works.
const LOOK: &str = "tty; stat -c '%F %u %t' /dev/console; echo to the console >/dev/console; \
    [ $(stat -c %d:%i /dev/console) = $(stat -c %d:%i /proc/self/fd/0 -L) ] && echo same";

fn seen(owner: u32) -> (i32, String) {
    (0, format!("/dev/pts/0\ncharacter special file {owner} 88\nto the console\nsame\n"))
}

#[test]
fn it_is_in_the_containers_devpts_and_its_console_on_every_rung() {
    let crun = runtime!();
    for (name, crun) in crun.rungs() {
        assert_eq!(run(&crun, &with_terminal().sh(LOOK)), seen(0), "{name}");
    }
}

#[test]
fn in_a_user_namespace_it_belongs_to_the_user_of_the_process_on_every_rung() {
    let crun = runtime!();
    for (name, crun) in crun.rungs() {
        let bundle = with_terminal().in_user_namespace().set("/process/user", json!({"uid": 5, "gid": 5}));
        assert_eq!(run(&crun, &bundle.sh(LOOK)), seen(5), "{name}");
    }
}

#[test]
fn a_runtime_that_is_root_of_a_user_namespace_only_makes_one_too() {
    let crun = match runtime!().as_mapped_root() {
        Ok(crun) => crun,
        Err(reason) => return kit::crun::skipped(reason),
    };
    let bundle = || with_terminal().of_mapped_root().set("/process/user", json!({"uid": 7, "gid": 7}));
    assert_eq!(run(&crun, &bundle().sh(LOOK)), seen(7));
    // Where the ids of the host's terminals are not mapped, that cannot be given away; it can be used all the same.
    let (code, shown) = run(&crun, &without_devpts(bundle()).sh("test -t 0 && test -t 2 && echo fine"));
    assert_eq!((code, shown.as_str()), (0, "fine\n"));
}

#[test]
fn an_ordinary_user_has_terminals_too() {
    let crun = kit::runtime_of_user!();
    for (name, crun) in crun.mount_rungs() {
        let bundle = with_terminal().of_user().set("/process/user", json!({"uid": 7, "gid": 7}));
        assert_eq!(run(&crun, &bundle.sh(LOOK)), seen(7), "{name}");
        // The user cannot give away the host's.
        let bundle = without_devpts(with_terminal()).of_user();
        let script = "test -t 0 && test -t 2 && stat -c '%t' /dev/console && echo fine >/dev/console";
        assert_eq!(run(&crun, &bundle.sh(script)), (0, "88\nfine\n".to_owned()), "{name}");
    }
    let container = sleeping(&crun, &Bundle::new().of_user());
    let script = "tty; stat -c %u $(tty); exit 5";
    let shown = at_terminal(&container, ["exec", "-t", "-u", "7:7", "ID", "sh", "-c", script]);
    assert_eq!(shown, (5, "/dev/pts/0\n7\n".to_owned()));
}

fn without_devpts(bundle: Bundle) -> Bundle {
    bundle.edit(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev/pts");
    })
}

#[test]
fn without_a_devpts_it_is_the_hosts() {
    let crun = runtime!();
    let script = "test -t 0 && test -t 1 && test -t 2; echo $?; [ -e /dev/pts/0 ]; echo $?; \
        stat -c '%F %u %t' /dev/console; echo to the console >/dev/console";
    for (name, crun) in crun.mount_rungs() {
        let bundle = without_devpts(with_terminal()).set("/process/user", json!({"uid": 5, "gid": 5}));
        let (code, shown) = run(&crun, &bundle.sh(script));
        let console = "character special file 5 88\nto the console\n";
        assert_eq!((code, shown), (0, format!("0\n1\n{console}")), "{name}");
    }
}

#[test]
fn in_a_user_namespace_the_hosts_one_belongs_to_the_user_of_the_process() {
    let crun = runtime!();
    let bundle = without_devpts(with_terminal())
        .in_user_namespace()
        .set("/process/user", json!({"uid": 5, "gid": 5}))
        .sh("stat -c '%u %t' /dev/console; echo to the console >/dev/console");
    assert_eq!(run(&crun, &bundle), (0, "5 88\nto the console\n".to_owned()));
}

#[test]
fn without_a_mount_namespace_it_is_the_hosts_and_there_is_no_console() {
    let crun = runtime!();
    let bundle = with_terminal()
        .writable()
        .unset("/linux/maskedPaths")
        .unset("/linux/readonlyPaths")
        .set("/mounts", json!([]))
        .namespace("mount", None)
        .sh("test -t 0 && test -t 1 && test -t 2 && echo fine; test -e /dev/console && echo there; exit 3");
    assert_eq!(run(&crun, &bundle), (3, "fine\n".to_owned()));
    assert!(fs::symlink_metadata(bundle.rootfs().join("dev/console")).is_err());
}

#[test]
fn what_is_no_devpts_is_not_taken_for_one() {
    let crun = runtime!();
    let bundle = without_devpts(with_terminal()).mount("/dev/pts", "tmpfs", "tmpfs", ["mode=755"]);
    let (code, shown) = run(&crun, &bundle.args(["true"]));
    let expected = "process.terminal: open a pseudoterminal in `/dev/pts` of the container \
        (what is mounted there is no devpts): No such device";
    assert!(code == 1 && shown.contains(expected), "{shown}");
}

#[test]
fn the_hosts_devices_stay_as_they_are_and_their_console_is_covered() {
    let crun = runtime!();
    let before = fs::symlink_metadata("/dev/console").map(|meta| (meta.dev(), meta.ino(), meta.uid()));
    let host = |options: [&str; 2]| {
        with_terminal()
            .edit(|config| {
                let at_dev = |mount: &Value| mount["destination"].as_str().unwrap().starts_with("/dev");
                config["mounts"].as_array_mut().unwrap().retain(|mount| !at_dev(mount));
            })
            .mount("/dev", "bind", "/dev", options)
            .sh("[ -e /dev/console ] && stat -c %t /dev/console; test -t 0; echo $?")
    };
    let covered = if before.is_ok() { "88\n0\n" } else { "0\n" };
    assert_eq!(run(&crun, &host(["rbind", "rslave"])), (0, covered.to_owned()));
    // What is mounted below a shared volume is mounted on the host.
    let (code, shown) = run(&crun, &host(["rbind", "rshared"]));
    assert!(code == 0 && !shown.contains("88\n"), "{shown}");
    let after = fs::symlink_metadata("/dev/console").map(|meta| (meta.dev(), meta.ino(), meta.uid()));
    assert_eq!(before.ok(), after.ok());
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" /dev/console "));
}

/// A `/dev` of the image's own, with its terminals.
fn with_own_dev(bundle: Bundle) -> Bundle {
    bundle.writable().edit(|config| {
        let keep = |mount: &Value| {
            let at = mount["destination"].as_str().unwrap();
            !at.starts_with("/dev") || at == "/dev/pts"
        };
        config["mounts"].as_array_mut().unwrap().retain(keep);
    })
}

#[test]
fn a_link_in_the_place_of_the_console_is_covered_and_not_followed_on_any_rung() {
    let crun = runtime!();
    for (name, crun) in crun.mount_rungs() {
        let bundle = with_own_dev(with_terminal()).sh(LOOK);
        fs::create_dir_all(bundle.rootfs().join("dev")).unwrap();
        fs::write(bundle.rootfs().join("victim"), "unharmed").unwrap();
        symlink("/victim", bundle.rootfs().join("dev/console")).unwrap();
        assert_eq!(run(&crun, &bundle), seen(0), "{name}");
        assert_eq!(fs::read(bundle.rootfs().join("victim")).unwrap(), b"unharmed", "{name}");
        assert!(fs::symlink_metadata(bundle.rootfs().join("dev/console")).unwrap().is_symlink());
    }
}

#[test]
fn what_is_made_for_the_console_in_an_image_is_taken_back_when_the_start_fails() {
    let crun = runtime!();
    let bundle = with_own_dev(with_terminal()).set("/hostname", json!("x".repeat(65))).args(["true"]);
    let (code, shown) = run(&crun, &bundle);
    assert!(code == 1 && shown.contains("set the host name"), "{shown}");
    assert!(fs::symlink_metadata(bundle.rootfs().join("dev/console")).is_err());
}

#[test]
fn a_console_of_the_configuration_stays() {
    let crun = runtime!();
    let bundle = with_terminal().mount("/dev/console", "bind", "/dev/null", ["bind"]);
    assert_eq!(run(&crun, &bundle.sh("stat -c %t:%T /dev/console")), (0, "1:3\n".to_owned()));
}

#[test]
fn a_device_of_that_name_is_covered() {
    let crun = runtime!();
    let device = json!([{"path": "/dev/console", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}]);
    assert_eq!(run(&crun, &with_terminal().set("/linux/devices", device).sh(LOOK)), seen(0));
}

fn sleeping(crun: &Crun, bundle: &Bundle) -> Container {
    crun.start(&bundle.clone().args(["sleep", "99"]))
}

#[test]
fn no_descriptor_is_left_open_beside_it() {
    let crun = runtime!();
    // The fourth is that of the directory being read.
    let expected = (0, "0\n1\n2\n3\n".to_owned());
    for bundle in [with_terminal(), without_devpts(with_terminal())] {
        assert_eq!(run(&crun, &bundle.args(["ls", "-1", "/proc/self/fd"])), expected);
    }
    for bundle in [Bundle::new(), without_devpts(Bundle::new())] {
        let container = sleeping(&crun, &bundle);
        let shown = at_terminal(&container, ["exec", "-t", "ID", "ls", "-1", "/proc/self/fd"]);
        assert_eq!(shown, expected);
    }
}

#[test]
fn exec_makes_one_when_it_is_told_to() {
    let crun = runtime!();
    let container = sleeping(&crun, &Bundle::new());
    for (option, expected) in [
        ("-t", "/dev/pts/0\n"),
        ("--tty", "/dev/pts/0\n"),
        ("--tty=true", "/dev/pts/0\n"),
        ("--tty=anything", "/dev/pts/0\n"),
        ("--tty=false", "not a tty\n"),
        ("--tty=no", "not a tty\n"),
        ("-tno", "not a tty\n"),
        ("--no-new-privs", "not a tty\n"),
    ] {
        let (_, shown) = at_terminal(&container, ["exec", option, "ID", "tty"]);
        assert_eq!(shown, expected, "{option}");
    }
}

#[test]
fn exec_has_it_from_a_file_and_gives_it_to_the_user_there() {
    let crun = runtime!();
    let container = sleeping(&crun, &Bundle::new().in_user_namespace());
    let file = tempfile::NamedTempFile::new().unwrap();
    let process = |terminal: bool| {
        let process = json!({
            "args": ["sh", "-c", "tty; stat -c %u $(tty); stty size; test -t 2"], "cwd": "/", "terminal": terminal,
            "consoleSize": {"height": 3, "width": 4}, "user": {"uid": 5, "gid": 6},
        });
        fs::write(&file, process.to_string()).unwrap();
        at_terminal(&container, ["exec", "-t", "-p", file.path().to_str().unwrap(), "ID"])
    };
    assert_eq!(process(true), (0, "/dev/pts/0\n5\n3 4\n".to_owned()));
    assert!(process(false).1.starts_with("not a tty\n"));
}

#[test]
fn exec_sends_it_to_a_console_socket() {
    let crun = runtime!();
    let container = sleeping(&crun, &Bundle::new());
    let socket = kit::console::ConsoleSocket::new();
    let args = ["exec", "-d", "-t", "--console-socket", socket.arg(), "ID", "sh", "-c", "tty; read x"];
    assert_eq!(container.cmd(args).ok(), "");
    socket.receive().wait_shown("/dev/pts/0\n");
}

#[test]
fn exec_in_a_container_without_a_devpts_has_the_hosts() {
    let crun = runtime!();
    for bundle in [without_devpts(Bundle::new()), without_devpts(Bundle::new()).in_user_namespace()] {
        let container = sleeping(&crun, &bundle);
        let script = "test -t 0 && test -t 1 && test -t 2 && stat -c %u -L /proc/self/fd/0";
        let shown = at_terminal(&container, ["exec", "-t", "-u", "5:5", "ID", "sh", "-c", script]);
        assert_eq!(shown, (0, "5\n".to_owned()));
    }
}

#[test]
fn exec_does_not_open_what_the_container_has_mounted_over_its_devpts() {
    let crun = runtime!();
    let container = sleeping(&crun, &Bundle::new());
    let over = |source: &str, at: &str| {
        let script = format!("mount --bind {source} {at}");
        let pid = container.pid().to_string();
        let words = ["--mount", "--target", &pid, "/bin/busybox", "sh", "-c", &script];
        assert!(Command::new("nsenter").args(words).status().unwrap().success());
    };
    over("/dev/zero", "/dev/pts/ptmx");
    let (code, shown) = at_terminal(&container, ["exec", "-t", "ID", "tty"]);
    assert!(code == 1 && shown.contains("open a pseudoterminal in `/dev/pts` of the container"), "{shown}");
    over("/etc", "/dev/pts");
    let (code, shown) = at_terminal(&container, ["exec", "-t", "ID", "tty"]);
    assert!(code == 1 && shown.contains("what is mounted there is no devpts"), "{shown}");
}
