//! From the tree to the value: what types its parts have, and whether they can.

use super::literals::{double, integer, is_fraction};
use super::{Kind, Mistake, Node, read};
use crate::systemd::value::{Type, Value};

/// What can be said about the type of a part by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// Nothing: an element of an empty array.
    Any,
    /// Some type of number.
    Number,
    /// A string, an object path or a signature.
    Text,
    Known(Type),
    Array(Box<Pattern>),
    Tuple(Vec<Pattern>),
    Entry(Box<(Pattern, Pattern)>),
}

/// The value of a whole text.
pub(super) fn value(node: &Node) -> Result<Value, Mistake> {
    build(node, &own_type(node)?)
}

/// The type a part has where nothing around it says so.
fn own_type(node: &Node) -> Result<Type, Mistake> {
    settle(&pattern(node)?).ok_or_else(|| {
        Mistake::new(node.at, "a value of which the type cannot be told; write it in front, as in `@as []`")
    })
}

fn pattern(node: &Node) -> Result<Pattern, Mistake> {
    Ok(match &node.kind {
        Kind::Bool(_) => Pattern::Known(Type::Bool),
        Kind::Number(text) if is_fraction(text) => Pattern::Known(Type::Double),
        Kind::Number(_) => Pattern::Number,
        Kind::Text(_) => Pattern::Text,
        Kind::Bytes(_) => Pattern::Known(Type::Array(Box::new(Type::Byte))),
        Kind::Array(nodes) => Pattern::Array(Box::new(common(nodes.iter())?)),
        Kind::Tuple(nodes) => Pattern::Tuple(nodes.iter().map(pattern).collect::<Result<_, _>>()?),
        Kind::Dictionary(entries) => {
            let key = common(entries.iter().map(|(key, _)| key))?;
            let value = common(entries.iter().map(|(_, value)| value))?;
            Pattern::Array(Box::new(Pattern::Entry(Box::new((key, value)))))
        }
        Kind::Variant(_) => Pattern::Known(Type::Variant),
        Kind::Typed(kind, _) => Pattern::Known(kind.clone()),
    })
}

/// What all of several parts are.
fn common<'a>(mut nodes: impl Iterator<Item = &'a Node>) -> Result<Pattern, Mistake> {
    nodes.try_fold(Pattern::Any, |so_far, node| {
        both(&so_far, &pattern(node)?)
            .ok_or_else(|| Mistake::new(node.at, "a value of another type than those before it"))
    })
}

fn both(a: &Pattern, b: &Pattern) -> Option<Pattern> {
    Some(match (a, b) {
        (Pattern::Any, other) | (other, Pattern::Any) => other.clone(),
        (Pattern::Known(a), Pattern::Known(b)) => return (a == b).then(|| Pattern::Known(a.clone())),
        (Pattern::Known(known), other) | (other, Pattern::Known(known)) => {
            return fits(other, known).then(|| Pattern::Known(known.clone()));
        }
        (Pattern::Array(a), Pattern::Array(b)) => Pattern::Array(Box::new(both(a, b)?)),
        (Pattern::Tuple(a), Pattern::Tuple(b)) if a.len() == b.len() => {
            Pattern::Tuple(a.iter().zip(b).map(|(a, b)| both(a, b)).collect::<Option<_>>()?)
        }
        (Pattern::Entry(a), Pattern::Entry(b)) => {
            Pattern::Entry(Box::new((both(&a.0, &b.0)?, both(&a.1, &b.1)?)))
        }
        (a, b) => return (a == b).then(|| a.clone()),
    })
}

/// Whether something of this pattern can be of this type.
fn fits(pattern: &Pattern, kind: &Type) -> bool {
    match (pattern, kind) {
        (Pattern::Any, _) => true,
        (Pattern::Number, kind) => matches!(
            kind,
            Type::Byte
                | Type::Int16
                | Type::Uint16
                | Type::Int32
                | Type::Uint32
                | Type::Int64
                | Type::Uint64
                | Type::Double
        ),
        (Pattern::Text, kind) => matches!(kind, Type::Text | Type::Path | Type::Signature),
        (Pattern::Known(known), kind) => known == kind,
        (Pattern::Array(pattern), Type::Array(kind)) => fits(pattern, kind),
        (Pattern::Tuple(patterns), Type::Tuple(types)) => {
            patterns.len() == types.len()
                && patterns.iter().zip(types).all(|(pattern, kind)| fits(pattern, kind))
        }
        (Pattern::Entry(pattern), Type::Entry(kind)) => {
            fits(&pattern.0, &kind.0) && fits(&pattern.1, &kind.1)
        }
        _ => false,
    }
}

