use super::*;

fn value(text: &str) -> Value {
    parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}"))
}

/// What is wrong with it, and at which offset.
fn mistake(text: &str) -> (usize, String) {
    let mistake = parse(text).expect_err(text);
    (mistake.position, mistake.what)
}

fn array(element: Type, values: Vec<Value>) -> Value {
    Value::Array(element, values)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn words_are_booleans() {
    assert_eq!([value("true"), value(" false ")], [Value::Bool(true), Value::Bool(false)]);
}

#[test]
fn a_bare_number_is_an_int32_and_one_with_a_fraction_a_double() {
    assert_eq!(value("5"), Value::Int32(5));
    assert_eq!(value("-0x10"), Value::Int32(-16));
    assert_eq!(value("+010"), Value::Int32(8));
    assert_eq!(value("2.5e-1"), Value::Double(0.25));
    assert_eq!(value("1e3"), Value::Double(1000.0));
    assert_eq!(value("-.5"), Value::Double(-0.5));
    assert_eq!(value("inf"), Value::Double(f64::INFINITY));
    assert!(matches!(value("nan"), Value::Double(number) if number.is_nan()));
}

#[test]
fn a_type_in_front_decides() {
    for (given, expected) in [
        ("byte 0xff", Value::Byte(255)),
        ("int16 -32768", Value::Int16(i16::MIN)),
        ("uint16 65535", Value::Uint16(u16::MAX)),
        ("int32 7", Value::Int32(7)),
        ("uint32 4294967295", Value::Uint32(u32::MAX)),
        ("int64 -9223372036854775808", Value::Int64(i64::MIN)),
        ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
        ("@t 10000000", Value::Uint64(10_000_000)),
        ("double 3", Value::Double(3.0)),
        ("boolean true", Value::Bool(true)),
        ("string 'x'", text("x")),
        ("objectpath '/a/b_1'", Value::Path("/a/b_1".into())),
        ("@o '/'", Value::Path("/".into())),
        ("signature 'a{sv}t'", Value::Signature("a{sv}t".into())),
    ] {
        assert_eq!(value(given), expected, "{given}");
    }
}

#[test]
fn a_number_that_does_not_fit_is_refused_where_it_stands() {
    for text in [
        "2147483648",
        "byte 256",
        "uint32 -1",
        "uint64 18446744073709551616",
        "int32 1.5",
        "0x",
        "08",
        "1x",
        "+",
    ] {
        let (position, what) = mistake(text);
        assert_eq!(position, text.find(' ').map_or(0, |space| space + 1), "{text}");
        assert!(what.contains("is no number of the type"), "{text}: {what}");
    }
}

#[test]
fn strings_have_either_quote_and_escapes() {
    assert_eq!(value(r#"'it\'s "x"'"#), text("it's \"x\""));
    assert_eq!(value(r#""a\tb\n\\\u00e4\U0001F600""#), text("a\tb\n\\ä😀"));
    assert_eq!(value("'a\\\nb'"), text("ab"));
    assert_eq!(value("'ü'"), text("ü"));
}

#[test]
fn bytestrings_end_with_a_nul() {
    assert_eq!(value(r"b'a\0\101\n'"), Value::bytes(b"a\0A\n\0".to_vec()));
    assert_eq!(value("b\"\""), Value::bytes(vec![0]));
}

#[test]
fn arrays_are_of_one_type_that_any_element_may_say() {
    assert_eq!(value("['a', 'b']"), Value::strings(["a", "b"]));
    assert_eq!(value("[1, byte 2]"), array(Type::Byte, vec![Value::Byte(1), Value::Byte(2)]));
    assert_eq!(value("[1, 2.5]"), array(Type::Double, vec![Value::Double(1.0), Value::Double(2.5)]));
    let nested =
        array(Type::Array(Box::new(Type::Text)), vec![Value::strings(["x"]), Value::strings::<&str>([])]);
    assert_eq!(value("[['x'], []]"), nested);
    assert_eq!(mistake("['a', 1]"), (6, "a value of another type than those before it".into()));
}

#[test]
fn an_empty_array_needs_its_type() {
    assert_eq!(value("@as []"), Value::strings::<&str>([]));
    assert_eq!(value("@a(ss) []"), array(Type::Tuple(vec![Type::Text, Type::Text]), vec![]));
    assert_eq!(mistake("[]").0, 0);
}

#[test]
fn tuples_have_a_comma() {
    assert_eq!(value("('a', 1)"), Value::Tuple(vec![text("a"), Value::Int32(1)]));
    assert_eq!(value("(true,)"), Value::Tuple(vec![Value::Bool(true)]));
    assert_eq!(value("@(tb) (1, false)"), Value::Tuple(vec![Value::Uint64(1), Value::Bool(false)]));
    for text in ["(1)", "()", "(1, 2,)", "(,)"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn dictionaries_are_arrays_of_entries() {
    let entry = |key: &str, value: Value| Value::Entry(Box::new((text(key), value)));
    let kind = |value: Type| Type::Entry(Box::new((Type::Text, value)));
    let numbers = vec![entry("a", Value::Uint64(1)), entry("b", Value::Uint64(2))];
    assert_eq!(value("{'a': uint64 1, 'b': 2}"), array(kind(Type::Uint64), numbers));
    let variants = vec![entry("a", Value::Variant(Box::new(Value::Int32(1))))];
    assert_eq!(value("{'a': <1>}"), array(kind(Type::Variant), variants));
    assert_eq!(value("@a{sv} {}"), array(kind(Type::Variant), vec![]));
    assert_eq!(mistake("{<1>: 2}"), (1, "a key that is not of a basic type".into()));
}

#[test]
fn a_variant_is_whatever_is_in_it() {
    assert_eq!(value("<'x'>"), Value::Variant(Box::new(text("x"))));
    assert_eq!(value("[<1>, <'x'>]").kind().to_string(), "av");
}

#[test]
fn what_only_gvariant_has_is_refused_by_name() {
    for (text, words) in [
        ("just 1", "maybe"),
        ("nothing", "maybe"),
        ("@mi 1", "maybe"),
        ("handle 0", "descriptor"),
        ("@h 0", "descriptor"),
        ("()", "empty tuple"),
        ("{1, 2}", "entry without a dictionary"),
    ] {
        assert!(mistake(text).1.contains(words), "{text}: {:?}", mistake(text));
    }
}

#[test]
fn a_mistake_says_where_it_is() {
    for (text, position) in [
        ("", 0),
        ("  ", 2),
        ("inactive-or-failed", 0),
        ("true false", 5),
        ("['a' 'b']", 5),
        ("['a', ", 6),
        ("'abc", 0),
        ("'\\u12'", 1),
        ("'\\u0000'", 1),
        ("@z 1", 1),
        ("@a{vs} {}", 3),
        ("objectpath 'x'", 11),
        ("signature 'z'", 10),
        ("<1", 2),
        ("%", 0),
        ("@as [1]", 5),
        ("{'a' 1}", 5),
    ] {
        assert_eq!(mistake(text).0, position, "{text}: {:?}", mistake(text));
    }
}

#[test]
fn no_depth_overruns_the_stack() {
    for opening in ["[", "<", "(", "{", "@v ", "int32 ", "{1:"] {
        assert!(parse(&opening.repeat(100_000)).is_err());
    }
    let types = format!("@{}s 1", "a".repeat(100_000));
    assert!(mistake(&types).1.contains("too deep"));
}

#[test]
fn any_text_is_a_value_or_a_mistake_within_it() {
    // A small generator of texts made of what the syntax is made of (xorshift).
    const PIECES: [&str; 32] = [
        "[", "]", "(", ")", "{", "}", "<", ">", ",", ":", "'", "\"", "\\", "b'", "@", "as", "a{sv}", "(",
        "uint64 ", "byte ", "1", "-", "0x", ".", "e", "true", "nothing", " ", "ü", "\0", "\n", "u00e4",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..200_000 {
        let text: String = (0..random(12)).map(|_| PIECES[random(PIECES.len())]).collect();
        if let Err(mistake) = parse(&text) {
            assert!(mistake.position <= text.len() && !mistake.what.is_empty(), "{text:?}");
        }
    }
}

/// The text of a value, with all its types written out.
fn shown(value: &Value) -> String {
    let list = |values: &[Value]| values.iter().map(shown).collect::<Vec<_>>().join(", ");
    match value {
        Value::Byte(number) => format!("byte {number}"),
        Value::Bool(value) => value.to_string(),
        Value::Int16(number) => format!("int16 {number}"),
        Value::Uint16(number) => format!("uint16 {number}"),
        Value::Int32(number) => number.to_string(),
        Value::Uint32(number) => format!("uint32 {number}"),
        Value::Int64(number) => format!("int64 {number}"),
        Value::Uint64(number) => format!("uint64 {number}"),
        Value::Double(number) => format!("{number:?}"),
        Value::Text(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Path(path) => format!("objectpath '{path}'"),
        Value::Signature(signature) => format!("signature '{signature}'"),
        Value::Variant(value) => format!("<{}>", shown(value)),
        Value::Array(Type::Entry(_), entries) => {
            let entry = |entry: &Value| match entry {
                Value::Entry(entry) => format!("{}: {}", shown(&entry.0), shown(&entry.1)),
                _ => panic!("no entry"),
            };
            format!("@{} {{{}}}", value.kind(), entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Array(_, values) => format!("@{} [{}]", value.kind(), list(values)),
        Value::Tuple(values) if values.len() == 1 => format!("({},)", list(values)),
        Value::Tuple(values) => format!("({})", list(values)),
        Value::Entry(_) => panic!("an entry by itself"),
    }
}

#[test]
fn every_value_is_read_back_from_its_text() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let kind = random_type(&mut random, 3);
        let value = random_value(&mut random, &kind);
        let text = shown(&value);
        assert_eq!(parse(&text).as_ref(), Ok(&value), "{text}");
    }
}

fn random_type(random: &mut impl FnMut() -> u64, depth: u32) -> Type {
    const BASIC: [Type; 12] = [
        Type::Byte,
        Type::Bool,
        Type::Int16,
        Type::Uint16,
        Type::Int32,
        Type::Uint32,
        Type::Int64,
        Type::Uint64,
        Type::Double,
        Type::Text,
        Type::Path,
        Type::Signature,
    ];
    let mut basic = || BASIC[usize::try_from(random() % 12).unwrap()].clone();
    let first = basic();
    match (random() % 6, depth) {
        (_, 0) | (0 | 1, _) => first,
        (2, _) => Type::Variant,
        (3, _) => Type::Array(Box::new(random_type(random, depth - 1))),
        (4, _) => Type::Tuple((0..=random() % 3).map(|_| random_type(random, depth - 1)).collect()),
        _ => Type::Array(Box::new(Type::Entry(Box::new((first, random_type(random, depth - 1)))))),
    }
}

fn random_value(random: &mut impl FnMut() -> u64, kind: &Type) -> Value {
    let bits = random().to_le_bytes();
    let [a, b, c, d, ..] = bits;
    match kind {
        Type::Byte => Value::Byte(a),
        Type::Bool => Value::Bool(a > 127),
        Type::Int16 => Value::Int16(i16::from_le_bytes([a, b])),
        Type::Uint16 => Value::Uint16(u16::from_le_bytes([a, b])),
        Type::Int32 => Value::Int32(i32::from_le_bytes([a, b, c, d])),
        Type::Uint32 => Value::Uint32(u32::from_le_bytes([a, b, c, d])),
        Type::Int64 => Value::Int64(i64::from_le_bytes(bits)),
        Type::Uint64 => Value::Uint64(u64::from_le_bytes(bits)),
        Type::Double => Value::Double(f64::from(i32::from_le_bytes([a, b, c, d])) / 8.0),
        Type::Text => text(["", "x", "it's", "\\", "ü\n\"", "b'"][usize::from(a % 6)]),
        Type::Path => Value::Path(["/", "/a", "/a/b_2"][usize::from(a % 3)].into()),
        Type::Signature => Value::Signature(["", "s", "a{sv}(it)"][usize::from(a % 3)].into()),
        Type::Variant => {
            let inner = random_type(random, 1);
            Value::Variant(Box::new(random_value(random, &inner)))
        }
        Type::Array(element) => {
            let values = (0..random() % 4).map(|_| random_value(random, element)).collect();
            Value::Array((**element).clone(), values)
        }
        Type::Tuple(types) => Value::Tuple(types.iter().map(|kind| random_value(random, kind)).collect()),
        Type::Entry(entry) => {
            Value::Entry(Box::new((random_value(random, &entry.0), random_value(random, &entry.1))))
        }
    }
}
