//! A seccomp profile in a file, in each of the forms in which operators have them: in the configuration of a container, by
//! itself as it would stand there, and as engines take it, for many architectures and containers at once (the containers
//! project's seccomp.json, Docker's default.json).

use seccomp::Architecture;
use serde::Deserialize;

use super::load::parse_as;
use super::{Seccomp, Spec, Text};
use crate::error::{Code, Error, Result};

/// What only the form of engines has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Engine<'a> {
    /// Which architectures belong together.
    #[serde(borrow, default)]
    arch_map: Option<Vec<Family<'a>>>,
    #[serde(borrow, default)]
    syscalls: Option<Vec<Scope<'a>>>,
}

/// An architecture with those that its kernel runs, too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family<'a> {
    #[serde(borrow)]
    architecture: Text<'a>,
    #[serde(borrow, default)]
    sub_architectures: Option<Vec<Text<'a>>>,
}

/// Which containers a rule is for.
#[derive(Deserialize)]
struct Scope<'a> {
    #[serde(borrow, default)]
    includes: Option<Containers<'a>>,
    #[serde(borrow, default)]
    excludes: Option<Containers<'a>>,
}

/// Containers with one of these capabilities, on machines of one of these architectures. (What else is there, `minKernel`,
/// is of kernels older than any that this runs on.)
#[derive(Deserialize, Default)]
struct Containers<'a> {
    #[serde(borrow, default)]
    caps: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    arches: Option<Vec<Text<'a>>>,
}

/// What tells the forms apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    #[serde(default)]
    default_action: Option<serde::de::IgnoredAny>,
}

/// Parses the profile in a text. Of one in the form of engines the rules are left without names that are not for this
/// machine and a container with these capabilities.
///
/// # Errors
/// As [`parse`](super::parse); and for a text that has no profile.
pub fn parse_seccomp<'a>(text: &'a [u8], name: &str, capabilities: &[&str]) -> Result<Seccomp<'a>> {
    if parse_as::<Form>(text, name)?.default_action.is_none() {
        let spec: Spec<'_> = parse_as(text, name)?;
        return spec.linux.and_then(|linux| linux.seccomp).ok_or_else(|| {
            let reason = "has no linux.seccomp: the container may make every system call";
            Error::new(Code::InvalidConfig, format!("`{name}` {reason}"))
        });
    }
    let mut profile: Seccomp<'_> = parse_as(text, name)?;
    let engine: Engine<'_> = parse_as(text, name)?;
    if let Some(families) = engine.arch_map {
        profile.architectures.get_or_insert_default().extend(others(families));
    }
    let rules = profile.syscalls.iter_mut().flatten();
    for (rule, scope) in rules.zip(engine.syscalls.into_iter().flatten()) {
        if !scope.is_for(capabilities) {
            // It stays where it is, for the others to have their places, and is for nothing.
            rule.names.clear();
        }
    }
    Ok(profile)
}

/// The architectures that belong to this machine's.
fn others(families: Vec<Family<'_>>) -> Vec<Text<'_>> {
    let native = Architecture::NATIVE.name();
    let family = families.into_iter().find(|family| &*family.architecture == native);
    family.and_then(|family| family.sub_architectures).unwrap_or_default()
}

impl Scope<'_> {
    fn is_for(&self, capabilities: &[&str]) -> bool {
        let has =
            |list: &Option<Vec<Text<'_>>>, of: &[&str]| list.iter().flatten().any(|it| of.contains(&&**it));
        let asks = |list: &Option<Vec<Text<'_>>>| list.iter().flatten().next().is_some();
        let is_included = |it: &Containers<'_>| {
            (!asks(&it.caps) || has(&it.caps, capabilities))
                && (!asks(&it.arches) || has(&it.arches, &[machine()]))
        };
        let is_excluded = |it: &Containers<'_>| has(&it.caps, capabilities) || has(&it.arches, &[machine()]);
        self.includes.as_ref().is_none_or(is_included) && !self.excludes.as_ref().is_some_and(is_excluded)
    }
}

/// This machine in the words of engines, which are those of Go.
fn machine() -> &'static str {
    match Architecture::NATIVE {
        Architecture::X86_64 => "amd64",
        Architecture::Aarch64 => "arm64",
        Architecture::LoongArch64 => "loong64",
        Architecture::Ppc64Le => "ppc64le",
        Architecture::Riscv64 => "riscv64",
        Architecture::S390x => "s390x",
        Architecture::Arm => "arm",
        Architecture::X86 => "386",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(text: &str, capabilities: &[&str]) -> Vec<String> {
        let profile = parse_seccomp(text.as_bytes(), "p.json", capabilities).unwrap();
        let rules = profile.syscalls.into_iter().flatten().filter(|rule| !rule.names.is_empty());
        rules.map(|rule| rule.action.to_string()).collect()
    }

    #[test]
    fn a_profile_is_found_in_a_configuration_and_by_itself() {
        let rule = r#"{"names":["read"],"action":"SCMP_ACT_LOG"}"#;
        let profile = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rule}]}}"#);
        assert_eq!(actions(&profile, &[]), ["SCMP_ACT_LOG"]);
        let config = format!(r#"{{"ociVersion":"1.0.0","linux":{{"seccomp":{profile}}}}}"#);
        assert_eq!(actions(&config, &[]), ["SCMP_ACT_LOG"]);
    }

    #[test]
    fn of_an_engines_profile_the_rules_for_this_machine_and_the_capabilities_are_taken() {
        let text = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","archMap":[
                {{"architecture":"SCMP_ARCH_VAX","subArchitectures":["SCMP_ARCH_PDP"]}},
                {{"architecture":"{}","subArchitectures":["SCMP_ARCH_X32"]}}],"syscalls":[
                {{"names":["read"],"action":"all","args":[],"includes":{{}},"excludes":{{}}}},
                {{"names":["read"],"action":"here","includes":{{"arches":["vax","{machine}"]}}}},
                {{"names":["read"],"action":"elsewhere","includes":{{"arches":["vax"]}}}},
                {{"names":["read"],"action":"not here","excludes":{{"arches":["{machine}"]}}}},
                {{"names":["read"],"action":"with","includes":{{"caps":["CAP_BPF"]}}}},
                {{"names":["read"],"action":"without","excludes":{{"caps":["CAP_BPF"]}}}}]}}"#,
            Architecture::NATIVE.name(),
            machine = machine(),
        );
        assert_eq!(actions(&text, &["CAP_BPF"]), ["all", "here", "with"]);
        assert_eq!(actions(&text, &[]), ["all", "here", "without"]);
        let profile = parse_seccomp(text.as_bytes(), "p.json", &[]).unwrap();
        assert_eq!(profile.architectures.unwrap(), ["SCMP_ARCH_X32".into()]);
    }

    #[test]
    fn a_text_without_a_profile_is_refused() {
        let message = |text: &str| parse_seccomp(text.as_bytes(), "p.json", &[]).unwrap_err().to_string();
        let none = "`p.json` has no linux.seccomp: the container may make every system call";
        assert_eq!(message(r#"{"ociVersion":"1.0.0"}"#), none);
        assert!(message("{}").contains("missing field `ociVersion`"));
        assert!(
            message(r#"{"defaultAction":"x","syscalls":[{"names":["a"]}]}"#).contains("syscalls[0]: missing")
        );
        assert!(message("{").starts_with("load `p.json`: EOF"));
    }
}
