//! What this host's systemd has said that it does not know, so that it need not be asked again by the next container.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The properties that are missing, one empty file each.
#[derive(Debug, Clone)]
pub struct MissingProperties {
    directory: PathBuf,
}

impl MissingProperties {
    /// Those that are noted below this state directory.
    #[must_use]
    pub fn below(state_root: &Path) -> Self {
        Self { directory: state_root.join(".cache/systemd-missing-properties") }
    }

    /// Their names.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return BTreeSet::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }

    /// Notes one. That it cannot be noted only means that it will be asked for again.
    pub(super) fn note(&self, name: &str) {
        use std::os::unix::fs::DirBuilderExt;
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        let _ = std::fs::File::create_new(self.directory.join(name));
    }
}
