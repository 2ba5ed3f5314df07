//! What the process tells the kernel's security modules about itself, through a procfs of the host's
//! (CVE-2019-16884, CVE-2025-52881).

use std::ffi::CStr;

use rustix::io::Errno;

use crate::channel::{At, Failure, Step};
use crate::prepare::PreparedProcess;
use crate::procfs::{ProcFs, write_whole};

/// Takes a new session keyring in the place of the caller's, labelled as the process will be.
pub(crate) fn take_keyring(process: &PreparedProcess<'_>, name: &CStr) -> Result<(), Failure> {
    if let (Some(proc), Some(label)) = (&process.proc, &process.plan.labels.selinux) {
        proc.write_at(c"thread-self/attr/keycreate", label.as_bytes()).at(Step::KeyringLabel)?;
    }
    match sys::keyring::join_session(name) {
        // A kernel without keyrings, or one that has no more for this user or namespace.
        Ok(()) | Err(Errno::NOSYS | Errno::DQUOT | Errno::PERM | Errno::ACCESS) => Ok(()),
        Err(errno) => Err(errno).at(Step::Runtime),
    }
}

/// Says what the process is to become at its exec.
pub(crate) fn assume(process: &PreparedProcess<'_>) -> Result<(), Failure> {
    let Some(proc) = &process.proc else { return Ok(()) };
    if let Some(label) = &process.plan.labels.selinux {
        proc.write_at(c"thread-self/attr/exec", label.as_bytes()).at(Step::SelinuxLabel)?;
    }
    if let Some(profile) = &process.plan.labels.apparmor {
        ask_apparmor(proc, profile.request.as_bytes()).at(Step::AppArmor)?;
    }
    Ok(())
}

fn ask_apparmor(proc: &ProcFs, request: &[u8]) -> Result<(), Errno> {
    let file = match proc.open_at(c"thread-self/attr/apparmor/exec") {
        // Linux before 5.8 has one file for whichever module there is.
        Err(Errno::NOENT) => proc.open_at(c"thread-self/attr/exec"),
        opened => opened,
    };
    write_whole(&file?, request)
}
