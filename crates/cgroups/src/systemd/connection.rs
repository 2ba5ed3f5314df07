//! A connection to systemd, directly or through a bus. Whatever the other side does, waiting for it ends at the deadline.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send,
    socket_with,
};

use super::address::{Place, Socket};
use super::message::{self, Call, FIXED, Incoming};

/// Why the other side could not be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It has not answered in time.
    TimedOut(Duration),
    /// It has closed the connection.
    Closed,
    /// It has said something else than D-Bus does.
    Nonsense(String),
    /// The kernel's reason.
    Kernel(Errno),
    /// It has refused.
    Refused {
        /// The error's name.
        name: String,
        /// What it says.
        text: String,
    },
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "no answer within {} s", limit.as_secs_f32()),
            Self::Closed => f.write_str("the connection was closed by the other side"),
            Self::Nonsense(what) => write!(f, "the other side does not speak D-Bus: {what}"),
            // Without the number that is put behind the words.
            Self::Kernel(errno) => {
                let words = errno.to_string();
                f.write_str(words.split(" (os error").next().unwrap_or_default())
            }
            Self::Refused { name, text } if text.is_empty() => f.write_str(name),
            // One line, whatever somebody else writes.
            Self::Refused { text, .. } => f.write_str(&text.trim_end().replace(char::is_control, " ")),
        }
    }
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            errno => Self::Kernel(errno),
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    is_bus: bool,
    limit: Duration,
    deadline: Instant,
    /// What has come in and is not used yet.
    input: Vec<u8>,
    /// What is sent with the next call.
    output: Vec<u8>,
    is_authenticated: bool,
    serial: u32,
    /// Calls that may not fail, and whose answers nobody waits for.
    introductions: Vec<u32>,
}

/// One name of the user, which the other side looks up by itself: it sees from where the call comes, also out of a user
/// namespace, in which the caller does not know its own number. All it takes to be let in is sent at once.
const GREETING: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

/// The longest line of the greeting's answer there may be.
const LONGEST_LINE: usize = 1024;

impl Connection {
    /// Connects, without waiting until it is let in.
    pub(super) fn open(place: &Place, limit: Duration) -> Result<Self, Trouble> {
        let address = match &place.socket {
            Socket::Path(path) => SocketAddrUnix::new(path)?,
            Socket::Abstract(name) => SocketAddrUnix::new_abstract_name(name)?,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let deadline = Instant::now() + limit;
        loop {
            match connect(&socket, &address) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                // More are waiting to be let in than may.
                Err(Errno::AGAIN) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2))
                }
                Err(Errno::AGAIN) => return Err(Trouble::TimedOut(limit)),
                Err(errno) => return Err(errno.into()),
            }
        }
        let mut connection = Self {
            socket,
            is_bus: place.is_bus,
            limit,
            deadline,
            input: Vec::new(),
            output: Vec::new(),
            is_authenticated: false,
            serial: 0,
            introductions: Vec::new(),
        };
        if let Err(trouble) = connection.send(GREETING) {
            // What the other side has said before it closed is the reason.
            connection.authenticate()?;
            return Err(trouble);
        }
        Ok(connection)
    }

    /// Whether there is a bus between this side and systemd.
    pub(super) fn is_bus(&self) -> bool {
        self.is_bus
    }

    /// Sends a call; returns the serial by which its answer will be known.
    pub(super) fn call(&mut self, call: &Call<'_>, body: &[u8]) -> Result<u32, Trouble> {
        self.authenticate()?;
        let serial = self.next_serial();
        self.output.extend(call.message(serial, body));
        let output = std::mem::take(&mut self.output);
        self.send(&output)?;
        Ok(serial)
    }

    /// Sends a call with the next one that is only the condition for it: its failure is that one's.
    pub(super) fn introduce(&mut self, call: &Call<'_>, body: &[u8]) {
        let serial = self.next_serial();
        self.output.extend(call.message(serial, body));
        self.introductions.push(serial);
    }

    /// The next message that is an answer or a signal.
    pub(super) fn next(&mut self) -> Result<Incoming, Trouble> {
        loop {
            match message::parse(&self.next_message()?).map_err(nonsense)? {
                Incoming::Error { to, name, text } if self.introductions.contains(&to) => {
                    return Err(Trouble::Refused { name, text });
                }
                Incoming::Reply { to, .. } if self.introductions.contains(&to) => {}
                Incoming::Other => {}
                other => return Ok(other),
            }
        }
    }

    fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    fn next_message(&mut self) -> Result<Vec<u8>, Trouble> {
        loop {
            if let Some(header) = self.input.first_chunk::<FIXED>() {
                let length = message::length(header).map_err(nonsense)?;
                if self.input.len() >= length {
                    let rest = self.input.split_off(length);
                    return Ok(std::mem::replace(&mut self.input, rest));
                }
            }
            self.receive()?;
        }
    }

    /// Waits until the other side has let this one in.
    fn authenticate(&mut self) -> Result<(), Trouble> {
        while !self.is_authenticated {
            let line = self.next_line()?;
            match line.split(' ').next() {
                Some("DATA") => {}
                Some("OK") => self.is_authenticated = true,
                Some("REJECTED" | "ERROR") => {
                    return Err(Trouble::Refused {
                        name: String::new(),
                        text: format!("not let in: {line}"),
                    });
                }
                _ => return Err(nonsense(&format!("`{line}` in answer to the greeting"))),
            }
        }
        Ok(())
    }

    fn next_line(&mut self) -> Result<String, Trouble> {
        loop {
            if let Some(end) = self.input.windows(2).position(|two| two == b"\r\n") {
                let rest = self.input.split_off(end + 2);
                let mut line = std::mem::replace(&mut self.input, rest);
                line.truncate(end);
                return Ok(String::from_utf8_lossy(&line).replace(char::is_control, "?"));
            }
            if self.input.len() > LONGEST_LINE {
                return Err(nonsense("an endless answer to the greeting"));
            }
            self.receive()?;
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Trouble> {
        let mut buffer = [0_u8; 4096];
        loop {
            // Also when there is always something to read: the deadline is for all of it.
            self.remaining()?;
            match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Err(Trouble::Closed),
                Ok((count, _)) => {
                    self.input.extend_from_slice(&buffer[..count]);
                    return Ok(());
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn wait(&self, what: PollFlags) -> Result<(), Trouble> {
        let left = self.remaining()?;
        let limit = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.socket, what)], Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn remaining(&self) -> Result<Duration, Trouble> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(Trouble::TimedOut(self.limit)),
            left => Ok(left),
        }
    }
}

fn nonsense(what: &str) -> Trouble {
    Trouble::Nonsense(what.to_owned())
}
