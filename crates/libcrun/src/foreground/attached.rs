//! A process in the foreground that has a terminal: what the caller types goes to it, and what it says to the caller.
//!
//! There is one wait for everything that can happen, and nothing else holds this process up, so that a signal is forwarded
//! also while the caller's terminal is stopped. What cannot be written yet is kept in bounded buffers; when they are full,
//! nothing more is read.
//!
//! When the caller is gone, or takes no more, the process finds its terminal hung up, and does what it does then.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::termios::{SpecialCodeIndex, tcgetattr, tcsetwinsize};
use sys::clone::Child;
use sys::signal::SignalFd;

use super::buffer::Buffer;
use super::caller::{self, Caller};
use super::{Company, Ended, SIGCHLD};
use crate::error::{Code, Context, Error, Result};

/// How long to leave a terminal alone that is of no use at the moment and does not say when it is again.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// More than the kernel keeps of what was written to a terminal and not yet read. Who writes more after the end of the
/// process is not the process.
const LAST_WORDS: usize = 64 * 1024;

/// The terminal between the process and the caller.
struct Attached<'a> {
    child: &'a Child,
    company: Company<'a>,
    signals: &'a SignalFd,
    caller: Caller,
    /// Nothing when the terminal has been hung up.
    master: Option<OwnedFd>,
    typed: Buffer,
    input: Input,
    /// Whether that is this process' to read.
    listens: bool,
    said: Buffer,
    output: Result<()>,
    /// Nobody has the other end open. Somebody may open it again.
    is_deserted: bool,
}

/// What is known of the caller's standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// There may be more. The terminal is at the start of a line, or not.
    Open { in_line: bool },
    /// It is at its end, which the process has not been told yet.
    AtEnd { in_line: bool },
    /// Nothing more comes.
    Closed,
}

/// What is waited for.
#[derive(Debug, Default)]
struct Ready {
    signal: bool,
    child: bool,
    input: bool,
    output: bool,
    from_process: bool,
    to_process: bool,
    proxy: bool,
}

/// As [`super::wait`].
pub(super) fn wait(child: &Child, mut company: Company<'_>, signals: &SignalFd) -> Result<Ended> {
    let Some(master) = company.master.take() else {
        return Err(Error::new(Code::System, "there is no terminal"));
    };
    let failed = || "prepare the terminal for use";
    let flags = fcntl_getfl(&master).context(Code::System, failed)?;
    fcntl_setfl(&master, flags | OFlags::NONBLOCK).context(Code::System, failed)?;
    let mut caller = Caller::new();
    // Also for a process that has ended already: its output was meant for a terminal that shows it as it is.
    let listens = caller.take_input();
    let mut attached = Attached {
        child,
        company,
        signals,
        caller,
        master: Some(master),
        typed: Buffer::new(),
        input: Input::Open { in_line: false },
        listens,
        said: Buffer::new(),
        output: Ok(()),
        is_deserted: false,
    };
    let status = loop {
        if let Some(status) = attached.turn()? {
            break status;
        }
    };
    attached.hear_last_words()?;
    Ok(Ended { status, output: attached.output })
}

