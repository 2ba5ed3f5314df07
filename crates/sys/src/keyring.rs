//! Session keyrings (`keyrings(7)`).

use std::ffi::CStr;

use crate::{Result, checked};

/// Gives the calling process a new session keyring called `name`, so that it does not hold the keys of whoever
/// started the runtime.
///
/// # Errors
/// Those of `keyctl_join_session_keyring(3)`: `ENOSYS` without kernel support, `EDQUOT` when the user has too many.
pub fn join_session(name: &CStr) -> Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: `name` is NUL-terminated and outlives the call.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) }).map(drop)
}
