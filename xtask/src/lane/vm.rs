//! Debian in a virtual machine: its own kernel, all v2 controllers, AppArmor. Emulated in software where this machine's
//! KVM cannot be used, and then about twenty times slower than the machine itself.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::booted::{AGENT_UNIT, Booted, Ground};
use super::image::Image;

/// What the kernel is told, and systemd through it. Addresses are not randomised, and speculation is not mitigated: both
/// cost time.
const KERNEL: &str = "console=ttyS0 panic=-1 root=/dev/vda rw mitigations=off nokaslr quiet TERM=dumb \
                      systemd.show_status=0 systemd.wants=lane.service hugepages=16";

/// Two processors, each with its own half of the memory.
const NODES: &[&str] = &[
    "-smp",
    "2",
    "-object",
    "memory-backend-ram,id=half0,size=2G",
    "-object",
    "memory-backend-ram,id=half1,size=2G",
    "-numa",
    "node,nodeid=0,cpus=0,memdev=half0",
    "-numa",
    "node,nodeid=1,cpus=1,memdev=half1",
];

/// Units that take time for nothing: the machine has no devices but those that the kernel makes nodes for by itself.
const MASKED: &[&str] =
    &["systemd-udev-trigger.service", "modprobe@drm.service", "serial-getty@ttyS0.service"];

/// Boots.
pub(crate) fn boot(image: &Image, ground: Ground) -> Result<Booted> {
    let [kernel, initrd] = image.kernel()?;
    let share = ground.share();
    // The unit is handed over as a credential (systemd.system-credentials(7)).
    let unit = ground.dir.join("smbios");
    fs::write(&unit, format!("io.systemd.credential:systemd.extra-unit.lane.service={AGENT_UNIT}"))?;
    let mut command: Vec<OsString> = ["env"].map(OsString::from).to_vec();
    // Where the layer above the disk goes.
    command.push(joined("TMPDIR=", &ground.dir));
    let masked: String = MASKED.iter().map(|unit| format!(" systemd.mask={unit}")).collect();
    let kernel_arguments = format!("{KERNEL}{masked}");
    let fixed: &[&str] = &[
        "qemu-system-x86_64",
        "-accel",
        if kvm_works() { "kvm" } else { "tcg,thread=multi,tb-size=512" },
        "-cpu",
        "max",
        "-m",
        "4G",
        "-display",
        "none",
        "-monitor",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
        "-nic",
        "none",
        "-device",
        "virtio-rng-pci",
        "-append",
        &kernel_arguments,
    ];
    command.extend(fixed.iter().chain(NODES).map(OsString::from));
    command.extend(["-kernel".into(), kernel.into(), "-initrd".into(), initrd.into()]);
    command.extend(["-smbios".into(), joined("type=11,path=", &unit)]);
    let disk = format!("file={},if=virtio,format=raw,snapshot=on,cache=unsafe", image.disk().display());
    command.extend(["-drive".into(), disk.into()]);
    let share = format!("local,path={},mount_tag=lane,security_model=none,multidevs=remap", share.display());
    command.extend(["-virtfs".into(), share.into()]);
    let words: Vec<_> = command.iter().map(OsString::as_os_str).collect();
    Booted::start(ground, &words, Duration::from_secs(600))
}

fn joined(start: &str, path: &Path) -> OsString {
    let mut word = OsString::from(start);
    word.push(path);
    word
}

/// Whether a machine can be made and a processor runs in it: there are machines whose `/dev/kvm` promises more.
fn kvm_works() -> bool {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let can = cpu.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    can && start_and_stop().is_ok()
}

fn start_and_stop() -> Result<()> {
    let mut qemu = Command::new("timeout");
    qemu.args(["10", "qemu-system-x86_64", "-accel", "kvm", "-cpu", "max", "-m", "64", "-display", "none"]);
    qemu.args(["-nic", "none", "-monitor", "stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut qemu = qemu.spawn()?;
    qemu.stdin.take().context("no pipe")?.write_all(b"quit\n")?;
    anyhow::ensure!(qemu.wait()?.success(), "no");
    Ok(())
}
