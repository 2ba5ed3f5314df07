//! Whose the standard streams are: a process that is not root could not open `/dev/stdout` again, which leads to a file or
//! pipe of whoever started the container.

use rustix::fs::{FileType, fchown, fstat};
use rustix::process::{Gid, Uid};

/// Gives them to a user and a group. Devices, terminals among them, are the host's and stay as they are, and so does what
/// cannot be given: what lies on a read-only filesystem, or belongs to nobody in the container's user namespace.
pub(super) fn give_to(uid: Uid, gid: Gid) {
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let Ok(stat) = fstat(stream) else { continue };
        let is_device = matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::CharacterDevice | FileType::BlockDevice
        );
        if !is_device {
            let _ = fchown(stream, Some(uid), Some(gid));
        }
    }
}