fn settle(pattern: &Pattern) -> Option<Type> {
    Some(match pattern {
        Pattern::Any => return None,
        Pattern::Number => Type::Int32,
        Pattern::Text => Type::Text,
        Pattern::Known(kind) => kind.clone(),
        Pattern::Array(element) => Type::Array(Box::new(settle(element)?)),
        Pattern::Tuple(patterns) => Type::Tuple(patterns.iter().map(settle).collect::<Option<_>>()?),
        Pattern::Entry(entry) => Type::Entry(Box::new((settle(&entry.0)?, settle(&entry.1)?))),
    })
}

/// The value of a part that is to be of this type.
fn build(node: &Node, kind: &Type) -> Result<Value, Mistake> {
    let mistake = |what: String| Mistake::new(node.at, what);
    Ok(match (&node.kind, kind) {
        (Kind::Typed(own, inner), kind) if own == kind => build(inner, kind)?,
        (Kind::Bool(value), Type::Bool) => Value::Bool(*value),
        (Kind::Number(text), kind) => number(text, kind)
            .ok_or_else(|| mistake(format!("`{text}` is no number of the type `{kind}`")))?,
        (Kind::Text(text), Type::Text) => Value::Text(text.clone()),
        (Kind::Text(text), Type::Path) if is_object_path(text) => Value::Path(text.clone()),
        (Kind::Text(text), Type::Signature) if read::is_signature(text) => Value::Signature(text.clone()),
        (Kind::Bytes(bytes), Type::Array(element)) if **element == Type::Byte => Value::bytes(bytes.clone()),
        (Kind::Array(nodes), Type::Array(element)) => {
            let values = nodes.iter().map(|node| build(node, element)).collect::<Result<_, _>>()?;
            Value::Array((**element).clone(), values)
        }
        (Kind::Dictionary(entries), Type::Array(element)) => match &**element {
            Type::Entry(types) => dictionary(entries, types, element)?,
            _ => return Err(mistake(format!("a dictionary is no value of the type `{kind}`"))),
        },
        (Kind::Tuple(nodes), Type::Tuple(types)) if nodes.len() == types.len() => {
            let values = nodes.iter().zip(types).map(|(node, kind)| build(node, kind));
            Value::Tuple(values.collect::<Result<_, _>>()?)
        }
        (Kind::Variant(inner), Type::Variant) => Value::Variant(Box::new(value(inner)?)),
        _ => return Err(mistake(format!("no value of the type `{kind}`"))),
    })
}

fn dictionary(entries: &[(Node, Node)], types: &(Type, Type), element: &Type) -> Result<Value, Mistake> {
    let build_entry = |(key, value): &(Node, Node)| {
        if matches!(types.0, Type::Variant | Type::Array(_) | Type::Tuple(_)) {
            return Err(Mistake::new(key.at, "a key that is not of a basic type"));
        }
        Ok(Value::Entry(Box::new((build(key, &types.0)?, build(value, &types.1)?))))
    };
    let values = entries.iter().map(build_entry).collect::<Result<_, _>>()?;
    Ok(Value::Array(element.clone(), values))
}

fn number(text: &str, kind: &Type) -> Option<Value> {
    if *kind == Type::Double {
        return double(text).map(Value::Double);
    }
    let number = integer(text)?;
    Some(match kind {
        Type::Byte => Value::Byte(number.try_into().ok()?),
        Type::Int16 => Value::Int16(number.try_into().ok()?),
        Type::Uint16 => Value::Uint16(number.try_into().ok()?),
        Type::Int32 => Value::Int32(number.try_into().ok()?),
        Type::Uint32 => Value::Uint32(number.try_into().ok()?),
        Type::Int64 => Value::Int64(number.try_into().ok()?),
        Type::Uint64 => Value::Uint64(number.try_into().ok()?),
        _ => return None,
    })
}

/// D-Bus Specification, "Valid Object Paths".
fn is_object_path(path: &str) -> bool {
    let is_element = |element: &str| {
        !element.is_empty() && element.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    path == "/" || path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_element))
}
