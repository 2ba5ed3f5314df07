//! Tells the linker which functions to put side by side (`cargo xtask order`).

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=start.ld");
    // Functions that are not optimised have other names, and nobody waits for them.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release")
        && let Ok(directory) = env::var("CARGO_MANIFEST_DIR")
    {
        let script = Path::new(&directory).join("start.ld");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}
