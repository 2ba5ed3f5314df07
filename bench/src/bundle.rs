//! The bundles that are run: what `crun spec` writes, and what an engine such as podman asks for.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::seccomp;

/// The bundles' directories below the working directory, named by what runs in them.
pub(crate) const TRUE: &str = "true";
/// A container that stays.
pub(crate) const SLEEP: &str = "sleep";
/// The same with a megabyte of annotations, as Kubernetes may have them.
pub(crate) const LARGE: &str = "large";
/// What those run that end at once.
pub(crate) const ENDS: &[&str] = &["/bin/true"];
/// What those run that stay.
pub(crate) const STAYS: &[&str] = &["/bin/sleep", "100000"];
/// The engine-like one; ends at once.
pub(crate) const ENGINE: &str = "engine";
/// The default one with the seccomp profile of the containers project; ends at once. There if the profile is.
pub(crate) const CONFINED: &str = "confined";
/// The containers project's profile, put here by who starts the benchmark.
const PROFILE: &str = "seccomp.json";
/// The program that it becomes, for the floor.
pub(crate) const FILTER: &str = "filter.bpf";
/// The one for an ordinary user; ends at once.
pub(crate) const ROOTLESS: &str = "rootless";
/// That user.
pub(crate) const USER: u32 = 1000;
/// The file of limits for `update`: one that every v2 cgroup has, whatever controllers the host hands on.
pub(crate) const LIMITS: &str = "limits.json";

/// Writes all bundles below `dir`, each on the root filesystem `dir/rootfs`.
pub(crate) fn write_all(dir: &Path) -> Result<()> {
    let rootfs = dir.join("rootfs");
    write(dir, TRUE, &default(&rootfs, ENDS))?;
    write(dir, ROOTLESS, &rootless(&rootfs))?;
    write(dir, SLEEP, &default(&rootfs, STAYS))?;
    let mut large = default(&rootfs, STAYS);
    large["annotations"] =
        (0..2048).map(|number| (format!("example.org/{number}"), json!("x".repeat(490)))).collect();
    write(dir, LARGE, &large)?;
    if let Ok(profile) = fs::read_to_string(dir.join(PROFILE)) {
        let mut confined = default(&rootfs, ENDS);
        let profile = seccomp::configured(&profile)?;
        fs::write(dir.join(FILTER), seccomp::program(&profile)?)?;
        confined["linux"]["seccomp"] = profile;
        write(dir, CONFINED, &confined)?;
    }
    let files = dir.join("files");
    fs::create_dir_all(files.join("volume"))?;
    for name in ["hosts", "hostname", "resolv.conf", "containerenv"] {
        fs::write(files.join(name), "")?;
    }
    fs::write(dir.join(LIMITS), json!({ "unified": { "cgroup.max.depth": "100" } }).to_string())?;
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    write(dir, ENGINE, &engine_like(&rootfs, &files, &controllers))
}

fn write(dir: &Path, name: &str, config: &Value) -> Result<()> {
    let bundle = dir.join(name);
    fs::create_dir_all(&bundle).with_context(|| format!("cannot create {}", bundle.display()))?;
    Ok(fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(config)?)?)
}

/// What `crun spec` writes, with another program and no terminal. `floor.c` does the work for exactly this.
fn default(rootfs: &Path, args: &[&str]) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.0",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": caps, "effective": caps, "inheritable": [], "permitted": caps, "ambient": caps
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": rootfs, "readonly": true },
        "hostname": "crun",
        "mounts": system_mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": namespaces(),
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

/// What `crun spec --rootless` writes, with the one id that everybody may map: what newuidmap(1) takes is no runtime's affair.
fn rootless(rootfs: &Path) -> Value {
    let mut config = default(rootfs, ENDS);
    let linux = &mut config["linux"];
    for list in ["uidMappings", "gidMappings"] {
        linux[list] = json!([{ "containerID": 0, "hostID": USER, "size": 1 }]);
    }
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.push(json!({ "type": "user" }));
    }
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
    }
    config
}

fn namespaces() -> Value {
    let kinds = ["pid", "network", "ipc", "uts", "cgroup", "mount"];
    kinds.iter().map(|kind| json!({ "type": kind })).collect()
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn system_mounts() -> Value {
    let strict = ["nosuid", "noexec", "nodev"];
    let with = |more: &[&'static str]| [&strict[..], more].concat();
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        mount("/dev/shm", "tmpfs", "shm", &with(&["mode=1777", "size=65536k"])),
        mount("/dev/mqueue", "mqueue", "mqueue", &strict),
        mount("/sys", "sysfs", "sysfs", &with(&["ro"])),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &with(&["relatime", "ro"])),
    ])
}

/// The default with what an engine adds: binds, more capabilities, limits where a controller enforces them, device
/// rules.
fn engine_like(rootfs: &Path, files: &Path, controllers: &str) -> Value {
    let mut config = default(rootfs, ENDS);
    let caps: Value = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
    .iter()
    .map(|name| json!(format!("CAP_{name}")))
    .collect();
    config["process"]["capabilities"] = json!({ "bounding": caps, "effective": caps, "permitted": caps });
    config["process"]["oomScoreAdj"] = json!(0);
    config["annotations"] =
        json!({ "io.container.manager": "libpod", "org.opencontainers.image.stopSignal": "15" });
    let binds = [("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf")];
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.push(mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777"]));
        mounts.push(mount("/run", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=755"]));
        for (name, at) in binds {
            let source = files.join(name);
            mounts.push(mount(
                at,
                "bind",
                &source.to_string_lossy(),
                &["bind", "rprivate", "nosuid", "nodev"],
            ));
        }
        let volume = files.join("volume");
        mounts.push(mount("/var", "bind", &volume.to_string_lossy(), &["rbind", "rprivate", "rw"]));
    }
    let linux = &mut config["linux"];
    linux["resources"] = limits(controllers);
    if let Some(masked) = linux["maskedPaths"].as_array_mut() {
        masked.extend([
            json!("/sys/devices/virtual/powercap"),
            json!("/sys/fs/selinux"),
            json!("/proc/interrupts"),
        ]);
    }
    config
}

fn limits(controllers: &str) -> Value {
    let have = |name: &str| controllers.split_whitespace().any(|one| one == name);
    let mut resources = json!({ "devices": [
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm" }
    ] });
    if have("memory") {
        resources["memory"] = json!({ "limit": 268_435_456, "swap": 268_435_456 });
    }
    if have("pids") {
        resources["pids"] = json!({ "limit": 2048 });
    }
    if have("cpu") {
        resources["cpu"] = json!({ "shares": 1024, "quota": 100_000, "period": 100_000 });
    }
    resources
}
