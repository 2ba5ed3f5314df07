//! What of a bundle this machine could not honour: what the plan refuses, and what a start would find missing.

mod devices;
mod examined;
mod hooks;
mod mounts;
mod namespaces;
mod process;
mod program;
mod refusals;
mod resources;
mod rootfs;
mod seccomp;
mod sysctls;

use std::path::{Path, PathBuf};

pub(super) use examined::Examined;

use super::subject::Subject;
use super::{Answer, CheckOptions, Finding};
use crate::error::{Code, Context, Result};
use crate::explain;
use crate::id::ContainerId;
use crate::input;
use crate::plan::Plan;
use crate::spec;

/// One side of a bundle.
struct Aspect {
    name: &'static str,
    /// What there is to say where nothing is wrong with it.
    fine: &'static str,
    look: fn(&Examined<'_>) -> Vec<Finding>,
}

const ASPECTS: [Aspect; 10] = [
    Aspect { name: "namespaces", fine: "they can be made or joined", look: namespaces::look },
    Aspect { name: "rootfs", fine: "it is there, and the container's root may enter it", look: rootfs::look },
    Aspect { name: "mounts", fine: "sources and filesystems are there", look: mounts::look },
    Aspect { name: "program", fine: "it is there and can be executed", look: program::look },
    Aspect { name: "resources", fine: "there is a controller for each limit", look: resources::look },
    Aspect { name: "devices", fine: "they can be made", look: devices::look },
    Aspect { name: "process", fine: "its rights and limits can be given", look: process::look },
    Aspect { name: "seccomp", fine: "this kernel knows all that the profile names", look: seccomp::look },
    Aspect { name: "sysctl", fine: "this kernel has them", look: sysctls::look },
    Aspect { name: "hooks", fine: "their programs are there", look: hooks::look },
];

/// Goes through everything, as `create` would.
pub(super) fn look(subject: &Subject<'_>, path: &Path, options: &CheckOptions) -> Vec<Finding> {
    match examine(subject, path, options) {
        Ok(findings) => findings,
        Err(error) => {
            let remedy = "name a directory with a configuration that can be read: `crun spec` writes one";
            vec![Answer::missing(error.to_string(), remedy).about("config.json")]
        }
    }
}

fn examine(subject: &Subject<'_>, path: &Path, options: &CheckOptions) -> Result<Vec<Finding>> {
    let (bundle, file) = find(path, options)?;
    let text = input::read_file(&file).map_err(|error| explain::closed(error, &file))?;
    let name = file.to_string_lossy();
    let whole = spec::parse(&text, &name)?;
    let id = ContainerId::new("check")?;
    let request = subject.request(&id, &bundle, options.seccomp_receiver.as_deref());
    let (refused, plan) = refusals::all(&text, &name, |spec| Plan::new(spec, &request, subject.host));
    let mut findings: Vec<Finding> =
        refused.into_iter().map(|(part, error)| Answer::refused(&error).about(part)).collect();
    let Some(plan) = plan else { return Ok(findings) };
    if findings.is_empty() {
        findings.push(Answer::ok("it says nothing that this version cannot do").about("config.json"));
    }
    let examined = Examined { subject, spec: &whole, plan: &plan };
    for aspect in &ASPECTS {
        match (aspect.look)(&examined) {
            found if found.is_empty() => findings.push(Answer::ok(aspect.fine).about(aspect.name)),
            found => findings.extend(found),
        }
    }
    Ok(findings)
}

/// The directory, absolute, and its configuration.
fn find(path: &Path, options: &CheckOptions) -> Result<(PathBuf, PathBuf)> {
    let bundle = std::fs::canonicalize(path)
        .context(Code::InvalidConfig, || format!("chdir `{}` failed", path.display()))
        .map_err(|error| explain::closed(error, &path.join("config.json")))?;
    let file = options.config.clone().unwrap_or_else(|| bundle.join("config.json"));
    Ok((bundle, file))
}
