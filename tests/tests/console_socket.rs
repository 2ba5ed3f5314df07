//! Console sockets: the terminal of a container goes to who listens there.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::console::ConsoleSocket;
use kit::container::Container;
use kit::crun::{Crun, wait_for};
use kit::runtime;
use serde_json::json;

fn with_terminal() -> Bundle {
    Bundle::new().set("/process/terminal", json!(true))
}

/// What a process says of its terminal.
const LOOK: &str = "tty; stat -c '%u %a' $(tty); cd /proc/$$/fd; for fd in 0 1 2; do readlink $fd; done; cd /; \
    echo to the controlling one >/dev/tty; read line; echo heard $line";

const SEEN: &str = "/dev/pts/0\n0 620\n/dev/pts/0\n/dev/pts/0\n/dev/pts/0\nto the controlling one\n";

/// Makes the container with the socket, which gets the terminal.
fn make(crun: &Crun, bundle: &Bundle, command: &str, socket: &ConsoleSocket) -> Container {
    let mut container = crun.container(bundle);
    let options = ["--console-socket", socket.arg()];
    match command {
        "create" => container.make("create", options),
        _ => container.make("run", ["--detach", options[0], options[1]]),
    }
    container
}

#[test]
fn a_created_container_has_sent_its_terminal_when_create_returns() {
    let crun = runtime!();
    let socket = ConsoleSocket::new();
    let container = make(&crun, &with_terminal().sh(LOOK), "create", &socket);
    let terminal = socket.receive();
    assert_eq!(terminal.shown(), "");
    container.start();
    terminal.wait_shown("controlling one\n");
    terminal.enter("hello\n");
    terminal.wait_shown("heard hello\n");
    assert_eq!(terminal.shown(), format!("{SEEN}hello\nheard hello\n"));
    assert_eq!(container.stdout() + &container.stderr(), "");
}

#[test]
fn so_has_a_container_that_is_run_in_the_background() {
    let crun = runtime!();
    let socket = ConsoleSocket::new();
    let _container = make(&crun, &with_terminal().sh(LOOK), "run", &socket);
    let terminal = socket.receive();
    terminal.wait_shown("controlling one\n");
    assert_eq!(terminal.shown(), SEEN);
}

#[test]
fn run_in_the_foreground_sends_it_too_and_waits() {
    let crun = runtime!();
    let socket = ConsoleSocket::new();
    let container = crun.container(&with_terminal().sh("echo up; read line; exit $line"));
    let args = container.args(["run", "-b", "BUNDLE", "--console-socket", socket.arg(), "ID"]);
    let running = crun.spawn(crun.command(args));
    let terminal = socket.receive();
    terminal.wait_shown("up\n");
    terminal.enter("7\n");
    let output = running.wait();
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (7, "", ""));
    container.deleted();
}

#[test]
fn the_terminal_belongs_to_the_user_of_the_process() {
    let crun = runtime!();
    let socket = ConsoleSocket::new();
    let bundle = with_terminal().set("/process/user", json!({"uid": 1000, "gid": 1000})).sh(LOOK);
    let _container = make(&crun, &bundle, "run", &socket);
    let terminal = socket.receive();
    terminal.wait_shown("controlling one\n");
    assert_eq!(terminal.shown(), SEEN.replace("\n0 620", "\n1000 620"));
}

#[test]
fn it_has_the_size_of_the_configuration() {
    let crun = runtime!();
    let sized = |height: u32, width: u32| {
        with_terminal().set("/process/consoleSize", json!({"height": height, "width": width}))
    };
    let socket = ConsoleSocket::new();
    let _container = make(&crun, &sized(11, 222).sh("stty size; sleep 99"), "run", &socket);
    socket.receive().wait_shown("11 222\n");
    let words = "process.consoleSize.height: `65536` is more than 65535";
    crun.run(&sized(65_536, 1)).error_with([words]);
    // It says nothing about a process without a terminal.
    let without = sized(65_536, 1).set("/process/terminal", json!(false)).args(["true"]);
    assert_eq!(crun.run(&without).ok(), "");
}

#[test]
fn without_a_terminal_nobody_connects() {
    let crun = runtime!();
    let socket = ConsoleSocket::new();
    let bundle = Bundle::new().args(["true"]);
    let _container = make(&crun, &bundle, "create", &socket);
    assert!(!socket.has_connection());
    let run = crun.run_with(&Bundle::new().args(["true"]), ["--console-socket", "/no/such/socket"]);
    assert_eq!(run.ok(), "");
}

