//! What is said where: the standard error and the destinations of `--log`, also those that take nothing; and a standard
//! output that takes nothing.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use kit::bundle::Bundle;
use kit::crun::{Crun, new_id, skipped, wait_for};
use kit::runtime;
use kit::terminal::Terminal;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A message of `state` and the like about a container that is not there.
const UNKNOWN: &str = "container `unknown` does not exist: open `";

/// A hook after the container's end, whose failure is a warning.
fn with_warning() -> Bundle {
    Bundle::new().args(["true"]).set("/hooks", json!({"poststop": [{"path": "/bin/false"}]}))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect()
}

/// The runtime in a mount namespace of its own, after these commands.
fn in_private_mounts(crun: Crun, commands: &str) -> Crun {
    crun.through(["unshare", "--mount", "--propagation", "private"]).after(&format!("set -e\n{commands}"))
}

/// The same where the services of this machine are what there is in `dir`: `log` and `journal`.
fn among_services(crun: Crun, dir: &TempDir) -> Crun {
    let dir = dir.path().display();
    let devices = "null zero full random urandom tty";
    let script = format!(
        "mkdir -p {dir}/dev\nmount --rbind /dev {dir}/dev\nmount -t tmpfs none /dev\n\
         for node in {devices}; do touch /dev/$node; mount --bind {dir}/dev/$node /dev/$node; done\n\
         ln -s /proc/self/fd /dev/fd\nmount -t tmpfs none /run\nmkdir -p /run/systemd/journal\n\
         ln -s {dir}/log /dev/log\nln -s {dir}/journal /run/systemd/journal/socket"
    );
    in_private_mounts(crun, &script)
}

/// What a service has been told.
fn told(service: &UnixDatagram) -> Vec<String> {
    service.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; 1 << 18];
    let mut next = || service.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec());
    std::iter::from_fn(&mut next).map(|text| String::from_utf8(text).unwrap()).collect()
}

/// A service that takes nothing more, and is not going to.
fn full(path: &Path) -> UnixDatagram {
    let service = UnixDatagram::bind(path).unwrap();
    let sends = || {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        (0..).take_while(|_| sender.send_to(b"x", path).is_ok()).count()
    };
    // What one sender has on the way is limited, too.
    while sends() > 0 {}
    service
}

#[test]
fn a_log_has_warnings_to_itself_and_shares_errors_with_the_standard_error() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let crun = crun.with(&format!("--log={}", log.display())).with("--log-format=json").with("--debug");
    assert_eq!(crun.run(&with_warning()).ok(), "");
    let warnings = lines(&log);
    let of_hook = |line: &Value| line["msg"].as_str().unwrap().contains("`/bin/false`");
    assert!(warnings.iter().any(of_hook), "{warnings:?}");
    assert!(warnings.iter().all(|line| line["level"] != "error"), "{warnings:?}");
    fs::remove_file(&log).unwrap();
    let said = crun.cmd(["state", "unknown"]).stderr;
    let error = lines(&log).into_iter().find(|line| line["level"] == "error").unwrap();
    assert_eq!(said, format!("{}\n", error["msg"].as_str().unwrap()));
}

#[test]
fn without_a_log_warnings_are_on_the_standard_error_if_the_level_asks_for_them() {
    let crun = runtime!();
    assert_eq!(crun.run(&with_warning()).ok(), "");
    for level in ["--log-level=warning", "--log-level=debug", "--debug"] {
        let container = crun.container(&with_warning());
        let output = crun.clone().with(level).cmd(container.args(["run", "-b", "BUNDLE", "ID"]));
        assert!(output.stderr.contains("`/bin/false`"), "{level}: {output}");
        assert_eq!(output.code, 0, "{level}: {output}");
    }
}

#[test]
fn a_log_of_text_holds_messages_as_the_standard_error_does() {
    let crun = runtime!();
    let log = tempfile::NamedTempFile::new().unwrap();
    let line = crun.with(&format!("--log={}", log.path().display())).cmd(["state", "unknown"]).error();
    assert_eq!(fs::read_to_string(log.path()).unwrap(), format!("{line}\n"));
}

