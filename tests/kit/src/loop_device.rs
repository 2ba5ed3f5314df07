//! A block device made of a file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure of the kit is a failure of the test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// A loop device, detached from its file when dropped.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    minor: u64,
    _file: NamedTempFile,
}

impl LoopDevice {
    /// The major number of all of them.
    pub const MAJOR: u64 = 7;

    /// A device of this many bytes.
    ///
    /// # Errors
    /// When this machine has none to give.
    pub fn new(size: u64) -> Result<Self, String> {
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file.path()).output();
        let output = output.map_err(|error| format!("losetup: {error}"))?;
        if !output.status.success() {
            return Err(format!("no loop device: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let minor = path.to_string_lossy().trim_start_matches("/dev/loop").parse().expect("a number");
        Ok(Self { path, minor, _file: file })
    }

    /// Where it is on the host.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its minor number.
    #[must_use]
    pub fn minor(&self) -> u64 {
        self.minor
    }

    /// Its entry in `linux.devices`.
    #[must_use]
    pub fn node(&self, path: &str) -> Value {
        json!({"path": path, "type": "b", "major": Self::MAJOR, "minor": self.minor})
    }

    /// The rule in `linux.resources.devices` that allows it.
    #[must_use]
    pub fn rule(&self) -> Value {
        json!({"allow": true, "type": "b", "major": Self::MAJOR, "minor": self.minor, "access": "rwm"})
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}
