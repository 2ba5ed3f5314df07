//! The mount options of the specification: one table for the planner and for `features`
//! (runtime-spec config.md#linux-mount-options, `mount(8)`, `mount_setattr(2)`).

use core::ffi::CStr;

use sys::mount::{MountAttr, Propagation, Reach};

/// What one option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Sets a property of the mount, or of the whole tree.
    Set(MountAttr, Reach),
    /// Clears one.
    Clear(MountAttr, Reach),
    /// Chooses one of the access time modes, which exclude each other.
    AccessTime(MountAttr, Reach),
    /// Sets the propagation.
    Propagation(Propagation, Reach),
    /// The mount is a bind.
    Bind(Reach),
    /// Changes a mount that is there instead of making one.
    Remount,
    /// A flag of the filesystem instead of the mount.
    Filesystem(&'static CStr),
    /// The same, for a flag that only some filesystems have and the others can do without.
    WhereKnown(&'static CStr),
    /// The ids of the files are shown by a mapping.
    Idmap(Reach),
    /// Something this runtime does beside mounting.
    Special(Special),
    /// Asks for what is so anyway.
    Default,
}

/// What crun does for options that the kernel knows nothing of (crun(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    /// `tmpcopyup`: a tmpfs starts with what it covers.
    CopyUp,
    /// `copy-symlink`: a source that is a symbolic link is made again at the destination.
    CopySymlink,
    /// `src-nofollow`: a source that is a symbolic link is mounted itself.
    SourceNoFollow,
    /// `dest-nofollow`: a destination that is a symbolic link is mounted over itself.
    DestinationNoFollow,
}

use Effect::{AccessTime, Bind, Clear, Default, Filesystem, Idmap, Remount, Set, WhereKnown};
use MountAttr as A;
use Reach::{Mount, Tree};

/// `relatime` is how the kernel says "no other mode".
const RELATIVE: MountAttr = MountAttr::empty();

/// Every option that is not the filesystem's own. Anything else is handed to the filesystem as it stands.
pub(crate) const TABLE: [(&str, Effect); 70] = [
    ("defaults", Default),
    ("bind", Bind(Mount)),
    ("rbind", Bind(Tree)),
    ("remount", Remount),
    ("ro", Set(A::RDONLY, Mount)),
    ("rw", Clear(A::RDONLY, Mount)),
    ("suid", Clear(A::NOSUID, Mount)),
    ("nosuid", Set(A::NOSUID, Mount)),
    ("dev", Clear(A::NODEV, Mount)),
    ("nodev", Set(A::NODEV, Mount)),
    ("exec", Clear(A::NOEXEC, Mount)),
    ("noexec", Set(A::NOEXEC, Mount)),
    ("symfollow", Clear(A::NOSYMFOLLOW, Mount)),
    ("nosymfollow", Set(A::NOSYMFOLLOW, Mount)),
    ("diratime", Clear(A::NODIRATIME, Mount)),
    ("nodiratime", Set(A::NODIRATIME, Mount)),
    ("atime", AccessTime(RELATIVE, Mount)),
    ("noatime", AccessTime(A::NOATIME, Mount)),
    ("relatime", AccessTime(RELATIVE, Mount)),
    ("norelatime", AccessTime(A::STRICTATIME, Mount)),
    ("strictatime", AccessTime(A::STRICTATIME, Mount)),
    ("nostrictatime", AccessTime(RELATIVE, Mount)),
    ("rro", Set(A::RDONLY, Tree)),
    ("rrw", Clear(A::RDONLY, Tree)),
    ("rsuid", Clear(A::NOSUID, Tree)),
    ("rnosuid", Set(A::NOSUID, Tree)),
    ("rdev", Clear(A::NODEV, Tree)),
    ("rnodev", Set(A::NODEV, Tree)),
    ("rexec", Clear(A::NOEXEC, Tree)),
    ("rnoexec", Set(A::NOEXEC, Tree)),
    ("rsymfollow", Clear(A::NOSYMFOLLOW, Tree)),
    ("rnosymfollow", Set(A::NOSYMFOLLOW, Tree)),
    ("rdiratime", Clear(A::NODIRATIME, Tree)),
    ("rnodiratime", Set(A::NODIRATIME, Tree)),
    ("ratime", AccessTime(RELATIVE, Tree)),
    ("rnoatime", AccessTime(A::NOATIME, Tree)),
    ("rrelatime", AccessTime(RELATIVE, Tree)),
    ("rnorelatime", AccessTime(A::STRICTATIME, Tree)),
    ("rstrictatime", AccessTime(A::STRICTATIME, Tree)),
    ("rnostrictatime", AccessTime(RELATIVE, Tree)),
    ("shared", Effect::Propagation(Propagation::Shared, Mount)),
    ("rshared", Effect::Propagation(Propagation::Shared, Tree)),
    ("slave", Effect::Propagation(Propagation::Slave, Mount)),
    ("rslave", Effect::Propagation(Propagation::Slave, Tree)),
    ("private", Effect::Propagation(Propagation::Private, Mount)),
    ("rprivate", Effect::Propagation(Propagation::Private, Tree)),
    ("unbindable", Effect::Propagation(Propagation::Unbindable, Mount)),
    ("runbindable", Effect::Propagation(Propagation::Unbindable, Tree)),
    ("async", Default),
    ("sync", Filesystem(c"sync")),
    ("dirsync", Filesystem(c"dirsync")),
    ("mand", Filesystem(c"mand")),
    ("nomand", Default),
    ("lazytime", Filesystem(c"lazytime")),
    ("nolazytime", Default),
    ("iversion", WhereKnown(c"iversion")),
    ("noiversion", Default),
    ("silent", Default),
    ("loud", Default),
    ("rsync", Filesystem(c"sync")),
    ("rasync", Default),
    ("rdirsync", Filesystem(c"dirsync")),
    ("rmand", Filesystem(c"mand")),
    ("rnomand", Default),
    ("idmap", Idmap(Mount)),
    ("ridmap", Idmap(Tree)),
    ("tmpcopyup", Effect::Special(Special::CopyUp)),
    ("copy-symlink", Effect::Special(Special::CopySymlink)),
    ("src-nofollow", Effect::Special(Special::SourceNoFollow)),
    ("dest-nofollow", Effect::Special(Special::DestinationNoFollow)),
];

