//! The text form of values: `true`, `uint64 5`, `['a', 'b']`, `@a{sv} {}`, `<'x'>`.
//!
//! Source: GLib's "GVariant Text Format". Everything that D-Bus can carry is understood; maybe types, handles and
//! dictionary entries by themselves exist in GVariant only and are refused by name.
//!
//! `read` makes a tree of the text, `typing` finds out the type of each part of it (a number is an `int32` unless
//! something says otherwise, before it or beside it in an array) and makes the value. `write` goes the other way.

mod literals;
mod read;
mod typing;
mod write;

use super::value::{Type, Value};

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The offset in bytes.
    pub position: usize,
    /// In words.
    pub what: String,
}

impl Mistake {
    fn new(position: usize, what: impl Into<String>) -> Self {
        Self { position, what: what.into() }
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at position {}", self.what, self.position + 1)
    }
}

/// A part of a text.
#[derive(Debug)]
struct Node {
    at: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Bool(bool),
    /// As it stands in the text.
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Node>),
    Tuple(Vec<Node>),
    Dictionary(Vec<(Node, Node)>),
    Variant(Box<Node>),
    /// With its type in front.
    Typed(Type, Box<Node>),
}

/// The value a text stands for.
///
/// # Errors
/// Says what is not understood, and where.
pub fn parse(text: &str) -> Result<Value, Mistake> {
    let node = read::whole(text)?;
    typing::value(&node)
}

#[cfg(test)]
mod tests;
