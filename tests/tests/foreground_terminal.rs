//! `run` and `exec` at a terminal: what is typed and shown, sizes, signals, and callers that are slow, gone or no terminal.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{PipeWriter, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, signal, wait_for};
use kit::runtime;
use kit::terminal::Terminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

fn with_terminal(script: &str) -> Bundle {
    Bundle::new().set("/process/terminal", json!(true)).sh(script)
}

/// `crun run` of a container that can be made of the bundle.
fn command(container: &Container) -> Command {
    container.crun().command(container.args(["run", "-b", "BUNDLE", "ID"]))
}

fn end(child: &mut Child) -> ExitStatus {
    wait_for("the end of the command", || child.try_wait().unwrap())
}

fn code(child: &mut Child) -> i32 {
    end(child).code().expect("an exit status")
}

/// The command as one line of a shell.
fn line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// What a process has used of a CPU, in hundredths of a second (proc_pid_stat(5)).
fn cpu_time(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u32>().unwrap()).sum()
}

/// Megabytes without a pause, and an end that is known.
const MEGABYTES: &str = "head -c 5000000 /dev/zero | tr '\\0' x; echo the end";
const LENGTH: usize = 5_000_000 + "the end\r\n".len();

#[test]
fn nothing_is_lost_of_what_a_program_says_before_it_ends() {
    let crun = runtime!();
    for _ in 0..3 {
        let container = crun.container(&with_terminal(MEGABYTES));
        let terminal = Terminal::new();
        assert_eq!(code(&mut terminal.start(&command(&container))), 0);
        let (length, last) = terminal.settled();
        assert!(length == LENGTH && last.ends_with(b"xthe end\r\n"), "{length} of {LENGTH}");
        container.deleted();
    }
}

#[test]
fn nothing_is_lost_on_the_way_to_a_file_or_a_pipe_either() {
    let crun = runtime!();
    let length = crun.run(&with_terminal(MEGABYTES)).ok().len();
    assert_eq!(length, LENGTH);
    let container = crun.container(&with_terminal(MEGABYTES));
    let mut child = command(&container).stdout(Stdio::piped()).spawn().unwrap();
    // Longer than all of it would take: the reader is slow.
    std::thread::sleep(Duration::from_millis(500));
    let mut read = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut read).unwrap();
    assert_eq!((read.len(), code(&mut child)), (LENGTH, 0));
    container.deleted();
}

#[test]
fn nothing_is_lost_of_what_exec_runs() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let terminal = Terminal::new();
    let command = crun.command(container.args(["exec", "-t", "ID", "sh", "-c", MEGABYTES]));
    assert_eq!(code(&mut terminal.start(&command)), 0);
    assert_eq!(terminal.settled().0, LENGTH);
}

#[test]
fn exec_does_not_wait_for_others_who_stay_at_its_terminal() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    for script in
        ["trap '' HUP; sleep 98 & sleep 0.1; echo done", "trap '' HUP; yes & sleep 0.1; echo done; exit 3"]
    {
        let terminal = Terminal::new();
        let command = crun.command(container.args(["exec", "-t", "ID", "sh", "-c", script]));
        let _ = code(&mut terminal.start(&command));
        terminal.wait_shown("done");
    }
}

#[test]
fn it_is_as_large_as_the_callers_from_the_beginning_and_when_that_changes() {
    let crun = runtime!();
    let script = "trap 'stty size; exit 3' WINCH; stty size; while :; do sleep 0.1; done";
    let container = crun.container(&with_terminal(script));
    let terminal = Terminal::new();
    terminal.resize(33, 77);
    let mut child = terminal.start(&command(&container));
    terminal.wait_shown("33 77\n");
    terminal.resize(44, 88);
    assert_eq!(code(&mut child), 3);
    terminal.wait_shown("33 77\n44 88\n");
    container.deleted();
}

#[test]
fn the_size_of_the_configuration_comes_before_the_callers() {
    let crun = runtime!();
    for (size, shown) in [((11, 22), "11 22\n"), ((0, 0), "24 80\n")] {
        let bundle = with_terminal("stty size");
        let bundle = bundle.set("/process/consoleSize", json!({"height": size.0, "width": size.1}));
        let container = crun.container(&bundle);
        let terminal = Terminal::new();
        assert_eq!(code(&mut terminal.start(&command(&container))), 0);
        terminal.wait_shown(shown);
    }
}

