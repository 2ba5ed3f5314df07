//! Where messages go: always to the standard error, and to the file of `--log` in the format of `--log-format`.
//!
//! On success nothing is written at level `error`; on failure exactly one line, because podman parses the whole file as
//! one JSON object and containerd takes the last one.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::time::SystemTime;

use libcrun::{Code, Error};
use serde::Serialize;

use cli::args::Invocation;

/// How serious a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warning,
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Debug => "debug",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Error => "\x1b[1;31m",
            Self::Warning => "\x1b[1;33m",
            Self::Debug => "\x1b[1;34m",
        }
    }
}

/// The destination beside the standard error.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<File>,
    json: bool,
    level: Level,
}

/// One line of a JSON log; readers rely on these keys.
#[derive(Serialize)]
struct Line<'a> {
    msg: &'a str,
    level: &'static str,
    time: String,
    #[serde(flatten)]
    details: Option<Details<'a>>,
}

/// What more there is to say of a failure; behind what all readers know.
#[derive(Serialize)]
struct Details<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl<'a> Details<'a> {
    fn of(error: &'a Error) -> Self {
        Self {
            code: error.code().name(),
            step: error.step(),
            object: error.object().map(ToString::to_string),
            errno: error.errno().and_then(libcrun::errno_name),
            hint: error.hint(),
        }
    }
}

impl Log {
    /// Opens what the global options ask for.
    pub(crate) fn new(invocation: &Invocation) -> Result<Self, Error> {
        let global = &invocation.global;
        let wrong = |what: &str, value: &str| {
            Error::new(Code::InvalidOption, format!("unknown log {what} specified: `{value}`"))
        };
        let json = match global.value("log-format") {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => return Err(wrong("format", other)),
        };
        let level = match global.value("log-level") {
            _ if global.has("debug") => Level::Debug,
            None | Some("error") => Level::Error,
            Some("warning") => Level::Warning,
            Some("debug") => Level::Debug,
            Some(other) => return Err(wrong("level", other)),
        };
        let file = global.value("log").map(open).transpose()?;
        Ok(Self { file, json, level })
    }

    /// Writes a message that is no failure, if the level asks for it.
    pub(crate) fn write(&self, level: Level, message: &str) {
        if level <= self.level {
            to_stderr(level, message);
            self.to_file(level, message, None);
        }
    }

    fn to_file(&self, level: Level, message: &str, details: Option<Details<'_>>) {
        let Some(mut file) = self.file.as_ref() else { return };
        let line = if self.json {
            let line = Line { msg: message, level: level.name(), time: now(), details };
            serde_json::to_string(&line).unwrap_or_default()
        } else {
            format!("{}: {}", now(), in_one_line(message))
        };
        // A log that cannot be written must not keep a container from being looked after.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

fn open(destination: &str) -> Result<File, Error> {
    let path = match destination.split_once(':') {
        Some(("file", path)) => path,
        Some((kind @ ("syslog" | "journald"), _)) => {
            let message = format!("--log: `{kind}` is not supported by this version");
            return Err(Error::new(Code::Unsupported, message));
        }
        Some((kind, _)) if !kind.contains('/') => {
            return Err(Error::new(Code::InvalidOption, "unknown log type"));
        }
        _ => destination,
    };
    OpenOptions::new().append(true).create(true).open(path).map_err(|error| {
        let message = format!("open log file `{path}`");
        match error.raw_os_error() {
            Some(raw) => Error::os(Code::System, message, rustix::io::Errno::from_raw_os_error(raw)),
            None => Error::new(Code::System, message),
        }
    })
}

fn now() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

fn to_stderr(level: Level, message: &str) {
    let mut stderr = std::io::stderr();
    let message = in_one_line(message);
    let line = if stderr.is_terminal() {
        format!("{}{}: {message}\x1b[0m\n", level.colour(), now())
    } else {
        format!("{message}\n")
    };
    let _ = stderr.write_all(line.as_bytes());
}

/// A message may quote any name. A line break in it would make two messages of one, and what controls a terminal is not
/// for an image to say.
fn in_one_line(message: &str) -> Cow<'_, str> {
    if !message.contains(char::is_control) {
        return Cow::Borrowed(message);
    }
    let escape = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    Cow::Owned(message.chars().map(escape).collect())
}

/// Says why the command failed.
pub(crate) fn say_error(log: Option<&Log>, error: &Error) {
    let message = error.to_string();
    to_stderr(Level::Error, &message);
    if let Some(hint) = error.hint() {
        let hint = format!("hint: {} (crun explain {})\n", in_one_line(hint), error.code().name());
        let _ = std::io::stderr().write_all(hint.as_bytes());
    }
    if let Some(log) = log {
        log.to_file(Level::Error, &message, Some(Details::of(error)));
    }
}

/// Says what is wrong with the command.
pub(crate) fn say(message: &str) {
    to_stderr(Level::Error, message);
}

/// Says what is wrong with an option, as argp does.
pub(crate) fn say_usage(message: &str) {
    let text = format!("crun: {message}\nTry `crun --help' or `crun --usage' for more information.\n");
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out_and_everything_else_stays_as_it_is() {
        assert_eq!(in_one_line("open `/a\nb\u{1b}[2J`: ü"), "open `/a\\nb\\u{1b}[2J`: ü");
        assert!(matches!(in_one_line("plain `\\n` ü"), Cow::Borrowed(_)));
    }
}
