//! A message and what is known about it, in the shapes that are written.

use std::borrow::Cow;
use std::time::SystemTime;

use serde::Serialize;

use super::Level;
use super::details::Details;

/// One message. As JSON it is an object with these members; readers rely on their names.
#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    #[serde(rename = "msg")]
    pub(super) message: &'a str,
    pub(super) level: Level,
    /// As in RFC 3339, which containerd parses.
    pub(super) time: String,
    /// Behind what all readers know.
    #[serde(flatten)]
    pub(super) details: Option<Details<'a>>,
}

impl<'a> Record<'a> {
    /// What is to be told now.
    pub(super) fn new(level: Level, message: &'a str) -> Self {
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        Self { message, level, time, details: None }
    }

    /// One object on one line.
    pub(super) fn json(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    /// One line of text.
    pub(super) fn text(&self) -> String {
        format!("{}\n", in_one_line(self.message))
    }

    /// The same for somebody who looks at it while it is written.
    pub(super) fn for_terminal(&self, in_colour: bool) -> String {
        let (colour, plain) = if in_colour { (self.colour(), "\x1b[0m") } else { ("", "") };
        format!("{colour}{}: {}{plain}\n", self.time, in_one_line(self.message))
    }

    fn colour(&self) -> &'static str {
        match self.level {
            Level::Error => "\x1b[1;31m",
            Level::Warning => "\x1b[1;33m",
            Level::Debug => "\x1b[1;34m",
        }
    }

    /// How serious it is in terms of syslog(3): err, warning or debug.
    pub(super) fn priority(&self) -> u8 {
        match self.level {
            Level::Error => 3,
            Level::Warning => 4,
            Level::Debug => 7,
        }
    }
}

/// A message may quote any name. A line break in it would make two messages of one, and what controls a terminal is not
/// for an image to say.
pub(super) fn in_one_line(message: &str) -> Cow<'_, str> {
    if !message.contains(char::is_control) {
        return Cow::Borrowed(message);
    }
    let escape = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    Cow::Owned(message.chars().map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: &str) -> Record<'_> {
        Record { message, level: Level::Warning, time: "T".to_owned(), details: None }
    }

    #[test]
    fn control_characters_are_written_out_and_everything_else_stays_as_it_is() {
        assert_eq!(in_one_line("open `/a\nb\u{1b}[2J`: ü"), "open `/a\\nb\\u{1b}[2J`: ü");
        assert!(matches!(in_one_line("plain `\\n` ü"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_is_one_line_with_the_members_in_the_order_of_the_c_crun() {
        let json = record("a\n\"b\"\u{1b}/").json();
        assert_eq!(json, "{\"msg\":\"a\\n\\\"b\\\"\\u001b/\",\"level\":\"warning\",\"time\":\"T\"}\n");
    }

    #[test]
    fn text_is_the_message_and_on_a_terminal_the_time_and_a_colour() {
        assert_eq!(record("a\nb").text(), "a\\nb\n");
        assert_eq!(record("a").for_terminal(false), "T: a\n");
        assert_eq!(record("a").for_terminal(true), "\x1b[1;33mT: a\x1b[0m\n");
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        let time = Record::new(Level::Error, "").time;
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(shape, "9999-99-99T99:99:99.999999Z");
    }
}
