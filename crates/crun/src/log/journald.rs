//! systemd's journal, in its own words (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>): a datagram of fields, or a memory
//! file of them where they are too many for that.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use libcrun::Error;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr};

use super::datagram;
use super::record::Record;

pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// The journal takes no memory file that could still be changed.
const SEALS: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE).union(SealFlags::SEAL);

#[derive(Debug)]
pub(super) struct Journald {
    socket: UnixDatagram,
    name: String,
    container: Option<String>,
}

impl Journald {
    /// Messages are those of `name`, and about the container.
    pub(super) fn new(name: &str, container: Option<&str>) -> Result<Self, Error> {
        let name = if name.is_empty() { "crun" } else { name };
        let (name, container) = (name.to_owned(), container.map(str::to_owned));
        Ok(Self { socket: datagram::socket()?, name, container })
    }

    pub(super) fn write(&self, record: &Record<'_>) -> io::Result<()> {
        self.send(&self.entry(record))
    }

    /// The fields of the C crun. `ID` is the container, whatever the name; where there is none, there is no field.
    fn entry(&self, record: &Record<'_>) -> Vec<u8> {
        let mut entry = Vec::with_capacity(record.message.len() + 64);
        field(&mut entry, "PRIORITY", &record.priority().to_string());
        field(&mut entry, "MESSAGE", record.message);
        if let Some(container) = &self.container {
            field(&mut entry, "ID", container);
        }
        field(&mut entry, "SYSLOG_IDENTIFIER", &self.name);
        entry
    }

    fn send(&self, entry: &[u8]) -> io::Result<()> {
        match datagram::uninterrupted(|| self.socket.send_to(entry, SOCKET)) {
            Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {
                self.send_file(entry)
            }
            sent => sent.map(drop),
        }
    }

    /// Sends the descriptor of a file with the entry in it, and nothing else.
    fn send_file(&self, entry: &[u8]) -> io::Result<()> {
        let mut file =
            File::from(memfd_create(c"journal-entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.write_all(entry)?;
        fcntl_add_seals(&file, SEALS)?;
        let address = SocketAddrUnix::new(SOCKET)?;
        let descriptors = [file.as_fd()];
        datagram::uninterrupted(|| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            let nothing = [IoSlice::new(&[])];
            Ok(sendmsg_addr(&self.socket, &address, &nothing, &mut control, SendFlags::NOSIGNAL)?)
        })
        .map(drop)
    }
}

/// `NAME=VALUE`, or for a value of several lines the name, its length in 64 bits, little end first, and the value.
fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;

    fn entry(name: &str, container: Option<&str>, message: &str) -> String {
        let record = Record::new(Level::Warning, message);
        String::from_utf8(Journald::new(name, container).unwrap().entry(&record)).unwrap()
    }

    #[test]
    fn an_entry_has_the_fields_of_the_c_crun() {
        assert_eq!(
            entry("web", Some("c1"), "a message"),
            "PRIORITY=4\nMESSAGE=a message\nID=c1\nSYSLOG_IDENTIFIER=web\n"
        );
        assert_eq!(entry("", None, "a"), "PRIORITY=4\nMESSAGE=a\nSYSLOG_IDENTIFIER=crun\n");
    }

    #[test]
    fn a_value_of_several_lines_is_counted() {
        let expected = "PRIORITY=4\nMESSAGE\n\u{3}\0\0\0\0\0\0\0a\nb\nID=c1\nSYSLOG_IDENTIFIER=crun\n";
        assert_eq!(entry("", Some("c1"), "a\nb"), expected);
    }
}
