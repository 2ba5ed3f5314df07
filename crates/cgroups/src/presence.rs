//! Whether a section of the configuration says anything, for sections that are recognised only to be refused.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Absent (or null, empty, or zero) or present. The content is skipped without being kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// Nothing is asked for.
    #[default]
    Absent,
    /// Something is.
    Present,
}

impl Presence {
    /// Whether something is asked for.
    #[must_use]
    pub fn is_present(self) -> bool {
        self == Self::Present
    }
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PresenceVisitor;
        impl<'de> Visitor<'de> for PresenceVisitor {
            type Value = Presence;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Presence, E> {
                Ok(Presence::Absent)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Presence, E> {
                Ok(if value { Presence::Present } else { Presence::Absent })
            }
            fn visit_u64<E>(self, value: u64) -> Result<Presence, E> {
                Ok(if value == 0 { Presence::Absent } else { Presence::Present })
            }
            fn visit_i64<E>(self, _: i64) -> Result<Presence, E> {
                Ok(Presence::Present)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Presence, E> {
                Ok(Presence::Present)
            }
            fn visit_str<E>(self, text: &str) -> Result<Presence, E> {
                Ok(if text.is_empty() { Presence::Absent } else { Presence::Present })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Presence, A::Error> {
                let mut found = Presence::Absent;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    found = Presence::Present;
                }
                Ok(found)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Presence, A::Error> {
                let mut found = Presence::Absent;
                // A map of empty sections (`"hooks": {"prestart": []}`) says nothing either.
                while let Some((_, value)) = map.next_entry::<IgnoredAny, Presence>()? {
                    if value.is_present() {
                        found = Presence::Present;
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_any(PresenceVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_sections_count_as_absent() {
        for text in ["null", "{}", "[]", "0", r#"{"prestart":[],"poststop":null}"#, "\"\""] {
            assert_eq!(serde_json::from_str::<Presence>(text).unwrap(), Presence::Absent, "{text}");
        }
    }

    #[test]
    fn anything_else_is_present() {
        for text in ["{\"a\":1}", "[{}]", "\"x\"", "1", r#"{"prestart":[{"path":"/x"}]}"#] {
            assert_eq!(serde_json::from_str::<Presence>(text).unwrap(), Presence::Present, "{text}");
        }
    }
}
