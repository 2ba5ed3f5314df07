//! A time namespace with offsets, for a container in a user namespace: it is to belong to that, and a runtime without
//! power over the host could not make one for its child. The offsets are set while nobody is in it (`time_namespaces(7)`),
//! so the process makes it for its children, sets them, and enters it after all.

use std::os::fd::{AsFd, OwnedFd};

use sys::clone::Namespaces;

use super::Init;
use crate::channel::{At, Failure, Step};
use crate::procfs::write_whole;

impl Init<'_> {
    /// Opens the file for the offsets, if any are to be set: early, because it belongs to root once nobody may look at the
    /// process.
    pub(super) fn open_time_offsets(&self) -> Result<Option<OwnedFd>, Failure> {
        match &self.prepared.process.proc {
            Some(proc) if self.plan().namespaces.time_by_init => {
                proc.open_at(c"self/timens_offsets").at(Step::TimeNamespace).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Makes the namespace, with these offsets, and enters it.
    pub(super) fn make_time_namespace(&self, file: Option<OwnedFd>) -> Result<(), Failure> {
        let namespaces = &self.plan().namespaces;
        let (Some(file), Some(offsets), Some(proc)) =
            (file, &namespaces.time_offsets, &self.prepared.process.proc)
        else {
            return Ok(());
        };
        sys::namespace::unshare(Namespaces::TIME).at(Step::TimeNamespace)?;
        write_whole(&file, offsets.as_bytes()).at(Step::TimeNamespace)?;
        let made = proc.open_own_namespace(c"self/ns/time_for_children").at(Step::TimeNamespace)?;
        sys::namespace::join(made.as_fd(), Namespaces::TIME).at(Step::TimeNamespace)
    }
}