#[test]
fn at_a_terminal_a_message_has_its_time_and_a_colour_unless_that_is_declined() {
    let crun = runtime!();
    for (variables, in_colour) in [
        (vec![("TERM", "xterm"), ("NO_COLOR", "")], true),
        (vec![("TERM", "xterm"), ("NO_COLOR", "1")], false),
        (vec![("TERM", "dumb")], false),
    ] {
        let terminal = Terminal::new();
        let mut command = crun.command(["state", "unknown"]);
        command.envs(variables.iter().copied());
        let code = terminal.start(&command).wait().unwrap().code();
        terminal.wait_shown("No such file or directory");
        let shown = terminal.shown();
        assert_eq!(code, Some(1), "{shown}");
        let line = shown.strip_prefix(if in_colour { "\x1b[1;31m2" } else { "2" });
        let line = line.unwrap_or_else(|| panic!("{variables:?}: {shown:?}"));
        assert!(line.contains(&format!("Z: {UNKNOWN}")), "{variables:?}: {shown:?}");
        assert_eq!(shown.contains('\x1b'), in_colour, "{variables:?}: {shown:?}");
    }
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error_before_anything_is_done() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    mkfifoat(CWD, path("fifo"), Mode::from(0o600)).unwrap();
    std::os::unix::fs::symlink("loop", path("loop")).unwrap();
    for (log, reason) in [
        (path("missing/log"), "No such file or directory"),
        (dir.path().display().to_string(), "Is a directory"),
        (path("fifo"), "No such device or address"),
        (path("loop"), "Too many levels of symbolic links"),
    ] {
        let container = crun.container(&Bundle::new().args(["true"]));
        let crun = crun.clone().with(&format!("--log={log}"));
        let output = crun.cmd(container.args(["run", "--bundle", "BUNDLE", "ID"]));
        assert_eq!(output.error(), format!("open log file `{log}`: {reason}"));
        container.deleted();
    }
}

#[test]
fn a_log_in_a_directory_that_is_mounted_read_only_is_an_error() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let crun = crun.with(&format!("--log={}", log.display()));
    let crun = in_private_mounts(crun, &format!("mount -t tmpfs -o ro none {}", dir.path().display()));
    crun.cmd(["list"]).error_with(["open log file `", "Read-only file system"]);
}

#[test]
fn a_link_leads_to_the_log() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let (link, log) = (dir.path().join("link"), dir.path().join("log"));
    std::os::unix::fs::symlink("log", &link).unwrap();
    let line = crun.with(&format!("--log={}", link.display())).cmd(["state", "unknown"]).error();
    assert_eq!(fs::read_to_string(&log).unwrap(), format!("{line}\n"));
}

#[test]
fn a_log_that_takes_nothing_keeps_no_container_from_running_and_its_messages_are_said_instead() {
    let crun = runtime!().with("--log=/dev/full").with("--log-level=warning");
    let bundle = with_warning().sh("echo ran");
    let output = crun.run(&bundle);
    assert_eq!((output.code, output.stdout.as_str()), (0, "ran\n"), "{output}");
    let refused = "write to the log file `/dev/full`: No space left on device\n";
    assert_eq!(output.stderr.matches(refused).count(), 1, "{output}");
    assert!(output.stderr.contains("`/bin/false`"), "{output}");
    let output = crun.cmd(["state", "unknown"]);
    // Engines take the first line.
    assert!(output.stderr.starts_with(UNKNOWN) && output.stderr.ends_with(refused), "{output}");
    assert_eq!((output.code, output.stderr.lines().count()), (1, 2), "{output}");
}

#[test]
fn a_disk_that_fills_up_leaves_whole_lines_in_the_log() {
    let crun = runtime!();
    let (mounted, kept) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let (mounted, kept) = (mounted.path().display(), kept.path().display());
    let script = format!(
        "mount -t tmpfs -o size=4k none {mounted}\n\
         head -c 3900 /dev/zero | tr '\\0' ' ' >{mounted}/log; echo '{{\"msg\":\"before\"}}' >>{mounted}/log\n\
         trap 'cp {mounted}/log {kept}' EXIT\n\
         exec() {{ \"$@\"; }}" // the shell stays, to save what there is
    );
    let long = "x".repeat(200);
    let crun = crun.with(&format!("--log={mounted}/log")).with("--log-format=json");
    let output = in_private_mounts(crun, &script).cmd(["state", &long]);
    let refused = format!("write to the log file `{mounted}/log`: No space left on device\n");
    assert!(output.code == 1 && output.stderr.ends_with(&refused), "{output}");
    let left = fs::read_to_string(kept.to_string()).unwrap();
    assert_eq!(left.trim_start(), "{\"msg\":\"before\"}\n");
}

