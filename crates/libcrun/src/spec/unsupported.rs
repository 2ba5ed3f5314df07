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
        wanted.extend([("linux.intelRdt", linux.intel_rdt), ("linux.netDevices", linux.net_devices)]);
    }
    if let Some((path, _)) = wanted.into_iter().find(|(_, section)| section.is_present()) {
        return Err(refuse(path));
    }
    match &spec.process {
        Some(process) => refuse_unsupported_process(process),
        None => Ok(()),
    }
}

/// The same for a process object alone, as `exec` gets one.
pub(crate) fn refuse_unsupported_process(process: &Process<'_>) -> Result<()> {
    if process.terminal == Some(true) {
        return Err(refuse("process.terminal"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let spec = super::super::parse(br#"{"ociVersion":"1","process":{"terminal":true}}"#, "x").unwrap();
        let error = refuse_unsupported(&spec).unwrap_err();
        assert_eq!(error.to_string(), "process.terminal: not supported by this version");
    }

    #[test]
    fn empty_sections_are_no_obstacle() {
        let text = br#"{"ociVersion":"1","linux":{"intelRdt":{}},"process":{"terminal":false}}"#;
        assert!(refuse_unsupported(&super::super::parse(text, "x").unwrap()).is_ok());
    }
}