#[test]
fn keys_reach_the_processes_at_the_terminal_and_their_jobs_are_controlled() {
    let crun = runtime!();
    let container = crun.container(&with_terminal("exec sh -i"));
    let terminal = Terminal::new();
    let mut child = terminal.start(&command(&container));
    terminal.wait_shown("# ");
    assert!(terminal.is_raw());
    // What is shown is not what was typed, but what a program in the foreground says.
    terminal.enter("trap 'echo int''errupted' INT; sh -c 'echo o''ne; exec sleep 98'\n");
    terminal.wait_shown("one\n");
    terminal.enter("\x03");
    terminal.wait_shown("interrupted");
    terminal.enter("sh -c 'echo an''other; exec sleep 97'\n");
    terminal.wait_shown("another\n");
    terminal.enter("\x1a");
    terminal.wait_shown("Stopped");
    terminal.enter("exit 3\n");
    // Once more, because there is a stopped job.
    terminal.enter("exit 3\n");
    assert_eq!(code(&mut child), 3);
    assert!(!terminal.is_raw());
    container.deleted();
}

#[test]
fn the_callers_terminal_is_as_it_was_whatever_ends_the_process() {
    let crun = runtime!();
    for (script, number, expected) in [
        ("echo up; read x", None, 0),
        ("trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done", Some(15), 5),
        ("trap 'exit 6' HUP; echo up; while :; do sleep 0.1; done", Some(1), 6),
        ("trap 'exit 7' INT; echo up; while :; do sleep 0.1; done", Some(2), 7),
        ("trap 'exit 8' QUIT; echo up; while :; do sleep 0.1; done", Some(3), 8),
    ] {
        let container = crun.container(&with_terminal(script));
        let terminal = Terminal::new();
        let mut child = terminal.start(&command(&container));
        terminal.wait_shown("up\n");
        terminal.wait_raw(true);
        match number {
            Some(number) => signal(child.id(), number),
            None => terminal.enter("\n"),
        }
        assert_eq!((code(&mut child), terminal.is_raw()), (expected, false), "{script}");
        container.deleted();
    }
    let container = crun.container(&with_terminal("").args(["/no/such"]));
    let terminal = Terminal::new();
    assert_eq!((code(&mut terminal.start(&command(&container))), terminal.is_raw()), (1, false));
    terminal.wait_shown("executable file `/no/such` not found");
    container.deleted();
}

#[test]
fn what_comes_from_a_pipe_is_typed_and_so_is_its_end() {
    let crun = runtime!();
    for (input, expected) in [("a line\n", "a line\r\na line\r\n"), ("no line", "no lineno line"), ("", "")] {
        let container = crun.container(&with_terminal("exec cat"));
        let mut command = command(&container);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let mut shown = String::new();
        child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
        assert_eq!((shown.as_str(), code(&mut child)), (expected, 0));
        container.deleted();
    }
}

#[test]
fn without_any_standard_input_there_is_nothing_typed() {
    let crun = runtime!();
    let container = crun.container(&with_terminal("tty; cat; echo $?"));
    let output = crun.clone().after("exec <&-").cmd(container.args(["run", "-b", "BUNDLE", "ID"]));
    assert_eq!(output.ok(), "/dev/pts/0\r\n0\r\n");
    container.deleted();
}

#[test]
fn output_that_nobody_takes_is_an_error_and_the_process_finds_its_terminal_hung_up() {
    let crun = runtime!();
    for (place, reason) in [("/dev/full", "No space left on device"), ("closed pipe", "Broken pipe")] {
        let script = "trap 'exit 5' HUP; echo up; while :; do sleep 0.1; done";
        let container = crun.container(&with_terminal(script));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let stdout = match place {
            "/dev/full" => Stdio::from(File::options().write(true).open(place).unwrap()),
            _ => Stdio::from(writer),
        };
        let mut child = command(&container).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, format!("write to the standard output: {reason}\n"), "{place}");
        assert_eq!(code(&mut child), 1);
        container.deleted();
    }
}

