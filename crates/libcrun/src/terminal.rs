//! The runtime's end of a process' terminal: where it goes.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::termios::{Winsize, tcsetwinsize};

use crate::console_socket::ConsoleSocket;
use crate::error::{Code, Context, Error, Result, words};
use crate::foreground;
use crate::plan::ProcessPlan;
use crate::spawn::Spawned;

/// Who gets it.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// The one that listens there; otherwise it is kept, for what the caller types and sees.
    socket: Option<ConsoleSocket>,
    size: Option<Winsize>,
    kept: RefCell<Option<OwnedFd>>,
}

impl Terminal {
    /// For a process that has one, while there is no process yet. `detached` is what keeps the caller from being at the
    /// terminal itself.
    pub(crate) fn new(
        process: &ProcessPlan,
        socket: Option<&Path>,
        detached: Option<&str>,
    ) -> Result<Option<Self>> {
        let Some(plan) = &process.terminal else { return Ok(None) };
        let socket = match (socket, detached) {
            (Some(path), _) => Some(ConsoleSocket::find(path)?),
            (None, Some(how)) => return Err(words::terminal_without_socket(how)),
            (None, None) => None,
        };
        Ok(Some(Self { socket, size: plan.size, kept: RefCell::new(None) }))
    }

    /// Takes what the process has handed over, before it becomes its program.
    pub(crate) fn take_over(&self, spawned: &Spawned) -> Result<()> {
        let missing = || Error::new(Code::Terminal, "the container's process has made no terminal");
        let master = spawned.take_terminal().ok_or_else(missing)?;
        let size = match &self.socket {
            Some(_) => self.size,
            None => self.size.or_else(foreground::callers_size),
        };
        if let Some(size) = size {
            tcsetwinsize(&master, size)
                .context(Code::Terminal, || "process.terminal: set the size of the terminal")?;
        }
        match &self.socket {
            Some(socket) => socket.send(master.as_fd()),
            None => {
                self.kept.replace(Some(master));
                Ok(())
            }
        }
    }

    /// The end that was kept for the caller.
    pub(crate) fn into_kept(self) -> Option<OwnedFd> {
        self.kept.into_inner()
    }
}
