//! Signal names and numbers (`signal(7)`), for `kill`.

use crate::error::{Code, Error, Result};

/// The names of the classic signals, from 1 on. The numbers are those of every architecture this runs on but MIPS,
/// SPARC and Alpha.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Second names.
const ALIASES: [(&str, i32); 5] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31), ("EXIT", 0)];

/// The first and the last realtime signal as glibc leaves them to programs.
const REALTIME: (i32, i32) = (34, 64);

/// A signal given as a number (0 to 64) or a name, with or without `SIG`.
///
/// # Errors
/// ``unknown signal `X` ``.
pub fn parse(text: &str) -> Result<i32> {
    let unknown = || Error::new(Code::Signal, format!("unknown signal `{text}`"));
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=REALTIME.1).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let classic = (1..).zip(NAMES).find(|(_, known)| *known == name).map(|(number, _)| number);
    let alias = || ALIASES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    classic.or_else(alias).or_else(|| realtime(name)).ok_or_else(unknown)
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`.
fn realtime(name: &str) -> Option<i32> {
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => rest.strip_prefix(sign)?.parse::<i32>().ok(),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        REALTIME.0.checked_add(offset(rest, '+')?)?
    } else {
        REALTIME.1.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (REALTIME.0..=REALTIME.1).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_understood() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGTERM", 15),
            ("sigusr1", 10),
            ("SYS", 31),
            ("9", 9),
            ("0", 0),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn anything_else_is_unknown() {
        for text in ["", "FOO", "SIG", "65", "-1", "RTMIN+31", "RTMAX+1", "RTMIN-1"] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("unknown signal `{text}`"));
        }
    }
}