#[test]
fn a_signal_is_forwarded_also_while_the_callers_terminal_is_stopped() {
    let crun = runtime!();
    let script = "trap 'exit 7' TERM; (trap '' TERM; yes) & while :; do sleep 0.1; done";
    let container = crun.container(&with_terminal(script));
    let terminal = Terminal::unread();
    let mut child = terminal.start(&command(&container));
    // The traps are set when there is output. The terminal takes nothing more when the runtime waits without being busy.
    let pid = child.id();
    wait_for("output", || terminal.has_unread().then_some(()));
    wait_for("the output to come to a stop", || {
        let before = cpu_time(pid);
        std::thread::sleep(Duration::from_millis(500));
        (cpu_time(pid) == before).then_some(())
    });
    signal(pid, 15);
    let state = || container.cmd(["state", "ID"]);
    wait_for("the container to stop", || state().stdout.contains("\"stopped\"").then_some(()));
    let terminal = terminal.read();
    assert_eq!(code(&mut child), 7);
    container.deleted();
    assert!(!terminal.is_raw());
}

/// Whether something can be written there.
fn takes_more(output: &PipeWriter) -> bool {
    poll(&mut [PollFd::new(output, PollFlags::OUT)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

#[test]
fn who_takes_no_more_output_of_a_process_that_has_ended_is_not_waited_for_after_a_signal() {
    let crun = runtime!();
    let script = "head -c 300000 /dev/zero & until [ -e /dev/shm/go ]; do sleep 0.1; done; exit 3";
    let container = crun.container(&with_terminal(script));
    let (reader, writer) = std::io::pipe().unwrap();
    let output = writer.try_clone().unwrap();
    let mut child = command(&container).stdout(output).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the pipe to be full", || (!takes_more(&writer)).then_some(()));
    assert_eq!(container.cmd(["exec", "ID", "touch", "/dev/shm/go"]).ok(), "");
    let state = || container.cmd(["state", "ID"]);
    wait_for("the container to stop", || state().stdout.contains("\"stopped\"").then_some(()));
    assert!(child.try_wait().unwrap().is_none(), "what is in the way of the output was not waited for");
    signal(child.id(), 15);
    assert_eq!(code(&mut child), 1);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "signal 15 came before all output was written\n");
    drop(reader);
    container.deleted();
}

#[test]
fn the_process_is_told_when_the_callers_terminal_goes_away() {
    let crun = runtime!();
    let container = crun.container(&with_terminal("trap 'exit 5' HUP; echo up; while :; do sleep 0.1; done"));
    let terminal = Terminal::new();
    // Not as the leader of its session: the kernel does not tell the runtime.
    let mut child = terminal.start_by(["env"], &command(&container));
    terminal.wait_shown("up\n");
    terminal.hang_up();
    assert_eq!(code(&mut child), 5);
    container.deleted();
}

#[test]
fn waiting_takes_no_time_of_a_cpu_whatever_there_is_to_wait_for() {
    let crun = runtime!();
    for (script, typed) in [
        ("echo up; sleep 98", 0),
        // Nobody reads what is typed.
        ("echo up; sleep 98", 100_000),
        // Nobody is at the terminal any more.
        ("echo up; exec sleep 98 </dev/null >/dev/null 2>&1", 0),
    ] {
        let container = crun.container(&with_terminal(script));
        let mut command = command(&container);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        stdout.read_exact(&mut [0; 4]).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || drop(stdin.write_all("line\n".repeat(typed / 5).as_bytes()).map(|()| stdin)));
            std::thread::sleep(Duration::from_millis(500));
            let before = cpu_time(child.id());
            std::thread::sleep(Duration::from_secs(1));
            assert!(cpu_time(child.id()) - before <= 2, "busy: {script}, {typed}");
            let _ = container.cmd(["kill", "ID", "KILL"]).ok();
            assert_eq!(code(&mut child), 137);
        });
        container.deleted();
    }
}

