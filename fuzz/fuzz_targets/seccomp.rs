//! `cargo xtask fuzz seccomp`: any bytes as a seccomp profile, or as a filter.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seccomp::fuzzing::feed(bytes));
