//! Writing limits into a cgroup, either for good or so that it can be taken back.

use std::borrow::Cow;
use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::cgroup::{Cgroup, Member};
use crate::error::{Error, Result};
use crate::files::{read_small, write_value};
use crate::layout::MOUNT_POINT;
use crate::resources::{IfMissing, Write, former};

impl Cgroup {
    /// Writes the limits, in order.
    ///
    /// # Errors
    /// Names the file and the value that were refused, or the controller this host does not have.
    pub fn apply(&self, writes: &[Write]) -> Result<()> {
        Writer { cgroup: self, former: None }.all(writes)
    }

    /// Writes the limits over those that are there, all of them or none: when one is refused, those before it are put
    /// back.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(crate) fn exchange(&self, writes: &[Write]) -> Result<Exchange<'_>> {
        let mut writer = Writer { cgroup: self, former: Some(Vec::with_capacity(writes.len())) };
        let written = writer.all(writes);
        let exchange = Exchange { cgroup: self, former: writer.former.unwrap_or_default() };
        match written {
            Ok(()) => Ok(exchange),
            Err(error) => Err(exchange.take_back(error)),
        }
    }

    /// Whether a limit on kernel memory that was written is in force. Kernels that have none any more (5.16) take the value
    /// without keeping it, or refuse it; others keep it in whole pages.
    #[must_use]
    pub fn limits_kernel_memory(&self, limit: i64) -> bool {
        let Some(member) = self.member_for("memory") else { return false };
        let kept = read_small(member.directory.as_fd(), "memory.kmem.limit_in_bytes").ok();
        kept.and_then(|text| text.trim().parse::<i64>().ok()).is_some_and(|kept| kept <= limit)
    }

    pub(crate) fn unavailable(&self, controller: &str) -> Error {
        Error::no_controller(controller, &format!("{MOUNT_POINT}{}", self.path))
    }
}

/// What was there before limits were written over it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Exchange<'c> {
    cgroup: &'c Cgroup,
    former: Vec<Former<'c>>,
}

#[derive(Debug)]
struct Former<'c> {
    member: &'c Member,
    file: Cow<'static, str>,
    value: String,
}

impl Exchange<'_> {
    /// Puts everything back, the last first, so that each step leads to a state that was there before. Returns the error
    /// that led to this; where a value does not go back, it says so, too.
    pub(crate) fn take_back(self, mut error: Error) -> Error {
        for Former { member, file, value } in self.former.into_iter().rev() {
            if let Err(errno) = write_value(member.directory.as_fd(), &file, value.as_bytes()) {
                let file = member.file(&self.cgroup.path, &file);
                let lost =
                    format!("`{file}` could not get its former value `{}` back ({errno})", value.trim());
                error.message = format!("{lost} after the failure to {}", error.message);
            }
        }
        error
    }
}

struct Writer<'c> {
    cgroup: &'c Cgroup,
    /// What was there before, if that is to be known.
    former: Option<Vec<Former<'c>>>,
}