#[test]
fn a_pipe_that_is_full_is_not_waited_for() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    mkfifoat(CWD, &fifo, Mode::from(0o600)).unwrap();
    let reader = File::options().read(true).write(true).open(&fifo).unwrap();
    let nonblocking = rustix::fs::OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&reader, nonblocking).unwrap();
    while rustix::io::write(&reader, &[0; 4096]).is_ok() {}
    let output = crun.with(&format!("--log={}", fifo.display())).cmd(["state", "unknown"]);
    assert!(output.stderr.starts_with(UNKNOWN), "{output}");
    assert!(output.stderr.ends_with("Resource temporarily unavailable\n"), "{output}");
}

#[test]
fn the_descriptor_of_the_log_is_not_passed_on() {
    let crun = runtime!();
    let log = tempfile::NamedTempFile::new().unwrap();
    let crun = crun.with(&format!("--log={}", log.path().display()));
    let bundle = Bundle::new().sh("for fd in /proc/self/fd/*; do readlink $fd; done");
    let output = crun.run_with(&bundle, ["--preserve-fds=4"]);
    assert!(!output.stdout.contains(log.path().to_str().unwrap()), "{output}");
}

#[test]
fn a_standard_output_that_is_full_is_an_error() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let full = crun.clone().after("exec >/dev/full");
    for words in [
        vec!["list"],
        vec!["list", "--quiet"],
        vec!["list", "--format=json"],
        vec!["state", container.id()],
        vec!["features"],
        vec!["--help"],
        vec!["--version"],
        vec!["run", "--help"],
        vec!["run", "--usage"],
        vec!["ps", container.id()],
        vec!["events", "--stats", container.id()],
        vec!["events", "--interval=100ms", container.id()],
    ] {
        let error = full.cmd(&words).error();
        assert_eq!(error, "write to the standard output: No space left on device", "{words:?}");
    }
}

#[test]
fn a_standard_output_that_is_closed_wants_no_answer() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let closed = crun.clone().after("exec >&-");
    for words in [vec!["list"], vec!["state", container.id()], vec!["features"], vec!["--version"]] {
        assert_eq!(closed.cmd(&words).ok(), "", "{words:?}");
    }
    assert_eq!(closed.run(&Bundle::new().sh("echo ran")).ok(), "");
}

#[test]
fn a_standard_error_that_is_closed_or_full_leaves_the_log_and_the_exit_status() {
    let crun = runtime!();
    for change in ["exec 2>&-", "exec 2>/dev/full"] {
        let log = tempfile::NamedTempFile::new().unwrap();
        let crun = crun.clone().with(&format!("--log={}", log.path().display())).after(change);
        assert_eq!(crun.cmd(["state", "unknown"]).code, 1, "{change}");
        let text = fs::read_to_string(log.path()).unwrap();
        assert!(text.starts_with(UNKNOWN) && text.lines().count() == 1, "{change}: {text}");
        assert_eq!(crun.run(&Bundle::new().sh("echo ran; echo error >&2")).stdout, "ran\n", "{change}");
    }
}

#[test]
fn the_system_log_gets_lines_of_rfc_3164() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let service = UnixDatagram::bind(dir.path().join("log")).unwrap();
    let crun = among_services(crun, &dir);
    for (log, name) in [("--log=syslog:web", "web"), ("--log=syslog:", "unknown")] {
        let line = crun.clone().with(log).cmd(["state", "unknown"]).error();
        assert_eq!(told(&service), [format!("<11>{name}: {line}")]);
    }
    let container = crun.clone().with("--log=syslog:").with("--log-level=warning");
    assert_eq!(container.run(&with_warning()).ok(), "");
    let warnings = told(&service);
    assert!(!warnings.is_empty() && warnings.iter().all(|line| line.starts_with("<12>t")), "{warnings:?}");
}

