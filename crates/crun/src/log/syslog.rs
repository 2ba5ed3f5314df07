//! The system's log, in the form of RFC 3164, which everything that listens on `/dev/log` understands.
//!
//! The name of the host and the time are left to the service, as 4.2 and 4.3 of the RFC allow: both are those of the moment in
//! which it gets the message. The time would have to be that of the machine's time zone, and what the C library needs to
//! tell that is a twentieth of this program's size.

use std::io;
use std::os::unix::net::UnixDatagram;

use libcrun::Error;

use super::datagram;
use super::record::{Record, in_one_line};

pub(super) const SOCKET: &str = "/dev/log";

/// The facility of programs that are none of the system's services (`LOG_USER`).
const FACILITY: u8 = 1;

/// What every service takes at least; RFC 3164 says 1024, but who looks for the reason of a failure wants all of it.
const LONGEST: usize = 8192;

#[derive(Debug)]
pub(super) struct Syslog {
    socket: UnixDatagram,
    name: String,
}

impl Syslog {
    /// Messages are those of `name`, or, where that is empty, of the container.
    pub(super) fn new(name: &str, container: Option<&str>) -> Result<Self, Error> {
        let name = if name.is_empty() { container.unwrap_or("crun") } else { name };
        Ok(Self { socket: datagram::socket()?, name: name.to_owned() })
    }

    pub(super) fn write(&self, record: &Record<'_>) -> io::Result<()> {
        let line = line(record, &self.name);
        datagram::uninterrupted(|| self.socket.send_to(line.as_bytes(), SOCKET)).map(drop)
    }
}

/// `<PRIORITY>NAME: MESSAGE`.
fn line(record: &Record<'_>, name: &str) -> String {
    let priority = FACILITY << 3 | record.priority();
    let mut line = format!("<{priority}>{}: {}", in_one_line(name), in_one_line(record.message));
    line.truncate(line.floor_char_boundary(LONGEST));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;

    #[test]
    fn a_message_is_a_line_of_rfc_3164() {
        for (level, priority) in [(Level::Error, 11), (Level::Warning, 12), (Level::Debug, 15)] {
            let record = Record::new(level, "open `a\nb`");
            assert_eq!(line(&record, "web"), format!("<{priority}>web: open `a\\nb`"));
        }
    }

    #[test]
    fn a_long_message_is_cut_between_two_letters() {
        let long = "ü".repeat(LONGEST);
        let line = line(&Record::new(Level::Error, &long), "web");
        assert!((LONGEST - 1..=LONGEST).contains(&line.len()), "{}", line.len());
    }

    #[test]
    fn without_a_name_messages_are_those_of_the_container() {
        let name = |given, container| Syslog::new(given, container).unwrap().name;
        assert_eq!(name("web", Some("c1")), "web");
        assert_eq!(name("", Some("c1")), "c1");
        assert_eq!(name("", None), "crun");
    }
}
