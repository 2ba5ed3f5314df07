//! An ordinary user of the machine, with a home, a runtime directory and subordinate ids, who runs the runtime with no
//! help but `newuidmap(1)` and `newgidmap(1)`.
//!
//! The machine does not know the user: what says so (`/etc/passwd` and the like) lies over the machine's own files in a
//! mount namespace of the value's, and goes away with it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure of the kit is a failure of the test")]

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::mapped_root::DELEGATE;
use crate::view::View;

/// The user's id, and that of its group.
pub const UID: u32 = 4711;
/// A group it is in beside its own.
pub const GROUP: u32 = 4712;
/// Its name.
pub const NAME: &str = "somebody";
/// The ids it may map into its user namespaces: the first, and how many.
pub const SUBIDS: (u32, u32) = (300_000, 65_536);

/// Lays the files over the machine's, makes everything its own, and waits for the end of its standard input.
const HOLD: &str = r#"set -e
for file in passwd group subuid subgid; do
  [ -e /etc/$file ] || { echo "this machine has no /etc/$file"; exit 1; }
  mount --bind "$1/$file" /etc/$file; done
echo $$; exec cat >/dev/null"#;

/// The user.
#[derive(Debug)]
pub struct User {
    holder: Child,
    pid: u32,
    directory: PathBuf,
    cgroup: Option<&'static str>,
}

impl User {
    /// Makes the user, on this machine or in a view. What is its own lies below `directory`, which it can reach.
    ///
    /// # Errors
    /// When there can be none here: no `newuidmap`, or no files to lay others over.
    pub fn new(view: Option<&View>, directory: &Path) -> Result<Self, String> {
        if !Path::new("/usr/bin/newuidmap").exists() {
            return Err("there is no newuidmap (Debian: uidmap)".to_owned());
        }
        let etc = directory.join("etc");
        make_files(directory, &etc);
        let mut command = view.map_or_else(|| Command::new("unshare"), |view| view.command("unshare"));
        command.args(["--mount", "--propagation", "private", "sh", "-c", HOLD, "hold"]).arg(&etc);
        let holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        // The value ends it, whatever becomes of it.
        let (mut holder, directory) = (holder.unwrap(), directory.to_owned());
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut this = Self { holder, pid: 0, directory, cgroup: None };
        match line.trim().parse() {
            Ok(pid) => this.pid = pid,
            Err(_) => {
                this.holder.stderr.take().unwrap().read_to_string(&mut line).unwrap();
                return Err(format!("an ordinary user cannot be made: {}", line.trim()));
            }
        }
        Ok(this)
    }

    /// Gives the user a cgroup in the view, and runs what it runs in one below.
    #[must_use]
    pub fn with_cgroup(mut self, view: &View) -> Self {
        let made = view.command("sh").args(["-c", DELEGATE, "sh", &UID.to_string()]).status().unwrap();
        assert!(made.success());
        self.cgroup = Some("/sys/fs/cgroup/user/shell");
        self
    }

    /// The directory that is `XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn runtime_directory(&self) -> PathBuf {
        self.directory.join("run")
    }

    /// The words that a command is to be run by.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let (id, groups, pid) = (UID.to_string(), format!("{UID},{GROUP}"), self.pid.to_string());
        let mut words: Vec<String> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        if let Some(cgroup) = self.cgroup {
            add(&["sh", "-c", r#"echo 0 >"$0/cgroup.procs" && exec "$@""#, cgroup]);
        }
        add(&["nsenter", "--target", &pid, "--mount", "--"]);
        add(&["setpriv", "--reuid", &id, "--regid", &id, "--groups", &groups, "--inh-caps=-all", "--"]);
        add(&["env", "--unset=DBUS_SESSION_BUS_ADDRESS", &format!("USER={NAME}")]);
        add(&[&format!("HOME={}", self.directory.join("home").display())]);
        add(&[&format!("XDG_RUNTIME_DIR={}", self.runtime_directory().display())]);
        words.into_iter().map(OsString::from).collect()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The user's directories, and the files that make it known.
fn make_files(directory: &Path, etc: &Path) {
    for (name, mode) in [("home", 0o700), ("run", 0o700)] {
        let own = directory.join(name);
        fs::create_dir(&own).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
        chown(&own, Some(UID), Some(UID)).unwrap();
    }
    fs::create_dir(etc).unwrap();
    let (first, count) = SUBIDS;
    let subids = format!("{NAME}:{first}:{count}\n");
    let home = directory.join("home");
    for (name, lines) in [
        ("passwd", format!("{NAME}:x:{UID}:{UID}::{}:/bin/sh\n", home.display())),
        ("group", format!("{NAME}:x:{UID}:\nothers:x:{GROUP}:{NAME}\n")),
        ("subuid", subids.clone()),
        ("subgid", subids),
    ] {
        let known = fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
        fs::write(etc.join(name), known + &lines).unwrap();
        fs::set_permissions(etc.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
}
