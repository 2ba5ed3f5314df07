//! Memory that a process shares with those it makes (`mmap(2)` with `MAP_SHARED` and `MAP_ANONYMOUS`): numbers that a child
//! leaves there are found by its parent, also when the child has become another program.

use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use crate::{Errno, Result};

/// Numbers, zero at first.
#[derive(Debug)]
pub struct Shared {
    words: NonNull<AtomicU64>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone and what is in it may be used by any thread at any time: it is atomic.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Room for `length` numbers. All of it is there from the beginning: the pages are those of the caller's cgroup, however
    /// little its children may have.
    ///
    /// # Errors
    /// Those of `mmap(2)`.
    pub fn new(length: usize) -> Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let size = length.checked_mul(size_of::<AtomicU64>()).ok_or(Errno::NOMEM)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(crate::last_errno());
        }
        let words = NonNull::new(memory.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { words, length })
    }

    /// The numbers.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is that long, begins at a page, is zeroed, which is a number, and stays as long as this value.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.length) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing of it is lent out any more.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.length * size_of::<AtomicU64>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clone::{Namespaces, spawn};
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;
    use std::sync::atomic::Ordering;

    #[test]
    fn what_a_child_leaves_there_is_found_when_it_has_ended() {
        let shared = Shared::new(1000).unwrap();
        let leave = || {
            shared.words()[999].store(7, Ordering::Relaxed);
            0
        };
        // SAFETY: the child stores a number and ends.
        let child = unsafe { spawn(Namespaces::empty(), None, leave) }.unwrap();
        waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED).unwrap();
        let found: Vec<_> = [0, 999].map(|at: usize| shared.words()[at].load(Ordering::Relaxed)).into();
        assert_eq!(found, [0, 7]);
    }
}
