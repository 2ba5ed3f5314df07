//! Somebody who plays systemd at the other end of a bus, badly: for tests of what the runtime does then.
//!
//! [`Peer::new`] listens on a socket and lets each connection in as a bus would; what is said after that is the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure of the kit is a failure of the test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use tempfile::TempDir;

/// The job that the peer says it has made.
pub const JOB: &str = "/org/freedesktop/systemd1/job/7";

const SENDER: &str = ":1.1";

/// A socket with somebody behind it.
#[derive(Debug)]
pub struct Peer {
    dir: TempDir,
}

impl Peer {
    /// Answers each connection by `answer`, one after the other.
    #[must_use]
    pub fn new(answer: impl Fn(&mut Talk) + Send + Sync + 'static) -> Self {
        let dir = tempfile::Builder::new().prefix("crun-peer-").tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("bus")).unwrap();
        let answer = Arc::new(answer);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    let mut talk = Talk { stream: BufReader::new(stream) };
                    if talk.let_in().is_some() {
                        answer(&mut talk);
                    }
                });
            }
        });
        Self { dir }
    }

    /// The address, as `DBUS_SYSTEM_BUS_ADDRESS` has it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:path={}", self.dir.path().join("bus").display())
    }
}

/// The peer's end of a conversation.
#[derive(Debug)]
pub struct Talk {
    stream: BufReader<UnixStream>,
}

/// A call that has been made.
#[derive(Debug, Clone)]
pub struct Call {
    /// What its answer has to name.
    pub serial: u32,
    /// All of it, for what is readable in it.
    pub text: String,
}

impl Call {
    /// Whether it is a call of this method.
    #[must_use]
    pub fn is(&self, member: &str) -> bool {
        self.text.contains(&format!("{member}\0"))
    }
}

impl Talk {
    fn let_in(&mut self) -> Option<()> {
        for _ in 0..3 {
            self.stream.read_until(b'\n', &mut Vec::new()).ok()?;
        }
        self.say(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n");
        Some(())
    }

    /// The next call to systemd; those to the bus are answered on the way. `None` when the other side is gone.
    pub fn hear(&mut self) -> Option<Call> {
        loop {
            let mut header = [0_u8; 16];
            self.stream.read_exact(&mut header).ok()?;
            let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
            let fields = usize::try_from(number(12)).unwrap().next_multiple_of(8);
            let mut rest = vec![0; fields + usize::try_from(number(4)).unwrap()];
            self.stream.read_exact(&mut rest).ok()?;
            let call = Call { serial: number(8), text: String::from_utf8_lossy(&rest).into_owned() };
            if call.is("Hello") || call.is("AddMatch") {
                self.reply(&call, &[]);
            } else {
                return Some(call);
            }
        }
    }

    /// Goes away.
    pub fn close(&mut self) {
        let _ = self.stream.get_mut().shutdown(std::net::Shutdown::Both);
    }

    /// Says this, whatever it is.
    pub fn say(&mut self, bytes: &[u8]) {
        // The other side may have had enough.
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Answers that it is done, or being done by the job.
    pub fn reply(&mut self, call: &Call, job: &[&str]) {
        let signature = if job.is_empty() { "" } else { "o" };
        let mut body = Vec::new();
        job.iter().for_each(|job| text(&mut body, job));
        self.say(&message(2, Some(call.serial), &[(7, "s", SENDER)], signature, &body));
    }

    /// Refuses.
    pub fn refuse(&mut self, call: &Call, name: &str, words: &str) {
        let mut body = Vec::new();
        text(&mut body, words);
        self.say(&message(3, Some(call.serial), &[(7, "s", SENDER), (4, "s", name)], "s", &body));
    }

    /// Tells everybody that the job has ended.
    pub fn job_removed(&mut self, unit: &str, result: &str) {
        let mut body = 7_u32.to_le_bytes().to_vec();
        [JOB, unit, result].into_iter().for_each(|part| text(&mut body, part));
        let interface = "org.freedesktop.systemd1.Manager";
        let fields = [(7, "s", SENDER), (2, "s", interface), (3, "s", "JobRemoved")];
        self.say(&message(4, None, &fields, "uoss", &body));
    }
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    align(bytes, 4);
    bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// A message in little-endian order (D-Bus Specification, "Message Protocol").
fn message(
    kind: u8,
    reply_to: Option<u32>,
    fields: &[(u8, &str, &str)],
    signature: &str,
    body: &[u8],
) -> Vec<u8> {
    let mut header = Vec::new();
    for (field, kind, value) in fields {
        align(&mut header, 8);
        header.extend([*field, 1, kind.as_bytes()[0], 0]);
        text(&mut header, value);
    }
    if let Some(serial) = reply_to {
        align(&mut header, 8);
        header.extend([5, 1, b'u', 0]);
        header.extend(serial.to_le_bytes());
    }
    align(&mut header, 8);
    header.extend([8, 1, b'g', 0, u8::try_from(signature.len()).unwrap()]);
    header.extend(signature.as_bytes());
    header.push(0);
    let mut all = vec![b'l', kind, 0, 1];
    for number in [u32::try_from(body.len()).unwrap(), 1, u32::try_from(header.len()).unwrap()] {
        all.extend(number.to_le_bytes());
    }
    all.extend(header);
    align(&mut all, 8);
    all.extend(body);
    all
}
