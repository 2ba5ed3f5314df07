//! Values as D-Bus has them, and how they are written into a message.
//!
//! Source: the D-Bus Specification, "Type System" and "Message Protocol, Marshaling (Wire Format)".

/// A complete type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `y`
    Byte,
    /// `b`
    Bool,
    /// `n`
    Int16,
    /// `q`
    Uint16,
    /// `i`
    Int32,
    /// `u`
    Uint32,
    /// `x`
    Int64,
    /// `t`
    Uint64,
    /// `d`
    Double,
    /// `s`
    Text,
    /// `o`
    Path,
    /// `g`
    Signature,
    /// `v`
    Variant,
    /// `aT`; a dictionary is an array of entries.
    Array(Box<Type>),
    /// `(TT…)`
    Tuple(Vec<Type>),
    /// `{KV}`, only in an array.
    Entry(Box<(Type, Type)>),
}

/// A value of one of these types.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `v`
    Variant(Box<Value>),
    /// `aT`, with the type of what is in it.
    Array(Type, Vec<Value>),
    /// `(TT…)`
    Tuple(Vec<Value>),
    /// `{KV}`
    Entry(Box<(Value, Value)>),
}

impl Type {
    /// Appends the type's letters.
    pub(super) fn write(&self, letters: &mut String) {
        match self {
            Self::Byte => letters.push('y'),
            Self::Bool => letters.push('b'),
            Self::Int16 => letters.push('n'),
            Self::Uint16 => letters.push('q'),
            Self::Int32 => letters.push('i'),
            Self::Uint32 => letters.push('u'),
            Self::Int64 => letters.push('x'),
            Self::Uint64 => letters.push('t'),
            Self::Double => letters.push('d'),
            Self::Text => letters.push('s'),
            Self::Path => letters.push('o'),
            Self::Signature => letters.push('g'),
            Self::Variant => letters.push('v'),
            Self::Array(element) => {
                letters.push('a');
                element.write(letters);
            }
            Self::Tuple(types) => {
                letters.push('(');
                types.iter().for_each(|one| one.write(letters));
                letters.push(')');
            }
            Self::Entry(entry) => {
                letters.push('{');
                entry.0.write(letters);
                entry.1.write(letters);
                letters.push('}');
            }
        }
    }

    /// Where a value of the type begins: at a multiple of this.
    fn alignment(&self) -> usize {
        match self {
            Self::Byte | Self::Signature | Self::Variant => 1,
            Self::Int16 | Self::Uint16 => 2,
            Self::Bool | Self::Int32 | Self::Uint32 | Self::Text | Self::Path | Self::Array(_) => 4,
            Self::Int64 | Self::Uint64 | Self::Double | Self::Tuple(_) | Self::Entry(_) => 8,
        }
    }
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut letters = String::new();
        self.write(&mut letters);
        f.write_str(&letters)
    }
}

impl Value {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Self::Byte(_) => Type::Byte,
            Self::Bool(_) => Type::Bool,
            Self::Int16(_) => Type::Int16,
            Self::Uint16(_) => Type::Uint16,
            Self::Int32(_) => Type::Int32,
            Self::Uint32(_) => Type::Uint32,
            Self::Int64(_) => Type::Int64,
            Self::Uint64(_) => Type::Uint64,
            Self::Double(_) => Type::Double,
            Self::Text(_) => Type::Text,
            Self::Path(_) => Type::Path,
            Self::Signature(_) => Type::Signature,
            Self::Variant(_) => Type::Variant,
            Self::Array(element, _) => Type::Array(Box::new(element.clone())),
            Self::Tuple(values) => Type::Tuple(values.iter().map(Self::kind).collect()),
            Self::Entry(entry) => Type::Entry(Box::new((entry.0.kind(), entry.1.kind()))),
        }
    }

    /// An array of strings.
    #[must_use]
    pub fn strings<S: Into<String>>(values: impl IntoIterator<Item = S>) -> Self {
        Self::Array(Type::Text, values.into_iter().map(|text| Self::Text(text.into())).collect())
    }

    /// An array of pairs of strings.
    pub(super) fn pairs(pairs: Vec<(String, String)>) -> Self {
        let pair = |(a, b)| Self::Tuple(vec![Self::Text(a), Self::Text(b)]);
        Self::Array(Type::Tuple(vec![Type::Text, Type::Text]), pairs.into_iter().map(pair).collect())
    }

    /// An array of bytes.
    pub(super) fn bytes(bytes: Vec<u8>) -> Self {
        Self::Array(Type::Byte, bytes.into_iter().map(Self::Byte).collect())
    }
}