impl Attached<'_> {
    /// Waits until something can be done, and does it. Returns the status of the process if it has ended.
    fn turn(&mut self) -> Result<Option<i32>> {
        self.tell_end();
        let ready = self.await_anything(true)?;
        // Looked at before each signal: it would be lost on a process that has ended.
        if (ready.child || ready.signal || ready.proxy)
            && let Some(status) = self.company.status(self.child)?
        {
            return Ok(Some(status));
        }
        if ready.signal {
            while let Some(signal) = self.next_signal()? {
                self.handle(signal);
            }
        }
        if ready.input {
            self.read_input();
        }
        if ready.to_process {
            self.write_typed();
        }
        if ready.from_process {
            self.read_said();
        }
        if ready.output {
            self.write_said();
        }
        Ok(None)
    }

    /// Everything else that can be waited for depends on there being something to do about it: otherwise what can be done
    /// all the time would keep this process busy.
    fn await_anything(&mut self, lives: bool) -> Result<Ready> {
        let is_open = lives && matches!(self.input, Input::Open { .. });
        if is_open && !self.listens {
            self.listens = self.caller.take_input();
        }
        let reads_input = is_open && self.listens && self.typed.has_room();
        let nothing = || PollFd::new(self.signals, PollFlags::empty());
        let when = |wanted: bool, flags: PollFlags| if wanted { flags } else { PollFlags::empty() };
        let from_process = when(lives && self.said.has_room(), PollFlags::IN);
        let to_process = when(lives && !self.typed.is_empty(), PollFlags::OUT);
        let master = self.master.as_ref().filter(|_| !self.is_deserted);
        let mut awaited = [
            PollFd::new(self.signals, PollFlags::IN),
            if lives { PollFd::new(&self.child.pidfd, PollFlags::IN) } else { nothing() },
            match master.filter(|_| !(from_process | to_process).is_empty()) {
                Some(master) => PollFd::new(master, from_process | to_process),
                None => nothing(),
            },
            match reads_input {
                true => PollFd::from_borrowed_fd(self.caller.input(), PollFlags::IN),
                false => nothing(),
            },
            match self.said.is_empty() {
                true => nothing(),
                false => PollFd::from_borrowed_fd(self.caller.output(), PollFlags::OUT),
            },
            match self.company.listening().filter(|_| lives) {
                Some(proxy) => PollFd::new(proxy, PollFlags::IN),
                None => nothing(),
            },
        ];
        let pauses = lives && (self.is_deserted || is_open && !self.listens);
        match poll(&mut awaited, pauses.then_some(&PAUSE)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(Error::os(Code::System, "wait for a signal or for the terminal", errno));
            }
        }
        let [signal, child, process, input, output, proxy] = awaited.map(|file| file.revents());
        self.is_deserted = false;
        // A hang-up or an error is found out about by trying.
        let trouble = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Ok(Ready {
            signal: !signal.is_empty(),
            child: !child.is_empty(),
            input: !input.is_empty(),
            output: !output.is_empty(),
            from_process: !from_process.is_empty() && process.intersects(PollFlags::IN | trouble),
            proxy: !proxy.is_empty(),
            to_process: !to_process.is_empty() && process.intersects(PollFlags::OUT | trouble),
        })
    }

    fn next_signal(&self) -> Result<Option<i32>> {
        self.signals.next().context(Code::System, || "read a signal")
    }

    fn handle(&mut self, signal: i32) {
        if [SIGCHLD, Signal::PIPE.as_raw()].contains(&signal) {
            // About this process itself: its children, and what it has written.
        } else if let (true, Some(size), Some(master)) =
            (signal == Signal::WINCH.as_raw(), caller::size(), &self.master)
        {
            // The kernel tells the processes at the terminal.
            let _ = tcsetwinsize(master, size);
        } else {
            // After a stop it may be in the background, and a shell has had its own way with the terminal.
            self.listens &= signal != Signal::CONT.as_raw();
            let _ = sys::signal::send(self.child.pidfd.as_fd(), signal);
        }
    }

    fn read_input(&mut self) {
        let Input::Open { in_line } = self.input else { return };
        let is_terminal = self.caller.types_at_a_terminal();
        match self.typed.fill(self.caller.input()) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok([]) | Err(_) if !is_terminal => self.input = Input::AtEnd { in_line },
            Err(Errno::IO) if self.caller.is_in_background() => self.listens = false,
            Ok([.., last]) => self.input = Input::Open { in_line: *last != b'\n' },
            Ok([]) | Err(_) => self.hang_up(),
        }
    }

    /// Tells the process of the end of what is typed, as a person does: what is read of an unfinished line comes first.
    fn tell_end(&mut self) {
        let (Input::AtEnd { in_line }, true, Some(master)) =
            (self.input, self.typed.is_empty(), &self.master)
        else {
            return;
        };
        let end = tcgetattr(master).map_or(4, |modes| modes.special_codes[SpecialCodeIndex::VEOF]);
        self.typed.push(&[end, end][..if in_line { 2 } else { 1 }]);
        self.input = Input::Closed;
    }

    fn write_typed(&mut self) {
        let Some(master) = &self.master else { return };
        // Whatever else there is is found out about by reading.
        self.is_deserted |= self.typed.drain(master.as_fd(), usize::MAX) == Err(Errno::IO);
    }

    /// Returns how much there was.
    fn read_said(&mut self) -> usize {
        let Some(master) = &self.master else { return 0 };
        match self.said.fill(master.as_fd()) {
            Ok([]) | Err(Errno::IO) => {
                self.is_deserted = true;
                0
            }
            Ok(said) => said.len(),
            Err(_) => 0,
        }
    }

    fn write_said(&mut self) {
        let limit = self.caller.output_limit();
        match self.said.drain(self.caller.output(), limit) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                self.output = Err(Error::os(Code::System, "write to the standard output", errno));
                self.hang_up();
            }
        }
    }

    fn hang_up(&mut self) {
        self.said.clear();
        self.typed.clear();
        self.input = Input::Closed;
        self.master = None;
    }

    /// Reads what the process has left behind in its terminal, and waits until the caller has taken it. Others may have the
    /// terminal open still, and go on writing.
    fn hear_last_words(&mut self) -> Result<()> {
        let mut heard = 0;
        loop {
            while heard < LAST_WORDS && self.said.has_room() {
                match self.read_said() {
                    0 => heard = LAST_WORDS,
                    length => heard += length,
                }
            }
            if self.said.is_empty() {
                return Ok(());
            }
            let ready = self.await_anything(false)?;
            if ready.signal {
                while let Some(signal) = self.next_signal()? {
                    // There is no process any more that it could be forwarded to.
                    if ends_a_wait(signal) {
                        self.output = Err(Error::new(
                            Code::System,
                            format!("signal {signal} came before all output was written"),
                        ));
                        return Ok(());
                    }
                }
            }
            if ready.output {
                self.write_said();
            }
        }
    }
}

/// Whether a signal is one that people and service managers end a program with.
fn ends_a_wait(signal: i32) -> bool {
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].iter().any(|ending| ending.as_raw() == signal)
}
