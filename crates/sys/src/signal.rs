//! Signals: blocked while a container is made, read from a descriptor while it runs, reset before it starts.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Result, checked};

/// The size of the kernel's signal set in bytes (`_NSIG / 8`).
const SET_SIZE: usize = 8;
/// The highest signal number (`_NSIG`).
const HIGHEST: i32 = 64;

/// The kernel's signal set: bit n−1 stands for signal n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// Every signal; the kernel leaves out SIGKILL and SIGSTOP by itself.
    pub const ALL: Self = Self(u64::MAX);

    /// These signals, by number.
    #[must_use]
    pub fn of(signals: &[i32]) -> Self {
        let bit = |signal: &i32| u32::try_from(signal - 1).ok().and_then(|shift| 1_u64.checked_shl(shift));
        Self(signals.iter().filter_map(bit).fold(0, |set, bit| set | bit))
    }
}

/// Replaces the calling thread's signal mask and returns the one before (`rt_sigprocmask(2)`).
///
/// # Errors
/// None in practice.
pub fn set_mask(mask: SignalSet) -> Result<SignalSet> {
    let mut before = 0_u64;
    // SAFETY: both sets are 8 bytes, the size passed, and outlive the call.
    checked(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask.0,
            &raw mut before,
            SET_SIZE,
        )
    })?;
    Ok(SignalSet(before))
}

/// Sets every signal to its default action, also those ignored: `execve(2)` would keep them ignored, and a
/// program that expects SIGPIPE to end it would not end.
pub fn reset_actions() {
    // The kernel's struct sigaction: handler, flags, restorer, mask; all zero is SIG_DFL.
    let default = [0_u64; 4];
    for signal in 1..=HIGHEST {
        // SAFETY: the structure is as large as the kernel's on every 64-bit architecture and outlives the call.
        // SIGKILL and SIGSTOP fail with EINVAL, which is as it should be.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SET_SIZE,
            )
        };
    }
}

/// A descriptor that yields the blocked signals of this process (`signalfd(2)`).
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Opens a descriptor for `signals`, which the caller has blocked.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn new(signals: SignalSet) -> Result<Self> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is 8 bytes, the size passed, and outlives the call.
        let fd = checked(unsafe {
            libc::syscall(libc::SYS_signalfd4, -1, &raw const signals.0, SET_SIZE, flags)
        })?;
        let fd = i32::try_from(fd).map_err(|_| crate::Errno::BADF)?;
        // SAFETY: the kernel just made this descriptor; nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The number of the next signal, if there is one.
    ///
    /// # Errors
    /// Those of `read(2)`.
    pub fn next(&self) -> Result<Option<i32>> {
        // SAFETY: signalfd_siginfo is plain data, for which all zeroes is valid.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = std::mem::size_of::<libc::signalfd_siginfo>();
        loop {
            // SAFETY: the buffer is `size` bytes long and outlives the call.
            let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
            match checked(libc::c_long::try_from(read).unwrap_or(-1)) {
                Ok(_) => return i32::try_from(info.ssi_signo).map(Some).map_err(|_| crate::Errno::RANGE),
                Err(crate::Errno::AGAIN) => return Ok(None),
                Err(crate::Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends signal `number` to the process behind `pidfd`; 0 only asks whether it is there
/// (`pidfd_send_signal(2)`).
///
/// # Errors
/// `ESRCH` when the process is gone, `EINVAL` for a number that is no signal.
pub fn send(pidfd: BorrowedFd<'_>, number: i32) -> Result<()> {
    // SAFETY: a null siginfo pointer asks the kernel to fill it in as kill(2) would.
    checked(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}
