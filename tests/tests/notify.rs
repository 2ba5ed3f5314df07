//! A service manager that waits for the container to be ready (`sd_notify(3)`): it is told when the program says so, and
//! nobody waits for one that has ended.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, helper, signal, wait_for};
use kit::lane::patience;
use kit::runtime;
use tempfile::TempDir;

/// A manager: what is sent to its socket, in order. A descriptor that comes with a message is closed, as systemd does.
struct Manager {
    dir: TempDir,
    messages: Receiver<String>,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let socket = UnixDatagram::bind(dir.path().join("s")).unwrap();
        fs::set_permissions(dir.path().join("s"), fs::Permissions::from_mode(0o777)).unwrap();
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Self { dir, messages }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    fn tells(&self, crun: Crun) -> Crun {
        crun.env("NOTIFY_SOCKET", self.path().to_str().unwrap())
    }

    fn next(&self) -> String {
        self.messages.recv_timeout(patience(Duration::from_secs(20))).expect("a message")
    }

    fn has_heard_nothing(&self) {
        assert_eq!(self.messages.try_recv().ok(), None);
    }
}

/// A bundle whose programs can say something, by `say WORDS`.
fn bundle(script: &str) -> Bundle {
    let bundle = Bundle::new().sh(script);
    fs::copy(helper("say"), bundle.rootfs().join("root/say")).unwrap();
    // It has the libraries of the host.
    bundle.mount("/lib", "bind", "/lib", ["rbind", "ro"]).mount("/lib64", "bind", "/lib64", ["rbind", "ro"])
}

fn created(crun: &Crun, bundle: &Bundle) -> Container {
    let container = crun.create(bundle);
    assert!(crun.state_dir().join(container.id()).join("notify").is_dir());
    container
}

#[test]
fn a_start_returns_when_the_program_is_ready_and_the_manager_has_taken_notice() {
    let manager = Manager::new();
    let crun = manager.tells(runtime!());
    let bundle = bundle(
        "/root/say STATUS=wait; while [ ! -e /tmp/go ]; do sleep 0.05; done; /root/say X=1 READY=1; sleep 99",
    );
    let container = created(&crun, &bundle.mount("/tmp", "tmpfs", "tmpfs", []));
    let started = crun.spawn(crun.command(["start", container.id()]));
    wait_for("the program", || (container.status() == "running").then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    manager.has_heard_nothing();
    assert_eq!(container.cmd(["exec", "ID", "touch", "/tmp/go"]).ok(), "");
    let pid = container.pid();
    assert_eq!(manager.next(), format!("MAINPID={pid}\nREADY=1"));
    assert_eq!(manager.next(), "BARRIER=1");
    assert_eq!(started.wait().ok(), "");
}

#[test]
fn a_detached_run_returns_when_the_program_is_ready() {
    let manager = Manager::new();
    let crun = manager.tells(runtime!());
    let mut container = crun.container(&bundle("sleep 0.5; /root/say READY=1; sleep 99"));
    let start = Instant::now();
    container.make("run", ["--detach"]);
    assert!(start.elapsed() > Duration::from_millis(500));
    assert_eq!(manager.next(), format!("MAINPID={}\nREADY=1", container.pid()));
    assert_eq!(manager.next(), "BARRIER=1");
}

#[test]
fn a_foreground_run_stays_the_main_process_and_passes_signals_on() {
    let manager = Manager::new();
    let crun = manager.tells(runtime!());
    let container =
        crun.container(&bundle("trap 'exit 3' TERM; /root/say READY=1; while :; do sleep 0.05; done"));
    let running = crun.spawn(crun.command(container.args(["run", "-b", "BUNDLE", "ID"])));
    assert_eq!(manager.next(), "READY=1");
    signal(running.pid(), 15);
    assert_eq!(running.wait().code, 3);
    manager.has_heard_nothing();
    container.deleted();
}

#[test]
fn nobody_waits_for_a_program_that_has_ended() {
    let manager = Manager::new();
    let crun = manager.tells(runtime!());
    let container = created(&crun, &bundle("exit 1"));
    container.start();
    container.wait();
    let mut other = crun.container(&bundle("/root/say READY=0 STATUS=READY=1; exit 1"));
    other.make("run", ["--detach"]);
    manager.has_heard_nothing();
}

#[test]
fn the_last_word_of_a_program_counts() {
    let manager = Manager::new();
    let crun = manager.tells(runtime!());
    let container = created(&crun, &bundle("/root/say READY=1"));
    container.start();
    assert!(manager.next().ends_with("READY=1"));
}

#[test]
fn a_signal_ends_a_detached_run_that_waits() {
    let manager = Manager::new();
    let crun = manager.tells(runtime!());
    let container = crun.container(&bundle("exec sleep 99"));
    // The last that is done before the wait.
    let dir = tempfile::tempdir().unwrap();
    let pid_file = format!("--pid-file={}", dir.path().join("pid").display());
    let args = container.args(["run", "-d", "-b", "BUNDLE", &pid_file, "ID"]);
    let running = crun.spawn(crun.command(args));
    wait_for("the pid file", || dir.path().join("pid").exists().then_some(()));
    signal(running.pid(), 15);
    running.wait().error_with(["given up on signal 15 while waiting for the container to be ready"]);
    container.deleted();
}

#[test]
fn a_manager_that_is_gone_is_named() {
    let crun = runtime!().env("NOTIFY_SOCKET", "/no/such/manager");
    let container = created(&crun, &bundle("/root/say READY=1; sleep 99"));
    container
        .cmd(["start", "ID"])
        .error_with(["tell `/no/such/manager` that the container is ready: No such file or directory"]);
    let running =
        crun.clone().with("--log-level=warning").run(&bundle("/root/say READY=1; sleep 0.3; exit 4"));
    assert_eq!(running.code, 4);
    assert!(running.stderr.contains("tell `/no/such/manager`"), "{running}");
    let relative = runtime!().env("NOTIFY_SOCKET", "no/path");
    relative.run(&bundle("true")).error_with(["NOTIFY_SOCKET: `no/path` is no absolute path"]);
}

#[test]
fn the_program_is_told_where_to_talk_and_can_whoever_it_is() {
    let manager = Manager::new();
    let crun = manager.tells(runtime!());
    for bundle in [
        bundle("").env("NOTIFY_SOCKET=/of/the/configuration"),
        bundle("").mount("/tmp", "tmpfs", "tmpfs", []).in_user_namespace(),
    ] {
        let bundle = bundle
            .sh("/root/say READY=1 && echo $NOTIFY_SOCKET; touch ${NOTIFY_SOCKET%/notify}/x 2>/dev/null || echo closed")
            .set("/process/user", serde_json::json!({"uid": 1000, "gid": 1000}));
        fs::set_permissions(bundle.rootfs().join("root"), fs::Permissions::from_mode(0o755)).unwrap();
        let output = crun.run(&bundle);
        assert_eq!(output.stdout, format!("{}/notify\nclosed\n", manager.path().display()), "{output}");
        assert_eq!(manager.next(), "READY=1");
    }
}

#[test]
fn a_manager_with_an_abstract_socket_is_told_too() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("crun-notify-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    let crun = runtime!().env("NOTIFY_SOCKET", &format!("@{name}"));
    assert_eq!(crun.run(&bundle("/root/say READY=1; echo $NOTIFY_SOCKET")).ok(), "/run/notify/notify\n");
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"READY=1");
}

