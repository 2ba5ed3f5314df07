//! Says who and where it is: what the demo runs in a container when there is no busybox to be had.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "saying things is its purpose")]

use std::fs::read_to_string;

fn main() {
    let read = |path| read_to_string(path).unwrap_or_else(|error| format!("(no {path}: {error})\n"));
    println!("I am pid {} on host {}", std::process::id(), read("/proc/sys/kernel/hostname").trim());
    println!("\nMy mounts:\n{}", read("/proc/self/mounts"));
    println!("My cgroup, as I see it:\n{}", read("/proc/self/cgroup"));
}
