//! What a security module of the kernel confines the process to: the AppArmor profile and the SELinux label it gets at its
//! exec, and the label of what is mounted for it (runtime-spec config.md#linux-process, config-linux.md#mount-label).

use std::ffi::CString;

use super::{Named, Parameter, invalid, named};
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::spec::{Process, Spec, Text};

/// What the process becomes at its exec.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    pub(crate) apparmor: Option<Profile>,
    pub(crate) selinux: Option<String>,
}

/// An AppArmor profile.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// How the kernel is asked for it.
    pub(crate) request: String,
}

/// The profile that is none.
const UNCONFINED: &str = "unconfined";

impl Labels {
    /// Refuses what this kernel would not confine the process to.
    pub(super) fn new(process: &Process<'_>, host: &Host) -> Result<Self> {
        let given = |label: Option<&str>| label.filter(|label| !label.is_empty()).map(str::to_owned);
        let mut labels = Self::default();
        if let Some(name) = given(process.apparmor_profile.as_deref()) {
            let no_new_privileges = process.no_new_privileges == Some(true);
            labels.apparmor = profile(name, no_new_privileges, host)?;
        }
        if let Some(label) = given(process.selinux_label.as_deref()) {
            require_selinux("process.selinuxLabel", &label, host)?;
            labels.selinux = Some(label);
        }
        Ok(labels)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.apparmor.is_none() && self.selinux.is_none()
    }
}

fn profile(name: String, no_new_privileges: bool, host: &Host) -> Result<Option<Profile>> {
    const WHAT: &str = "process.apparmorProfile";
    let Some(current) = host.apparmor() else {
        return match name.as_str() {
            UNCONFINED => Ok(None),
            _ => Err(Error::new(
                Code::Unsupported,
                format!(
                    "{WHAT}: `{name}`: AppArmor does not run on this host (start it with the kernel parameters \
                     `apparmor=1 security=apparmor`, or leave the profile out)"
                ),
            )),
        };
    };
    if name.contains(['\0', '\n']) {
        return Err(invalid(format!("{WHAT}: {name:?} is not the name of a profile")));
    }
    // Without new privileges a confined process may only become more confined.
    let verb = if no_new_privileges && is_confined(current) { "stack" } else { "exec" };
    Ok(Some(Profile { request: format!("{verb} {name}"), name }))
}

/// Whether a process is confined, by what `attr/current` says: `NAME (MODE)`, or `unconfined`. A profile may have a name
/// that begins like that, and a mode that confines to nothing.
fn is_confined(current: &str) -> bool {
    let current = current.trim_end_matches(['\n', '\0']);
    current != UNCONFINED && !current.ends_with(" (unconfined)")
}

fn require_selinux(what: &str, label: &str, host: &Host) -> Result<()> {
    if label.contains('\0') {
        return Err(invalid(format!("{what}: the label holds a NUL byte")));
    }
    match host.has_selinux() {
        true => Ok(()),
        false => Err(Error::new(
            Code::Unsupported,
            format!(
                "{what}: `{label}`: selinux label is specified in config, but selinux is disabled or not supported \
                 on this host"
            ),
        )),
    }
}

/// The label of the files in new filesystems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountLabel {
    /// For a filesystem that takes it as an option.
    pub(super) parameter: Parameter,
    /// For one that takes it as an attribute of its root.
    pub(super) attribute: CString,
}

/// The options by which SELinux takes the label of a filesystem.
const CONTEXTS: [Named<()>; 4] =
    [("context", ()), ("fscontext", ()), ("defcontext", ()), ("rootcontext", ())];

impl MountLabel {
    /// That of the configuration, if it has one.
    pub(super) fn new(spec: &Spec<'_>, host: &Host) -> Result<Option<Self>> {
        const KIND: &str = "run.oci.mount_context_type";
        let label = spec.linux.as_ref().and_then(|linux| linux.mount_label.as_deref());
        let Some(label) = label.filter(|label| !label.is_empty()) else { return Ok(None) };
        let annotation = spec.annotations.as_ref().and_then(|all| all.get(&Text::from(KIND)));
        let kind = annotation.map_or(Ok("context"), |kind| {
            named(&format!("annotations.{KIND}"), kind, &CONTEXTS).map(|(kind, ())| kind)
        })?;
        require_selinux("linux.mountLabel", label, host)?;
        let text = |text: &str| CString::new(text).map_err(|_| invalid("linux.mountLabel: holds a NUL byte"));
        Ok(Some(Self { parameter: Parameter::Value(text(kind)?, text(label)?), attribute: text(label)? }))
    }
}