#[test]
fn a_terminal_that_everybody_has_left_is_there_for_who_comes_back() {
    let crun = runtime!();
    let script = "exec </dev/null >/dev/null 2>&1; sleep 1; echo back >/dev/console; sleep 0.1";
    let container = crun.container(&with_terminal(script));
    let terminal = Terminal::new();
    assert_eq!(code(&mut terminal.start(&command(&container))), 0);
    terminal.wait_shown("back\n");
}

#[test]
fn a_runtime_that_is_killed_hangs_up_and_leaves_nothing_that_cannot_be_deleted() {
    let crun = runtime!();
    let container = crun.container(&with_terminal("trap 'exit 5' HUP; echo up; while :; do sleep 0.1; done"));
    let terminal = Terminal::new();
    let mut child = terminal.start(&command(&container));
    terminal.wait_shown("up\n");
    signal(child.id(), 9);
    assert!(end(&mut child).code().is_none());
    container.wait();
    let _ = container.cmd(["delete", "ID"]).ok();
    container.deleted();
}

/// What an interactive shell is asked to do.
const JOBS: [&str; 5] = ["bash", "--norc", "--noprofile", "-m", "-c"];

#[test]
fn in_the_background_of_a_shell_the_terminal_is_the_shells() {
    let crun = runtime!();
    let container = crun.container(&with_terminal("echo up; read line; echo heard $line"));
    let terminal = Terminal::new();
    let line = line(&command(&container));
    let script = format!("{line} & read line; echo the shell has $line; fg >/dev/null; echo over");
    let mut shell = Command::new(JOBS[0]);
    shell.args(&JOBS[1..]).arg(script);
    let mut child = terminal.start(&shell);
    terminal.wait_shown("up");
    assert!(!terminal.is_raw());
    terminal.enter("first\n");
    terminal.wait_shown("the shell has first\n");
    terminal.wait_raw(true);
    terminal.enter("second\n");
    terminal.wait_shown("heard second\n");
    assert_eq!(code(&mut child), 0);
    terminal.wait_shown("over\n");
    assert!(!terminal.is_raw());
    container.deleted();
}

/// Whether a program is installed; says so if not.
fn has(program: &str) -> bool {
    let found = Command::new("which").arg(program).stdout(Stdio::null()).status().unwrap().success();
    if !found {
        kit::crun::skipped(format!("there is no {program}(1) here"));
    }
    found
}

#[test]
fn it_works_under_script() {
    let crun = runtime!();
    if !has("script") {
        return;
    }
    let container = crun.container(&with_terminal(&format!("tty; {MEGABYTES}; exit 3")));
    let typescript = tempfile::NamedTempFile::new().unwrap();
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &line(&command(&container))]).arg(typescript.path());
    // It would take the end of its input for something to be typed.
    let (input, _open) = std::io::pipe().unwrap();
    let output = script.stdin(input).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.starts_with("/dev/pts/0\r\nxxx"), "{:?}", shown.chars().take(40).collect::<String>());
    assert_eq!(shown.matches('x').count(), 5_000_000);
    container.deleted();
}

#[test]
fn it_works_under_tmux() {
    let crun = runtime!();
    if !has("tmux") {
        return;
    }
    let container =
        crun.container(&with_terminal("echo $(stty size) up; read line; echo heard $line; read line"));
    let name = format!("crun-test-{}", std::process::id());
    let tmux = |args: &[&str]| {
        let output = Command::new("tmux").args(["-L", &name]).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "70", "-y", "20", &line(&command(&container))]);
    let shows = |text: &str| {
        wait_for(text, || tmux(&["capture-pane", "-p"]).contains(text).then_some(()));
    };
    shows(" 70 up");
    tmux(&["send-keys", "hello", "Enter"]);
    shows("heard hello");
    tmux(&["send-keys", "Enter"]);
    wait_for("the session to end", || tmux(&["list-sessions"]).is_empty().then_some(()));
    container.deleted();
}

#[test]
fn many_at_once_lose_nothing() {
    let crun: Crun = runtime!();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let script = "head -c 100000 /dev/zero | tr '\\0' x; echo the end";
                    let output = crun.run(&with_terminal(script)).ok();
                    assert_eq!(output.len(), 100_000 + "the end\r\n".len());
                }
            });
        }
    });
}
