//! Numbers, strings and bytestrings.

use super::Mistake;
use super::read::Reader;

/// A number as it stands; what it is worth depends on its type.
pub(super) fn number(reader: &mut Reader<'_>) -> String {
    let start = reader.at;
    let mut last = ' ';
    while let Some(next) = reader.peek() {
        let is_hexadecimal = reader.text[start..reader.at].contains(['x', 'X']);
        let is_sign =
            matches!(next, '+' | '-') && (reader.at == start || matches!(last, 'e' | 'E') && !is_hexadecimal);
        if !(next.is_ascii_alphanumeric() || next == '.' || is_sign) {
            break;
        }
        last = next;
        reader.at += 1;
    }
    reader.text[start..reader.at].to_owned()
}

/// A whole number as the text has it: decimal, `0x…` or octal with a leading zero.
pub(super) fn integer(text: &str) -> Option<i128> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, base) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = u64::from_str_radix(digits, base).ok().map(i128::from)?;
    Some(if is_negative { -number } else { number })
}

/// A number with a fraction, also one that is whole.
pub(super) fn double(text: &str) -> Option<f64> {
    if let Some(whole) = integer(text) {
        #[expect(clippy::cast_precision_loss, reason = "that is what a double does with a large number")]
        return Some(whole as f64);
    }
    let fits = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let unsigned = text.trim_start_matches(['+', '-']);
    (matches!(unsigned, "inf" | "infinity" | "nan") || text.bytes().all(fits)).then(|| text.parse().ok())?
}

/// Whether only a double can be written like this.
pub(super) fn is_fraction(text: &str) -> bool {
    let text = text.trim_start_matches(['+', '-']);
    !text.starts_with("0x") && !text.starts_with("0X") && text.contains(['.', 'e', 'E', 'n'])
}

/// A string, the opening quote of which is next.
pub(super) fn text(reader: &mut Reader<'_>, quote: char) -> Result<String, Mistake> {
    let start = reader.at;
    reader.at += 1;
    let mut text = String::new();
    loop {
        let at = reader.at;
        match reader.next() {
            None => return Err(Mistake::new(start, "a string without an end")),
            Some(end) if end == quote => return Ok(text),
            Some('\0') => return Err(Mistake::new(at, "a NUL, which no string can have")),
            Some('\\') => match reader.next() {
                None => return Err(Mistake::new(start, "a string without an end")),
                Some('u') => text.push(unicode(reader, at, 4)?),
                Some('U') => text.push(unicode(reader, at, 8)?),
                // A line that goes on.
                Some('\n') => {}
                Some(letter) => text.push(escaped(letter)),
            },
            Some(other) => text.push(other),
        }
    }
}

fn escaped(letter: char) -> char {
    match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        other => other,
    }
}

fn unicode(reader: &mut Reader<'_>, at: usize, digits: usize) -> Result<char, Mistake> {
    let number =
        reader.rest().get(..digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match number.and_then(char::from_u32).filter(|letter| *letter != '\0') {
        Some(letter) => {
            reader.at += digits;
            Ok(letter)
        }
        None => {
            Err(Mistake::new(at, format!("an escape that is not {digits} digits of a character's number")))
        }
    }
}

/// A bytestring, the opening quote of which is next: bytes, with a NUL behind them.
pub(super) fn bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>, Mistake> {
    let start = reader.at;
    let quote = reader.next();
    let mut bytes = Vec::new();
    loop {
        match reader.next() {
            None => return Err(Mistake::new(start, "a bytestring without an end")),
            end if end == quote => {
                bytes.push(0);
                return Ok(bytes);
            }
            Some('\\') => match reader.next() {
                None => return Err(Mistake::new(start, "a bytestring without an end")),
                Some(digit @ '0'..='7') => bytes.push(octal(reader, digit)),
                Some('\n') => {}
                Some(letter) => push(&mut bytes, escaped(letter)),
            },
            Some(other) => push(&mut bytes, other),
        }
    }
}

fn push(bytes: &mut Vec<u8>, letter: char) {
    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Up to three digits, of which `first` has been read; what does not fit into a byte is cut off, as GLib does.
fn octal(reader: &mut Reader<'_>, first: char) -> u8 {
    let mut number = first.to_digit(8).unwrap_or(0);
    for _ in 0..2 {
        let Some(digit) = reader.peek().and_then(|next| next.to_digit(8)) else { break };
        number = number * 8 + digit;
        reader.at += 1;
    }
    number.to_le_bytes()[0]
}
