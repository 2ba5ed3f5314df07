//! Runs a program one instruction at a time, and notes where each function's code is entered first.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Runs `command` behind a shell that waits until it is watched.
const HELD: &str = "read -r _; exec \"$@\"";

/// The addresses of instructions of `program` that a command runs, in it and in its children until they execute something
/// else; each once, in the order of the first time. The command may be run by others before it becomes `program`.
pub(super) fn addresses(program: &Path, command: &Command) -> Result<Vec<u64>> {
    let mut held = Command::new("sh");
    held.args(["-c", HELD, "sh"]).arg(command.get_program()).args(command.get_args());
    let mut child = held.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("cannot run sh")?;
    let root = Pid::from_raw(i32::try_from(child.id())?);
    let options = Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(root, options).context("cannot trace the command")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(b"\n")?;
    }
    let mut watch = Watch { program, stepped: HashSet::new(), held: HashSet::new(), seen: Seen::default() };
    let status = watch.until_the_end_of(root)?;
    ensure!(status == 0, "{command:?} failed ({status})");
    Ok(watch.seen.order)
}

#[derive(Default)]
struct Seen {
    all: HashSet<u64>,
    order: Vec<u64>,
}

struct Watch<'p> {
    program: &'p Path,
    /// Processes that run the program.
    stepped: HashSet<Pid>,
    /// All that are watched.
    held: HashSet<Pid>,
    seen: Seen,
}

impl Watch<'_> {
    /// Returns the exit status of the first process.
    fn until_the_end_of(&mut self, root: Pid) -> Result<i32> {
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL))? {
                WaitStatus::Exited(pid, status) if pid == root => {
                    self.let_go()?;
                    return Ok(status);
                }
                WaitStatus::Signaled(pid, signal, _) if pid == root => bail!("killed by {signal}"),
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                    self.held.remove(&pid);
                    self.stepped.remove(&pid);
                }
                WaitStatus::PtraceEvent(pid, signal, event) => self.event(pid, signal, event)?,
                WaitStatus::Stopped(pid, signal) => self.stopped(pid, signal)?,
                _ => {}
            }
        }
    }

    fn event(&mut self, pid: Pid, _: Signal, event: i32) -> Result<()> {
        self.held.insert(pid);
        if event == Event::PTRACE_EVENT_EXEC as i32 {
            if self.runs_the_program(pid) {
                self.stepped.insert(pid);
            } else if self.stepped.remove(&pid) {
                self.held.remove(&pid);
                return Ok(ptrace::detach(pid, None)?);
            }
        } else if event != Event::PTRACE_EVENT_STOP as i32 && self.stepped.contains(&pid) {
            // A new process, which will say itself that it is there.
            let child = ptrace::getevent(pid)?;
            self.stepped.insert(Pid::from_raw(i32::try_from(child)?));
        }
        self.go_on(pid, None)
    }

    fn stopped(&mut self, pid: Pid, signal: Signal) -> Result<()> {
        self.held.insert(pid);
        if signal != Signal::SIGTRAP {
            return self.go_on(pid, Some(signal));
        }
        #[cfg(target_arch = "x86_64")]
        {
            let address = ptrace::getregs(pid)?.rip;
            if self.seen.all.insert(address) {
                self.seen.order.push(address);
            }
        }
        self.go_on(pid, None)
    }

    fn go_on(&self, pid: Pid, signal: Option<Signal>) -> Result<()> {
        let done =
            if self.stepped.contains(&pid) { ptrace::step(pid, signal) } else { ptrace::cont(pid, signal) };
        match done {
            // Killed in between: its end is told next.
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn runs_the_program(&self, pid: Pid) -> bool {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == self.program)
    }

    /// What goes on after the command, as a created container does, is no longer watched.
    fn let_go(&mut self) -> Result<()> {
        for pid in std::mem::take(&mut self.held) {
            if ptrace::interrupt(pid).is_err() {
                continue;
            }
            while matches!(waitpid(pid, Some(WaitPidFlag::__WALL)), Ok(status) if is_running(&status)) {
                ptrace::cont(pid, None)?;
            }
            let _ = ptrace::detach(pid, None);
        }
        Ok(())
    }
}

/// Whether a process has stopped for something else than for being interrupted.
fn is_running(status: &WaitStatus) -> bool {
    match status {
        WaitStatus::PtraceEvent(_, _, event) => *event != Event::PTRACE_EVENT_STOP as i32,
        WaitStatus::Stopped(..) => true,
        _ => false,
    }
}
