//! From JSON text to a configuration, and from a malformed text to an error that says where.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use super::objects::Objects;
use super::{Mount, Process, Resources, Spec, Text};
use crate::error::{Code, Error, Object, Result, words};

/// Parses a configuration. `name` is what the error calls the text, usually its path.
///
/// # Errors
/// Names the JSON path, what was found there and what is expected.
pub fn parse<'a>(text: &'a [u8], name: &str) -> Result<Spec<'a>> {
    parse_as(text, name)
}

/// Parses the process object of `exec --process`.
///
/// # Errors
/// As [`parse`].
pub fn parse_process<'a>(text: &'a [u8], name: &str) -> Result<Process<'a>> {
    ensure_object(text, name, "the process")?;
    parse_as(text, name)
}

/// Says so in words: at the top there is no place in the document that could be named.
fn ensure_object(text: &[u8], name: &str, what: &str) -> Result<()> {
    match text.trim_ascii_start().starts_with(b"[") {
        true => Err(Error::new(Code::InvalidConfig, format!("load `{name}`: {what} must be an object"))),
        false => Ok(()),
    }
}

/// Parses the list of mounts that a running container gets or loses.
///
/// # Errors
/// As [`parse`].
pub fn parse_mounts<'a>(text: &'a [u8], name: &str) -> Result<Vec<Mount<'a>>> {
    let is_array = text.trim_ascii_start().starts_with(b"[");
    if !is_array && serde_json::from_slice::<IgnoredAny>(text).is_ok() {
        return Err(words::mounts_not_an_array());
    }
    parse_as(text, name)
}

/// Parses the limits that a running container gets: the object `linux.resources` of a configuration.
///
/// # Errors
/// As [`parse`].
pub fn parse_resources(text: &[u8], name: &str) -> Result<Resources> {
    ensure_object(text, name, "resources")?;
    parse_as(text, name)
}

/// Reads only the annotations of a configuration that was parsed as a whole when its container was made.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_annotations<'a>(text: &'a [u8], name: &str) -> Result<BTreeMap<Text<'a>, Text<'a>>> {
    #[derive(Deserialize)]
    struct Annotated<'a> {
        #[serde(borrow, default)]
        annotations: Option<BTreeMap<Text<'a>, Text<'a>>>,
    }
    parse_as::<Annotated<'_>>(text, name).map(|spec| spec.annotations.unwrap_or_default())
}

pub(super) fn parse_as<'a, T: Deserialize<'a>>(text: &'a [u8], name: &str) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let parsed = T::deserialize(Objects(&mut deserializer));
    parsed.and_then(|value| deserializer.end().map(|()| value)).map_err(|_| explain::<T>(text, name))
}

/// Parses once more, this time keeping track of where in the document the parser is. Only done when parsing has
/// failed, so that a good configuration does not pay for it.
#[cold]
fn explain<'a, T: Deserialize<'a>>(text: &'a [u8], name: &str) -> Error {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let (place, inner) = match serde_path_to_error::deserialize::<_, T>(Objects(&mut deserializer)) {
        Err(error) => (place(&error.path().to_string()), Some(error.into_inner())),
        // The value is fine, so it is what follows it.
        Ok(_) => (None, deserializer.end().err()),
    };
    let said = inner.as_ref().map_or_else(|| "cannot parse the data".to_owned(), ToString::to_string);
    let message = match &place {
        Some(path) => format!("load `{name}`: {path}: {said}"),
        None => format!("load `{name}`: {said}"),
    };
    let is_json = inner.as_ref().is_some_and(|error| error.classify() == Category::Data);
    let code = if is_json { Code::InvalidConfig } else { Code::MalformedJson };
    let object = match place {
        Some(path) if is_json => Object::Config(path),
        _ => Object::Path(name.into()),
    };
    let error = Error::new(code, message).about(object);
    // What has a wrong value is named by its place.
    match inner.filter(|_| !is_json).and_then(|inner| line_of(text, &inner)) {
        Some(line) => error.with_hint(line),
        None => error,
    }
}

/// A place in the document in words, if it is one: what could not be read as the name of a field is none.
fn place(path: &str) -> Option<String> {
    let path = path.strip_suffix('?').map_or(path, |above| above.trim_end_matches('.'));
    (!matches!(path, "" | ".")).then(|| path.to_owned())
}

