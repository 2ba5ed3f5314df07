//! Where a thread may run and where its memory comes from: `sched_setaffinity(2)` and `set_mempolicy(2)`.
//!
//! Masks are slices of words of any length, because no fixed one (a `cpu_set_t` has room for 1024 CPUs) is enough for
//! every machine.

use rustix::process::Pid;

use crate::{Result, checked};

/// Every CPU that a kernel can have (8192 where it can have the most), as a mask for [`set_affinity`], which leaves of it
/// what the cpuset allows.
pub static EVERY_CPU: [usize; 8192 / usize::BITS as usize] = [usize::MAX; 8192 / usize::BITS as usize];

/// Lets the thread `pid`, or the calling one, run only on the CPUs whose bits are set in `mask`. Those that its cpuset
/// does not have are left out.
///
/// # Errors
/// Those of `sched_setaffinity(2)`: `EINVAL` when none is left.
pub fn set_affinity(pid: Option<Pid>, mask: &[usize]) -> Result<()> {
    let pid = Pid::as_raw(pid);
    // SAFETY: the mask is as long as the size passed, outlives the call and is only read.
    checked(unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(mask), mask.as_ptr()) })
        .map(drop)
}

/// Sets the policy by which the calling thread, what it executes and what it makes get memory. `mode` is one of `MPOL_*`
/// with flags; `nodes` has a bit for each memory node.
///
/// # Errors
/// Those of `set_mempolicy(2)`: `EINVAL` for nodes that the mode has no use for or that the cpuset does not have.
pub fn set_memory_policy(mode: u32, nodes: &[usize]) -> Result<()> {
    // The kernel takes one bit less than it is told.
    let bits = size_of_val(nodes) * 8 + 1;
    let (mask, bits) = if nodes.is_empty() { (std::ptr::null(), 0) } else { (nodes.as_ptr(), bits) };
    // SAFETY: the mask is as long as the number of bits says (the kernel reads whole words, one bit less than told) or
    // null, outlives the call and is only read.
    checked(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Errno;

    #[test]
    fn a_mask_of_every_cpu_is_taken_by_the_kernel_and_an_empty_one_refused() {
        set_affinity(None, &EVERY_CPU).unwrap();
        assert_eq!(set_affinity(None, &[0]), Err(Errno::INVAL));
    }

    #[test]
    fn the_highest_bit_of_a_mask_of_nodes_is_seen_by_the_kernel() {
        const MPOL_DEFAULT: u32 = 0;
        match set_memory_policy(MPOL_DEFAULT, &[]) {
            Err(Errno::NOSYS) => return, // a kernel without NUMA
            other => other.unwrap(),
        }
        // MPOL_DEFAULT takes only an empty mask.
        assert_eq!(set_memory_policy(MPOL_DEFAULT, &[1 << (usize::BITS - 1)]), Err(Errno::INVAL));
        set_memory_policy(MPOL_DEFAULT, &[0, 0]).unwrap();
    }
}
