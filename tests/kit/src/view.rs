//! Private places to run a runtime in: pure cgroup v2, optionally inside another root.
//!
//! Some machines mount the version 1 controllers next to the unified hierarchy ("hybrid"); other runtimes refuse to
//! work there, and behaviour on pure v2 has to be tested too. A [`View`] is a set of namespaces (cgroup, mount, pid) in
//! which `/sys/fs/cgroup` is a cgroup2 mount whose root is a cgroup of the view's own; the machine's mounts stay as
//! they are. On a hybrid host no memory, cpu, pids or io controller is available in it; the freezer, `cgroup.kill` and
//! device programs are. On a host that is pure v2 already the view has whatever controllers the host hands on.
//!
//! The view lives as long as the value: commands share its processes, cgroups and mounts. Dropping it kills what still
//! runs in it and removes its cgroups; those of an owner that was killed are removed by the next view made.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The names of the cgroups of all views start so.
const PREFIX: &str = "crun-view-";

/// Enters the view's cgroup, makes it the root of a cgroup namespace, and leaves it for the leaf `lab`: a cgroup that
/// hands on controllers must not hold processes itself (cgroups(7), "no internal processes" rule).
const OUTER: &str = r#"set -e
cg=$1; inner=$2; shift 2
echo 0 >"$cg/cgroup.procs"
exec unshare --cgroup sh -ec 'cg=$1; inner=$2; shift 2; echo 0 >"$cg/lab/cgroup.procs"
  exec unshare --mount --pid --fork --kill-child --propagation private sh -ec "$inner" view "$@"' view "$cg" "$inner" "$@""#;

/// Makes the mounts and, with a root given, moves there; then, as the view's pid 1, reaps orphans until the owner goes
/// away. `cat` is not exec'ed because the shell's wait is what reaps.
const INNER: &str = r#"
root=$1; cgroups=$2; shift 2
mount -t proc -o nosuid,nodev,noexec proc /proc
umount -R /sys/fs/cgroup
if [ "$cgroups" = v2 ]; then mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
elif [ "$cgroups" = v1 ]; then
  mount -t tmpfs -o mode=755 cgroups /sys/fs/cgroup
  while IFS=: read -r id list path; do
    [ -n "$list" ] || continue
    dir=/sys/fs/cgroup/${list#name=}; mkdir "$dir"
    case $list in name=*) list=none,$list;; esac
    mount -t cgroup -o "nosuid,nodev,noexec,$list" cgroup "$dir"
  done </proc/self/cgroup
else mount -t tmpfs tmpfs /sys/fs; fi
if [ -n "$root" ]; then
  mount --bind "$root" "$root"; cd "$root"
  mkdir -p proc sys dev run tmp old
  mount --rbind /dev dev; mount --rbind /sys sys
  mount -t proc -o nosuid,nodev,noexec proc proc
  mount -t tmpfs -o mode=755 tmpfs run; mount -t tmpfs -o mode=1777 tmpfs tmp