#[test]
fn a_program_that_floods_is_heard_all_the_same() {
    let manager = Manager::new();
    let crun = manager.tells(runtime!());
    let flood = "i=0; while [ $i -lt 300 ]; do /root/say STATUS=$i; i=$((i+1)); done; /root/say READY=1";
    assert_eq!(crun.run(&bundle(flood)).ok(), "");
    assert_eq!(manager.next(), "READY=1");
}

#[test]
fn a_container_without_mounts_of_its_own_is_refused() {
    let manager = Manager::new();
    let crun = manager.tells(runtime!());
    let bundle = bundle("true").namespace("mount", None).set("/mounts", serde_json::json!([])).writable();
    let bundle = bundle.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    crun.run(&bundle).error_with(["NOTIFY_SOCKET", "needs a new mount namespace"]);
}

#[test]
fn it_works_on_every_rung() {
    let manager = Manager::new();
    for (what, crun) in runtime!().mount_rungs() {
        assert_eq!(manager.tells(crun).run(&bundle("/root/say READY=1")).ok(), "", "{what}");
        assert_eq!(manager.next(), "READY=1", "{what}");
    }
}

/// A unit of the lane's systemd that runs a container in the foreground, or leaves it.
fn unit(crun: &Crun, container: &Container, detached: bool) -> Command {
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--collect", "--property=Type=notify", "--property=NotifyAccess=all"]);
    command.args(["--property=TimeoutStartSec=20s", &format!("--unit={}", container.id())]);
    command.args(["--property=KillMode=mixed", "--"]);
    let run =
        if detached { vec!["run", "-d", "-b", "BUNDLE", "ID"] } else { vec!["run", "-b", "BUNDLE", "ID"] };
    let args = run.iter().flat_map(|arg| container.args([arg]));
    let runtime = crun.command(args);
    command.arg(runtime.get_program()).args(runtime.get_args());
    command
}

fn show(container: &Container, property: &str) -> String {
    let mut command = Command::new("systemctl");
    command.args([
        "show",
        "--value",
        &format!("--property={property}"),
        &format!("{}.service", container.id()),
    ]);
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn a_unit_of_systemd_is_started_when_its_container_is_ready() {
    if kit::lane::current().is_none() {
        return kit::crun::skipped("a systemd is there in lanes only (cargo xtask lane)");
    }
    let crun = runtime!();
    for detached in [false, true] {
        let container = crun.container(&bundle(
            "trap 'exit 0' TERM; sleep 1; /root/say READY=1; while :; do sleep 0.1; done",
        ));
        let start = Instant::now();
        let output = unit(&crun, &container, detached).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(start.elapsed() > Duration::from_secs(1));
        assert_eq!(show(&container, "ActiveState"), "active", "detached: {detached}");
        let main = show(&container, "MainPID");
        assert_eq!(main == container.pid().to_string(), detached, "MainPID={main}");
        let stopped =
            Command::new("systemctl").args(["stop", &format!("{}.service", container.id())]).status();
        assert!(stopped.unwrap().success());
        container.delete();
    }
    let silent = crun.container(&bundle("exit 5"));
    assert!(!unit(&crun, &silent, false).output().unwrap().status.success());
    silent.deleted();
}

#[test]
fn what_is_left_of_it_goes_with_the_container() {
    let manager = Manager::new();
    let crun = manager.tells(runtime!());
    let container = created(&crun, &bundle("/root/say READY=1; exec sleep 99"));
    container.start();
    let place = crun.state_dir().join(container.id()).join("notify");
    assert_eq!(fs::metadata(place.join("notify")).unwrap().mode() & 0o777, 0o777);
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o755);
    container.delete();
    assert!(!place.exists());
}
