//! The other side is played by a thread here.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use super::super::address::Socket;
use super::super::message::tests::{error, job_removed, reply, value};
use super::super::message::{self, FIXED};
use super::*;

const UNIT: &str = "x.scope";
const JOB: &str = "/org/freedesktop/systemd1/job/7";

/// Long enough for a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

/// A peer that answers in the way of the test.
struct Peer {
    place: Place,
    thread: JoinHandle<()>,
}

impl Peer {
    fn new(is_bus: bool, answer: impl FnOnce(Talk) + Send + 'static) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = format!("crun-peer-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let bound = path.clone();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            std::fs::remove_file(bound).unwrap();
            answer(Talk { stream: BufReader::new(stream) });
        });
        Self { place: Place { socket: Socket::Path(path), is_bus }, thread }
    }

    fn try_to_connect(&self, limit: Duration) -> Result<Manager> {
        Manager::connect_to(std::slice::from_ref(&self.place), limit)
    }

    fn connect(&self, limit: Duration) -> Manager {
        self.try_to_connect(limit).unwrap()
    }

    /// What becomes of a start.
    fn start(self, limit: Duration) -> std::result::Result<(), Refusal> {
        let result = self.try_to_connect(limit).map_err(Refusal::Other).and_then(|mut manager| {
            let started = manager.start(UNIT, &[]).map_err(Refusal::Other)?;
            manager.wait_for_start(&started)
        });
        self.thread.join().unwrap();
        result
    }
}

/// The peer's end of the conversation.
struct Talk {
    stream: BufReader<UnixStream>,
}

