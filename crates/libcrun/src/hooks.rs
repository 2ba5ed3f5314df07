//! Hooks: other people's programs that take part in a container's life (runtime-spec config.md#posix-platform-hooks).
//!
//! | kind | run by | when | sees |
//! |---|---|---|---|
//! | prestart, createRuntime | the runtime | init has its namespaces, its cgroup and its mounts, and waits | the host |
//! | createContainer | init | before it enters the root | the host's files, from the container's namespaces |
//! | startContainer | init | before it executes the program, with the rights of that | the container |
//! | poststart | the runtime (`start`, `run`) | the program runs | the host |
//! | poststop | the runtime (`delete`, `run`) | the container is gone | the host |
//!
//! A failure is the end of the container, except after it. What is decided about hooks is in [`crate::plan`], how one is
//! run in [`call`], what init does in [`crate::init`], and how `start` hears of it in [`crate::following`].

mod call;
mod report;
mod tail;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::event::PollFlags;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::fcntl_dupfd_cloexec;
use sys::exec::StringArray;
use sys::signal::SignalFd;

use crate::error::{Code, Context, Error, Result};
use crate::foreground;
use crate::plan::{HookKind, HooksPlan};
pub(crate) use call::{Call, Trouble, call};
pub(crate) use report::{inside, inside_failure, with_output};
pub(crate) use tail::{KEPT, Tail};

/// The hooks of a container, ready to be run.
#[derive(Debug)]
pub(crate) struct Hooks {
    pub(crate) plan: Rc<HooksPlan>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// The runtime's environment, for those that have none of their own.
    env: StringArray,
    /// The signals that end the runtime, where it would not hear of them otherwise.
    signals: Option<SignalFd>,
}

impl Hooks {
    /// Opens what they need. With `signals`, which the caller has blocked, a signal to end ends them.
    pub(crate) fn new(plan: Rc<HooksPlan>, signals: bool) -> Result<Self> {
        let file = |path: &Option<_>| path.as_deref().map(open_output).transpose();
        Ok(Self {
            stdout: file(&plan.output.stdout)?,
            stderr: file(&plan.output.stderr)?,
            plan,
            env: inherited().context(Code::Hook, || "pass the runtime's environment on to the hooks")?,
            signals: signals.then(foreground::ending_signals).transpose()?,
        })
    }

    /// Runs those of one kind, up to the first that fails. The container's process is `pid`.
    pub(crate) fn run(&self, kind: HookKind, pid: i32) -> Result<()> {
        (0..self.plan.list(kind).hooks.len()).try_for_each(|index| self.run_one(kind, index, pid))
    }

    /// Runs those that follow the end of the container, whatever becomes of each.
    pub(crate) fn run_poststop(&self) -> Vec<Error> {
        let all = 0..self.plan.list(HookKind::Poststop).hooks.len();
        all.filter_map(|index| self.run_one(HookKind::Poststop, index, 0).err()).collect()
    }

    fn run_one(&self, kind: HookKind, index: usize, pid: i32) -> Result<()> {
        let list = self.plan.list(kind);
        let Some(hook) = list.hooks.get(index) else { return Ok(()) };
        let pid = pid.to_string();
        let mut tail = Tail::new();
        let called = call(
            &Call {
                hook,
                env: hook.env.as_ref().unwrap_or(&self.env),
                directory: Some(&self.plan.bundle),
                umask: None,
                input: [&list.state.before, pid.as_bytes(), &list.state.after],
                stdout: self.stdout(),
                stderr: self.stderr(),
                interruption: self.signals.as_ref().map(|signals| (signals.as_fd(), PollFlags::IN)),
            },
            &mut tail,
        );
        called.map_err(|trouble| {
            let signal = self.signals.as_ref().filter(|_| trouble == Trouble::Interrupted);
            let signal = signal.and_then(|signals| signals.next().ok().flatten());
            let error = report::failure(&self.plan, (kind, index), trouble, signal);
            with_output(error, tail.bytes())
        })
    }

    pub(crate) fn env(&self) -> &StringArray {
        &self.env
    }

    pub(crate) fn stdout(&self) -> Option<BorrowedFd<'_>> {
        self.stdout.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn stderr(&self) -> Option<BorrowedFd<'_>> {
        self.stderr.as_ref().map(AsFd::as_fd)
    }
}

fn inherited() -> core::result::Result<StringArray, rustix::io::Errno> {
    use std::os::unix::ffi::OsStrExt;
    StringArray::new(
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()),
    )
}

/// Opens a file that gets what hooks write, behind what is in there. Not as a standard descriptor, where a hook's is put.
fn open_output(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY;
    openat(CWD, path, flags, Mode::from_raw_mode(0o700))
        .and_then(|file| if file.as_raw_fd() < 3 { fcntl_dupfd_cloexec(&file, 3) } else { Ok(file) })
        .context(Code::Hook, || format!("open `{}` for the output of hooks", path.display()))
}
