//! What of two answers is compared: not the times, numbers of processes and widths of columns.

use std::collections::BTreeSet;
use std::path::Path;

use kit::running::Output;
use serde_json::{Map, Value};

/// An answer, without what is different each time.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    stdout: Shape,
    stderr: Vec<String>,
    logged: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Shape {
    /// What stands above a help text; its sections; its options and commands.
    Help {
        before: String,
        sections: Vec<String>,
        names: BTreeSet<String>,
    },
    /// JSON with its values replaced by their types, and whether it ends with a line break.
    Json(Value, bool),
    Text(String),
}

impl Answer {
    /// `places` are paths that differ each time, or from the one to the other.
    pub(crate) fn new(output: &Output, logged: &str, places: &[&Path]) -> Self {
        let lines = |text: &str| text.lines().filter_map(|line| message(line, places)).collect();
        Self {
            code: output.code,
            stdout: shape(&output.stdout),
            stderr: lines(&output.stderr),
            logged: lines(logged),
        }
    }
}

/// What is not the same in both.
pub(crate) fn differences(theirs: &Answer, ours: &Answer) -> Option<String> {
    let mut found = String::new();
    let mut compare =
        |what: &str, theirs: &dyn std::fmt::Debug, ours: &dyn std::fmt::Debug, is_same: bool| {
            if !is_same {
                found.push_str(&format!("  {what}\n    runc: {theirs:?}\n    ours: {ours:?}\n"));
            }
        };
    compare("code", &theirs.code, &ours.code, theirs.code == ours.code);
    compare("stdout", &theirs.stdout, &ours.stdout, has_all(&theirs.stdout, &ours.stdout));
    compare("stderr", &theirs.stderr, &ours.stderr, theirs.stderr == ours.stderr);
    compare("log", &theirs.logged, &ours.logged, theirs.logged == ours.logged);
    Some(found).filter(|found| !found.is_empty())
}

/// Whether what is in theirs is in ours: there may be more options, and more keys.
fn has_all(theirs: &Shape, ours: &Shape) -> bool {
    match (theirs, ours) {
        (
            Shape::Help { before, sections, names },
            Shape::Help { before: our_before, sections: our_sections, names: our_names },
        ) => before == our_before && sections == our_sections && names.is_subset(our_names),
        (Shape::Json(theirs, end), Shape::Json(ours, our_end)) => end == our_end && covers(theirs, ours),
        _ => theirs == ours,
    }
}

fn covers(theirs: &Value, ours: &Value) -> bool {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            theirs.iter().all(|(key, value)| ours.get(key).is_some_and(|our| covers(value, our)))
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            theirs.iter().zip(ours).all(|(theirs, ours)| covers(theirs, ours))
        }
        _ => theirs == ours,
    }
}

fn shape(text: &str) -> Shape {
    if let Some(at) = text.find("NAME:\n") {
        return help(&text[..at], &text[at..]);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) if !text.is_empty() => Shape::Json(types(value), text.ends_with('\n')),
        _ => Shape::Text(text.lines().map(|line| format!("{}\n", normal(line))).collect()),
    }
}

fn help(before: &str, text: &str) -> Shape {
    const SECTIONS: [&str; 5] = ["NAME:", "USAGE:", "COMMANDS:", "OPTIONS:", "GLOBAL OPTIONS:"];
    let sections = text.lines().filter(|line| SECTIONS.contains(line)).map(str::to_owned).collect();
    let is_command = |line: &&str| line.starts_with("   ") && !line.starts_with("    ");
    let behind = |section: &str| text.split_once(section).map_or("", |(_, behind)| behind);
    let first =
        |line: &str| line.split("  ").find(|part| !part.trim().is_empty()).unwrap_or("").trim().to_owned();
    let listed = behind("COMMANDS:\n").lines().take_while(|line| !line.is_empty());
    let options = behind("OPTIONS:\n").lines().filter(|line| line.trim_start().starts_with('-'));
    let names = listed.chain(options).filter(is_command).map(first).collect();
    Shape::Help { before: before.to_owned(), sections, names }
}

/// Numbers, texts and truth values by what they are; an array by its first element.
fn types(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let typed = |(key, value)| {
                // What the kernel counts is an object by other names.
                let value = if key == "raw" { Value::Null } else { types(value) };
                (key, value)
            };
            Value::Object(map.into_iter().map(typed).collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().take(1).map(types).collect()),
        Value::Number(_) => "a number".into(),
        Value::String(_) => "a text".into(),
        Value::Bool(_) => "yes or no".into(),
        Value::Null => Value::Null,
    }
}

/// A line without numbers of processes, times, and blanks that only align.
fn normal(line: &str) -> String {
    let word = |word: &str| {
        let is_number = word.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | '-' | '/'));
        let is_time = word.starts_with("20") && word.contains('T') && word.ends_with('Z');
        if is_time || (is_number && word.chars().any(|c| c.is_ascii_digit())) {
            "N".to_owned()
        } else {
            word.to_owned()
        }
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// A message without its time; `None` for a warning, which only the one or the other has to give.
fn message(line: &str, places: &[&Path]) -> Option<String> {
    if line.contains("level=warning") || line.contains("\"level\":\"warning\"") {
        return None;
    }
    let line =
        places.iter().fold(line.to_owned(), |line, place| line.replace(place.to_str().unwrap(), "PLACE"));
    for (start, end) in [("time=\"", "\" "), (",\"time\":\"", "\"}")] {
        if let Some((before, behind)) = line.split_once(start)
            && let Some((_, behind)) = behind.split_once(end)
        {
            return Some(format!("{before}{behind}"));
        }
    }
    Some(line)
}
