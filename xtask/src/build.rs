//! `cargo xtask build`: the binary as it is shipped: static, optimised as a whole (see `[profile.release]`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::sh;

/// How the binary is linked. Static-pie costs relocations at every start; a fixed address costs the randomisation of
/// this program's own layout. Which is the default is decided by measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Static, at a fixed address.
    Fixed,
    /// Static, at an address chosen by the kernel.
    Pie,
}

/// The default.
pub(crate) const LINK: Link = Link::Fixed;

/// Builds and prints the path of the result as the last line.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    let mut link = LINK;
    for argument in arguments {
        match argument.to_str() {
            Some("--pie") => link = Link::Pie,
            _ => bail!("unknown argument {argument:?}"),
        }
    }
    println!("{}", release("crun", "crun", link)?.display());
    Ok(())
}

/// Builds a static release binary of a package and returns its path.
pub(crate) fn release(package: &str, binary: &str, link: Link) -> Result<PathBuf> {
    let path = static_release(package, binary, link, &[], &target_directory()?)?;
    ensure!(kit::rootfs::is_static(&path), "{} is not static", path.display());
    Ok(path)
}

/// Builds the runtime with the names of its functions, where the linker finds them, and writes its map to `map`.
pub(crate) fn with_map(map: &Path) -> Result<PathBuf> {
    let flags = [format!("link-arg=-Wl,-Map={}", map.display()), "strip=none".to_owned()];
    static_release("crun", "crun", LINK, &flags, &target_directory()?.join("order"))
}

fn static_release(
    package: &str,
    binary: &str,
    link: Link,
    codegen: &[String],
    directory: &Path,
) -> Result<PathBuf> {
    let triple = host_triple()?;
    // The names of this scheme say which instance of a generic function it is: the linker script tells them apart.
    let mut flags = vec!["-C", "target-feature=+crt-static", "-C", "symbol-mangling-version=v0"];
    if link == Link::Fixed {
        flags.extend(["-C", "relocation-model=static"]);
    }
    flags.extend(codegen.iter().flat_map(|option| ["-C", option]));
    // With --target the flags are not used for build scripts and procedural macros, which cannot be static.
    sh::run(
        sh::cargo()
            .args(["build", "--release", "--package", package, "--bin", binary, "--target", &triple])
            .arg("--target-dir")
            .arg(directory)
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")),
    )?;
    Ok(directory.join(triple).join("release").join(binary))
}

fn host_triple() -> Result<String> {
    let version =
        sh::read(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn target_directory() -> Result<PathBuf> {
    let metadata = sh::read(sh::cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target directory")?.into())
}