#[cfg(test)]
mod tests {
    use cgroups::Layout;

    use super::*;
    use crate::host::SecurityModule;

    fn host(module: SecurityModule) -> Host {
        Host::with(0, Layout::unified()).with_security_module(module)
    }

    fn request(profile: &str, no_new_privileges: bool, current: &str) -> Option<String> {
        let process = Process {
            apparmor_profile: Some(profile.into()),
            no_new_privileges: Some(no_new_privileges),
            ..Process::default()
        };
        let host = host(SecurityModule::AppArmor(current.to_owned()));
        Labels::new(&process, &host).unwrap().apparmor.map(|profile| profile.request)
    }

    #[test]
    fn a_profile_takes_the_place_of_the_present_one() {
        for no_new_privileges in [false, true] {
            assert_eq!(request("web", no_new_privileges, "unconfined\n").as_deref(), Some("exec web"));
            assert_eq!(request("web", no_new_privileges, "crun (unconfined)\n").as_deref(), Some("exec web"));
        }
        assert_eq!(request("web", false, "engine (enforce)\n").as_deref(), Some("exec web"));
        assert_eq!(request("unconfined", false, "engine (enforce)\n").as_deref(), Some("exec unconfined"));
        assert_eq!(request("", true, "unconfined"), None);
    }

    #[test]
    fn without_new_privileges_a_profile_is_stacked_on_one_that_confines() {
        for current in [
            "engine (enforce)\n",
            "unconfined_foo (enforce)\n",
            "a//&b (complain)\n",
            "x (unconfined)y (enforce)",
        ] {
            assert_eq!(request("web", true, current).as_deref(), Some("stack web"), "{current}");
        }
    }

    #[test]
    fn confinement_that_the_kernel_cannot_give_is_refused() {
        let none = host(SecurityModule::None);
        let profile =
            |name: &'static str| Process { apparmor_profile: Some(name.into()), ..Process::default() };
        let error = Labels::new(&profile("web"), &none).unwrap_err().to_string();
        assert!(
            error.starts_with("process.apparmorProfile: `web`: AppArmor does not run on this host"),
            "{error}"
        );
        assert!(Labels::new(&profile("unconfined"), &none).unwrap().is_empty());
        let labelled = Process { selinux_label: Some("a:b:c:s0".into()), ..Process::default() };
        let error = Labels::new(&labelled, &none).unwrap_err().to_string();
        assert!(error.contains("selinux label is specified in config, but selinux is disabled"), "{error}");
        assert_eq!(
            Labels::new(&labelled, &host(SecurityModule::Selinux)).unwrap().selinux.unwrap(),
            "a:b:c:s0"
        );
    }

    #[test]
    fn the_label_of_mounts_is_an_option_of_the_annotated_kind() {
        let label = |annotations: &str| {
            let text = format!(
                r#"{{"ociVersion":"1","annotations":{annotations},"linux":{{"mountLabel":"a:b:c:s0:c1,c2"}}}}"#
            );
            let spec = crate::spec::parse(text.as_bytes(), "x").unwrap();
            MountLabel::new(&spec, &host(SecurityModule::Selinux))
                .map(|label| label.unwrap().parameter.to_string())
        };
        assert_eq!(label("{}").unwrap(), "context=a:b:c:s0:c1,c2");
        for kind in ["context", "fscontext", "defcontext", "rootcontext"] {
            let annotations = format!(r#"{{"run.oci.mount_context_type":"{kind}"}}"#);
            assert_eq!(label(&annotations).unwrap(), format!("{kind}=a:b:c:s0:c1,c2"));
        }
        assert_eq!(
            label(r#"{"run.oci.mount_context_type":"other"}"#).unwrap_err().to_string(),
            "annotations.run.oci.mount_context_type: `other` is none of context, fscontext, defcontext, rootcontext"
        );
    }
}
