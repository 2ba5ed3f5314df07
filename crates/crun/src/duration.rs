//! Durations as Go programs take them, which is what callers of runc write.

use std::time::Duration;

/// The units, in nanoseconds; those that begin another one come behind it.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5, the micro sign
    ("μs", 1_000), // U+03BC, the Greek letter
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Numbers with units, one after the other (`1h30m`, `1.5s`, `-2ms`); 0 needs none. `None` is no duration; `Some(None)` is one
/// below zero.
pub(crate) fn parse(text: &str) -> Option<Option<Duration>> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Some(Duration::ZERO));
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, behind) = rest.split_at(end);
        let (unit, nanoseconds) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit))?;
        total = total.checked_add(times(number, *nanoseconds)?)?;
        rest = &behind[unit.len()..];
    }
    // Go has 63 bits for nanoseconds.
    i64::try_from(total.as_nanos()).ok()?;
    Some(if negative && !total.is_zero() { None } else { Some(total) })
}

/// A decimal number of a unit; what is smaller than a nanosecond is cut off.
fn times(number: &str, unit: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanoseconds = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        nanoseconds = nanoseconds.checked_add(place * u64::from(digit.to_digit(10)?))?;
    }
    Some(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        for (text, milliseconds) in [
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("+.5s", 500),
            ("2.s", 2_000),
            ("250ms", 250),
            ("7000us", 7),
            ("7000µs", 7),
            ("1h0m1s1ms", 3_601_001),
            ("0", 0),
            ("0s", 0),
            ("-0s", 0),
        ] {
            assert_eq!(parse(text), Some(Some(Duration::from_millis(milliseconds))), "{text}");
        }
        assert_eq!(parse("1.5ns"), Some(Some(Duration::from_nanos(1))));
    }

    #[test]
    fn below_zero_is_a_duration_too() {
        assert_eq!(parse("-1s"), Some(None));
    }

    #[test]
    fn a_number_without_a_unit_and_a_unit_without_a_number_are_none() {
        for text in [
            "",
            "-",
            "5",
            "s",
            "foo",
            "5 s",
            "1m3",
            "1m0",
            ".s",
            "1.2.3s",
            "5d",
            "0.1",
            "9999999999999h",
            "s5",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
