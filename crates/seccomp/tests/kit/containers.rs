//! The profile of the containers project: in its own form, of which an engine makes that of an OCI configuration.

use seccomp::{Architecture, Argument, Profile, Rule};
use serde_json::Value;

/// The profile for architectures, and for a container with some capabilities.
pub(crate) fn profile(
    text: &'static str,
    architectures: &[Architecture],
    rights: &[&str],
) -> Profile<'static> {
    let json: &'static Value = Box::leak(Box::new(serde_json::from_str(text).unwrap()));
    Profile {
        default_action: json["defaultAction"].as_str().unwrap(),
        default_errno: number(&json["defaultErrnoRet"]),
        architectures: architectures.iter().map(|architecture| architecture.name()).collect(),
        rules: list(&json["syscalls"])
            .filter(|rule| concerns(rule, architectures[0], rights))
            .map(rule)
            .collect(),
    }
}

fn rule(json: &'static Value) -> Rule<'static> {
    Rule {
        names: list(&json["names"]).map(|name| name.as_str().unwrap()).collect(),
        action: json["action"].as_str().unwrap(),
        errno: number(&json["errnoRet"]),
        arguments: list(&json["args"]).map(argument).collect(),
    }
}

fn argument(json: &'static Value) -> Argument<'static> {
    Argument {
        index: number(&json["index"]).unwrap(),
        value: json["value"].as_u64().unwrap(),
        value_two: json["valueTwo"].as_u64().unwrap_or_default(),
        operator: json["op"].as_str().unwrap(),
    }
}

/// Whether a rule is for an architecture and capabilities.
fn concerns(rule: &Value, native: Architecture, rights: &[&str]) -> bool {
    let name = native.name().trim_start_matches("SCMP_ARCH_").to_lowercase();
    let name = match name.as_str() {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let has = |list: &Value, of: &[&str]| {
        list.as_array()
            .is_some_and(|list| list.iter().any(|it| of.contains(&it.as_str().unwrap_or_default())))
    };
    let is_given = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
    (!is_given(&includes["arches"]) || has(&includes["arches"], &[name]))
        && (!is_given(&includes["caps"]) || has(&includes["caps"], rights))
        && !has(&excludes["arches"], &[name])
        && !has(&excludes["caps"], rights)
}

fn number(json: &Value) -> Option<u32> {
    json.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn list(json: &'static Value) -> impl Iterator<Item = &'static Value> {
    json.as_array().into_iter().flatten()
}
