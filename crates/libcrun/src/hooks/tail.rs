//! The last of what a hook has written, in a fixed place.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, read};

/// How much is kept.
pub(crate) const KEPT: usize = 4096;

/// How often a pipe is emptied of who may be filling it at the same time.
const ROUNDS: usize = 16;

/// Twice what is kept, so that it need not be moved for every byte.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: [u8; 2 * KEPT],
    length: usize,
}

impl Tail {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; 2 * KEPT], length: 0 }
    }

    /// What is kept.
    pub(crate) fn bytes(&self) -> &[u8] {
        let all = self.bytes.get(..self.length).unwrap_or_default();
        all.get(all.len().saturating_sub(KEPT)..).unwrap_or_default()
    }

    /// Takes in what is there, once; returns how much it was.
    pub(super) fn read(&mut self, from: BorrowedFd<'_>) -> Result<usize, Errno> {
        if self.length > KEPT {
            self.bytes.copy_within(self.length - KEPT..self.length, 0);
            self.length = KEPT;
        }
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        let length = read(from, room)?;
        self.length += length;
        Ok(length)
    }

    /// Takes in what is there by now.
    pub(super) fn drain(&mut self, from: BorrowedFd<'_>) {
        for _ in 0..ROUNDS {
            if !matches!(self.read(from), Ok(1..)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_last_of_much_is_kept() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut tail = Tail::new();
        for round in 0..100_u8 {
            rustix::io::write(&writer, &[round; 1000]).unwrap();
            assert_eq!(tail.read(reader.as_fd()), Ok(1000));
        }
        let expected: Vec<u8> =
            [95; 96].into_iter().chain((96..100).flat_map(|round| [round; 1000])).collect();
        assert_eq!(tail.bytes(), expected);
    }
}
