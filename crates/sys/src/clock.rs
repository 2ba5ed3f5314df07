//! What time it is, by `clock_gettime(2)`: in most processes that takes no system call (`vdso(7)`).

/// Which clock is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// That of no setting: it only goes forward. In a time namespace it is another one.
    Monotonic,
    /// That of the calendar, which is the same in all namespaces.
    Realtime,
}

impl Clock {
    /// Its time in nanoseconds. May be called between a clone and an exec.
    #[must_use]
    pub fn now(self) -> u64 {
        let clock = match self {
            Self::Monotonic => libc::CLOCK_MONOTONIC,
            Self::Realtime => libc::CLOCK_REALTIME,
        };
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the structure is the kernel's to fill in during the call. These clocks are there on every kernel.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_is_that_of_the_standard_library() {
        let (start, before) = (std::time::Instant::now(), Clock::Monotonic.now());
        std::thread::sleep(std::time::Duration::from_millis(2));
        let (elapsed, after) = (start.elapsed(), Clock::Monotonic.now());
        assert!(after - before >= 2_000_000);
        assert!(u128::from(after - before) <= elapsed.as_nanos() + 1_000_000_000);
    }
}