impl Writer<'_> {
    fn all(&mut self, writes: &[Write]) -> Result<()> {
        let together =
            |a: &Write, b: &Write| a.interdependent && b.interdependent && a.controller == b.controller;
        writes.chunk_by(together).try_for_each(|chunk| self.in_any_order(chunk))
    }

    /// Writes what depends on each other: what the kernel refuses for a value that is to change, too, is tried again
    /// after that has changed, as long as there is progress.
    fn in_any_order(&mut self, writes: &[Write]) -> Result<()> {
        let mut refused = Vec::new();
        for write in writes {
            match self.one(write) {
                Err(error) if write.interdependent && error.errno == Some(Errno::INVAL) => {
                    refused.push((write, error));
                }
                other => other?,
            }
        }
        while !refused.is_empty() {
            let before = refused.len();
            refused.retain(|(write, _)| self.one(write).is_err());
            if refused.len() == before {
                return Err(refused.swap_remove(0).1);
            }
        }
        Ok(())
    }

    fn one(&mut self, write: &Write) -> Result<()> {
        let cgroup = self.cgroup;
        let Some(member) = cgroup.member_for(write.controller) else {
            let optional = write.if_missing == IfMissing::Ignore;
            return if optional { Ok(()) } else { Err(cgroup.unavailable(write.controller)) };
        };
        match self.attempt(member, write) {
            Err((last, Errno::NOENT)) if member.hierarchy.unified && !has_controller_of(member, last) => {
                // The host may have it, and this cgroup only not yet.
                cgroup.insist_on(controller_of(&last.file))?;
                self.attempt(member, write)
            }
            other => other,
        }
        .map_err(|(write, errno)| self.refused(member, write, errno))
    }

    /// Writes into the file, or into the one that does the same where it is missing. A failure is that of the last one
    /// tried.
    fn attempt<'w>(
        &mut self,
        member: &'_ Member,
        write: &'w Write,
    ) -> core::result::Result<(), (&'w Write, Errno)> {
        let directory = member.directory.as_fd();
        // A file that cannot be read keeps nothing that could be put back.
        let before = self.former.as_ref().and_then(|_| read_small(directory, &write.file).ok());
        match (write_value(directory, &write.file, write.value.as_bytes()), &write.if_missing) {
            (Ok(()), _) => {
                self.remember(write, before);
                Ok(())
            }
            (Err(Errno::NOENT), IfMissing::Instead(other)) => self.attempt(member, other),
            // EOPNOTSUPP: the file is all that is left of the feature.
            (Err(Errno::NOENT | Errno::OPNOTSUPP), IfMissing::Ignore) => Ok(()),
            (Err(errno), _) => Err((write, errno)),
        }
    }

    fn remember(&mut self, write: &Write, before: Option<String>) {
        let member = self.cgroup.member_for(write.controller);
        if let (Some(list), Some(member), Some(text)) = (&mut self.former, member, before)
            && let Some(value) = former(&write.file, &write.value, &text)
        {
            list.push(Former { member, file: write.file.clone(), value });
        }
    }

    #[cold]
    fn refused(&self, member: &Member, write: &Write, errno: Errno) -> Error {
        let file = member.file(&self.cgroup.path, &write.file);
        let attempt = format!("write `{}` to", write.value.trim());
        let message = format!("{attempt} `{file}`");
        match errno {
            Errno::BUSY => match used(member, &write.file) {
                Some(used) => below_usage(controller_of(&write.file), &message, used.trim(), Some(errno)),
                None => Error::at(&attempt, file, errno),
            },
            Errno::INVAL if write.file == "memory.limit_in_bytes" => {
                let total = read_small(member.directory.as_fd(), "memory.memsw.limit_in_bytes");
                let most = total.map_or_else(|_| String::new(), |total| format!(", {}", total.trim()));
                let above = "cannot set a memory limit above that of memory and swap together";
                Error::kernel(format!("{above}{most}: {message}"), errno)
            }
            Errno::NOENT if !has_controller_of(member, write) => {
                self.cgroup.unavailable(controller_of(&write.file))
            }
            errno => Error::at(&attempt, file, errno),
        }
    }
}

/// What is used of that which the file limits, where the kernel refuses a limit below that: memory on v1, huge pages.
fn used(member: &Member, file: &str) -> Option<String> {
    let beside = match file.strip_suffix(".max") {
        Some(name) => format!("{name}.current"),
        None => file.replace("limit_in_bytes", "usage_in_bytes"),
    };
    Some(beside).filter(|name| name != file).and_then(|name| read_small(member.directory.as_fd(), &name).ok())
}

/// The error for a limit that what is used does not fit into.
pub(crate) fn below_usage(controller: &str, attempt: &str, used: &str, errno: Option<Errno>) -> Error {
    let message = format!(
        "cannot set the {controller} limit lower than its current usage: {used} bytes are used, {attempt}"
    );
    let mut error = Error::plain(message);
    error.errno = errno;
    error
}

fn has_controller_of(member: &Member, write: &Write) -> bool {
    let controller = controller_of(&write.file);
    if !member.hierarchy.unified {
        return member.hierarchy.has(controller);
    }
    let all = read_small(member.directory.as_fd(), "cgroup.controllers").unwrap_or_default();
    // The files of the cgroup itself are there without any.
    controller == "cgroup" || all.split_whitespace().any(|name| name == controller)
}

fn controller_of(file: &str) -> &str {
    file.split('.').next().unwrap_or_default()
}
