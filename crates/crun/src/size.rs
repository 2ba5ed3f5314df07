//! Sizes as people type them: `1048576`, `512m`, `1.5g`.

/// The number of bytes; −1 stands for no limit. Units are powers of 1024, in upper or lower case, with or without a `b`
/// or `ib` behind them. `None` for anything else.
pub(crate) fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let scale: u128 = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if !unit.starts_with('i') => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        "p" => 1 << 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && (1..=20).contains(&text.len());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let part = fraction.parse::<u128>().ok()? * scale / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let total = (whole.parse::<u128>().ok()? * scale).checked_add(part)?;
    i64::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024() {
        for (text, expected) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("100b", 100),
            ("1k", 1 << 10),
            ("512m", 512 << 20),
            ("512M", 512 << 20),
            ("512mb", 512 << 20),
            ("512MiB", 512 << 20),
            ("1 g", 1 << 30),
            ("1.5g", 3 << 29),
            ("0.5k", 512),
            ("2t", 2 << 40),
            ("1p", 1 << 50),
            ("-1", -1),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in
            ["", "m", "x", "1x", "1.m", ".5m", "1..5", "-2", "-1m", "+1", "1e3", "1mm", "1ib", "0x10", "1,5"]
        {
            assert_eq!(bytes(text), None, "{text}");
        }
        for text in ["9223372036854775808", "9000000t", "99999999999999999999p", "999999999999999999999"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
