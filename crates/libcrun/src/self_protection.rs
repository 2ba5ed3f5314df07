//! Deciding how the runtime's own executable is kept from the container (CVE-2019-5736; see [`sys::exe`]).
//!
//! Four answers, cheapest first: nothing to do, because nobody could write the file anyway, or not through this process;
//! exchange the executable within the container's process, while its parent is busy with other things; exchange it in
//! the runtime itself, where other processes could look at the new one before it has done so; and, on kernels that
//! cannot exchange, execute the runtime once more through a read-only mount ([`reexecute`]). What is exchanged or executed
//! is the same file seen through such a mount, or where it is on none, a copy in memory that nobody can write to.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, CWD, FsWord, Statx, StatxFlags, statfs, statx};
use rustix::io::Errno;
use sys::clone::Namespaces;
use sys::exe::ReadOnlyView;
use sys::exec::StringArray;

use crate::error::{Code, Context, Error, Result};
use crate::plan::NamespacePlan;

const EXECUTABLE: &core::ffi::CStr = c"/proc/self/exe";
const FAILED: &str = "protect the runtime's executable from the container";

/// `statfs(2)`: the filesystem of `memfd_create(2)` among others, and the flag of a mount that cannot be written to.
const TMPFS_MAGIC: FsWord = 0x0102_1994;
const ST_RDONLY: FsWord = 1;

/// `statx(2)`: the file is sealed by fs-verity, so nobody can open it for writing.
const STATX_ATTR_VERITY: u64 = 0x0010_0000;

/// Whether no process can write to the runtime's executable through `/proc/PID/exe`: it was opened through a
/// read-only mount (or lies on a read-only filesystem), its content is sealed, by fs-verity or in memory, or it is root's
/// alone to write to and this process is not root's: then no id that a container can have is.
#[must_use]
pub fn is_unneeded() -> bool {
    let (read_only, in_memory) = match statfs(EXECUTABLE) {
        Ok(stat) => (stat.f_flags & ST_RDONLY != 0, stat.f_type == TMPFS_MAGIC),
        Err(_) => (false, false),
    };
    let is_out_of_reach = |stat: Statx| {
        let is_roots = stat.stx_uid == 0 && stat.stx_mode & 0o022 == 0;
        stat.stx_attributes.bits() & STATX_ATTR_VERITY != 0 || is_roots && sys::exe::is_an_ordinary_users()
    };
    read_only
        || statx(CWD, EXECUTABLE, AtFlags::empty(), StatxFlags::UID | StatxFlags::MODE)
            .is_ok_and(is_out_of_reach)
        || in_memory && sys::exe::is_sealed()
}

/// A view of the executable that nobody can write to.
fn view() -> Result<ReadOnlyView> {
    let view = match sys::exe::read_only_view() {
        // On no mount that this namespace could clone; or a kernel (before 5.12) or a filter without the call for it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => sys::exe::sealed_copy(),
        other => other,
    };
    view.context(Code::System, || FAILED)
}

/// Executes the running program once more through a read-only view of itself. For kernels on which the executable of a
/// running process cannot be exchanged; to be called before anything is opened. Returns only on failure.
///
/// # Errors
/// When no read-only view can be made or executed.
pub fn reexecute<A: AsRef<[u8]>>(args: impl IntoIterator<Item = A>) -> Result<std::convert::Infallible> {
    use std::os::unix::ffi::OsStrExt;
    let failed = || "execute the runtime through a read-only mount (self protection)";
    let view = view()?;
    let argv = StringArray::new(args).context(Code::System, failed)?;
    let env = std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let env = StringArray::new(env).context(Code::System, failed)?;
    let errno = sys::exec::exec_descriptor(view.file.as_fd(), &argv, &env);
    Err(Error::os(Code::System, failed(), errno))
}

/// Whether the executable of a running process can be exchanged on this kernel.
#[must_use]
pub fn can_exchange() -> bool {
    sys::exe::can_replace()
}

/// Gets the executable out of the container's reach. Returns the read-only view that init is to exchange it for, if
/// that can wait until then: in a new pid namespace nobody is there yet to look at init.
pub(crate) fn protect(namespaces: &NamespacePlan) -> Result<Option<ReadOnlyView>> {
    if is_unneeded() {
        return Ok(None);
    }
    let view = view()?;
    let waits = namespaces.creates(Namespaces::PID) && !namespaces.contains(Namespaces::USER);
    if waits || may_only_inside(namespaces.contains(Namespaces::USER)) {
        return Ok(Some(view));
    }
    sys::exe::replace(&view).context(Code::System, || FAILED)?;
    Ok(None)
}

/// What protects the executable from a running container that is joined.
#[derive(Debug, Default)]
pub(crate) struct Protection {
    /// What the joining process is to exchange it for.
    pub(crate) view: Option<ReadOnlyView>,
    /// What it has been exchanged for. Dropped, it costs: the kernel waits for all its processors when it takes the mount
    /// away. So not before the program runs.
    _done: Option<ReadOnlyView>,
}

/// The same as [`protect`] for a process that joins a running container, where others are there to look.
pub(crate) fn protect_joining(has_user_namespace: bool) -> Result<Protection> {
    if is_unneeded() {
        return Ok(Protection::default());
    }
    let view = view()?;
    if may_only_inside(has_user_namespace) {
        return Ok(Protection { view: Some(view), _done: None });
    }
    sys::exe::replace(&view).context(Code::System, || FAILED)?;
    Ok(Protection { view: None, _done: Some(view) })
}

/// Whether the executable may only be exchanged in the container's user namespace. Nobody else in there may look at a
/// process that has not executed anything in it.
fn may_only_inside(has_user_namespace: bool) -> bool {
    has_user_namespace && sys::exe::is_an_ordinary_users()
}

/// The same for a process that enters a running container and executes nothing there. For an ordinary user, see
/// [`may_only_inside`].
pub(crate) fn protect_visiting() -> Result<()> {
    if sys::exe::is_an_ordinary_users() { Ok(()) } else { protect_joining(false).map(drop) }
}
