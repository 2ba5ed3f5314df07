use serde_json::{Value, json};

use super::*;
use crate::spec;

fn config(seccomp: Value, annotations: Value) -> String {
    json!({"ociVersion": "1.0.0", "linux": {"seccomp": seccomp}, "annotations": annotations}).to_string()
}

fn plan_for(text: &str, receiver: Option<&str>) -> Result<Option<FilterPlan>> {
    let (spec, id) = (spec::parse(text.as_bytes(), "config.json")?, ContainerId::new("web").unwrap());
    let receiver = receiver.map(Path::new);
    let subject = Subject { id: &id, bundle: Path::new("/b"), status: "creating", receiver };
    FilterPlan::new(&spec, subject)
}

fn plan(seccomp: Value, annotations: Value) -> FilterPlan {
    plan_for(&config(seccomp, annotations), None).unwrap().unwrap()
}

fn refusal(seccomp: Value, annotations: Value) -> String {
    plan_for(&config(seccomp, annotations), None).unwrap_err().to_string()
}

fn allowing() -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW"})
}

fn notifying() -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]})
}

fn with(mut profile: Value, key: &str, value: Value) -> Value {
    profile[key] = value;
    profile
}

#[test]
fn without_a_profile_there_is_no_filter() {
    for text in [r#"{"ociVersion":"1"}"#, r#"{"ociVersion":"1","linux":{"seccomp":null}}"#] {
        assert!(plan_for(text, Some("/agent")).unwrap().is_none());
    }
}

#[test]
fn flags_are_those_asked_for_or_else_the_usual_one() {
    let flags = |names: Value| {
        let plan = plan(with(allowing(), "flags", names), json!({}));
        (plan.flags, plan.asks_for_flags)
    };
    assert_eq!(flags(json!(null)), (Flags::SPEC_ALLOW, false));
    assert_eq!(flags(json!([])), (Flags::empty(), true));
    let both = json!(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]);
    assert_eq!(flags(both), (Flags::TSYNC | Flags::LOG, true));
}

#[test]
fn flags_that_the_kernel_does_not_take_together_are_left_out_where_they_mean_nothing() {
    let all = json!(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    assert_eq!(plan(with(allowing(), "flags", all.clone()), json!({})).flags, Flags::TSYNC);
    let notifying = with(with(notifying(), "flags", all), "listenerPath", json!("/agent"));
    assert_eq!(plan(notifying, json!({})).flags, Flags::WAIT_KILLABLE_RECV);
}

#[test]
fn the_flags_of_the_compiler_are_those_of_the_plan() {
    assert_eq!(FLAGS.map(|(name, _)| name), seccomp::FLAGS);
}

#[test]
fn what_a_profile_cannot_say_is_refused_with_its_place() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    for (profile, words) in [
        (json!({}), "seccomp misses the default action"),
        (json!({"defaultAction": "SCMP_ACT_MAYBE"}), "linux.seccomp.defaultAction: "),
        (with(allowing(), "architectures", json!(["SCMP_ARCH_PDP11"])), "linux.seccomp.architectures[0]: "),
        (
            with(allowing(), "flags", json!(["X"])),
            "linux.seccomp.flags[0]: `X` is none of SECCOMP_FILTER_FLAG_TSYNC",
        ),
        (rule(json!({"names": ["mkdir"], "action": "X"})), "linux.seccomp.syscalls[0].action: "),
        (rule(json!({"names": [], "action": "SCMP_ACT_ERRNO"})), "linux.seccomp.syscalls[0].names: empty"),
        (with(allowing(), "listenerMetadata", json!("m")), "linux.seccomp.listenerMetadata: "),
        (
            rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 1})),
            "linux.seccomp.syscalls[0].errnoRet: ",
        ),
        (
            rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_KILL",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]})),
            "linux.seccomp.syscalls[0].args[0].index: ",
        ),
        (
            rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_KILL",
                "args": [{"index": 0, "value": 0, "op": "EQUALS"}]})),
            "linux.seccomp.syscalls[0].args[0].op: ",
        ),
    ] {
        let refusal = refusal(profile, json!({}));
        assert!(refusal.starts_with(words), "{refusal:?} does not start with {words:?}");
    }
}

