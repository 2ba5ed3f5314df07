//! The kernel, typed: thin wrappers for the Linux calls a container runtime needs and `rustix` does not have.
//!
//! Every `unsafe` block of the project lives here, each with the reason why it is sound. There is no policy in
//! this crate: it neither decides nor retries. Where `rustix` offers a call, callers use `rustix` directly.
//!
//! Everything that runs between [`clone::spawn`] and [`exec::exec`] is allocation-free, because the parent may be
//! an embedder with several threads, one of which may hold the allocator's lock at the moment of the clone.

pub mod binding;
pub mod bpf;
pub mod clock;
pub mod clone;
pub mod cwd;
pub mod entry;
pub mod exe;
pub mod exec;
pub mod keyring;
pub mod mount;
pub mod namespace;
pub mod net;
pub mod personality;
pub mod probe;
pub mod scheduling;
pub mod seccomp;
pub mod shared;
pub mod signal;

pub use rustix::io::Errno;

/// The result of a system call: a value, or the kernel's reason.
pub type Result<T> = core::result::Result<T, Errno>;

/// Turns the C convention of −1 and `errno` into a [`Result`].
fn checked(value: libc::c_long) -> Result<libc::c_long> {
    if value == -1 { Err(last_errno()) } else { Ok(value) }
}

/// The calling thread's `errno`, as left by the libc call just made.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
