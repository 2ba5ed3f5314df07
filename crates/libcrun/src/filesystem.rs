//! Making a filesystem: from what the plan says to a detached mount (`fsopen(2)`, `fsconfig(2)`, `fsmount(2)`).
//!
//! Used by the runtime for filesystems of the host ([`crate::prepare`]) and by init for those of its namespaces
//! ([`crate::init`]); so nothing here allocates.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, XattrFlags, fsetxattr, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, fsconfig_create, fsconfig_reconfigure,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick,
};
use sys::mount::MountAttr;

use crate::plan::{Filesystem, Parameter};

/// Why a filesystem cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The parameter that was refused, by its place in the list; nothing when it is the filesystem itself.
    pub(crate) parameter: Option<usize>,
    pub(crate) errno: Errno,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { parameter: None, errno }
    }
}

/// A filesystem that has been told everything the plan has for it; nothing is made yet.
pub(crate) fn configure(filesystem: &Filesystem) -> Result<OwnedFd, Refusal> {
    let context = fsopen(filesystem.kind.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    set_parameters(context.as_fd(), &filesystem.parameters)?;
    Ok(context)
}

/// Makes the filesystem and a detached mount of it.
pub(crate) fn create(context: BorrowedFd<'_>, attributes: MountAttr) -> Result<OwnedFd, Errno> {
    fsconfig_create(context)?;
    mount(context, attributes)
}

/// A detached mount of a filesystem that has been made.
pub(crate) fn mount(context: BorrowedFd<'_>, attributes: MountAttr) -> Result<OwnedFd, Errno> {
    // The attributes that exist for new mounts are the low 32 bits of those for mount_setattr(2).
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes.bits()).unwrap_or(0));
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Gives the root of a mounted filesystem an SELinux label.
pub(crate) fn label_root(mount: BorrowedFd<'_>, label: &CStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(mount, c".", flags, Mode::empty())?;
    match fsetxattr(&root, c"security.selinux", label.to_bytes_with_nul(), XattrFlags::empty()) {
        // A filesystem that has none.
        Err(Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}

/// A small tmpfs for things to be mounted or made in.
pub(crate) fn small_tmpfs(source: &CStr, attributes: MountAttr) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", source)?;
    fsconfig_set_string(&context, c"mode", c"755")?;
    create(context.as_fd(), attributes)
}

/// Gives parameters to the filesystem that is mounted at an open place.
pub(crate) fn reconfigure(mounted: BorrowedFd<'_>, parameters: &[Parameter]) -> Result<(), Refusal> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = fspick(mounted, c"", flags)?;
    set_parameters(context.as_fd(), parameters)?;
    Ok(fsconfig_reconfigure(&context)?)
}

fn set_parameters(context: BorrowedFd<'_>, parameters: &[Parameter]) -> Result<(), Refusal> {
    for (index, parameter) in parameters.iter().enumerate() {
        let set = match parameter {
            Parameter::Flag(name) => fsconfig_set_flag(context, name.as_c_str()),
            Parameter::WhereKnown(name) => or_left_out(fsconfig_set_flag(context, name.as_c_str())),
            Parameter::Value(name, value) => fsconfig_set_string(context, name.as_c_str(), value.as_c_str()),
            Parameter::WhereMapped(name, value) => {
                or_left_out(fsconfig_set_string(context, name.as_c_str(), value.as_c_str()))
            }
        };
        set.map_err(|errno| Refusal { parameter: Some(index), errno })?;
    }
    Ok(())
}

fn or_left_out(set: Result<(), Errno>) -> Result<(), Errno> {
    match set {
        Err(Errno::INVAL) => Ok(()),
        other => other,
    }
}

/// A number as text, without an allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    text: [u8; 12],
    start: usize,
}

impl Number {
    /// `number` in a base of at most ten.
    pub(crate) fn new(number: u32, base: u32) -> Self {
        let mut this = Self { text: [0; 12], start: 11 };
        let mut rest = number;
        loop {
            this.start -= 1;
            this.text[this.start] = b'0' + u8::try_from(rest % base).unwrap_or(0);
            rest /= base;
            if rest == 0 {
                return this;
            }
        }
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.text[self.start..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_its_base() {
        assert_eq!(Number::new(0o1753, 8).as_c_str(), c"1753");
        assert_eq!(Number::new(0, 10).as_c_str(), c"0");
        assert_eq!(Number::new(u32::MAX, 8).as_c_str(), c"37777777777");
        assert_eq!(Number::new(u32::MAX, 10).as_c_str(), c"4294967295");
    }
}