impl Talk {
    /// Lets the other side in.
    fn welcome(mut self) -> Self {
        let mut greeting = Vec::new();
        for _ in 0..3 {
            self.stream.read_until(b'\n', &mut greeting).unwrap();
        }
        assert_eq!(greeting, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        self.say(b"DATA\r\nOK 0123456789abcdef\r\n");
        self
    }

    fn say(&mut self, bytes: &[u8]) {
        // The other side may have had enough.
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// The text and the serial of the next call.
    fn hear(&mut self) -> (String, u32) {
        let mut header = [0; FIXED];
        self.stream.read_exact(&mut header).unwrap();
        let mut rest = vec![0; message::length(&header).unwrap() - FIXED];
        self.stream.read_exact(&mut rest).unwrap();
        let serial = u32::from_ne_bytes(header[8..12].try_into().unwrap());
        (String::from_utf8_lossy(&rest).into_owned(), serial)
    }

    fn hear_call(&mut self, member: &str) -> u32 {
        let (text, serial) = self.hear();
        assert!(text.contains(member), "{text}");
        serial
    }

    /// Waits until the other side is gone.
    fn wait_for_end(mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }
}

fn message_of(result: std::result::Result<(), Refusal>) -> String {
    result.expect_err("an error").into_error().message
}

#[test]
fn a_unit_is_there_when_its_job_is_done() {
    let peer = Peer::new(false, |talk| {
        let mut talk = talk.welcome();
        let serial = talk.hear_call("StartTransientUnit");
        talk.say(&job_removed(":1.1", "/other", "y.scope", "failed"));
        talk.say(&reply(serial, JOB));
        talk.say(&job_removed(":1.1", "/other", UNIT, "failed"));
        talk.say(&job_removed(":1.1", JOB, UNIT, "done"));
    });
    assert_eq!(peer.start(LONG), Ok(()));
}

#[test]
fn a_job_may_be_done_before_the_answer_comes() {
    let peer = Peer::new(false, |talk| {
        let mut talk = talk.welcome();
        let serial = talk.hear_call("StartTransientUnit");
        let all = [job_removed(":1.1", JOB, UNIT, "done"), reply(serial, JOB)].concat();
        for byte in all {
            talk.say(&[byte]);
        }
    });
    assert_eq!(peer.start(LONG), Ok(()));
}

#[test]
fn on_a_bus_the_job_is_listened_for_and_only_systemd_is_believed() {
    let peer = Peer::new(true, |talk| {
        let mut talk = talk.welcome();
        let hello = talk.hear_call("Hello");
        talk.say(&reply(hello, "/ignored"));
        let (rule, serial) = talk.hear();
        assert!(rule.contains("AddMatch") && rule.contains("member='JobRemoved',arg2='x.scope'"), "{rule}");
        talk.say(&reply(serial, "/ignored"));
        let serial = talk.hear_call("StartTransientUnit");
        talk.say(&reply(serial, JOB));
        talk.say(&job_removed(":1.666", JOB, UNIT, "done"));
        talk.say(&job_removed(":1.1", JOB, UNIT, "canceled"));
    });
    assert_eq!(message_of(peer.start(LONG)), "error `start` systemd unit `x.scope`: got `canceled`");
}

#[test]
fn a_job_that_fails_is_named_with_its_result() {
    let peer = Peer::new(false, |talk| {
        let mut talk = talk.welcome();
        let serial = talk.hear_call("StartTransientUnit");
        talk.say(&reply(serial, JOB));
        talk.say(&job_removed(":1.1", JOB, UNIT, "failed"));
    });
    assert_eq!(message_of(peer.start(LONG)), "error `start` systemd unit `x.scope`: got `failed`");
}

#[test]
fn a_refusal_is_told_in_systemds_words_on_one_line() {
    let peer = Peer::new(false, |talk| {
        let mut talk = talk.welcome();
        let serial = talk.hear_call("StartTransientUnit");
        talk.say(&error(serial, "org.freedesktop.DBus.Error.AccessDenied", "Access\ndenied\n"));
    });
    assert_eq!(message_of(peer.start(LONG)), "error `start` systemd unit `x.scope`: Access denied");
}

#[test]
fn a_property_that_is_not_known_and_a_unit_that_exists_are_told_apart() {
    let refused = |name: &'static str, text: &'static str| {
        let peer = Peer::new(false, move |talk| {
            let mut talk = talk.welcome();
            let serial = talk.hear_call("StartTransientUnit");
            talk.say(&error(serial, name, text));
        });
        peer.start(LONG).unwrap_err()
    };
    let read_only = "org.freedesktop.DBus.Error.PropertyReadOnly";
    let unknown = refused(read_only, "Cannot set property AllowedCPUs, or unknown property.");
    assert_eq!(unknown, Refusal::Property("AllowedCPUs".into()));
    let invalid = "org.freedesktop.DBus.Error.InvalidArgs";
    assert_eq!(refused(invalid, "CPUWeight value out of range"), Refusal::Property("CPUWeight".into()));
    assert!(matches!(
        refused(read_only, "Cannot set property ../x, or unknown property."),
        Refusal::Other(_)
    ));
    let exists = refused("org.freedesktop.systemd1.UnitExists", "Unit x.scope was already loaded.");
    assert!(matches!(exists, Refusal::Exists(_)));
}

#[test]
fn a_peer_that_never_answers_is_given_up() {
    let start = Instant::now();
    let silent = Peer::new(false, Talk::wait_for_end);
    let expected = "error `start` systemd unit `x.scope`: no answer within 0.3 s";
    assert_eq!(message_of(silent.start(SHORT)), expected);
    let after_the_greeting = Peer::new(true, |talk| talk.welcome().wait_for_end());
    assert_eq!(message_of(after_the_greeting.start(SHORT)), expected);
    let after_the_answer = Peer::new(false, |talk| {
        let mut talk = talk.welcome();
        let serial = talk.hear_call("StartTransientUnit");
        talk.say(&reply(serial, JOB));
        talk.wait_for_end();
    });
    assert_eq!(message_of(after_the_answer.start(SHORT)), expected);
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_peer_that_talks_of_other_things_without_end_is_given_up() {
    let peer = Peer::new(false, |talk| {
        let mut talk = talk.welcome();
        let noise = job_removed(":1.1", "/other", "y.scope", "done");
        while talk.stream.get_mut().write_all(&noise).is_ok() {}
    });
    assert_eq!(message_of(peer.start(SHORT)), "error `start` systemd unit `x.scope`: no answer within 0.3 s");
}

#[test]
fn a_peer_that_closes_is_an_error() {
    let expected = "error `start` systemd unit `x.scope`: the connection was closed by the other side";
    // Where it closes at once, already the greeting may not get through.
    let at_once = message_of(Peer::new(false, drop).start(LONG));
    assert!(at_once.ends_with(": the connection was closed by the other side"), "{at_once}");
    assert_eq!(message_of(Peer::new(false, |talk| drop(talk.welcome())).start(LONG)), expected);
    let in_the_middle = Peer::new(false, |talk| {
        let mut talk = talk.welcome();
        let serial = talk.hear_call("StartTransientUnit");
        let answer = reply(serial, JOB);
        talk.say(&answer[..answer.len() / 2]);
    });
    assert_eq!(message_of(in_the_middle.start(LONG)), expected);
}

#[test]
fn a_peer_that_speaks_something_else_is_an_error() {
    let web: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    let words = message_of(Peer::new(false, |mut talk| talk.say(web)).start(LONG));
    assert!(words.contains("does not speak D-Bus: `HTTP/1.1 400 Bad Request`"), "{words}");
    let endless = Peer::new(false, |mut talk| while talk.stream.get_mut().write_all(&[b'x'; 512]).is_ok() {});
    assert!(message_of(endless.start(LONG)).contains("an endless answer"));
    for garbage in [&[0xff_u8; 64][..], &[b'l', 2, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0], web]
    {
        let peer = Peer::new(false, move |talk| {
            let mut talk = talk.welcome();
            let _ = talk.hear();
            talk.say(garbage);
            talk.wait_for_end();
        });
        assert!(message_of(peer.start(LONG)).contains("does not speak D-Bus"));
    }
}

#[test]
fn who_is_not_let_in_is_told_so() {
    let peer = Peer::new(false, |mut talk| talk.say(b"REJECTED EXTERNAL\r\n"));
    assert!(message_of(peer.start(LONG)).contains("not let in: REJECTED EXTERNAL"));
}

#[test]
fn a_bus_that_refuses_to_listen_fails_the_start() {
    let peer = Peer::new(true, |talk| {
        let mut talk = talk.welcome();
        let _ = talk.hear_call("Hello");
        let serial = talk.hear_call("AddMatch");
        talk.say(&error(serial, "org.freedesktop.DBus.Error.LimitsExceeded", "too many"));
    });
    assert_eq!(message_of(peer.start(LONG)), "error `start` systemd unit `x.scope`: too many");
}

#[test]
fn where_nobody_listens_the_places_are_named() {
    let place = |path: &str| Place { socket: Socket::Path(PathBuf::from(path)), is_bus: true };
    let error = Manager::connect_to(&[place("/nonexistent/a"), place("/nonexistent/b")], LONG).unwrap_err();
    for path in ["`/nonexistent/a`: ", "`/nonexistent/b`: "] {
        assert!(error.message.contains(path), "{error}");
    }
    assert!(Manager::connect_to(&[], LONG).unwrap_err().message.contains("XDG_RUNTIME_DIR"));
}

#[test]
fn a_unit_that_is_stopped_is_forgotten_and_one_that_is_not_there_is_no_error() {
    let peer = Peer::new(false, |talk| {
        let mut talk = talk.welcome();
        let serial = talk.hear_call("StopUnit");
        talk.say(&reply(serial, JOB));
        talk.say(&job_removed(":1.1", JOB, UNIT, "done"));
        let serial = talk.hear_call("ResetFailedUnit");
        talk.say(&error(serial, "org.freedesktop.systemd1.NoSuchUnit", "Unit x.scope not loaded."));
        let serial = talk.hear_call("StopUnit");
        talk.say(&error(serial, "org.freedesktop.systemd1.NoSuchUnit", "Unit x.scope not loaded."));
        let serial = talk.hear_call("StopUnit");
        talk.say(&reply(serial, JOB));
        talk.say(&job_removed(":1.1", JOB, UNIT, "timeout"));
    });
    let mut manager = peer.connect(LONG);
    assert_eq!(manager.stop(UNIT), Ok(()));
    assert_eq!(manager.stop(UNIT), Ok(()));
    let error = manager.stop(UNIT).unwrap_err();
    assert_eq!(error.message, "error `stop` systemd unit `x.scope`: got `timeout`");
    peer.thread.join().unwrap();
}

#[test]
fn properties_are_set_when_systemd_has_answered_the_next_call() {
    let peer = Peer::new(false, |talk| {
        let mut talk = talk.welcome();
        let serial = talk.hear_call("SetUnitProperties");
        talk.say(&reply(serial, JOB));
        let serial = talk.hear_call("Ping");
        talk.say(&reply(serial, JOB));
    });
    let mut manager = peer.connect(LONG);
    assert_eq!(manager.set_properties(UNIT, &[]), Ok(()));
    peer.thread.join().unwrap();
}

#[test]
fn an_id_is_looked_up_outside() {
    assert_eq!(
        outside("         0       1000          1\n         1     100000      65536\n", 0),
        Some(1000)
    );
    assert_eq!(outside("0 1000 1\n1 100000 65536\n", 5), Some(100_004));
    assert_eq!(outside("0 1000 1\n", 1), None);
    assert_eq!(outside("", 0), None);
}

#[test]
fn the_version_is_told_as_systemd_says_it() {
    use super::super::value::Value;
    let ask = |answer: fn(u32) -> Vec<u8>| {
        let peer = Peer::new(false, move |talk| {
            let mut talk = talk.welcome();
            let (call, serial) = talk.hear();
            assert!(call.contains("org.freedesktop.systemd1.Manager") && call.contains("Version"), "{call}");
            talk.say(&answer(serial));
        });
        let version = peer.connect(LONG).version();
        peer.thread.join().unwrap();
        version.map_err(|error| error.to_string())
    };
    assert_eq!(ask(|serial| value(serial, Value::Text("257.9-1".into()))), Ok("257.9-1".to_owned()));
    let other = ask(|serial| value(serial, Value::Uint32(7))).unwrap_err();
    assert!(other.starts_with("ask systemd for its version: the other side does not speak D-Bus"), "{other}");
    let refused = ask(|serial| error(serial, "org.freedesktop.DBus.Error.AccessDenied", "no")).unwrap_err();
    assert_eq!(refused, "ask systemd for its version: no");
}
