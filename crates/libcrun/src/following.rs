//! What becomes of a created container when it is started, for those whose hooks have to know: the runtime that could hear
//! of it on the channel is long gone, and `start` is another process.
//!
//! Init has one end of a FIFO in the state directory. It says there what it would say on the channel, and becoming the
//! program closes it.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, write};

use crate::channel::{Failure, FromInit, REPORT, failure_message, text_message, understand};
use crate::error::{Code, Context, Result};
use crate::hooks::KEPT;

/// More than init has to say.
const MOST: usize = 2 * REPORT + KEPT;

/// Says what could not be done.
pub(crate) fn tell_failed(fifo: BorrowedFd<'_>, failure: Failure) -> core::result::Result<(), Errno> {
    write(fifo, &failure_message(failure)).map(drop)
}

/// Says what a hook has written.
pub(crate) fn tell_text(fifo: BorrowedFd<'_>, text: &[u8]) -> core::result::Result<(), Errno> {
    write(fifo, &text_message(text)).and_then(|_| write(fifo, text)).map(drop)
}

/// Why a container has not become its program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) failure: Failure,
    /// What the hook has written.
    pub(crate) text: Vec<u8>,
}

/// Waits until the process has become its program, or has ended, or says why not. That takes as long as its hooks do.
pub(crate) fn follow(fifo: &OwnedFd, process: &OwnedFd) -> Result<Option<Refusal>> {
    let mut heard = Vec::new();
    loop {
        let mut awaited = [PollFd::new(fifo, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
        match poll(&mut awaited, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno).context(Code::System, || "wait for the container's program"),
        }
        let has_ended = !awaited[1].revents().is_empty();
        let is_open = take(fifo, &mut heard).context(Code::System, || "hear from the container's process")?;
        if has_ended || !is_open || heard.len() >= MOST {
            return Ok(refusal(&heard));
        }
    }
}

/// Reads what is there; whether more may come.
fn take(fifo: &OwnedFd, heard: &mut Vec<u8>) -> core::result::Result<bool, Errno> {
    let mut buffer = [0_u8; MOST];
    while heard.len() < MOST {
        match read(fifo, &mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => heard.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(Errno::AGAIN) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(false)
}

fn refusal(mut heard: &[u8]) -> Option<Refusal> {
    let mut text = Vec::new();
    while let Some((message, rest)) = heard.split_first_chunk::<REPORT>() {
        heard = rest;
        match understand(*message, None).ok()?? {
            FromInit::Failed(failure) => return Some(Refusal { failure, text }),
            FromInit::Text(length) => {
                let (said, rest) = heard.split_at_checked(length)?;
                text = said.to_vec();
                heard = rest;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Step;
    use rustix::fs::{OFlags, fcntl_setfl};
    use rustix::process::{PidfdFlags, getpid, pidfd_open};
    use std::os::fd::AsFd;

    fn ends() -> (OwnedFd, OwnedFd, OwnedFd) {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
        (reader, writer, pidfd_open(getpid(), PidfdFlags::empty()).unwrap())
    }

    #[test]
    fn a_failure_is_heard_with_what_the_hook_wrote() {
        let (reader, writer, process) = ends();
        let failure = Failure::new(Step::HookExit, 1, Errno::CANCELED).concerning(3);
        tell_text(writer.as_fd(), &[b'x'; KEPT]).unwrap();
        tell_failed(writer.as_fd(), failure).unwrap();
        let refusal = follow(&reader, &process).unwrap().unwrap();
        assert_eq!(refusal, Refusal { failure, text: vec![b'x'; KEPT] });
    }

    #[test]
    fn the_exec_closes_it_without_a_word() {
        let (reader, writer, process) = ends();
        drop(writer);
        assert_eq!(follow(&reader, &process).unwrap(), None);
    }
}
