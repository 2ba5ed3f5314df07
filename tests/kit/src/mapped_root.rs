//! A user namespace of an ordinary user, as an engine without root makes one to run a runtime in: its root is that user, and
//! the ids above are from a range that the user may have (`subuid(5)`).
//!
//! It has a mount namespace of its own and lives as long as the value.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure of the kit is a failure of the test")]

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::view::View;

/// The user outside that is root inside.
pub const USER: u32 = 1000;

/// The first of the 65 536 ids outside that are 1 and up inside.
pub const FIRST: u32 = 100_000;

/// What holds the namespaces: it waits for the end of its standard input.
const HOLD: &str = "echo $$; exec cat >/dev/null";

/// The cgroup of version 2 in a view that is the user's, and one in it for the runtime.
pub(crate) const DELEGATE: &str = "mkdir -p /sys/fs/cgroup/user/shell
for file in $(cat /sys/kernel/cgroup/delegate); do for dir in user user/shell; do
  [ ! -e /sys/fs/cgroup/$dir/$file ] || chown $1:$1 /sys/fs/cgroup/$dir/$file; done; done
chown $1:$1 /sys/fs/cgroup/user /sys/fs/cgroup/user/shell
for name in $(cat /sys/fs/cgroup/cgroup.controllers); do
  for dir in . user; do echo +$name >/sys/fs/cgroup/$dir/cgroup.subtree_control || true; done; done";

/// The namespaces.
#[derive(Debug)]
pub struct MappedRoot {
    holder: Child,
    pid: u32,
    cgroup: Option<&'static str>,
}

impl MappedRoot {
    /// Makes them, on this machine or in a view.
    ///
    /// # Errors
    /// When they cannot be made here.
    pub fn new(view: Option<&View>) -> Result<Self, String> {
        let user = USER.to_string();
        let mut command = command(view, "setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        command.args(["unshare", "--user", "--mount", "--propagation", "private", "sh", "-c", HOLD]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // The value ends it, whatever becomes of it.
        let mut this = Self { holder, pid: 0, cgroup: None };
        this.pid =
            line.trim().parse().map_err(|_| "an ordinary user can make no user namespace".to_owned())?;
        // The kernel takes a map in one write.
        let write = r#"for name in uid_map gid_map; do printf '0 %s 1\n1 %s 65536\n' "$2" "$3" | dd bs=4096 iflag=fullblock of=/proc/$1/$name status=none; done"#;
        let ids = [this.pid.to_string(), user, FIRST.to_string()];
        run(view, write, &ids)
            .then_some(this)
            .ok_or_else(|| "the ids of a user namespace cannot be mapped".to_owned())
    }

    /// Gives the user a cgroup in the view, and runs the runtime in one below.
    #[must_use]
    pub fn with_cgroup(mut self, view: &View) -> Self {
        assert!(run(Some(view), DELEGATE, &[USER.to_string()]));
        self.cgroup = Some("/sys/fs/cgroup/user/shell");
        self
    }

    /// The words that a command is to be run by.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let pid = self.pid.to_string();
        let enter =
            ["nsenter", "--target", &pid, "--user", "--mount", "--setuid", "0", "--setgid", "0", "--"];
        let mut words: Vec<&str> = Vec::new();
        if let Some(cgroup) = self.cgroup {
            words.extend(["sh", "-c", r#"echo 0 >"$0/cgroup.procs" && exec "$@""#, cgroup]);
        }
        words.extend(enter);
        words.into_iter().map(OsString::from).collect()
    }
}

impl Drop for MappedRoot {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn command(view: Option<&View>, program: &str) -> Command {
    match view {
        Some(view) => view.command(program),
        None => Command::new(program),
    }
}

fn run(view: Option<&View>, script: &str, arguments: &[String]) -> bool {
    command(view, "sh").args(["-c", script, "sh"]).args(arguments).status().unwrap().success()
}
