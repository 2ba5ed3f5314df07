//! What a program has to do first when it starts without the standard library's runtime: that asks the kernel for the
//! stack's bounds and prepares for its overflow, which takes a short-lived program a tenth of its time.

use std::os::fd::IntoRawFd;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::Result;

/// Makes sure that the three standard descriptors are open, so that nothing opened later is taken for one of them, and
/// that writing to a closed pipe is an error instead of the end (as the standard library's runtime does).
///
/// # Errors
/// When a descriptor is missing and `/dev/null` cannot be opened in its place.
pub fn prepare() -> Result<()> {
    for standard in 0..3 {
        // SAFETY: F_GETFD only asks about a descriptor number; whether it is open is the question.
        if unsafe { libc::fcntl(standard, libc::F_GETFD) } == -1 {
            // The lowest free number is the one that is missing; it stays open as long as the process lives.
            let null = openat(CWD, c"/dev/null", OFlags::RDWR, Mode::empty())?;
            let _ = null.into_raw_fd();
        }
    }
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    // SAFETY: as above. Inherited as ignored, it would let children vanish without the signal they are waited for by.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    Ok(())
}