fi
while [ $# -gt 0 ]; do
  [ -e "$1" ] || { echo "$1: no such file or directory" >&2; exit 1; }
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$(dirname "$root$2")"; : >>"$root$2"; fi
  mount --rbind "$1" "$root$2"; shift 2
done
if [ -n "$root" ]; then
  # Newer distributions do without the program of that name.
  if command -v pivot_root >/dev/null; then pivot_root . old; else busybox pivot_root . old; fi
  cd /; umount -l /old; fi
echo ready
cat >/dev/null
exit 0"#;

/// What is mounted on `/sys/fs/cgroup`.
#[derive(Debug, Default, Clone, Copy)]
enum Cgroups {
    #[default]
    Unified,
    Legacy,
    None,
}

/// What a [`View`] is to be made of.
#[derive(Debug, Default, Clone)]
pub struct Builder {
    root: Option<PathBuf>,
    cgroups: Cgroups,
    binds: Vec<(PathBuf, PathBuf)>,
}

impl Builder {
    /// Moves into the root filesystem at `root` (see [`crate::rootfs::peers_root`]): it has the host's `/dev` and
    /// `/sys`, its own `/proc`, and an empty `/run` and `/tmp`.
    #[must_use]
    pub fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Leaves `/sys/fs/cgroup` out.
    #[must_use]
    pub fn without_cgroups(mut self) -> Self {
        self.cgroups = Cgroups::None;
        self
    }

    /// Mounts the hierarchies of version 1 that the machine has, and no other.
    #[must_use]
    pub fn legacy(mut self) -> Self {
        self.cgroups = Cgroups::Legacy;
        self
    }

    /// Makes the host's file or directory `from` appear at the absolute path `at`.
    #[must_use]
    pub fn bind(mut self, from: impl Into<PathBuf>, at: impl Into<PathBuf>) -> Self {
        self.binds.push((from.into(), at.into()));
        self
    }

    /// Makes the view.
    ///
    /// # Errors
    /// Not root, no cgroup2 mount on this machine, or a mount that fails.
    pub fn enter(self) -> Result<View> {
        ensure!(crate::rootfs::is_root(), "only root can make a private cgroup view");
        let cgroup = crate::owned::cgroup(PREFIX)?;
        // From here on dropping the value undoes what was done.
        let mut view = View { cgroup, holder: None, init: 0 };
        fs::create_dir(view.cgroup.join("lab"))?;
        view.start(&self)?;
        crate::owned::hand_on_controllers(&view.cgroup);
        Ok(view)
    }
}

/// Namespaces with pure cgroup v2, alive until dropped. See the [module](self).
#[derive(Debug)]
pub struct View {
    cgroup: PathBuf,
    holder: Option<Child>,
    init: u32,
}

impl View {
    /// The beginning of a view.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The plain view: this machine's own files, and pure cgroup v2.
    ///
    /// # Errors
    /// As [`Builder::enter`].
    pub fn pure_v2() -> Result<Self> {
        Self::builder().enter()
    }

    /// A command that runs `program` (a path inside the view) in the view. Its exit status is the program's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-ec", r#"echo 0 >"$1"; shift; exec "$@""#, "view"])
            .arg(self.cgroup.join("lab/cgroup.procs"))
            .args(["nsenter", "--target", &self.init.to_string(), "--mount", "--pid", "--cgroup", "--"])
            .arg(program);
        command
    }

    /// The cgroup that is the root of `/sys/fs/cgroup` inside, as a path outside.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The view's pid 1, as a pid outside; `/proc/PID/root` leads to the files inside.
    #[must_use]
    pub fn init(&self) -> u32 {
        self.init
    }

    fn start(&mut self, wanted: &Builder) -> Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", OUTER, "view"]).arg(&self.cgroup).arg(INNER);
        command.arg(wanted.root.as_deref().unwrap_or(Path::new("")));
        command.arg(match wanted.cgroups {
            Cgroups::Unified => "v2",
            Cgroups::Legacy => "v1",
            Cgroups::None => "none",
        });
        command.args(wanted.binds.iter().flat_map(|(from, at)| [from, at]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let holder = self.holder.insert(command.spawn().context("cannot run sh")?);
        let mut line = String::new();
        BufReader::new(holder.stdout.take().context("no pipe")?).read_line(&mut line)?;
        if line != "ready\n" {
            let mut said = String::new();
            holder.stderr.take().context("no pipe")?.read_to_string(&mut said)?;
            anyhow::bail!("cannot make a private cgroup view: {}", said.trim());
        }
        let id = holder.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        self.init = children.trim().parse().context("the view has no pid 1")?;
        Ok(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            drop(holder.stdin.take()); // its `cat` ends, so its pid 1, so every process in its pid namespace
            drop(fs::write(self.cgroup.join("cgroup.kill"), "1"));
            drop(holder.wait());
        }
        crate::owned::remove_cgroup(&self.cgroup);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(command: &mut Command) -> String {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_view_is_pure_v2_shared_by_its_commands_and_gone_when_dropped() {
        if !crate::rootfs::is_root() {
            return;
        }
        let view = View::pure_v2().unwrap();
        let cgroup = view.cgroup().to_path_buf();
        assert_eq!(says(view.command("stat").args(["-fc", "%T", "/sys/fs/cgroup"])), "cgroup2fs\n");
        assert!(says(view.command("cat").arg("/proc/self/cgroup")).contains("0::/lab\n"));
        assert_eq!(view.command("sh").args(["-c", "exit 7"]).status().unwrap().code(), Some(7));
        let leave = "mkdir -p /sys/fs/cgroup/a/b; (echo 0 >/sys/fs/cgroup/a/b/cgroup.procs; exec sleep 99 >/dev/null 2>&1) & ";
        says(view.command("sh").args(["-c", leave]));
        assert!(cgroup.join("a/b").is_dir());
        drop(view);
        assert!(!cgroup.exists());
    }

    #[test]
    fn a_view_that_cannot_be_made_says_why_and_leaves_nothing() {
        if !crate::rootfs::is_root() {
            return;
        }
        let error = View::builder().bind("/nonexistent", "/tmp/x").enter().unwrap_err();
        assert!(error.to_string().contains("/nonexistent"), "{error}");
    }
}
