//! Root filesystems for containers, made once and kept in a cache outside the checkout.
//!
//! Each is built under a temporary name next to its final one and renamed when complete, under a lock, so that tests
//! running in parallel neither race nor ever see half of one. Treat them as read-only: they are shared.
//!
//! | function | what | cost when missing |
//! |---|---|---|
//! | [`busybox_rootfs`] | busybox and a link for each of its applets | milliseconds |
//! | [`debian_rootfs`] | Debian minbase plus procps | half a minute and the network |
//! | [`peers_root`] | Debian with C `crun` and `runc` to compare with | half a minute and the network |

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Bumped when the layout of [`busybox_rootfs`] changes, so that an old cache is not mistaken for a new one.
const BUSYBOX: &str = "busybox-1";

/// Where everything made once is kept: `$XDG_CACHE_HOME/crun-xtask`, else `~/.cache/crun-xtask`.
///
/// # Errors
/// Neither `XDG_CACHE_HOME` nor `HOME` is set, or the directory cannot be made.
pub fn cache_dir() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    let dir = base.join("crun-xtask");
    fs::create_dir_all(&dir)
        .with_context(|| format!("cannot create the cache directory {}", dir.display()))?;
    Ok(dir)
}

/// Whether this process runs as root, which making a Debian and running a container ask for.
#[must_use]
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// A small root filesystem: `bin/busybox`, its applets as links, `etc/passwd`, `etc/group` and the usual directories.
///
/// # Errors
/// There is no static busybox on this machine and apt cannot fetch one.
pub fn busybox_rootfs() -> Result<PathBuf> {
    once(BUSYBOX, |dir| {
        fs::create_dir(dir.join("bin"))?;
        match static_busybox() {
            Some(path) => drop(fs::copy(path, dir.join("bin/busybox"))?),
            None => fetch_busybox(&dir.join("bin/busybox"))?,
        }
        fill_busybox(dir)
    })
}

/// A real distribution: Debian minbase plus procps. `None`, with the reason printed, when it cannot be had.
#[must_use]
pub fn debian_rootfs() -> Option<PathBuf> {
    let try_one = |suite: &str| once(&format!("debian-{suite}"), |dir| bootstrap(suite, &["procps"], dir));
    tell("a Debian root filesystem", try_one("trixie").or_else(|_| try_one("bookworm")))
}

/// The root the other runtimes live in: Debian forky with C `crun` 1.28, `runc`, busybox-static and procps. `None`,
/// with the reason printed, when it cannot be had.
#[must_use]
pub fn peers_root() -> Option<PathBuf> {
    let packages = ["crun", "runc", "busybox-static", "procps"];
    tell("a root filesystem with the other runtimes", once("forky", |dir| bootstrap("forky", &packages, dir)))
}

fn tell(what: &str, made: Result<PathBuf>) -> Option<PathBuf> {
    #[allow(clippy::print_stderr, reason = "the reader of a skipped test wants to know why")]
    made.inspect_err(|error| eprintln!("no {what}: {error:#}")).ok()
}

/// Returns the cache entry `name`, calling `make` on an empty directory first if there is none yet.
///
/// # Errors
/// Those of `make`, and of the file system.
pub fn once(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache_dir()?;
    let done = cache.join(name);
    if done.is_dir() {
        return Ok(done);
    }
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    lock.lock().context("cannot lock the cache directory")?;
    if done.is_dir() {
        return Ok(done); // another process made it while this one waited
    }
    // Whatever has this name was left by a process that died: the lock is ours.
    let half = cache.join(format!("{name}.new"));
    if half.exists() {
        fs::remove_dir_all(&half)?;
    }
    fs::create_dir(&half)?;
    make(&half)
        .inspect_err(|_| drop(fs::remove_dir_all(&half)))
        .with_context(|| format!("cannot make {name}"))?;
    fs::rename(&half, &done)?;
    Ok(done)
}

/// The first static busybox on this machine. A dynamic one is of no use: its libraries would be missing inside.
fn static_busybox() -> Option<PathBuf> {
    let places = ["/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox", "/bin/busybox.static"];
    places.iter().map(PathBuf::from).find(|path| is_static(path))
}

