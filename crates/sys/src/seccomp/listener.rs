//! A filter with a listener: a descriptor on which somebody answers for calls of the filtered (`seccomp_unotify(2)`).
//!
//! From the moment it is filtered, a thread may be stopped in any call until the listener answers, so that it cannot be
//! the one who hands the listener over. That is done by a second thread, which is there before and is not filtered. The
//! first one waits for it without a system call, because an `execve(2)` would end it.

use std::cell::UnsafeCell;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{Timespec, nanosleep, sched_yield};

use super::{Flags, Instruction, NEW_LISTENER, load};
use crate::{Result, checked};

/// Room for the second thread; reserved beforehand, because a process between its clone and its exec does not allocate.
#[derive(Debug)]
pub struct Stack(Vec<u8>);

const STACK: usize = 64 * 1024;

impl Default for Stack {
    fn default() -> Self {
        Self(Vec::with_capacity(STACK))
    }
}

/// The listener is not there yet.
const PENDING: i32 = -1;
/// There is none.
const NONE: i32 = -2;

/// For how long the first thread waits without giving the CPU away.
const EAGER: Duration = Duration::from_millis(50);

/// What the two threads share.
struct Handover<F> {
    listener: AtomicI32,
    is_over: AtomicBool,
    /// The first thread leaves it alone until `is_over`.
    deliver: UnsafeCell<Option<F>>,
}

/// As [`super::filter_with`], and has `deliver` bring the listener away, in a thread that is not filtered and runs on `stack`.
/// Meanwhile the calling thread does nothing. Where it must not go on without the listener being delivered, it is for
/// `deliver` to end the process.
///
/// For a process with one thread, that is about to execute or to end: what `stack` takes is not given back.
///
/// # Errors
/// As [`super::filter_with`]. `EBUSY` when the process is filtered with a listener already, `EAGAIN` when it can have no
/// second thread.
pub fn filter_with_listener<F: FnOnce(OwnedFd)>(
    program: &[Instruction],
    flags: Flags,
    stack: Stack,
    deliver: F,
) -> Result<()> {
    const LIKE_A_THREAD: libc::c_int = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;

    // Not given back: the thread may be on its last steps when this function returns.
    let mut stack = std::mem::ManuallyDrop::new(stack);
    let top = stack.0.as_mut_ptr().wrapping_add(STACK);
    let top = top.wrapping_sub(top.addr() % 16);
    let handover = Handover {
        listener: AtomicI32::new(PENDING),
        is_over: AtomicBool::new(false),
        deliver: UnsafeCell::new(Some(deliver)),
    };
    let argument = (&raw const handover).cast_mut().cast();
    // SAFETY: the stack is the thread's alone and stays for good. `handover` stays until the thread has said that it is
    // over, which it is waited for below. The thread shares the calling thread's storage, as if it were called by it:
    // that one touches nothing meanwhile but `handover`'s atomics and its own stack.
    checked(unsafe { libc::clone(carry::<F>, top.cast(), LIKE_A_THREAD, argument) }.into())?;
    let loaded = load(program, flags.bits() | NEW_LISTENER);
    let listener = loaded.as_ref().map_or(NONE, |fd| i32::try_from(*fd).unwrap_or(NONE));
    handover.listener.store(listener, Ordering::Release);
    wait(&handover.is_over);
    loaded.map(drop)
}

/// Waits without a system call, because any may be one that is answered by the listener; but where one real-time thread
/// keeps another from the only CPU, with the harmless one that lets it run.
fn wait(is_over: &AtomicBool) {
    let start = Instant::now();
    while !is_over.load(Ordering::Acquire) {
        if start.elapsed() < EAGER {
            std::hint::spin_loop();
        } else {
            sched_yield();
        }
    }
}

/// The second thread.
extern "C" fn carry<F: FnOnce(OwnedFd)>(handover: *mut libc::c_void) -> libc::c_int {
    // SAFETY: it was made of such a reference, and what that points at stays until `is_over` is set.
    let handover = unsafe { &*handover.cast::<Handover<F>>() };
    let listener = loop {
        match handover.listener.load(Ordering::Acquire) {
            PENDING => {
                let _ = nanosleep(&Timespec { tv_sec: 0, tv_nsec: 20_000 });
            }
            listener => break listener,
        }
    };
    if listener >= 0 {
        // SAFETY: the kernel has just made this descriptor, and the other thread has left it to this one.
        let listener = unsafe { OwnedFd::from_raw_fd(listener) };
        // SAFETY: the other thread does not touch it before `is_over`.
        if let Some(deliver) = unsafe { (*handover.deliver.get()).take() } {
            deliver(listener);
        }
    }
    handover.is_over.store(true, Ordering::Release);
    0
}
