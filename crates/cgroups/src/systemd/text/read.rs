//! From the text to a tree.

use super::{Kind, Mistake, Node, literals};
use crate::systemd::value::Type;

/// How deep values may lie in each other (D-Bus Specification, "Valid Signatures": 32 arrays and 32 structures).
const DEEPEST: usize = 64;

/// The place in a text up to which it has been read.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    depth: usize,
}

/// Reads a text that is one value.
pub(super) fn whole(text: &str) -> Result<Node, Mistake> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let node = reader.node()?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(node),
        Some(_) => Err(reader.mistake("something behind the value")),
    }
}

impl<'a> Reader<'a> {
    pub(super) fn mistake(&self, what: impl Into<String>) -> Mistake {
        Mistake::new(self.at, what)
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|next| next.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn skip(&mut self, wanted: char) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), Mistake> {
        if self.skip(wanted) { Ok(()) } else { Err(self.mistake(format!("`{wanted}` is missing"))) }
    }

    /// One level further down.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Mistake>) -> Result<T, Mistake> {
        if self.depth == DEEPEST {
            return Err(self.mistake("values in values, too deep"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn node(&mut self) -> Result<Node, Mistake> {
        self.skip_space();
        let at = self.at;
        let kind = self.deeper(Self::kind)?;
        Ok(Node { at, kind })
    }

    fn kind(&mut self) -> Result<Kind, Mistake> {
        match self.peek() {
            None => Err(self.mistake("a value is missing")),
            Some('[') => self.list(']').map(Kind::Array),
            Some('(') => self.tuple(),
            Some('{') => self.dictionary(),
            Some('<') => {
                self.at += 1;
                let node = self.node()?;
                self.expect('>')?;
                Ok(Kind::Variant(Box::new(node)))
            }
            Some('@') => {
                self.at += 1;
                let kind = self.complete_type()?;
                Ok(Kind::Typed(kind, Box::new(self.node()?)))
            }
            Some(quote @ ('\'' | '"')) => literals::text(self, quote).map(Kind::Text),
            Some('b') if self.rest().starts_with("b'") || self.rest().starts_with("b\"") => {
                self.at += 1;
                literals::bytes(self).map(Kind::Bytes)
            }
            Some(digit) if digit.is_ascii_digit() || matches!(digit, '+' | '-' | '.') => {
                Ok(Kind::Number(literals::number(self)))
            }
            Some(letter) if letter.is_ascii_alphabetic() => self.word(),
            Some(other) => Err(self.mistake(format!("`{}`, which begins no value", other.escape_default()))),
        }
    }

    /// What stands between brackets, the opening one of which is next.
    fn list(&mut self, end: char) -> Result<Vec<Node>, Mistake> {
        self.at += 1;
        let mut nodes = Vec::new();
        if self.skip(end) {
            return Ok(nodes);
        }
        loop {
            nodes.push(self.node()?);
            if self.skip(end) {
                return Ok(nodes);
            }
            self.expect(',')?;
        }
    }

    /// `()`, `(a,)`, `(a, b)`: a comma makes the difference to a value in parentheses, which there is not.
    fn tuple(&mut self) -> Result<Kind, Mistake> {
        let at = self.at;
        self.at += 1;
        if self.skip(')') {
            return Err(Mistake::new(at, "an empty tuple, which D-Bus does not have"));
        }
        let mut nodes = vec![self.node()?];
        self.expect(',')?;
        while !(nodes.len() == 1 && self.skip(')')) {
            nodes.push(self.node()?);
            if self.skip(')') {
                break;
            }
            self.expect(',')?;
        }
        Ok(Kind::Tuple(nodes))
    }

    fn dictionary(&mut self) -> Result<Kind, Mistake> {
        let at = self.at;
        self.at += 1;
        let mut entries = Vec::new();
        if self.skip('}') {
            return Ok(Kind::Dictionary(entries));
        }
        loop {
            let key = self.node()?;
            if entries.is_empty() && self.skip(',') {
                return Err(Mistake::new(at, "an entry without a dictionary, which D-Bus does not have"));
            }
            self.expect(':')?;
            entries.push((key, self.node()?));
            if self.skip('}') {
                return Ok(Kind::Dictionary(entries));
            }
            self.expect(',')?;
        }
    }

    /// `true`, `nan`, or the name of a type with a value behind it.
    fn word(&mut self) -> Result<Kind, Mistake> {
        let rest = self.rest();
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (at, word) = (self.at, &rest[..end]);
        self.at += end;
        let kind = match word {
            "true" => return Ok(Kind::Bool(true)),
            "false" => return Ok(Kind::Bool(false)),
            "inf" | "infinity" | "nan" => return Ok(Kind::Number(word.to_owned())),
            "just" | "nothing" => {
                return Err(Mistake::new(at, format!("`{word}`, a maybe type, which D-Bus does not have")));
            }
            "handle" => {
                return Err(Mistake::new(at, "`handle`, a descriptor, of which none can be passed"));
            }
            "boolean" => Type::Bool,
            "byte" => Type::Byte,
            "int16" => Type::Int16,
            "uint16" => Type::Uint16,
            "int32" => Type::Int32,
            "uint32" => Type::Uint32,
            "int64" => Type::Int64,
            "uint64" => Type::Uint64,
            "double" => Type::Double,
            "string" => Type::Text,
            "objectpath" => Type::Path,
            "signature" => Type::Signature,
            other => return Err(Mistake::new(at, format!("`{other}` is no value and no type"))),
        };
        Ok(Kind::Typed(kind, Box::new(self.node()?)))
    }

    /// A complete type in letters.
    pub(super) fn complete_type(&mut self) -> Result<Type, Mistake> {
        self.deeper(|reader| {
            let at = reader.at;
            let kind = match reader.next() {
                Some('y') => Type::Byte,
                Some('b') => Type::Bool,
                Some('n') => Type::Int16,
                Some('q') => Type::Uint16,
                Some('i') => Type::Int32,
                Some('u') => Type::Uint32,
                Some('x') => Type::Int64,
                Some('t') => Type::Uint64,
                Some('d') => Type::Double,
                Some('s') => Type::Text,
                Some('o') => Type::Path,
                Some('g') => Type::Signature,
                Some('v') => Type::Variant,
                Some('a') if reader.peek() == Some('{') => {
                    reader.at += 1;
                    Type::Array(Box::new(reader.entry_type()?))
                }
                Some('a') => Type::Array(Box::new(reader.complete_type()?)),
                Some('(') => reader.tuple_type(at)?,
                Some('m') => return Err(Mistake::new(at, "a maybe type, which D-Bus does not have")),
                Some('h') => return Err(Mistake::new(at, "a descriptor, of which none can be passed")),
                _ => return Err(Mistake::new(at, "no complete type")),
            };
            Ok(kind)
        })
    }

    fn tuple_type(&mut self, at: usize) -> Result<Type, Mistake> {
        let mut types = Vec::new();
        while self.peek() != Some(')') {
            types.push(self.complete_type()?);
        }
        self.at += 1;
        match types.is_empty() {
            true => Err(Mistake::new(at, "an empty tuple, which D-Bus does not have")),
            false => Ok(Type::Tuple(types)),
        }
    }

    fn entry_type(&mut self) -> Result<Type, Mistake> {
        let at = self.at;
        let key = self.complete_type()?;
        if matches!(key, Type::Variant | Type::Array(_) | Type::Tuple(_)) {
            return Err(Mistake::new(at, "a key that is not of a basic type"));
        }
        let value = self.complete_type()?;
        match self.next() {
            Some('}') => Ok(Type::Entry(Box::new((key, value)))),
            _ => Err(self.mistake("an entry of a dictionary has one key and one value")),
        }
    }
}

/// Whether this is a sequence of complete types.
pub(super) fn is_signature(text: &str) -> bool {
    let mut reader = Reader { text, at: 0, depth: 0 };
    while reader.peek().is_some() {
        if reader.complete_type().is_err() {
            return false;
        }
    }
    text.len() <= usize::from(u8::MAX)
}
