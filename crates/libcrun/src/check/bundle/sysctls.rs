//! Whether the kernel has the parameters that are to be set.

use rustix::io::Errno;

use super::super::{Answer, Finding};
use super::Examined;
use crate::error::{Code, Error};
use crate::plan::Sysctl;

pub(super) fn look(examined: &Examined<'_>) -> Vec<Finding> {
    let missing = |sysctl: &Sysctl| {
        let path = format!("/proc/{}", sysctl.path.to_string_lossy());
        if examined.subject.machine.file(&path).exists() {
            return None;
        }
        let name = &sysctl.name;
        let what = format!("set the sysctl `{name}` to `{}`", sysctl.value);
        let found = Error::os(Code::System, what, Errno::NOENT);
        // There may be a network device in the container that is not here.
        let is_of_device = ["/conf/", "/neigh/"].iter().any(|part| path.contains(part));
        let remedy = "a kernel with it (`sysctl -a` shows them), or leave it out";
        Some(Answer::lacking(!is_of_device, found.to_string(), remedy).about(format!("linux.sysctl.{name}")))
    };
    examined.plan.sysctls.iter().filter_map(missing).collect()
}
