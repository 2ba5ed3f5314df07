//! The Debian that lanes boot: a root filesystem, and an ext4 image of it for the virtual machine. Made once, and kept in
//! the kit's cache directory.
//!
//! It has the engines and runtimes that tests compare with, a user with a session and ids to map, and the root
//! filesystems of the kit, so that a test finds them there without the network.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kit::lane::{SUBIDS, UID, USER};
use kit::rootfs;

/// What is installed. Without recommended packages, so that what a package needs at run time is named, too.
const PACKAGES: &[&str] = &[
    // The system: a kernel for the virtual machine, systemd with user sessions, a bus.
    "linux-image-amd64",
    "systemd",
    "systemd-sysv",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "login",
    "udev",
    "kmod",
    "apparmor",
    "uidmap",
    "sudo",
    // Runtimes and engines to compare with, and what they call.
    "crun",
    "runc",
    "podman",
    "catatonit",
    "netavark",
    "aardvark-dns",
    "passt",
    "slirp4netns",
    "fuse-overlayfs",
    "containerd",
    "docker.io",
    "buildah",
    "skopeo",
    "umoci",
    "criu",
    "nftables",
    "iptables",
    // What tests and those who look into their failures use.
    "busybox-static",
    "procps",
    "iproute2",
    "attr",
    "jq",
    "perl",
    "python3",
    "socat",
    "strace",
    "ca-certificates",
];

/// Units that are not started with the system: they take time, or the network, that no test asks for. A test can start
/// them.
const DISABLED: &[&str] = &[
    "docker.service",
    "docker.socket",
    "containerd.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "podman-auto-update.timer",
    "podman-auto-update.service",
    "podman-restart.service",
    "podman-clean-transient.service",
    "getty@tty1.service",
    "systemd-pstore.service",
    "netavark-dhcp-proxy.socket",
    "netavark-firewalld-reload.service",
];

/// Run in the new root filesystem.
const SETUP: &str = include_str!("setup.sh");

/// Where `XDG_CACHE_HOME` of the tests is: below it the kit finds the root filesystems that it would otherwise make.
pub(crate) const CACHE: &str = "/var/cache/lane";

/// What the image file pretends to have room for; only what is written takes space.
const SIZE: u64 = 10 << 30;

/// An image that nobody has booted for so long is removed by whoever boots another.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);

/// An image, ready to be booted, and not to be removed while the value is there.
#[derive(Debug)]
pub(crate) struct Image {
    dir: PathBuf,
    _in_use: File,
}

impl Image {
    /// The image of this version of this file, made if it is not there.
    pub(crate) fn get() -> Result<Self> {
        let kits = [rootfs::busybox_rootfs().ok(), rootfs::debian_rootfs(), rootfs::peers_root()];
        let kits: Vec<PathBuf> = kits.into_iter().flatten().collect();
        let name = format!("lane-1-forky-{:x}", fingerprint(&kits));
        let start = Instant::now();
        let image = rootfs::once(&name, |dir| {
            println!("Making the image of the lanes ({name}): a few minutes, once");
            make(dir, &kits)?;
            println!("The image of the lanes is made: {} s", start.elapsed().as_secs());
            Ok(())
        })?;
        let in_use = File::create(image.with_extension("used"))?;
        in_use.lock_shared().context("cannot lock the image")?;
        remove_forgotten(&image)?;
        Ok(Self { dir: image, _in_use: in_use })
    }

    /// The root filesystem.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The ext4 image of it.
    pub(crate) fn disk(&self) -> PathBuf {
        self.dir.join("root.img")
    }

    /// Its kernel and the kernel's initial root.
    pub(crate) fn kernel(&self) -> Result<[PathBuf; 2]> {
        let boot = self.root().join("boot");
        let find = |start: &str| {
            let names = fs::read_dir(&boot)?.flatten().map(|entry| entry.path());
            let mut found =
                names.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(start)));
            found.next().with_context(|| format!("there is no {start}* in {}", boot.display()))
        };
        Ok([find("vmlinuz-")?, find("initrd.lane")?])
    }
}

/// Tells images of other contents apart (FNV-1a): what is installed, what is switched off, and what of the kit is in it.
fn fingerprint(kits: &[PathBuf]) -> u64 {
    let kits = kits.iter().filter_map(|kit| kit.file_name()).filter_map(|name| name.to_str());
    let words = PACKAGES.iter().chain(DISABLED).copied().chain(kits).chain([SETUP]);
    words
        .flat_map(|word| word.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Images are large: those that earlier versions of this file made do not stay for ever.
fn remove_forgotten(image: &Path) -> Result<()> {
    for entry in fs::read_dir(rootfs::cache_dir()?)?.flatten() {
        let path = entry.path();
        let is_mark = path.extension().is_some_and(|extension| extension == "used");
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        let other = path.with_extension("");
        if !is_mark || other == image || age < FORGOTTEN || File::open(&path)?.try_lock().is_err() {
            continue;
        }
        println!("Removing {}, which has not been used for long", other.display());
        fs::remove_dir_all(&other)?;
        fs::remove_file(&path)?;
    }
    Ok(())
}

fn make(dir: &Path, kits: &[PathBuf]) -> Result<()> {
    let root = dir.join("root");
    fs::create_dir(&root)?;
    rootfs::bootstrap("forky", PACKAGES, &root)?;
    set_up(&root)?;
    let cache = root.join(CACHE.trim_start_matches('/')).join("crun-xtask");
    fs::create_dir_all(&cache)?;
    for kit in kits {
        // By links: whoever boots this writes to a layer above it.
        quietly(Command::new("cp").arg("-al").arg(kit).arg(&cache))?;
    }
    let disk = dir.join("root.img");
    File::create(&disk)?.set_len(SIZE)?;
    // Without a journal: what is written to it is thrown away.
    quietly(
        Command::new("mke2fs").args(["-q", "-t", "ext4", "-O", "^has_journal", "-d"]).arg(&root).arg(&disk),
    )
}

fn set_up(root: &Path) -> Result<()> {
    let mut script = Command::new("chroot");
    script.arg(root).args(["sh", "-c", SETUP, "setup", USER, &UID.to_string()]);
    script.args([SUBIDS.0.to_string(), SUBIDS.1.to_string()]).args(DISABLED);
    script.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    quietly(&mut script)
}

/// Runs a command that says something only when it fails.
fn quietly(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
