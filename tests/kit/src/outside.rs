//! A directory of the host that no container may reach: what attacks aim at.

#![allow(clippy::unwrap_used, reason = "a failure of the kit is a failure of the test")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::TempDir;

/// What the file `secret` says. A container that prints it has got out.
pub const WORDS: &str = "words of the host";

/// The directory, with the file `secret` and the directory `sub`.
#[derive(Debug)]
pub struct Outside {
    dir: TempDir,
    before: Vec<String>,
}

impl Default for Outside {
    fn default() -> Self {
        Self::new()
    }
}

impl Outside {
    /// A new one, in the directory for temporary files.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("outside-").tempdir().unwrap();
        fs::write(dir.path().join("secret"), WORDS).unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let before = listing(dir.path());
        Self { dir, before }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path of something in it.
    #[must_use]
    pub fn at(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// The texts of symbolic links that lead to it from anywhere, for whoever follows them as the host would.
    #[must_use]
    pub fn ways(&self) -> [String; 3] {
        let path = self.at("");
        let path = path.trim_matches('/');
        [format!("/{path}"), format!("{}{path}", "../".repeat(40)), format!("/proc/self/root/{path}")]
    }

    /// Asserts that nothing was made, changed or mounted in it.
    pub fn assert_untouched(&self) {
        assert_same(&listing(self.dir.path()), &self.before);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let path = self.dir.path().to_str().unwrap();
        assert!(!mounts.contains(path), "something is mounted on the host: {mounts}");
    }
}

/// All names below a directory with kind, permissions, owner and content (or length): equal when nothing has
/// changed. The programs in `bin` are left out.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn listing(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.file_name() != "bin") {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        let content = match meta.file_type() {
            kind if kind.is_file() && meta.len() > 4096 => format!("{} bytes", meta.len()),
            kind if kind.is_file() => String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
            _ => meta.rdev().to_string(),
        };
        let (mode, uid, gid) = (meta.mode(), meta.uid(), meta.gid());
        lines.push(format!("{} {mode:o} {uid}:{gid} {content:?}", path.display()));
        if meta.is_dir() {
            lines.extend(listing(&path));
        }
    }
    lines.sort();
    lines
}

/// Asserts that two listings are the same, and says where they are not.
///
/// # Panics
/// When they are not.
pub fn assert_same(now: &[String], before: &[String]) {
    let only = |one: &[String], other: &[String]| {
        one.iter().filter(|line| !other.contains(line)).cloned().collect::<Vec<_>>()
    };
    let (more, less) = (only(now, before), only(before, now));
    assert!(more.is_empty() && less.is_empty(), "there is now {more:#?} and no longer {less:#?}");
}
