//! Whether a test is run in a lane (`cargo xtask lane`), and the user with a systemd session that each lane has.
//!
//! A lane is a Debian with systemd as pid 1, either in namespaces of this machine's kernel or as a virtual machine. The
//! suite is run there as root. Tests that are about users without privileges run commands as the lane's user by
//! [`user_session`].

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The name of the user that has a session in every lane.
pub const USER: &str = "tester";
/// Its id, and that of its group.
pub const UID: u32 = 1000;
/// The ids it may map into its user namespaces, by `/etc/subuid` and `/etc/subgid`: the first, and how many.
pub const SUBIDS: (u32, u32) = (200_000, 65_536);

/// `XDG_RUNTIME_DIR` of the user.
pub const RUNTIME_DIR: &str = "/run/user/1000";

/// A lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// systemd in namespaces: pure cgroup v2, the kernel of the machine, no controllers where that has v1 ones.
    Systemd,
    /// A virtual machine with a kernel of its own: all v2 controllers, AppArmor.
    Vm,
}

/// The lane this process is in; `None` on the machine itself.
#[must_use]
pub fn current() -> Option<Lane> {
    match std::env::var("CRUN_LANE").ok()?.as_str() {
        "systemd" => Some(Lane::Systemd),
        "vm" => Some(Lane::Vm),
        _ => None,
    }
}

/// How many times longer things may take here than on an idle machine: an emulated processor is slow.
#[must_use]
pub fn slowness() -> u32 {
    std::env::var("CRUN_SLOWNESS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// How long this may take here, if it may take `native` on a machine that is not emulated.
#[must_use]
pub fn patience(native: Duration) -> Duration {
    native * slowness()
}

/// The lane's user and its session: a user manager that answers on a bus of its own, and controllers delegated to it.
#[derive(Debug, Clone, Copy)]
pub struct UserSession {
    /// Whether this process is that user already.
    already: bool,
}

/// The session of the lane's user.
///
/// # Errors
/// Why there is none here: for [`crate::crun::skipped`].
pub fn user_session() -> Result<UserSession, String> {
    if current().is_none() {
        return Err("a user with a systemd session is there in lanes only (cargo xtask lane)".to_owned());
    }
    let session = UserSession { already: !crate::rootfs::is_root() };
    match std::fs::metadata(Path::new(RUNTIME_DIR).join("bus")) {
        Ok(meta) if meta.uid() == UID => Ok(session),
        Ok(_) => Err("the bus of the lane's user belongs to somebody else".to_owned()),
        Err(error) => Err(format!("the lane's user has no session bus: {error}")),
    }
}

/// The session of the lane's user; returns from the test where there is none, and says why.
#[macro_export]
macro_rules! user_session {
    () => {
        match $crate::lane::user_session() {
            Ok(session) => session,
            Err(reason) => return $crate::crun::skipped(reason),
        }
    };
}

impl UserSession {
    /// A command that runs `program` as the user, in a scope of its own that the user's systemd has delegated to it.
    /// It is a child of this process, with its standard streams and working directory; the exit status is the program's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut words = if self.already { in_scope() } else { in_session() }.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg(program);
        command
    }

    /// As [`Self::command`], as root of a new user namespace in which the user is 0 and the ids it has been given follow.
    #[must_use]
    pub fn mapped_root(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("unshare");
        command.args(["--user", "--map-root-user", "--map-auto", "--setuid", "0", "--setgid", "0", "--"]);
        command.arg(program);
        command
    }
}

/// The words in front of a program that root runs as the lane's user, in a scope of its session.
#[must_use]
pub fn in_session() -> Vec<String> {
    let id = UID.to_string();
    let mut words =
        ["setpriv", "--reuid", &id, "--regid", &id, "--init-groups", "--"].map(str::to_owned).to_vec();
    words.extend(in_scope());
    words
}

fn in_scope() -> Vec<String> {
    let mut words = vec![
        "env".to_owned(),
        format!("HOME=/home/{USER}"),
        format!("USER={USER}"),
        format!("XDG_RUNTIME_DIR={RUNTIME_DIR}"),
        format!("DBUS_SESSION_BUS_ADDRESS=unix:path={RUNTIME_DIR}/bus"),
    ];
    let scope = ["systemd-run", "--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes", "--"];
    words.extend(scope.map(str::to_owned));
    words
}