#[test]
fn unknown_calls_are_refused_where_that_is_asked_for() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_KILL"}]});
    let annotated = |value: &str| json!({"run.oci.seccomp_fail_unknown_syscall": value});
    drop(plan(profile.clone(), json!({})));
    drop(plan(profile.clone(), annotated("0")));
    assert!(refusal(profile, annotated("1")).contains("no_such_call"));
}

#[test]
fn a_program_in_an_annotation_takes_the_place_of_the_profile() {
    let annotated = |data: &str| json!({"run.oci.seccomp_bpf_data": data});
    // ret ALLOW
    let plan = plan(json!({"defaultAction": "SCMP_ACT_KILL"}), annotated("BgAAAAAA/38="));
    let allow = Instruction { code: 6, jump_true: 0, jump_false: 0, operand: 0x7fff_0000 };
    assert_eq!(plan.program, [allow]);
    assert_eq!(plan.to_bytes(), [6, 0, 0, 0, 0, 0, 0xff, 0x7f]);
    let alone = json!({"ociVersion": "1", "annotations": annotated("BgAAAAAA/38=")}).to_string();
    assert_eq!(plan_for(&alone, None).unwrap().unwrap().program, [allow]);
    let too_long = "BgAAAAAA/38GAAAAAAD/fwYAAAAAAP9/".repeat(1366);
    for (data, words) in [
        ("?", "annotations.run.oci.seccomp_bpf_data: it is not base64"),
        ("BgAAAA==", "4 bytes are no program"),
        (too_long.as_str(), "4098 instructions are more than the kernel takes (4096)"),
    ] {
        let refusal = refusal(allowing(), annotated(data));
        assert!(refusal.contains(words), "{refusal}");
    }
}

#[test]
fn plugins_are_refused() {
    let annotated = json!({"run.oci.seccomp.plugins": "/x.so"});
    assert!(refusal(allowing(), annotated.clone()).starts_with("annotations.run.oci.seccomp.plugins: "));
    assert!(refusal(json!(null), annotated).contains("cannot load"));
}

#[test]
fn the_receiver_is_that_of_the_profile_then_of_the_annotation_then_of_the_caller() {
    let annotated = json!({"run.oci.seccomp.receiver": "/annotated"});
    let path = |profile: Value, annotations: &Value, given| {
        let plan = plan_for(&config(profile, annotations.clone()), given).unwrap().unwrap();
        plan.receiver.map(|receiver| receiver.path.display().to_string())
    };
    let configured = with(notifying(), "listenerPath", json!("/configured"));
    assert_eq!(path(configured, &annotated, Some("/given")).unwrap(), "/configured");
    assert_eq!(path(notifying(), &annotated, Some("/given")).unwrap(), "/annotated");
    assert_eq!(path(notifying(), &json!({}), Some("/given")).unwrap(), "/given");
    assert_eq!(path(allowing(), &annotated, None), None, "nothing is left to anybody");
}

#[test]
fn a_receiver_that_cannot_be_one_is_refused() {
    let refused = |path: &str| refusal(with(notifying(), "listenerPath", json!(path)), json!({}));
    let relative = "linux.seccomp.listenerPath: the seccomp receiver `agent` is not an absolute path";
    assert_eq!(refused("agent"), relative);
    let missing = refusal(notifying(), json!({}));
    assert!(missing.contains("SCMP_ACT_NOTIFY") && missing.contains("listenerPath"), "{missing}");
}

#[test]
fn the_receiver_is_told_the_state_of_the_process() {
    let profile =
        with(with(notifying(), "listenerPath", json!("/agent")), "listenerMetadata", json!("a \"b\""));
    let state = plan(profile, json!({"k": "v/\"w\""})).receiver.unwrap().state;
    let state: Value = serde_json::from_str(&state.join("42")).unwrap();
    let expected = json!({
        "ociVersion": OCI_VERSION, "fds": ["seccompFd"], "pid": 42, "metadata": "a \"b\"",
        "state": {
            "ociVersion": OCI_VERSION, "id": "web", "status": "creating", "pid": 42, "bundle": "/b",
            "annotations": {"k": "v/\"w\""}
        }
    });
    assert_eq!(state, expected);
}
