//! Base64 (RFC 4648), for programs that stand in an annotation.

/// The bytes that `text` stands for; with or without padding at the end.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let is_padded = text.len() != digits.len();
    // One digit is less than a byte; padding is there to fill up a group of four.
    if digits.len() % 4 == 1 || is_padded && (!text.len().is_multiple_of(4) || text.len() - digits.len() > 2)
    {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | u32::from(value(*digit)?);
        }
        let missing = 4 - group.len();
        let [_, all @ ..] = (bits << (6 * missing)).to_be_bytes();
        bytes.extend_from_slice(&all[..3 - missing]);
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_are_decoded() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
            ("Zm9vYmE", "fooba"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(decode("+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
    }

    #[test]
    fn what_is_no_base64_is_not_decoded() {
        for text in ["A", "AAAAA", "A===", "Zg=", "Zm9v====", "Zm 9v", "Zm9-", "=Zm9", "é"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
