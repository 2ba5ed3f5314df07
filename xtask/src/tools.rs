//! What has to be installed, and installing it: Debian packages by apt, and tools written in Rust by cargo.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::sh;

/// A program that is needed, and the Debian package it is in.
const PROGRAMS: &[(&str, &str)] = &[
    ("mmdebstrap", "mmdebstrap"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("setpriv", "util-linux"),
    ("ps", "procps"),
    ("cc", "gcc"),
    ("umoci", "umoci"),
    ("newuidmap", "uidmap"),
    // Who reads the manual pages, and the completions.
    ("groff", "groff-base"),
    ("mandoc", "mandoc"),
    ("zsh", "zsh"),
    ("fish", "fish"),
];

/// A file that is needed, and the Debian package it is in: what the seccomp compiler is compared with.
const FILES: &[(&str, &str)] = &[
    ("/usr/include/seccomp.h", "libseccomp-dev"),
    ("/usr/share/containers/seccomp.json", "golang-github-containers-common"),
];

/// Installs what the tests and the benchmark need and this machine lacks. Without apt, or without root, it says what
/// is missing and goes on: what cannot be run without it says so itself.
pub(crate) fn install_packages() {
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| *package).collect();
    missing.extend(FILES.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package));
    if kit::rootfs::busybox_rootfs().is_err() {
        missing.push("busybox-static");
    }
    missing.dedup();
    if missing.is_empty() {
        return;
    }
    if let Err(error) = apt_install(&missing) {
        eprintln!("xtask: missing, and not to be installed ({error:#}): {}", missing.join(" "));
    }
}

/// Installs what a lane needs and this machine lacks, or says what is missing.
pub(crate) fn install(programs: &[(&str, &str)]) -> Result<()> {
    let missing = || programs.iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| *package);
    let packages: Vec<&str> = missing().collect();
    if packages.is_empty() {
        return Ok(());
    }
    // A release's own version cannot be installed where a part of it is there from its backports.
    apt_install(&packages)
        .or_else(|error| from_backports(&packages).context(error))
        .with_context(|| format!("missing, and not to be installed: {}", packages.join(" ")))?;
    let still: Vec<&str> = missing().collect();
    ensure!(still.is_empty(), "installed, and still not found: {}", still.join(" "));
    Ok(())
}

fn apt_install(packages: &[&str]) -> Result<()> {
    if !kit::rootfs::is_root() {
        bail!("not root");
    }
    let install = || {
        let mut apt = apt();
        apt.args(["install", "--yes", "--no-install-recommends"]).args(packages);
        apt
    };
    // The package lists may be absent (fresh images have none) or older than what the mirror still has.
    sh::run(&mut install()).or_else(|_| {
        sh::run(apt().arg("update"))?;
        sh::run(&mut install())
    })
}

/// Installs from the backports of this Debian, which apt is told of for this once: its configuration stays as it is.
fn from_backports(packages: &[&str]) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release")?;
    let field = |name: &str| release.lines().find_map(|line| line.strip_prefix(name));
    let codename = field("VERSION_CODENAME=").filter(|_| field("ID=") == Some("debian"));
    let suite = format!("{}-backports", codename.context("no release of Debian, which has backports")?);
    let list = kit::rootfs::cache_dir()?.join("backports.list");
    let known = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    fs::write(&list, format!("{known}\ndeb [signed-by={key}] http://deb.debian.org/debian {suite} main\n"))?;
    // apt reads the files in sources.list.d beside the one it is given here.
    let source = format!("Dir::Etc::SourceList={}", list.display());
    sh::run(apt().args(["-o", &source, "update"]))?;
    let mut install = apt();
    install.args(["-o", &source, "install", "--yes", "--no-install-recommends", "--target-release", &suite]);
    sh::run(install.args(packages))
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.arg("-qq").env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// Whether a program is found on `PATH`.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Makes sure that `cargo NAME` exists, installing the crate `cargo-NAME` if it does not.
pub(crate) fn cargo_tool(name: &str) -> Result<()> {
    if sh::succeeds(sh::cargo().args([name, "--version"])) {
        return Ok(());
    }
    sh::run(
        sh::cargo().args(["install", "--locked", &format!("cargo-{name}")]).env_remove("CARGO_TARGET_DIR"),
    )
}
