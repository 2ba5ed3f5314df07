//! Properties of the unit that the configuration asks for by name: annotations `org.systemd.property.NAME`.

use std::borrow::Cow;

use super::properties::Property;
use super::text;
use super::value::Value;
use crate::error::{Error, Result};

const PREFIX: &str = "org.systemd.property.";

/// The shortest name of a property there may be.
const SHORTEST_NAME: usize = 3;

/// The properties among these annotations.
///
/// # Errors
/// Names the annotation, and where in its value something is not understood.
pub fn properties<'a>(annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<Property>> {
    let named = annotations.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value)));
    named.map(|(name, value)| property(name, value)).collect()
}

fn property(name: &str, text: &str) -> Result<Property> {
    let mistake = |what: &dyn std::fmt::Display| {
        Error::plain(format!("annotations.{PREFIX}{name}: invalid value `{text}`: {what}"))
    };
    if name.len() < SHORTEST_NAME || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Error::plain(format!(
            "annotations.{PREFIX}{name}: the name of a property is made of letters, three at least"
        )));
    }
    let value = text::parse(text).map_err(|error| mistake(&error))?;
    // What units of systemd.service(5) call TimeoutStopSec, its bus calls TimeoutStopUSec.
    match name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')) {
        None => Ok(Property { name: Cow::Owned(name.to_owned()), value }),
        Some(stem) => match microseconds(&value) {
            Some(time) => {
                Ok(Property { name: Cow::Owned(format!("{stem}USec")), value: Value::Uint64(time) })
            }
            None => Err(mistake(&"a time in seconds is a number, not negative")),
        },
    }
}

/// A number of seconds in microseconds.
fn microseconds(seconds: &Value) -> Option<u64> {
    const SECOND: u64 = 1_000_000;
    let whole = match seconds {
        Value::Byte(number) => u64::from(*number),
        Value::Int16(number) => u64::try_from(*number).ok()?,
        Value::Uint16(number) => u64::from(*number),
        Value::Int32(number) => u64::try_from(*number).ok()?,
        Value::Uint32(number) => u64::from(*number),
        Value::Int64(number) => u64::try_from(*number).ok()?,
        Value::Uint64(number) => *number,
        Value::Double(number) => {
            let time = std::time::Duration::try_from_secs_f64(*number).ok()?;
            return u64::try_from(time.as_micros()).ok();
        }
        _ => return None,
    };
    whole.checked_mul(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Result<(String, Value)> {
        let mut properties = properties([(key, value)])?;
        let property = properties.remove(0);
        Ok((property.name.into_owned(), property.value))
    }

    #[test]
    fn an_annotation_becomes_a_property() {
        let own = one("org.systemd.property.CollectMode", "'inactive-or-failed'").unwrap();
        assert_eq!(own, ("CollectMode".into(), Value::Text("inactive-or-failed".into())));
        assert_eq!(properties([("io.kubernetes.cri", "x"), ("org.systemd.propertyX", "y")]), Ok(vec![]));
    }

    #[test]
    fn seconds_become_microseconds() {
        for (value, expected) in [("5", 5_000_000), ("uint64 10", 10_000_000), ("0.25", 250_000)] {
            let own = one("org.systemd.property.TimeoutStopSec", value).unwrap();
            assert_eq!(own, ("TimeoutStopUSec".into(), Value::Uint64(expected)));
        }
        for value in ["-1", "'5'", "uint64 18446744073709551615", "nan", "1e300", "true"] {
            let error = one("org.systemd.property.TimeoutStopSec", value).unwrap_err();
            assert!(error.message.contains("a time in seconds"), "{error}");
        }
    }

    #[test]
    fn microseconds_stay_as_they_are() {
        let own = one("org.systemd.property.TimeoutStopUSec", "uint64 7").unwrap();
        assert_eq!(own, ("TimeoutStopUSec".into(), Value::Uint64(7)));
    }

    #[test]
    fn a_name_is_made_of_letters() {
        for name in ["", "Ab", "Foo1", "Foo.Bar", "Foo ", "Fööö"] {
            let key = format!("org.systemd.property.{name}");
            let error = one(&key, "true").unwrap_err();
            assert!(error.message.starts_with(&format!("annotations.{key}: ")), "{error}");
        }
    }

    #[test]
    fn a_mistake_names_the_annotation_and_the_position() {
        let error = one("org.systemd.property.CollectMode", "inactive").unwrap_err();
        assert_eq!(
            error.message,
            "annotations.org.systemd.property.CollectMode: invalid value `inactive`: `inactive` is no value and no \
             type at position 1"
        );
    }
}
