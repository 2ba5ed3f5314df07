//! A container that is not where it is looked for, or that is there already.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::similar::{quoted, similar};
use crate::container::snapshot;
use crate::id::ContainerId;
use crate::state::StateRoot;

/// Whether it is elsewhere, or which name may have been meant.
pub(super) fn not_found(root: &Path, id: &str) -> Option<String> {
    let elsewhere = places().into_iter().find(|place| place != root && is_state(&place.join(id)));
    if let Some(place) = elsewhere {
        return Some(format!("one of that name is below `--root {}`", place.display()));
    }
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let mut meant = similar(id, names.iter().map(String::as_str));
    meant.retain(|name| is_state(&root.join(name)));
    (!meant.is_empty()).then(|| format!("there is {}", quoted(&meant)))
}

/// Whether it is the directory of a container, of this runtime's or of runc's.
fn is_state(directory: &Path) -> bool {
    ["status", "config.json", "state.json"].into_iter().any(|file| directory.join(file).exists())
}

/// Where runtimes and those who call them keep their containers.
fn places() -> Vec<PathBuf> {
    let user = geteuid();
    let variable = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    let runtime_directory = variable.map_or_else(|| format!("/run/user/{user}").into(), PathBuf::from);
    let mut places: Vec<PathBuf> = ["crun", "runc"].map(|name| runtime_directory.join(name)).into();
    places.extend(["/run/crun", "/run/runc"].map(PathBuf::from));
    // Those of containerd: a directory for each of its namespaces.
    for place in ["/run/containerd/runc", "/run/docker/runtime-runc"] {
        places.extend(std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    places
}

/// What there is of that name.
pub(super) fn exists(root: &Path, id: &str) -> Option<String> {
    let snapshot = snapshot(&StateRoot::new(root.to_owned()), &ContainerId::new(id).ok()?);
    match snapshot {
        Ok(snapshot) => {
            let phase = snapshot.phase.as_str();
            let force = if matches!(phase, "running" | "paused") { " --force" } else { "" };
            Some(format!("it is {phase}: `crun delete{force} {id}` removes it"))
        }
        // Half made, or half removed: its maker may still be at it.
        Err(_) => {
            let directory = root.join(id);
            let owner = std::fs::metadata(&directory).ok()?.uid();
            Some(format!(
                "it is incomplete (`{}`, of user {owner}): if no crun is making it, `crun delete --force {id}` \
                 removes it",
                directory.display()
            ))
        }
    }
}
