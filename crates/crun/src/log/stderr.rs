//! The standard error: text, with time and colour where somebody looks at it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};

use libcrun::Code;

use super::record::{Record, in_one_line};

/// Nothing can be said about a standard error that cannot be written to; the exit status says the rest.
pub(super) fn write(record: &Record<'_>) {
    let mut stderr = std::io::stderr();
    let line = if stderr.is_terminal() { record.for_terminal(wants_colour()) } else { record.text() };
    let _ = stderr.write_all(line.as_bytes());
}

/// What is known about the cause of an error, on a line of its own behind it.
pub(super) fn write_hint(hint: &str, code: Code) {
    let line = format!("hint: {} (crun explain {})\n", in_one_line(hint), code.name());
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Says what is wrong with an option, as argp does.
pub(crate) fn say_usage(message: &str) {
    let text = format!("crun: {message}\nTry `crun --help' or `crun --usage' for more information.\n");
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Whether who looks at the terminal wants colours, and it has them.
pub(super) fn wants_colour() -> bool {
    allows_colour(env::var_os("NO_COLOR"), env::var_os("TERM"))
}

/// By the convention of no-color.org, and the name of terminals that know nothing.
fn allows_colour(no_color: Option<OsString>, term: Option<OsString>) -> bool {
    no_color.is_none_or(|value| value.is_empty()) && term.as_deref() != Some(OsStr::new("dumb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_can_be_declined() {
        let allows = |no_color: Option<&str>, term: Option<&str>| {
            allows_colour(no_color.map(OsString::from), term.map(OsString::from))
        };
        assert!(allows(None, Some("xterm")) && allows(None, None) && allows(Some(""), Some("xterm")));
        assert!(!allows(Some("1"), Some("xterm")) && !allows(Some("0"), None) && !allows(None, Some("dumb")));
    }
}
