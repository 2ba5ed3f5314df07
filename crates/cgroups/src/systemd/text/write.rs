//! From a value to the text that stands for it.

use std::fmt::{Display, Formatter, Result, Write};

use super::super::value::{Type, Value};

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Byte(value) => write!(f, "byte {value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int16(value) => write!(f, "int16 {value}"),
            Self::Uint16(value) => write!(f, "uint16 {value}"),
            Self::Int32(value) => write!(f, "{value}"),
            Self::Uint32(value) => write!(f, "uint32 {value}"),
            Self::Int64(value) => write!(f, "int64 {value}"),
            Self::Uint64(value) => write!(f, "uint64 {value}"),
            Self::Double(value) => write!(f, "double {value}"),
            Self::Text(text) => quoted(f, text),
            Self::Path(text) => f.write_str("objectpath ").and_then(|()| quoted(f, text)),
            Self::Signature(text) => f.write_str("signature ").and_then(|()| quoted(f, text)),
            Self::Variant(value) => write!(f, "<{value}>"),
            Self::Array(kind, values) => array(f, kind, values),
            Self::Tuple(values) => {
                let end = if values.len() == 1 { ",)" } else { ")" };
                listed(f, ("(", end), values)
            }
            Self::Entry(entry) => write!(f, "{}: {}", entry.0, entry.1),
        }
    }
}

fn array(f: &mut Formatter<'_>, kind: &Type, values: &[Value]) -> Result {
    if values.is_empty() {
        // Nothing in it says what it is of.
        write!(f, "@a{kind} ")?;
    }
    listed(f, if matches!(kind, Type::Entry(_)) { ("{", "}") } else { ("[", "]") }, values)
}

fn listed(f: &mut Formatter<'_>, (begin, end): (&str, &str), values: &[Value]) -> Result {
    f.write_str(begin)?;
    for (index, value) in values.iter().enumerate() {
        write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
    }
    f.write_str(end)
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> Result {
    f.write_char('\'')?;
    for letter in text.chars() {
        match letter {
            '\'' | '\\' => write!(f, "\\{letter}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            letter => f.write_char(letter)?,
        }
    }
    f.write_char('\'')
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in [
            "true",
            "-5",
            "uint64 18446744073709551615",
            "byte 7",
            "double 0.5",
            "'it\\'s\\n\\\\'",
            "objectpath '/a/b'",
            "['a', 'b']",
            "@as []",
            "[uint32 1, uint32 2]",
            "('a', uint64 5)",
            "('a',)",
            "[('device', '/sys/fs/bpf/x')]",
            "{'a': <1>, 'b': <'x'>}",
            "@a{sv} {}",
        ] {
            let value = parse(text).unwrap();
            assert_eq!(value.to_string(), text);
            assert_eq!(parse(&value.to_string()).unwrap(), value);
        }
    }
}
