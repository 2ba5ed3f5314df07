//! Where a process stands, asked without allocating.

use crate::{Result, checked};

/// Whether the working directory can be reached from the process' root directory. A process that was moved into a
/// container with a directory of the host under its feet sees it as `(unreachable)` (`getcwd(2)`, CVE-2024-21626).
///
/// # Errors
/// Those of `getcwd(2)`: `ENOENT` for a directory that was removed.
pub fn is_reachable() -> Result<bool> {
    let mut path = [0_u8; libc::PATH_MAX.unsigned_abs() as usize];
    // SAFETY: the buffer is as long as the size passed and outlives the call.
    checked(unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) })?;
    Ok(path.first() == Some(&b'/'))
}
