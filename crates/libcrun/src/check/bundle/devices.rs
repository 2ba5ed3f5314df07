//! Whether the device nodes can be made, or those of the host be had instead.

use std::path::PathBuf;

use rustix::fs::stat;
use sys::clone::Namespaces;

use super::super::{Answer, Finding};
use super::Examined;
use crate::capabilities;
use crate::error::{Code, Error};
use crate::plan::{DevicePlan, NodeKind};

pub(super) fn look(examined: &Examined<'_>) -> Vec<Finding> {
    let plan = examined.plan;
    if plan.rootfs.devices.is_empty() {
        return Vec::new();
    }
    if plan.is_rootless || plan.namespaces.joins(Namespaces::USER).is_some() {
        let devices = plan.rootfs.devices.iter().filter(|device| device.kind != NodeKind::Fifo);
        return devices.filter_map(|device| hosts(examined, device)).collect();
    }
    let effective =
        examined.subject.machine.status("CapEff").and_then(|set| u64::from_str_radix(&set, 16).ok());
    let mknod = capabilities::number("CAP_MKNOD")
        .ok()
        .and_then(|number| 1_u64.checked_shl(u32::try_from(number).ok()?));
    match (effective, mknod) {
        (Some(effective), Some(mknod)) if effective & mknod == 0 => {
            let found = "create the devices: this process does not have CAP_MKNOD";
            vec![Answer::missing(found, "start it with that capability").about("linux.devices")]
        }
        _ => Vec::new(),
    }
}

/// A node that is bound from the host, because none can be made.
fn hosts(examined: &Examined<'_>, device: &DevicePlan) -> Option<Finding> {
    let path = PathBuf::from(device.path.to_string());
    let remedy = "make it on the host (`mknod`), or leave the device out";
    let found = match stat(&path) {
        Ok(stat) if device.kind.is(&stat) => return None,
        Ok(_) => format!("the host's `{}` is not the device that is asked for", path.display()),
        Err(errno) => {
            Error::os(Code::Rootfs, format!("open the host's device `{}`", path.display()), errno).to_string()
        }
    };
    let is_this = |device: &crate::spec::Device<'_>| path.as_os_str() == &*device.path;
    let devices = examined.spec.linux.as_ref().and_then(|linux| linux.devices.as_ref());
    let index = devices.and_then(|devices| devices.iter().position(is_this));
    let name = index.map_or_else(|| "linux.devices".to_owned(), |index| format!("linux.devices[{index}]"));
    Some(Answer::missing(found, remedy).about(name))
}
