//! What later commands need to know of a container.

use std::path::Path;
use std::time::SystemTime;

use cgroups::CgroupPath;
use rustix::fs::{CWD, readlinkat};
use rustix::process::Pid;

use super::Kind;
use crate::error::{Code, Context, Result};
use crate::host::users;
use crate::plan::Plan;
use crate::state::{Status, start_time};

pub(super) fn status(
    plan: &Plan,
    pid: Pid,
    bundle: &Path,
    kind: Kind,
    path: Option<&CgroupPath>,
) -> Result<Status> {
    let process_start_time = start_time(pid)
        .context(Code::State, || format!("read the start time of process {pid}"))?
        .unwrap_or_default();
    Ok(Status {
        pid: pid.as_raw_nonzero().get(),
        process_start_time,
        cgroup_path: path.filter(|path| !path.is_root()).map(CgroupPath::to_string).unwrap_or_default(),
        scope: Some(plan.unit().map(|unit| unit.unit.name.clone()).unwrap_or_default()),
        rootfs: plan.rootfs.given_path.clone(),
        systemd_cgroup: plan.unit().is_some(),
        bundle: bundle.to_string_lossy().into_owned(),
        created: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
        owner: owner(),
        detached: kind.is_detached(),
        later_hooks: Some(plan.hooks.as_ref().is_some_and(|hooks| hooks.come_later())),
        external_descriptors: Some(external_descriptors()),
    })
}

/// The name of the user the runtime works for.
fn owner() -> Option<String> {
    let uid = rustix::process::geteuid().as_raw();
    if uid == 0 {
        return Some("root".to_owned());
    }
    users::name_of(uid).or_else(|| Some(uid.to_string()))
}

/// What the standard descriptors are, for a later checkpoint.
fn external_descriptors() -> String {
    let links = ["/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"].map(|path| {
        let link = readlinkat(CWD, path, Vec::new()).unwrap_or_default();
        link.to_string_lossy().into_owned()
    });
    serde_json::to_string(&links).unwrap_or_default()
}
