//! `cargo xtask fuzz config`: any bytes as whatever an engine, an operator or the state directory hands to the runtime.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| libcrun::fuzzing::load(text));
