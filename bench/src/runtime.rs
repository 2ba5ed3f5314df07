//! The runtimes that take part, and how each is called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The name the runtime built here goes by.
pub(crate) const THIS: &str = "this crun";
/// The name of the same, on the machine's own cgroup layout instead of in the pure-v2 view.
pub(crate) const NATIVE: &str = "this crun, native";
/// The name of the runtime everything is compared with.
pub(crate) const PEER: &str = "C crun";
/// The name of the program that does only the kernel's work.
pub(crate) const FLOOR: &str = "floor";

/// One participant.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Where it keeps its state: one directory for each, so that none sees the other's containers.
    pub(crate) state: PathBuf,
}

impl Runtime {
    /// Whether this is not a runtime but the floor.
    pub(crate) fn is_floor(&self) -> bool {
        self.name == FLOOR
    }

    /// A call of the runtime, with nothing to read and nothing that is read.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare_command();
        command.arg("--root").arg(&self.state).args(arguments);
        command
    }

    /// The same without any argument.
    pub(crate) fn bare_command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The first line of `--version`, of the floor nothing.
    pub(crate) fn version(&self) -> Result<String> {
        if self.is_floor() {
            return Ok(String::new());
        }
        let output = Command::new(&self.path).arg("--version").stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot run {}", self.path.display()))?;
        ensure!(output.status.success(), "{} --version failed", self.path.display());
        Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
    }

    /// Ends and removes a container, whatever its state.
    pub(crate) fn remove(&self, id: &str) {
        if !self.is_floor() {
            drop(self.command(&["delete", "--force", id]).status());
        }
    }
}

/// The other runtimes in these directories, the first of each name; those that do not even say their version are not
/// for this machine.
pub(crate) fn others(search: &[PathBuf], state: &Path) -> Result<Vec<Runtime>> {
    let mut found = Vec::new();
    for (program, name) in [("crun", PEER), ("runc", "runc"), ("youki", "youki")] {
        for path in search.iter().map(|dir| dir.join(program)).filter(|path| path.is_file()) {
            let runtime = new(name, path, state)?;
            if runtime.version().is_ok() {
                found.push(runtime);
                break;
            }
        }
    }
    Ok(found)
}

/// A participant of its own state directory.
pub(crate) fn new(name: &str, path: PathBuf, state: &Path) -> Result<Runtime> {
    let state = state.join(name.replace([' ', ','], "-"));
    fs::create_dir_all(&state).with_context(|| format!("cannot create {}", state.display()))?;
    Ok(Runtime { name: name.to_owned(), path, state })
}