/// Whether the file is an ELF program that names no interpreter (elf(5), `PT_INTERP`): it runs without libraries.
#[must_use]
pub fn is_static(path: &Path) -> bool {
    const PT_INTERP: [u8; 4] = 3u32.to_ne_bytes();
    let Ok(bytes) = fs::read(path) else { return false };
    let half = |at: usize| bytes.get(at..at + 2).map(|b| usize::from(u16::from_ne_bytes([b[0], b[1]])));
    // Only 64-bit programs are told apart; e_phoff fits in a usize there.
    let (Some(b"\x7fELF\x02"), Some(offset)) = (bytes.get(..5), bytes.get(32..40)) else { return false };
    let Some(table) = offset.try_into().ok().map(u64::from_ne_bytes).and_then(|at| usize::try_from(at).ok())
    else {
        return false;
    };
    let (Some(size), Some(count)) = (half(54), half(56)) else { return false };
    (0..count)
        .all(|i| bytes.get(table + i * size..table + i * size + 4).is_some_and(|kind| kind != PT_INTERP))
}

/// Fetches Debian's busybox-static and takes the program out of it, without installing anything: needs no root.
fn fetch_busybox(to: &Path) -> Result<()> {
    let dir = to.with_extension("apt");
    fs::create_dir(&dir)?;
    run(Command::new("apt-get").args(["-qq", "download", "busybox-static"]).current_dir(&dir))?;
    let package = fs::read_dir(&dir)?
        .flatten()
        .map(|entry| entry.path())
        .find(|p| p.extension().is_some_and(|e| e == "deb"));
    let package = package.context("apt-get download left no package")?;
    run(Command::new("dpkg-deb").arg("-x").arg(package).arg(dir.join("x")))?;
    let program = ["usr/bin/busybox", "bin/busybox"]
        .iter()
        .map(|at| dir.join("x").join(at))
        .find(|path| is_static(path));
    fs::rename(program.context("no static busybox in the package")?, to)?;
    fs::remove_dir_all(&dir)?;
    Ok(())
}

fn fill_busybox(dir: &Path) -> Result<()> {
    let list = Command::new(dir.join("bin/busybox")).arg("--list").output()?;
    ensure!(list.status.success(), "busybox --list failed");
    for applet in String::from_utf8(list.stdout)?.lines().filter(|name| *name != "busybox") {
        symlink("busybox", dir.join("bin").join(applet))?;
    }
    for name in ["dev", "etc", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var"] {
        fs::create_dir(dir.join(name))?;
    }
    symlink("../bin", dir.join("usr/bin"))?;
    fs::write(dir.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n")?;
    fs::write(dir.join("etc/group"), "root:x:0:\nuser:x:1000:\n")?;
    fs::write(dir.join("etc/os-release"), "NAME=busybox\nID=busybox\n")?;
    Ok(())
}

/// Makes a minimal Debian of `suite` plus `packages` in `dir` with mmdebstrap(1).
///
/// # Errors
/// Not root, no mmdebstrap, no network, or no such package.
pub fn bootstrap(suite: &str, packages: &[&str], dir: &Path) -> Result<()> {
    ensure!(is_root(), "only root can make a Debian root filesystem");
    // By way of a tar archive, because mmdebstrap leaves mounts behind in a directory it was interrupted in.
    let mut mmdebstrap = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "--aptopt=Acquire::Check-Valid-Until \"false\""])
        .arg(format!("--include={}", packages.join(",")))
        .args([suite, "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run mmdebstrap (apt-get install mmdebstrap)")?;
    let archive = mmdebstrap.stdout.take().context("no pipe from mmdebstrap")?;
    let tar = Command::new("tar")
        .arg("-xC")
        .arg(dir)
        .stdin(archive)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let made = mmdebstrap.wait_with_output()?;
    let unpacked = tar.wait_with_output()?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        let tail: Vec<_> = said.lines().rev().take(3).collect();
        bail!("mmdebstrap of {suite} failed: {}", tail.into_iter().rev().collect::<Vec<_>>().join("; "));
    }
    ensure!(unpacked.status.success(), "tar failed to unpack {suite}");
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_made_once_and_a_failed_one_leaves_nothing() {
        let name = format!("test-{}", std::process::id());
        assert!(once(&name, |_| bail!("no")).is_err());
        let cache = cache_dir().unwrap();
        assert!(!cache.join(&name).exists() && !cache.join(format!("{name}.new")).exists());
        let dir = once(&name, |dir| Ok(fs::write(dir.join("x"), "")?)).unwrap();
        assert_eq!(once(&name, |_| bail!("made twice")).unwrap(), dir);
        assert!(dir.join("x").is_file());
        fs::remove_dir_all(dir).unwrap();
        fs::remove_file(cache.join(format!("{name}.lock"))).unwrap();
    }

    #[test]
    fn a_script_is_not_a_static_program_and_neither_is_nothing() {
        assert!(!is_static(Path::new("/etc/passwd")));
        assert!(!is_static(Path::new("/nonexistent")));
    }
}
