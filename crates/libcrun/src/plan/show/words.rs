//! The words of a configuration for what a plan has in the kernel's terms.

use std::ffi::CStr;
use std::path::Path;

use sys::clone::Namespaces;
use sys::mount::{MountAttr, MountChange, Propagation, Reach};

use crate::mount_options::{self, Effect};
use crate::plan::{IdMaps, namespaces};
use crate::spec::IdMapping;

/// A text of the kernel's.
pub(super) fn text(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

pub(super) fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The options for the changes of a mount.
pub(super) fn changes(changes: &[(MountChange, Reach)]) -> Vec<String> {
    changes.iter().flat_map(|(change, reach)| options(*change, *reach)).map(str::to_owned).collect()
}

/// The options for the properties that a mount is made with.
pub(super) fn attributes(attributes: MountAttr) -> Vec<String> {
    let change = MountChange { set: attributes, ..MountChange::default() };
    options(change, Reach::Mount).into_iter().map(str::to_owned).collect()
}

fn options(change: MountChange, reach: Reach) -> Vec<&'static str> {
    let is_meant = |effect: Effect| match effect {
        Effect::Set(attribute, of) => of == reach && change.set.contains(attribute),
        Effect::Clear(attribute, of) => of == reach && change.clear.contains(attribute),
        Effect::Propagation(propagation, of) => of == reach && change.propagation == Some(propagation),
        _ => false,
    };
    let table = mount_options::TABLE.into_iter().filter(|(_, effect)| is_meant(*effect));
    let mut options: Vec<&str> = table.map(|(name, _)| name).collect();
    let mode = change.set & MountAttr::ATIME_MODES;
    let is_tree = reach == Reach::Tree;
    options.extend(match mode {
        MountAttr::NOATIME => Some(if is_tree { "rnoatime" } else { "noatime" }),
        MountAttr::STRICTATIME => Some(if is_tree { "rstrictatime" } else { "strictatime" }),
        _ if !change.clear.contains(MountAttr::ATIME_MODES) => None,
        _ => Some(if is_tree { "rrelatime" } else { "relatime" }),
    });
    options
}

/// `linux.rootfsPropagation`.
pub(super) fn propagation((propagation, reach): (Propagation, Reach)) -> &'static str {
    let change = MountChange { propagation: Some(propagation), ..MountChange::default() };
    options(change, reach).first().copied().unwrap_or_default()
}

/// The types of namespaces.
pub(super) fn types(kinds: Namespaces) -> Vec<String> {
    let named = namespaces::TYPES.into_iter().filter(|(_, kind)| kinds.contains(*kind));
    named.map(|(name, _)| name.to_owned()).collect()
}

/// Mappings as they are written: the first id inside, the first outside, how many.
pub(super) fn maps(mappings: &[IdMapping]) -> Vec<String> {
    mappings.iter().map(|one| format!("{} {} {}", one.container_id, one.host_id, one.size)).collect()
}

/// Both lists in one.
pub(super) fn both_maps(both: &IdMaps) -> Vec<String> {
    let lines = |name, list: &[IdMapping]| {
        maps(list).into_iter().map(move |line| format!("{name} {line}")).collect::<Vec<_>>()
    };
    [lines("uid", &both.uid), lines("gid", &both.gid)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_a_mount_are_told_in_the_options_that_make_them() {
        let change = MountChange {
            set: MountAttr::RDONLY | MountAttr::NOATIME,
            clear: MountAttr::NODEV | MountAttr::ATIME_MODES,
            propagation: None,
        };
        let private = MountChange { propagation: Some(Propagation::Private), ..MountChange::default() };
        assert_eq!(changes(&[(change, Reach::Mount)]), ["ro", "dev", "noatime"]);
        assert_eq!(changes(&[(change, Reach::Tree)]), ["rro", "rdev", "rnoatime"]);
        assert_eq!(changes(&[(private, Reach::Tree)]), ["rprivate"]);
        let relatime = MountChange { clear: MountAttr::ATIME_MODES, ..MountChange::default() };
        assert_eq!(changes(&[(relatime, Reach::Mount)]), ["relatime"]);
        assert_eq!(attributes(MountAttr::NOSUID | MountAttr::STRICTATIME), ["nosuid", "strictatime"]);
        assert_eq!(propagation((Propagation::Slave, Reach::Mount)), "slave");
    }

    #[test]
    fn namespaces_have_the_names_of_the_specification() {
        assert_eq!(types(Namespaces::MOUNT | Namespaces::PID), ["pid", "mount"]);
    }
}
