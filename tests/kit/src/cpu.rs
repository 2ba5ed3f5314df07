//! How much processor time a container really gets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of the kit is a failure of the test")]

use std::fs;
use std::time::{Duration, Instant};

use crate::container::Container;

/// Asserts that the container's first process, which wants all the time there is, gets this share of one CPU: never more
/// than a tenth above, and not less than a tenth below, as soon as the machine has that much time to give.
///
/// # Panics
/// When it gets more, or for long less.
pub fn assert_share(container: &Container, share: f64) {
    const WINDOW: Duration = Duration::from_secs(2);
    let stat = container.proc().join("stat");
    for _ in 0..15 {
        let (start, before) = (Instant::now(), used(&stat));
        std::thread::sleep(WINDOW);
        let found = (used(&stat) - before) / start.elapsed().as_secs_f64();
        assert!(found <= share * 1.1 + 0.005, "{found} of a CPU where {share} are allowed");
        if found >= share * 0.9 {
            return;
        }
    }
    panic!("less than {share} of a CPU, for half a minute");
}

/// The time a process has used, in seconds (`proc_pid_stat(5)`: utime and stime, in hundredths).
fn used(stat: &std::path::Path) -> f64 {
    let text = fs::read_to_string(stat).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
