//! Making device rules hold in a cgroup: a program on v2, lines for the controller on v1.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use sys::bpf::{self, Instruction};

use super::legacy::LegacyWrite;
use super::program::{asks, both};
use super::{Rule, legacy_writes, program, tighten};
use crate::cgroup::{Cgroup, Member};
use crate::error::{Error, Result};
use crate::files::{read_small, write_value};

/// The names by which the programs can be told apart: the container's own, and that of its updates.
const OWN: &CStr = c"crun_devices";
const UPDATE: &CStr = c"crun_update";

impl Cgroup {
    /// Whether [`Cgroup::restrict_devices`] takes effect in one step. The v1 controller takes rule after rule, and denies
    /// in between what a later one allows, so there it has to be done before a process is in the cgroup.
    #[must_use]
    pub fn restricts_devices_at_once(&self) -> bool {
        self.member_for("devices").is_none_or(|member| member.hierarchy.unified)
    }

    /// Restricts which devices the processes of the cgroup may use; an empty list restricts nothing. Nobody but root of the
    /// host may do that; for others the devices are those of the host that can be opened by them anyway.
    ///
    /// # Errors
    /// Names what could not be loaded, attached or written.
    pub fn restrict_devices(&self, rules: &[Rule]) -> Result<()> {
        if rules.is_empty() {
            return Ok(());
        }
        let restricted = match self.legacy_devices() {
            Some(member) => self.write_legacy(member, &legacy_writes(rules)?),
            None => self.attach(OWN, &program(rules)),
        };
        restricted.or_else(|error| if is_dispensable(&error, rules) { Ok(()) } else { Err(error) })
    }

    /// Takes away what `rules` do not allow: afterwards may be used what could be used before and is allowed by them. No
    /// moment comes in which anything else may be used, or anything of that may not.
    ///
    /// # Errors
    /// Names what could not be loaded, attached or written, or cannot be said in terms of v1.
    pub fn tighten_devices(&self, rules: &[Rule]) -> Result<()> {
        if rules.is_empty() {
            return Ok(());
        }
        let tightened = match self.legacy_devices() {
            Some(member) => self.tighten_legacy(member, rules),
            None => self.tighten_program(&program(rules)),
        };
        tightened.or_else(|error| if is_denied_inside(&error) { Ok(()) } else { Err(error) })
    }

    fn legacy_devices(&self) -> Option<&Member> {
        self.member_for("devices").filter(|member| !member.hierarchy.unified)
    }

    fn write_legacy(&self, member: &Member, writes: &[LegacyWrite]) -> Result<()> {
        for (file, line) in writes {
            write_value(member.directory.as_fd(), file, line.as_bytes()).map_err(|errno| {
                Error::kernel(format!("write `{line}` to `{}`", member.file(&self.path, file)), errno)
            })?;
        }
        Ok(())
    }

    fn tighten_legacy(&self, member: &Member, rules: &[Rule]) -> Result<()> {
        let list = read_small(member.directory.as_fd(), "devices.list").map_err(|errno| {
            Error::kernel(format!("read `{}`", member.file(&self.path, "devices.list")), errno)
        })?;
        self.write_legacy(member, &tighten::legacy_writes(&list, rules)?)
    }

    /// A device may be used only if all attached programs allow it, so the container's own stays and that of the updates
    /// is beside it. There is one for all updates, which grows: the kernel takes only so many.
    fn tighten_program(&self, code: &[Instruction]) -> Result<()> {
        let updates = self.programs_of_updates();
        if updates.iter().any(|(_, present)| asks(present, code)) {
            return Ok(());
        }
        let Some((update, present)) = updates.last() else { return self.attach(UPDATE, code) };
        let replaced = both(present, code).ok_or(Errno::TOOBIG).and_then(|all| {
            let member = self.unified().ok_or(Errno::NODEV)?;
            let all = load(UPDATE, &all)?;
            bpf::attach_cgroup_device(member.directory.as_fd(), all.as_fd(), Some(update.as_fd()))
        });
        // Before Linux 5.6, or too much for one program.
        replaced.or_else(|_| self.attach(UPDATE, code))
    }

    /// The programs of earlier updates with their instructions, where the kernel shows them: one, or a few.
    fn programs_of_updates(&self) -> Vec<(OwnedFd, Vec<Instruction>)> {
        let attached = self.unified().map(|member| bpf::attached_cgroup_devices(member.directory.as_fd()));
        let with_code = |program: OwnedFd| {
            let name = bpf::program_name(program.as_fd()).ok()?;
            let code = bpf::program_code(program.as_fd()).ok()?;
            (name == UPDATE.to_bytes() && !code.is_empty()).then_some((program, code))
        };
        attached
            .and_then(core::result::Result::ok)
            .unwrap_or_default()
            .into_iter()
            .filter_map(with_code)
            .collect()
    }

    fn attach(&self, name: &CStr, code: &[Instruction]) -> Result<()> {
        let Some(member) = self.unified() else { return Err(self.unavailable("devices")) };
        let program = load(name, code).map_err(|errno| Error::kernel("load the device program", errno))?;
        bpf::attach_cgroup_device(member.directory.as_fd(), program.as_fd(), None).map_err(|errno| {
            let cgroup = member.file(&self.path, "");
            Error::kernel(format!("attach the device program to `{cgroup}`"), errno)
        })
    }
}

impl Cgroup {
    /// Whether a program decides about the devices of the cgroup itself, whoever has put it there.
    #[must_use]
    pub fn has_device_program(&self) -> bool {
        let attached = self.unified().map(|member| bpf::attached_cgroup_devices(member.directory.as_fd()));
        attached.is_some_and(|programs| programs.is_ok_and(|programs| !programs.is_empty()))
    }
}

/// The program that makes `rules` hold, for somebody else to attach.
pub(crate) fn load_program(rules: &[Rule]) -> core::result::Result<OwnedFd, Errno> {
    load(OWN, &program(rules))
}

/// Whether a container does without: because nothing is denied, or because there is no other way.
fn is_dispensable(error: &Error, rules: &[Rule]) -> bool {
    is_denied_inside(error) || error.errno.is_some() && rules.iter().all(Rule::allows)
}

/// Whether what stands in the way is that this process is root of a user namespace only, or not even that.
fn is_denied_inside(error: &Error) -> bool {
    let is_rootless =
        || !rustix::process::geteuid().is_root() || !sys::namespace::is_in_initial_user_namespace();
    matches!(error.errno, Some(Errno::PERM | Errno::ACCESS)) && is_rootless()
}

/// Loads a device program. The kernel lets go of checking one for any signal (`EAGAIN`, `bpf(2)`), and on a slow or busy
/// machine that can happen several times in a row.
fn load(name: &CStr, program: &[Instruction]) -> core::result::Result<OwnedFd, Errno> {
    const ATTEMPTS: u32 = 5_000;
    for _ in 1..ATTEMPTS {
        match bpf::load_cgroup_device(name, program) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    bpf::load_cgroup_device(name, program)
}