#[test]
fn what_is_in_the_background_needs_one_for_its_terminal() {
    let crun = runtime!();
    let container = crun.container(&with_terminal());
    let words = |how: &str| format!("use --console-socket with {how} when a terminal is used");
    assert_eq!(container.cmd(["create", "-b", "BUNDLE", "ID"]).error(), words("create"));
    assert_eq!(container.cmd(["run", "-d", "-b", "BUNDLE", "ID"]).error(), words("--detach"));
    container.deleted();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    assert_eq!(container.cmd(["exec", "-t", "-d", "ID", "true"]).error(), words("--detach"));
}

#[test]
fn a_socket_that_is_missing_or_none_is_an_error_before_anything_exists() {
    let crun = runtime!();
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    let long = format!("/tmp/{}/socket", "x".repeat(120));
    for (socket, reason) in [
        ("/no/such/socket", "No such file or directory"),
        (&long, "No such file or directory"),
        (file, "it is not a socket"),
    ] {
        let container = crun.container(&with_terminal().args(["true"]));
        let expected = format!("connect to the console socket `{socket}`: {reason}");
        for command in ["create", "run"] {
            let output = container.cmd([command, "-b", "BUNDLE", "--console-socket", socket, "ID"]);
            assert_eq!(output.error(), expected);
            assert!(!crun.state_dir().exists());
        }
        container.deleted();
    }
}

#[test]
fn a_socket_nobody_listens_on_is_an_error_that_leaves_nothing() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let path = path.to_str().unwrap();
    let expected = format!("connect to the console socket `{path}`: Connection refused");
    for command in [["create", "-b"], ["run", "-db"]] {
        let container = crun.container(&with_terminal().args(["sleep", "99"]));
        let args = [command[0], command[1], "BUNDLE", "--console-socket", path, "ID"];
        assert_eq!(container.cmd(args).error(), expected);
        container.deleted();
    }
}

#[test]
fn a_start_that_fails_before_there_is_a_terminal_connects_to_nobody() {
    let crun = runtime!();
    let socket = ConsoleSocket::new();
    for bundle in
        [with_terminal().args(["/no/such"]), with_terminal().set("/process/cwd", json!("/etc/passwd"))]
    {
        let container = crun.container(&bundle);
        let _ = container.cmd(["create", "-b", "BUNDLE", "--console-socket", socket.arg(), "ID"]).error();
        assert!(!socket.has_connection());
        container.deleted();
    }
}

#[test]
fn the_path_may_be_longer_than_an_address_of_a_socket() {
    let crun = runtime!();
    let socket = ConsoleSocket::below(&"long/".repeat(40));
    let _container = make(&crun, &with_terminal().sh("echo up; sleep 99"), "run", &socket);
    socket.receive().wait_shown("up\n");
}

#[test]
fn who_listens_need_not_take_it_for_create_to_return() {
    let crun = runtime!();
    let socket = ConsoleSocket::new();
    let container = make(&crun, &with_terminal().sh("echo up; sleep 99"), "create", &socket);
    container.start();
    socket.receive().wait_shown("up\n");
}

#[test]
fn who_listens_and_accepts_no_more_connections_is_waited_for_some_seconds_only() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let socket = {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
        let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&socket, 0).unwrap();
        socket
    };
    let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let container = crun.container(&with_terminal().args(["true"]));
    let output = container.cmd(["create", "-b", "BUNDLE", "--console-socket", path.to_str().unwrap(), "ID"]);
    output.error_with([path.to_str().unwrap(), "nobody accepts the connections there"]);
    container.deleted();
    drop(socket);
}

#[test]
fn who_closes_the_connection_at_once_makes_the_start_fail_or_hangs_up() {
    let crun = runtime!();
    let socket = ConsoleSocket::new();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(socket.accept()));
        let script = "trap 'exit 5' HUP; while test -t 0 && sleep 0.1; do :; done";
        let container = crun.container(&with_terminal().sh(script));
        let args = ["run", "-d", "-b", "BUNDLE", "--console-socket", socket.arg(), "ID"];
        let output = container.cmd(args);
        if output.code == 0 {
            container.wait();
        } else {
            output.error_with(["send the terminal to the console socket", socket.arg(), "Broken pipe"]);
            container.deleted();
        }
    });
}

#[test]
fn the_process_finds_its_terminal_hung_up_when_the_other_end_is_closed() {
    let crun = runtime!();
    let socket = ConsoleSocket::new();
    let script = "trap 'exit 5' HUP; echo up; while :; do sleep 0.1; done";
    let container = make(&crun, &with_terminal().sh(script), "run", &socket);
    let terminal = socket.receive();
    terminal.wait_shown("up\n");
    terminal.hang_up();
    wait_for("its end", || (container.status() == "stopped").then_some(()));
}
