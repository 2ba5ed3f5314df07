//! What the specification knows and this version cannot do yet: refused by name, because a container that runs
//! without the confinement or set-up it was given is worse than one that does not run.

use super::{Spec, Text};
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
    match handler(spec) {
        Some(handler) => Err(refuse(&format!("annotations.{HANDLER}: `{handler}`"))),
        None => Ok(()),
    }
}

/// Who is asked to run the program instead of the kernel: a program that is meant for a virtual machine must not run without.
/// A pod's own container is none of them whatever is said of the pod.
const HANDLER: &str = "run.oci.handler";
const CONTAINER_TYPE: &str = "io.kubernetes.cri.container-type";

fn handler<'s>(spec: &'s Spec<'_>) -> Option<&'s str> {
    let annotation = |name| spec.annotations.as_ref().and_then(|all| all.get(&Text::from(name)));
    let is_sandbox = annotation(CONTAINER_TYPE).is_some_and(|kind| &**kind == "sandbox");
    annotation(HANDLER).filter(|handler| !handler.is_empty() && !is_sandbox).map(|handler| &**handler)
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
    fn a_handler_is_refused_but_for_a_pods_own_container() {
        let refused = |text: &[u8]| refuse_unsupported(&super::super::parse(text, "x").unwrap()).err();
        let error = refused(br#"{"ociVersion":"1","annotations":{"run.oci.handler":"krun"}}"#).unwrap();
        assert_eq!(error.to_string(), "annotations.run.oci.handler: `krun`: not supported by this version");
        for text in [
            r#"{"ociVersion":"1","annotations":{"run.oci.handler":"krun","io.kubernetes.cri.container-type":"sandbox"}}"#,
            r#"{"ociVersion":"1","annotations":{"run.oci.handler":""}}"#,
        ] {
            assert!(refused(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn empty_sections_are_no_obstacle() {
        let text = br#"{"ociVersion":"1","linux":{"intelRdt":{}},"process":{"terminal":false}}"#;
        assert!(refuse_unsupported(&super::super::parse(text, "x").unwrap()).is_ok());
    }
}