#[test]
fn the_journal_gets_the_fields_of_the_c_crun() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let service = UnixDatagram::bind(dir.path().join("journal")).unwrap();
    let crun = among_services(crun, &dir);
    let line = crun.clone().with("--log=journald:web").cmd(["state", "unknown"]).error();
    let expected = format!("PRIORITY=3\nMESSAGE={line}\nID=unknown\nSYSLOG_IDENTIFIER=web\n");
    assert_eq!(told(&service), [expected]);
    let line = crun.with("--log=journald:").cmd(["list", "--format=bogus"]).error();
    assert_eq!(told(&service), [format!("PRIORITY=3\nMESSAGE={line}\nSYSLOG_IDENTIFIER=crun\n")]);
}

#[test]
fn a_service_that_is_not_there_or_does_not_listen_keeps_no_container_from_running() {
    let crun = runtime!();
    for (log, socket, name) in [
        ("--log=syslog:web", "/dev/log", "log"),
        ("--log=journald:web", "/run/systemd/journal/socket", "journal"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let crun = among_services(crun.clone(), &dir).with(log).with("--log-level=warning");
        let run = |reason: &str| {
            let output = crun.run(&with_warning().sh("echo ran"));
            assert_eq!((output.code, output.stdout.as_str()), (0, "ran\n"), "{log}: {output}");
            let refused = format!("write to the log at `{socket}`: {reason}\n");
            assert_eq!(output.stderr.matches(&refused).count(), 1, "{log}: {output}");
            assert!(output.stderr.contains("`/bin/false`"), "{log}: {output}");
        };
        run("No such file or directory");
        let service = full(&dir.path().join(name));
        run("Resource temporarily unavailable");
        drop(service);
        run("Connection refused");
    }
}

/// The runtime among the services of systemd; returns from the test where there is none.
macro_rules! runtime_on_systemd {
    () => {
        match Path::new("/run/systemd/private").exists() {
            true => kit::runtime!(),
            false => return skipped("systemd is not the init of this machine"),
        }
    };
}

/// The only entry of systemd's journal that has this field, once it is there.
fn entry_with(field: &str) -> Value {
    let entries = || {
        let output = Command::new("journalctl").args(["--output=json", "--all", field]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (!entries.is_empty()).then_some(entries)
    };
    let entries = wait_for("an entry in the journal", entries);
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.into_iter().next().unwrap()
}

#[test]
fn systemds_journal_shows_what_it_gets_in_its_own_words() {
    let crun = runtime_on_systemd!();
    let id = new_id();
    let name = format!("web-{id}");
    let line = crun.with(&format!("--log=journald:{name}")).cmd(["state", &id]).error();
    let entry = entry_with(&format!("ID={id}"));
    for (field, value) in
        [("MESSAGE", &*line), ("PRIORITY", "3"), ("SYSLOG_IDENTIFIER", &name), ("_TRANSPORT", "journal")]
    {
        assert_eq!(entry[field], value, "{entry}");
    }
}

#[test]
fn systemds_journal_shows_what_is_longer_than_a_datagram() {
    let crun = runtime_on_systemd!().with("--log=journald:");
    let bundle = Bundle::new().set("/process/args", json!([format!("/{}", "x/".repeat(200_000))]));
    let container = crun.container(&bundle);
    let line = crun.cmd(container.args(["run", "--bundle", "BUNDLE", "ID"])).error();
    assert!(line.len() > 400_000, "{line}");
    assert_eq!(entry_with(&format!("ID={}", container.id()))["MESSAGE"], line);
    container.deleted();
}

#[test]
fn systemds_journal_shows_what_it_gets_as_the_system_log() {
    let crun = runtime_on_systemd!();
    let id = new_id();
    let line = crun.with("--log=syslog:").cmd(["state", &id]).error();
    let entry = entry_with(&format!("SYSLOG_IDENTIFIER={id}"));
    for (field, value) in
        [("MESSAGE", &*line), ("PRIORITY", "3"), ("SYSLOG_FACILITY", "1"), ("_TRANSPORT", "syslog")]
    {
        assert_eq!(entry[field], value, "{entry}");
    }
}
