//! Where messages go in runc's way: without `--log` to the standard error in the format of `--log-format`; with it to that
//! file in the format, and to the standard error as plain text.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::SystemTime;

use cli::args::Matches;
use libcrun::{Code, Error};
use rustix::io::Errno;
use serde::Serialize;

use super::words;

/// The destination of messages.
#[derive(Debug, Default)]
pub(super) struct Journal {
    file: Option<File>,
    json: bool,
}

/// One line of a JSON log, in the order of runc's. The time is RFC 3339, which containerd depends on.
#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    msg: &'a str,
    time: &'a str,
}

impl Journal {
    /// Opens what the global options ask for.
    pub(super) fn new(global: &Matches) -> Result<Self, String> {
        let file = global.value("log").filter(|path| !path.is_empty()).map(open).transpose()?;
        let json = match global.value("log-format") {
            None | Some("text" | "") => false,
            Some("json") => true,
            Some(other) => return Err(format!("invalid log-format: {other}")),
        };
        Ok(Self { file, json })
    }

    /// Says why the command failed.
    pub(super) fn error(&self, message: &str) {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let line = line(self.json, message, &time);
        let Some(mut file) = self.file.as_ref() else { return to_stderr(&line) };
        // A log that cannot be written must not keep the error from being said.
        drop(file.write_all(line.as_bytes()));
        to_stderr(&format!("{}\n", words::in_one_line(message)));
    }
}

/// There is nobody left to be told that this could not be written.
fn to_stderr(line: &str) {
    drop(std::io::stderr().write_all(line.as_bytes()));
}

fn line(json: bool, message: &str, time: &str) -> String {
    if json {
        let line = Line { level: "error", msg: message, time };
        return format!("{}\n", serde_json::to_string(&line).unwrap_or_default());
    }
    format!("time=\"{time}\" level=error msg={}\n", words::quoted_if_needed(message))
}

fn open(path: &str) -> Result<File, String> {
    OpenOptions::new().append(true).create(true).open(path).map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        words::plain(&Error::os(Code::System, format!("open {path}"), errno))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_text_or_json() {
        let time = "2026-08-19T10:11:12Z";
        let text = "time=\"2026-08-19T10:11:12Z\" level=error msg=\"a \\\"b\\\"\"\n";
        assert_eq!(line(false, "a \"b\"", time), text);
        let json = "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\",\"time\":\"2026-08-19T10:11:12Z\"}\n";
        assert_eq!(line(true, "a \"b\"", time), json);
    }
}
