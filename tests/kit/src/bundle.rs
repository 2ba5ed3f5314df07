//! Bundles: a `config.json` with its root filesystem, in a directory of their own that goes away with the value.
//!
//! A new [`Bundle`] is what `crun spec` prints, without the terminal, over a busybox of its own. Its methods take and
//! return it, so that a test reads as the difference it is about.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure of the kit is a failure of the test")]

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::{fs, io};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory with `config.json` and `rootfs`. A clone is another configuration over the same directory.
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: Arc<TempDir>,
    config: Value,
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

impl Bundle {
    /// The default bundle, in the directory for temporary files.
    #[must_use]
    pub fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    /// The default bundle, in a new directory below `parent`: for a place that sees only some of the host's files.
    #[must_use]
    pub fn new_in(parent: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("crun-bundle-").tempdir_in(parent).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let rootfs = dir.path().join("rootfs");
        make_tree(&crate::rootfs::busybox_rootfs().expect("a busybox root filesystem"), &rootfs);
        Self { dir: Arc::new(dir), config: default_config() }
    }

    /// The default configuration over another root filesystem, which is not copied.
    #[must_use]
    pub fn over(rootfs: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("crun-bundle-").tempdir().unwrap();
        Self { dir: Arc::new(dir), config: default_config() }.set("/root/path", json!(rootfs))
    }

    /// What to run.
    #[must_use]
    pub fn args<const N: usize>(self, args: [&str; N]) -> Self {
        self.set("/process/args", json!(args.as_slice()))
    }

    /// Runs a shell script.
    #[must_use]
    pub fn sh(self, script: &str) -> Self {
        self.args(["sh", "-c", script])
    }

    /// Forks without end, in up to `limit` processes that the pids controller allows; says when it is at it.
    #[must_use]
    pub fn fork_bomb(self, limit: u32) -> Self {
        // A shell that cannot fork ends, which lets another one do so. The first process is none of them and forks no more.
        let bomb = "while :; do sh -c 'while :; do (:) & done' & done 2>/dev/null";
        self.set("/linux/resources/pids", json!({"limit": limit}))
            .sh(&format!("({bomb}) & echo up; exec sleep 99"))
    }

    /// Any change of the configuration.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets what is at a JSON pointer (RFC 6901), making the objects on the way.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer");
        let mut at = &mut self.config;
        for step in parent.split('/').skip(1) {
            at = match at {
                Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
                other => &mut other[step],
            };
        }
        match at {
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
            other => other[key] = value,
        }
        self
    }

    /// Removes the member at a JSON pointer.
    #[must_use]
    pub fn unset(mut self, pointer: &str) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer");
        let parent = self.config.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
        parent.remove(key);
        self
    }

    /// Adds a mount behind the others.
    #[must_use]
    pub fn mount<const N: usize>(
        self,
        destination: &str,
        kind: &str,
        source: &str,
        options: [&str; N],
    ) -> Self {
        let mount = json!({"destination": destination, "type": kind, "source": source, "options": options.as_slice()});
        self.edit(|config| config["mounts"].as_array_mut().unwrap().push(mount))
    }

    /// Adds `NAME=VALUE` to the environment.
    #[must_use]
    pub fn env(self, variable: &str) -> Self {
        self.edit(|config| config["process"]["env"].as_array_mut().unwrap().push(json!(variable)))
    }

    /// Gives the process these capabilities, in the bounding, effective and permitted sets.
    #[must_use]
    pub fn caps<const N: usize>(self, names: [&str; N]) -> Self {
        let names = json!(names.as_slice());
        let sets = json!({"bounding": names, "effective": names, "permitted": names});
        self.set("/process/capabilities", sets)
    }

    /// Makes the root filesystem writable.
    #[must_use]
    pub fn writable(self) -> Self {
        self.set("/root/readonly", json!(false))
    }

    /// Makes the namespace of this type absent, or with a path, one that is joined.
    #[must_use]
    pub fn namespace(self, kind: &str, path: Option<&str>) -> Self {
        self.edit(|config| {
            let all = config["linux"]["namespaces"].as_array_mut().unwrap();
            all.retain(|entry| entry["type"] != kind);
            all.extend(path.map(|path| match path {
                "" => json!({"type": kind}),
                _ => json!({"type": kind, "path": path}),
            }));
        })
    }

    /// Gives it a new user namespace, in which its ids are those of the host from 100000 on. The root filesystem belongs
    /// to its user 0.
    #[must_use]
    pub fn in_user_namespace(self) -> Self {
        std::os::unix::fs::chown(self.rootfs(), Some(100_000), Some(100_000)).unwrap();
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        self.namespace("user", Some("")).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
    }

    /// Gives the root filesystem to the root of [`crate::mapped_root`].
    #[must_use]
    pub fn of_mapped_root(self) -> Self {
        let user = Some(crate::mapped_root::USER);
        for directory in [self.dir.path().to_owned(), self.rootfs()] {
            std::os::unix::fs::chown(directory, user, user).unwrap();
        }
        self
    }

    /// Gives the bundle and the directories of its root filesystem to the user of [`crate::user`].
    #[must_use]
    pub fn of_user(self) -> Self {
        self.owned_by(crate::user::UID)
    }

    /// Gives the bundle and the directories of its root filesystem to a user and the group of that number.
    #[must_use]
    pub fn owned_by(self, id: u32) -> Self {
        let own = |path: &Path| std::os::unix::fs::chown(path, Some(id), Some(id)).unwrap();
        own(self.dir.path());
        own(&self.rootfs());
        for entry in fs::read_dir(self.rootfs()).unwrap().flatten() {
            // The files are shared with other bundles.
            if entry.file_type().unwrap().is_dir() {
                own(&entry.path());
            }
        }
        self
    }

    /// The configuration as it is now.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The path of the root filesystem, seen from outside. Do not change the contents of files that came with it: they
    /// are shared with the other bundles.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    /// Writes `config.json` and returns the bundle's directory.
    #[must_use]
    pub fn save(&self) -> &Path {
        let text = serde_json::to_vec_pretty(&self.config).unwrap();
        fs::write(self.dir.path().join("config.json"), text).unwrap();
        self.dir.path()
    }

    /// The bundle's directory, as it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The directory itself, which stays as long as somebody has it.
    pub(crate) fn keep(&self) -> Arc<TempDir> {
        Arc::clone(&self.dir)
    }
}

/// Makes a copy of a tree: by hard links on the same file system, so that no data is copied. On another it is a process
/// of its own that writes the programs: a child that another thread starts meanwhile would inherit our descriptor, and
/// nobody can execute a program that somebody has open for writing.
fn make_tree(from: &Path, to: &Path) {
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(from) == device(to.parent().unwrap()) {
        // It may be mounted twice, which is as good as another.
        if link_tree(from, to).is_ok() {
            return;
        }
        fs::remove_dir_all(to).unwrap();
    }
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.is_ok_and(|status| status.success()), "cp -a {} {}", from.display(), to.display());
}

fn link_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, path, target) = (entry.file_type()?, entry.path(), to.join(entry.file_name()));
        if kind.is_dir() {
            link_tree(&path, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &target)?;
        } else {
            fs::hard_link(&path, &target)?;
        }
    }
    Ok(())
}

/// What `crun spec` prints, with `terminal` false. The test of `spec` compares the two.
#[must_use]
pub fn default_config() -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.0",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "inheritable": [], "permitted": caps, "ambient": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "crun",
        "mounts": default_mounts(),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"},
                {"type": "mount"}
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn default_mounts() -> Value {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &[
            "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5",
        ]),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ])
}
