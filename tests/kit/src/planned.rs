//! What `crun plan` tells, taken apart.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of the kit is a failure of the test")]

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::crun::Crun;

/// What would be done for a bundle, as the container `web`.
///
/// # Panics
/// When `plan` fails.
#[must_use]
pub fn plan(crun: &Crun, bundle: &Bundle) -> Vec<Value> {
    let bundle = bundle.save().to_str().unwrap();
    let plan = crun.cmd(["plan", "--format=json", "--id=web", bundle]).json();
    assert_eq!((&plan["version"], &plan["id"]), (&json!(1), &json!("web")));
    plan["actions"].as_array().unwrap().clone()
}

/// A detail that is a word.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value["details"][name].as_str().unwrap_or_else(|| panic!("no `{name}` in {value}"))
}

/// A detail that is a list; nothing where there is none.
///
/// # Panics
/// When it is none of words.
#[must_use]
pub fn list(value: &Value, name: &str) -> Vec<String> {
    let strings = |list: &Vec<Value>| list.iter().map(|one| one.as_str().unwrap().to_owned()).collect();
    value["details"][name].as_array().map(strings).unwrap_or_default()
}

/// Those about a subject, in their order.
#[must_use]
pub fn about<'v>(plan: &'v [Value], subject: &str) -> Vec<&'v Value> {
    plan.iter().filter(|action| action["subject"] == subject).collect()
}

/// The one about a subject with this detail.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn with<'v>(plan: &'v [Value], subject: &str, name: &str) -> &'v Value {
    let found = about(plan, subject).into_iter().find(|action| !action["details"][name].is_null());
    found.unwrap_or_else(|| panic!("nothing about {subject} with {name} in {plan:#?}"))
}
