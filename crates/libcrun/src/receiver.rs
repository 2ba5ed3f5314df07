//! Who answers for system calls that a seccomp profile leaves to somebody: a process that listens on a socket, a seccomp
//! agent (runtime-spec config-linux.md#containerprocessstate).
//!
//! The runtime connects before there is anything of the container, so that a missing agent is found then. What is sent,
//! the listener with the state of the process, only exists once the process is filtered, for a created container long
//! after the runtime has ended; so it is sent from there, by the process itself ([`crate::init`]).

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{Shutdown, SocketType, shutdown};
use rustix::process::Pid;
use sys::seccomp::Stack;

use crate::error::{Code, Error, Result};
use crate::plan::{ProcessPlan, Receiver};
use crate::unix_socket::{connect_to, send_descriptor};

/// A connection to an agent, with what it takes to use it in a process that does not allocate.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    stack: RefCell<Option<Stack>>,
    /// The process' pid, as the runtime sees it.
    pid: Cell<Option<Pid>>,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Connection {
    /// Connects to the agent of a process that needs one.
    pub(crate) fn open(process: &ProcessPlan) -> Result<Option<Self>> {
        let Some(receiver) = process.receiver() else { return Ok(None) };
        let socket = connect_to(&receiver.path, SocketType::STREAM).map_err(|errno| {
            let message = format!("connect to the seccomp receiver `{}`", receiver.path.display());
            match errno {
                Errno::AGAIN => Error::new(Code::System, format!("{message}: it accepts no connection")),
                errno => Error::os(Code::System, message, errno),
            }
        })?;
        let stack = RefCell::new(Some(Stack::default()));
        Ok(Some(Self { socket, stack, pid: Cell::new(None) }))
    }

    /// Remembers the process' pid.
    pub(crate) fn set_pid(&self, pid: Pid) {
        self.pid.set(Some(pid));
    }

    /// Room for the thread that sends; there is only one.
    pub(crate) fn take_stack(&self) -> Option<Stack> {
        self.stack.borrow_mut().take()
    }

    /// Sends the listener with the state of the process, and says that nothing more will come.
    ///
    /// # Errors
    /// `EAGAIN` when the agent does not take it in time, `EPIPE` when it is gone.
    pub(crate) fn send(
        &self,
        receiver: &Receiver,
        listener: BorrowedFd<'_>,
    ) -> core::result::Result<(), Errno> {
        let mut digits = [0_u8; DIGITS];
        let pid = decimal(self.pid.get().map_or(0, |pid| pid.as_raw_nonzero().get()), &mut digits);
        let [begin, middle, end] = &receiver.state;
        let parts = [begin.as_bytes(), pid, middle.as_bytes(), pid, end.as_bytes()].map(IoSlice::new);
        let sent = send_descriptor(&self.socket, &parts, listener)?;
        if sent < parts.iter().map(|part| part.len()).sum() {
            return Err(Errno::AGAIN);
        }
        shutdown(&self.socket, Shutdown::Write)
    }
}

/// As many as a pid has at most.
pub(crate) const DIGITS: usize = 10;

/// A number that is not negative, as text.
pub(crate) fn decimal(mut number: i32, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut start = DIGITS;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    &digits[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_written_in_decimal() {
        for number in [0, 7, 10, 4_194_304, i32::MAX] {
            assert_eq!(decimal(number, &mut [0; DIGITS]), number.to_string().as_bytes());
        }
    }
}
