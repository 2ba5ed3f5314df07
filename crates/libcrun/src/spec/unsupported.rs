//! What the specification knows and this version cannot do yet: refused by name, because a container that runs
//! without the confinement or set-up it was given is worse than one that does not run.

use super::{Process, Spec};
use crate::error::{Code, Error, Result};

fn refuse(path: &str) -> Error {
    Error::new(Code::Unsupported, format!("{path}: not supported by this version"))
}

/// Refuses a configuration that asks for something this version cannot do.
pub(crate) fn refuse_unsupported(spec: &Spec<'_>) -> Result<()> {
    let mut wanted = Vec::new();
    if let Some(linux) = &spec.linux {
        wanted.extend([
            ("linux.seccomp", linux.seccomp),
            ("linux.sysctl", linux.sysctl),
            ("linux.mountLabel", linux.mount_label),
            ("linux.intelRdt", linux.intel_rdt),
            ("linux.personality", linux.personality),
            ("linux.netDevices", linux.net_devices),
        ]);
    }
    if let Some((path, _)) = wanted.into_iter().find(|(_, section)| section.is_present()) {
        return Err(refuse(path));
    }
    match &spec.process {
        Some(process) => refuse_unsupported_process(process),
        None => Ok(()),
    }
}

/// Refuses a container whose confinement another process in it would not get.
pub(crate) fn refuse_unsupported_confinement(spec: &Spec<'_>) -> Result<()> {
    let seccomp = spec.linux.as_ref().is_some_and(|linux| linux.seccomp.is_present());
    let process = spec.process.as_ref();
    let wanted = [
        ("linux.seccomp", seccomp),
        ("process.apparmorProfile", process.is_some_and(|process| process.apparmor_profile.is_present())),
        ("process.selinuxLabel", process.is_some_and(|process| process.selinux_label.is_present())),
    ];
    match wanted.into_iter().find(|(_, present)| *present) {
        Some((path, _)) => Err(refuse(path)),
        None => Ok(()),
    }
}

/// Refuses a container whose labels another mount in it would not get.
pub(crate) fn refuse_unsupported_labels(spec: &Spec<'_>) -> Result<()> {
    match &spec.linux {
        Some(linux) if linux.mount_label.is_present() => Err(refuse("linux.mountLabel")),
        _ => Ok(()),
    }
}

/// The same for a process object alone, as `exec` gets one.
pub(crate) fn refuse_unsupported_process(process: &Process<'_>) -> Result<()> {
    if process.terminal == Some(true) {
        return Err(refuse("process.terminal"));
    }
    let wanted = [
        ("process.apparmorProfile", process.apparmor_profile),
        ("process.selinuxLabel", process.selinux_label),
    ];
    match wanted.into_iter().find(|(_, section)| section.is_present()) {
        Some((path, _)) => Err(refuse(path)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confinement_that_cannot_be_applied_is_refused_by_name() {
        for (text, path) in [
            (r#"{"ociVersion":"1","linux":{"seccomp":{"defaultAction":"X"}}}"#, "linux.seccomp"),
            (r#"{"ociVersion":"1","process":{"apparmorProfile":"p"}}"#, "process.apparmorProfile"),
        ] {
            let spec = super::super::parse(text.as_bytes(), "x").unwrap();
            let error = refuse_unsupported(&spec).unwrap_err();
            assert_eq!(error.to_string(), format!("{path}: not supported by this version"));
        }
    }

    #[test]
    fn empty_sections_are_no_obstacle() {
        let text = br#"{"ociVersion":"1","linux":{"sysctl":{}},"process":{"selinuxLabel":""}}"#;
        assert!(refuse_unsupported(&super::super::parse(text, "x").unwrap()).is_ok());
    }
}
