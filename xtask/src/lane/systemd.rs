//! Debian with systemd as pid 1 of namespaces on this machine's kernel: native speed, pure cgroup v2. On a machine that
//! has its controllers on version 1 there are none behind the limits.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::Result;

use super::booted::{AGENT_UNIT, Booted, Ground};
use super::image::Image;

const BOOT: &str = include_str!("boot.sh");

/// Enters the lane's cgroup, makes it the root of a cgroup namespace, and leaves it for `outer`, because systemd wants the
/// root for itself; then boots as pid 1 of namespaces of its own.
const ENTER: &str = r#"cgroup=$1 boot=$2 image=$3 dir=$4
exec unshare --cgroup bash -c 'echo 0 >"$1/outer/cgroup.procs"; shift
  exec unshare --mount --pid --fork --uts --ipc --net --kill-child bash -c "$@"' enter "$cgroup" "$boot" boot "$image" "$dir""#;

/// Units that would change the machine's kernel, or wait for devices that are not there.
const MASKED: &[&str] = &[
    "systemd-sysctl.service",
    "systemd-binfmt.service",
    "systemd-modules-load.service",
    "apparmor.service",
    "console-getty.service",
    "getty.target",
];

/// Boots.
pub(crate) fn boot(image: &Image, ground: Ground) -> Result<Booted> {
    for dir in ["upper", "work", "root", "data"] {
        fs::create_dir(ground.dir.join(dir))?;
    }
    fs::create_dir(ground.cgroup.join("outer"))?;
    let units = ground.dir.join("upper/etc/systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants"))?;
    fs::write(units.join("lane.service"), AGENT_UNIT)?;
    symlink("../lane.service", units.join("multi-user.target.wants/lane.service"))?;
    for unit in MASKED {
        symlink("/dev/null", units.join(unit))?;
    }
    let (cgroup, root, dir) = (ground.cgroup.clone(), image.root(), ground.dir.clone());
    let command = [
        OsStr::new("bash"),
        OsStr::new("-c"),
        OsStr::new(ENTER),
        OsStr::new("enter"),
        cgroup.as_os_str(),
        OsStr::new(BOOT),
        root.as_os_str(),
        dir.as_os_str(),
    ];
    Booted::start(ground, &command, Duration::from_secs(60))
}