/// The line that an error is about, up to where reading stopped.
fn line_of(text: &[u8], error: &serde_json::Error) -> Option<String> {
    if text.trim_ascii().is_empty() {
        return Some("it is empty".to_owned());
    }
    const MOST: usize = 60;
    let line = text.split(|byte| *byte == b'\n').nth(error.line().checked_sub(1)?)?;
    let read = String::from_utf8_lossy(line.get(..error.column().min(line.len()))?).into_owned();
    let before = read.chars().count().saturating_sub(MOST);
    let shown: String = read.chars().skip(before).collect();
    let (shown, dots) = (shown.trim_start(), if before > 0 { "…" } else { "" });
    (!shown.is_empty()).then(|| format!("line {} was read up to `{dots}{shown}`", error.line()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse(text.as_bytes(), "config.json").unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path_with_what_was_expected() {
        let text = r#"{"ociVersion":"1.0.0","process":{"user":{"uid":"root"},"cwd":"/"}}"#;
        let message = message(text);
        assert!(message.starts_with("load `config.json`: process.user.uid: invalid type: string \"root\""));
        assert!(message.contains("expected u32"), "{message}");
    }

    #[test]
    fn an_entry_of_a_list_is_named_by_its_index() {
        let message = message(r#"{"ociVersion":"1.0.0","mounts":[{"destination":"/a"},{"destination":7}]}"#);
        assert!(message.contains("mounts[1].destination: invalid type"), "{message}");
    }

    #[test]
    fn a_missing_field_is_named() {
        assert!(message("{}").contains("missing field `ociVersion`"));
        assert!(message(r#"{"ociVersion":"1.0.0","root":{}}"#).contains("root: missing field `path`"));
    }

    #[test]
    fn a_text_that_is_no_json_names_line_and_column() {
        assert!(message("{\n  nonsense").contains("line 2 column 3"));
        assert!(message("").contains("EOF while parsing"));
        assert!(message(r#"{"ociVersion":"1.0.0"} x"#).contains("trailing characters"));
    }

    #[test]
    fn a_text_that_ends_within_an_object_names_that_and_no_field_of_it() {
        assert!(message("{").starts_with("load `config.json`: EOF"));
        assert!(message(r#"{"root":{"path":"/x","rea"#).starts_with("load `config.json`: root: EOF"));
        assert!(message(r#"{"mounts":[{1:2}]}"#).starts_with("load `config.json`: mounts[0]: key must be"));
    }

    #[test]
    fn what_is_no_json_is_told_from_what_has_a_wrong_value() {
        let error = |text: &str| parse(text.as_bytes(), "config.json").unwrap_err();
        let wrong = error("{\n  \"ociVersion\": \"1\",\n  \"root\": {\"path\": 7}\n}");
        assert_eq!(
            (wrong.code(), wrong.object()),
            (Code::InvalidConfig, Some(&Object::Config("root.path".into())))
        );
        assert_eq!(wrong.hint(), None);
        let broken = error("{\n  \"ociVersion\": \"1\",,\n}");
        assert_eq!(
            (broken.code(), broken.object()),
            (Code::MalformedJson, Some(&Object::Path("config.json".into())))
        );
        assert_eq!(broken.hint(), Some("line 2 was read up to `\"ociVersion\": \"1\",,`"));
        assert_eq!(error("\n").hint(), Some("it is empty"));
        let long = error(&format!("{{\"{}\"\u{1f}", "x".repeat(500)));
        assert!(long.hint().unwrap().chars().count() < 100, "{long:?}");
    }

    #[test]
    fn a_list_of_mounts_is_an_array_of_objects() {
        let message = |text: &str| parse_mounts(text.as_bytes(), "m.json").unwrap_err().to_string();
        for text in ["{}", "null", " 7", r#""/x""#, r#"{"destination":"/x"}"#] {
            assert_eq!(message(text), "mounts must be an array");
        }
        assert!(message("[").starts_with("load `m.json`: EOF while parsing"));
        assert!(message("").starts_with("load `m.json`: EOF while parsing"));
        assert!(message("[7]").starts_with("load `m.json`: [0]: invalid type: integer `7`"));
        let text = r#"[{"destination":"/a"},{"type":"tmpfs"}]"#;
        assert!(message(text).starts_with("load `m.json`: [1]: missing field `destination`"));
        assert!(message("[] []").contains("trailing characters"));
        assert!(parse_mounts(b" []\n", "m.json").unwrap().is_empty());
        assert_eq!(&*parse_mounts(br#"[{"destination":"/a"}]"#, "m.json").unwrap()[0].destination, "/a");
    }

    #[test]
    fn limits_are_an_object() {
        let message = |text: &str| parse_resources(text.as_bytes(), "r.json").unwrap_err().to_string();
        assert_eq!(message(" []"), "load `r.json`: resources must be an object");
        assert!(message("").starts_with("load `r.json`: EOF while parsing"));
        assert!(message("7").starts_with("load `r.json`: invalid type: integer `7`"));
        assert!(
            message(r#"{"cpu":{"quota":"1"}}"#).starts_with("load `r.json`: cpu.quota: invalid type: string")
        );
        assert!(message(r#"{"blockIO":{"weight":70000}}"#).contains("blockIO.weight: invalid value"));
        let resources = parse_resources(br#"{"pids":{"limit":7},"devices":null}"#, "r.json").unwrap();
        assert_eq!(resources.pids.unwrap().limit, 7);
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        let message = |text: &str| parse(text.as_bytes(), "config.json").unwrap_err().to_string();
        assert!(message(r#"["1.0.0"]"#).starts_with("load `config.json`: invalid type: sequence"));
        for (text, place) in [
            (r#"{"ociVersion":"1.0.0","process":{"user":[1000]}}"#, "process.user"),
            (r#"{"ociVersion":"1.0.0","process":{"rlimits":[["RLIMIT_CORE",1,1]]}}"#, "process.rlimits[0]"),
            (r#"{"ociVersion":"1.0.0","linux":{"resources":{"unified":{},"memory":[]}}}"#, "memory"),
            (r#"{"ociVersion":"1.0.0","linux":{"resources":{"rdma":{"mlx":[1]}}}}"#, "rdma.mlx"),
        ] {
            let message = message(text);
            assert!(message.contains(&format!("{place}: invalid type: sequence")), "{message}");
        }
    }

    #[test]
    fn unknown_fields_are_left_alone() {
        let spec = parse(br#"{"ociVersion":"1.0.0","solaris":{"x":1},"new":[]}"#, "config.json").unwrap();
        assert_eq!(&*spec.oci_version, "1.0.0");
    }
}
