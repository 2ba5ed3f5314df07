//! The caller's side of a terminal: its own standard input and output, which may be a terminal too, or not.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, fstat, makedev, openat};
use rustix::process::getpgrp;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{
    OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};

/// How much can be written to anything that `poll(2)` says can be written to, without being held up: a pipe takes that
/// much (PIPE_BUF), and what takes less does not say so.
const SURE: usize = 4096;

/// The caller.
#[derive(Debug)]
pub(super) struct Caller {
    input: Stream,
    output: Stream,
    raw: Option<Raw>,
}

/// One of the standard descriptors.
#[derive(Debug)]
struct Stream {
    standard: BorrowedFd<'static>,
    is_terminal: bool,
    /// The same terminal, where nothing that is done holds up this process. The flag for that belongs to an open file and
    /// not to a descriptor: on the standard one it would be the shell's, too, and stay when this process is killed.
    own: Option<OwnedFd>,
}

/// The caller's terminal while it hands on every key; dropped, it is what it was before.
#[derive(Debug)]
struct Raw {
    terminal: BorrowedFd<'static>,
    before: Termios,
}

/// The size of the caller's terminal.
pub(crate) fn size() -> Option<Winsize> {
    [stdin(), stdout(), stderr()].into_iter().find_map(|standard| tcgetwinsize(standard).ok())
}

impl Caller {
    pub(super) fn new() -> Self {
        let (input, output) = (Stream::new(stdin(), OFlags::RDONLY), Stream::new(stdout(), OFlags::WRONLY));
        Self { input, output, raw: None }
    }

    pub(super) fn types_at_a_terminal(&self) -> bool {
        self.input.is_terminal
    }

    /// Whether a shell keeps this process in the background: then neither the terminal nor what is typed at it is its own.
    pub(super) fn is_in_background(&self) -> bool {
        self.input.is_terminal && !is_in_foreground(self.input.standard)
    }

    /// Prepares for reading what is typed; not in the background. Every key is handed on from then on, also those that the
    /// terminal would act upon.
    pub(super) fn take_input(&mut self) -> bool {
        if self.is_in_background() {
            return false;
        }
        if self.input.is_terminal {
            self.make_raw();
        }
        true
    }

    fn make_raw(&mut self) {
        let terminal = self.input.standard;
        if self.raw.is_none() {
            self.raw = tcgetattr(terminal).ok().map(|before| Raw { terminal, before });
        }
        if let Some(raw) = &self.raw {
            let mut modes = raw.before.clone();
            modes.make_raw();
            let _ = tcsetattr(terminal, OptionalActions::Now, &modes);
        }
    }

    pub(super) fn input(&self) -> BorrowedFd<'_> {
        self.input.descriptor()
    }

    pub(super) fn output(&self) -> BorrowedFd<'_> {
        self.output.descriptor()
    }

    /// How much may be written at once.
    pub(super) fn output_limit(&self) -> usize {
        if self.output.own.is_some() { usize::MAX } else { SURE }
    }
}

impl Stream {
    fn new(standard: BorrowedFd<'static>, access: OFlags) -> Self {
        let is_terminal = isatty(standard);
        let own = is_terminal.then(|| open_again(standard, access)).flatten();
        Self { standard, is_terminal, own }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or(self.standard, AsFd::as_fd)
    }
}

/// Another open file of the same terminal; nothing where it cannot be had, for want of permission say.
fn open_again(terminal: BorrowedFd<'_>, access: OFlags) -> Option<OwnedFd> {
    let is = |file: BorrowedFd<'_>| fstat(file).ok().map(|stat| (stat.st_dev, stat.st_ino, stat.st_rdev));
    let (device, inode, number) = is(terminal)?;
    // Opening the master of a pseudoterminal makes another one.
    if number == makedev(5, 2) {
        return None;
    }
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    let own = openat(CWD, path, flags, Mode::empty()).ok()?;
    (is(own.as_fd())? == (device, inode, number)).then_some(own)
}

/// Whether this process may use the terminal; so it may if that controls no process group of its session.
fn is_in_foreground(terminal: BorrowedFd<'_>) -> bool {
    tcgetpgrp(terminal).map_or(true, |group| group == getpgrp())
}

impl Drop for Raw {
    fn drop(&mut self) {
        if is_in_foreground(self.terminal) {
            let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
        }
    }
}
