//! Whether the namespaces of a bundle can be made, with its ids, or are there to be joined.

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use sys::clone::Namespaces;

use super::super::{Answer, Finding, Verdict, namespaces};
use super::Examined;
use crate::error::{Code, Context, Error};
use crate::namespace_file;
use crate::plan::{Join, namespace_name};
use rustix::io::Errno;

pub(super) fn look(examined: &Examined<'_>) -> Vec<Finding> {
    let plan = &examined.plan.namespaces;
    let joins = plan.join.iter().filter_map(|join| {
        let answer = Answer::refused(&joined(join).err()?);
        Some(answer.about(format!("linux.namespaces.{}", namespace_name(join.kind))))
    });
    let mut findings: Vec<Finding> = joins.collect();
    // What belongs to a user namespace that is joined cannot be tried without joining it.
    if plan.joins(Namespaces::USER).is_none() {
        let made = namespaces::made(examined.subject, plan);
        findings.extend((made.verdict != Verdict::Ok).then(|| made.about("linux.namespaces")));
    }
    findings
}

/// Whether the file is there, and is what is asked for.
fn joined(join: &Join) -> Result<(), Error> {
    let name = || format!("open the namespace `{}`", join.path.display());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(CWD, &join.path, flags, Mode::empty()).context(Code::Namespace, name)?;
    match sys::namespace::kind(file.as_fd()) {
        Ok(kind) if kind == join.kind => Ok(()),
        _ => {
            let why = namespace_file::explain(&join.path, join.kind, Errno::INVAL);
            Err(Error::os(
                Code::Namespace,
                format!("join the namespace `{}`{why}", join.path.display()),
                Errno::INVAL,
            ))
        }
    }
}