/// Writes values one after the other, in this machine's byte order.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(super) fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn uint32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend_from_slice(&value.to_ne_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        // No message is that long: a configuration is not, and nothing else gets here.
        self.uint32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(text.as_bytes());
        self.byte(0);
    }

    pub(super) fn signature(&mut self, signature: &str) {
        self.byte(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(signature.as_bytes());
        self.byte(0);
    }

    /// An array: `write` adds its elements, which are aligned to `alignment`.
    pub(super) fn array(&mut self, alignment: usize, write: impl FnOnce(&mut Self)) {
        self.uint32(0);
        let length_at = self.bytes.len() - 4;
        // The padding in front of the first element is not counted.
        self.align(alignment);
        let start = self.bytes.len();
        write(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(super) fn variant(&mut self, value: &Value) {
        self.signature(&value.kind().to_string());
        self.value(value);
    }

    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(value) => self.byte(*value),
            Value::Bool(value) => self.uint32(u32::from(*value)),
            Value::Int16(value) => self.number(&value.to_ne_bytes()),
            Value::Uint16(value) => self.number(&value.to_ne_bytes()),
            Value::Int32(value) => self.number(&value.to_ne_bytes()),
            Value::Uint32(value) => self.uint32(*value),
            Value::Int64(value) => self.number(&value.to_ne_bytes()),
            Value::Uint64(value) => self.number(&value.to_ne_bytes()),
            Value::Double(value) => self.number(&value.to_ne_bytes()),
            Value::Text(text) | Value::Path(text) => self.text(text),
            Value::Signature(text) => self.signature(text),
            Value::Variant(value) => self.variant(value),
            Value::Array(kind, values) => self.array(kind.alignment(), |writer| {
                values.iter().for_each(|value| writer.value(value));
            }),
            Value::Tuple(values) => {
                self.align(8);
                values.iter().for_each(|value| self.value(value));
            }
            Value::Entry(entry) => {
                self.align(8);
                self.value(&entry.0);
                self.value(&entry.1);
            }
        }
    }

    fn number<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.align(N);
        self.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.value(value);
        writer.into_bytes()
    }

    fn number(value: u32) -> [u8; 4] {
        value.to_ne_bytes()
    }

    #[test]
    fn a_type_is_written_in_letters() {
        let entry = Type::Entry(Box::new((Type::Text, Type::Variant)));
        let all = Type::Tuple(vec![Type::Array(Box::new(entry)), Type::Uint64, Type::Path]);
        assert_eq!(all.to_string(), "(a{sv}to)");
    }

    #[test]
    fn a_string_has_its_length_in_front_and_a_nul_behind() {
        assert_eq!(written(&Value::Text("ab".into())), [&number(2)[..], b"ab\0"].concat());
    }

    #[test]
    fn a_number_begins_at_a_multiple_of_its_size() {
        let tuple = Value::Tuple(vec![Value::Byte(7), Value::Uint64(9)]);
        assert_eq!(written(&tuple), [&[7, 0, 0, 0, 0, 0, 0, 0][..], &9_u64.to_ne_bytes()].concat());
    }

    #[test]
    fn the_length_of_an_array_does_not_count_the_padding_in_front_of_it() {
        let array = Value::Array(Type::Uint64, vec![Value::Uint64(1)]);
        assert_eq!(written(&array), [&number(8)[..], &number(0), &1_u64.to_ne_bytes()].concat());
        assert_eq!(written(&Value::Array(Type::Uint64, vec![])), [number(0), number(0)].concat());
    }

    #[test]
    fn a_variant_says_what_is_in_it() {
        let value = Value::Variant(Box::new(Value::strings(["x"])));
        let expected = [&[2, b'a', b's', 0][..], &number(6), &number(1), b"x\0"].concat();
        assert_eq!(written(&value), expected);
    }
}