/// The meaning of `option`, or `None` when it is for the filesystem.
pub(crate) fn effect(option: &str) -> Option<Effect> {
    TABLE.iter().find(|(name, _)| *name == option).map(|(_, effect)| *effect)
}

/// The options used when an entry has none, by destination.
pub(crate) fn defaults(destination: &str, privileged: bool) -> &'static [&'static str] {
    match destination.trim_end_matches('/') {
        "/dev" => &["noexec", "strictatime", "mode=755"],
        "/dev/shm" => &["noexec", "nosuid", "nodev", "mode=1777", "size=65536k"],
        "/dev/mqueue" | "/sys" => &["noexec", "nosuid", "nodev"],
        "/dev/pts" if privileged => {
            &["noexec", "nosuid", "newinstance", "ptmxmode=0666", "mode=620", "gid=5"]
        }
        "/dev/pts" => &["noexec", "nosuid", "newinstance", "ptmxmode=0666", "mode=620"],
        "/sys/fs/cgroup" | "/dev/cgroup" => &["noexec", "nosuid", "strictatime"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_stands_twice() {
        let mut names: Vec<_> = TABLE.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn a_recursive_option_does_to_the_tree_what_the_plain_one_does_to_the_mount() {
        for (name, effect) in TABLE {
            let (Set(attribute, Tree) | Clear(attribute, Tree) | AccessTime(attribute, Tree)) = effect else {
                continue;
            };
            let plain = TABLE.iter().find(|(plain, _)| name.strip_prefix('r') == Some(plain)).unwrap().1;
            let expected = match effect {
                Set(..) => Set(attribute, Mount),
                Clear(..) => Clear(attribute, Mount),
                _ => AccessTime(attribute, Mount),
            };
            assert_eq!(plain, expected, "{name}");
        }
    }

    #[test]
    fn a_filesystems_own_option_is_none_of_ours() {
        assert_eq!(effect("size=64k"), None);
    }
}
