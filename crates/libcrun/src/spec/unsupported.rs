//! What the specification knows and this version cannot do yet: refused by name, because a container that runs
//! without the confinement or set-up it was given is worse than one that does not run.

use super::Spec;
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let text = br#"{"ociVersion":"1","linux":{"intelRdt":{"closID":"x"}}}"#;
        let error = refuse_unsupported(&super::super::parse(text, "x").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "linux.intelRdt: not supported by this version");
    }

    #[test]
    fn empty_sections_are_no_obstacle() {
        let text = br#"{"ociVersion":"1","linux":{"intelRdt":{}},"process":{"terminal":false}}"#;
        assert!(refuse_unsupported(&super::super::parse(text, "x").unwrap()).is_ok());
    }
}
