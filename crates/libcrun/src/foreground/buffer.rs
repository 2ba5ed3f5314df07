//! What has been read and not yet been written.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, read, write};

const SIZE: usize = 16 * 1024;

/// A bounded queue of bytes.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; SIZE].into_boxed_slice(), start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn has_room(&self) -> bool {
        self.end < SIZE
    }

    /// Reads once; returns what, nothing at the end of the file.
    pub(super) fn fill(&mut self, from: BorrowedFd<'_>) -> Result<&[u8], Errno> {
        let start = self.end;
        self.end += read(from, &mut self.bytes[start..])?;
        Ok(&self.bytes[start..self.end])
    }

    /// Appends as much of `bytes` as there is room for.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.end..];
        let length = bytes.len().min(room.len());
        room[..length].copy_from_slice(&bytes[..length]);
        self.end += length;
    }

    /// Writes once, at most `limit` bytes.
    pub(super) fn drain(&mut self, to: BorrowedFd<'_>, limit: usize) -> Result<(), Errno> {
        let end = self.end.min(self.start.saturating_add(limit));
        self.start += write(to, &self.bytes[self.start..end])?;
        if self.is_empty() {
            self.clear();
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_was_read_is_written_in_order_in_pieces_of_any_size() {
        let (from, into) = rustix::pipe::pipe().unwrap();
        let (out, to) = rustix::pipe::pipe().unwrap();
        let mut buffer = Buffer::new();
        write(&into, b"0123456789").unwrap();
        assert_eq!(buffer.fill(from.as_fd()), Ok(&b"0123456789"[..]));
        buffer.drain(to.as_fd(), 3).unwrap();
        buffer.push(b"ab");
        buffer.drain(to.as_fd(), 4).unwrap();
        buffer.drain(to.as_fd(), usize::MAX).unwrap();
        assert!(buffer.is_empty());
        let mut written = [0; 32];
        let length = read(&out, &mut written).unwrap();
        assert_eq!(&written[..length], b"0123456789ab");
    }

    #[test]
    fn it_is_bounded_and_has_room_again_when_all_is_written() {
        let (_, to) = rustix::pipe::pipe().unwrap();
        let file = std::fs::File::options().write(true).open("/dev/null").unwrap();
        let mut buffer = Buffer::new();
        buffer.push(&[1; 2 * SIZE]);
        assert!(!buffer.has_room());
        assert_eq!(buffer.drain(to.as_fd(), SIZE), Err(Errno::PIPE));
        buffer.drain(file.as_fd(), SIZE).unwrap();
        assert!(buffer.has_room() && buffer.is_empty());
    }
}
