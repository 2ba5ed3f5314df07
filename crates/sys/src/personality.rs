//! Execution domains (`personality(2)`).

use crate::{Result, checked};

/// Gives the calling process the execution domain `domain`, which lives on in what it executes.
///
/// # Errors
/// `EINVAL` where the kernel does not have it.
pub fn set(domain: u32) -> Result<()> {
    // SAFETY: the call takes a number and touches no memory.
    checked(unsafe { libc::personality(libc::c_ulong::from(domain)) }.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_that_of_the_thread_that_asked_for_it() {
        const LINUX32: u32 = 8;
        let machine = || rustix::system::uname().machine().to_owned();
        let own = machine();
        let seen = std::thread::spawn(move || set(LINUX32).map(|()| machine())).join().unwrap();
        assert_ne!(seen, Ok(own.clone()));
        assert_eq!(machine(), own);
    }
}
