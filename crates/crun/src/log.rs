//! Where messages go: to the standard error, or to the destination of `--log` in the format of `--log-format`. Errors go
//! to both.
//!
//! On success nothing is written at level `error`; on failure exactly one line, because podman parses the whole file as
//! one JSON object and containerd takes the last one.
//!
//! A destination that cannot be opened is an error before anything is done. One that later takes no message is no reason
//! not to look after a container: that it does not is said once, and what was meant for it goes to the standard error.

mod datagram;
mod details;
mod file;
mod journald;
mod record;
mod stderr;
mod syslog;

use std::cell::Cell;
use std::fmt;
use std::io;

use libcrun::{Code, Error};
use serde::Serialize;

use cli::args::Invocation;

use crate::failed;
use details::Details;
use file::LogFile;
pub(crate) use file::without_waiting;
use journald::Journald;
use record::Record;
pub(crate) use stderr::say_usage;
use syslog::Syslog;

/// How serious a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warning,
    Debug,
}

/// Where messages go, and how serious they have to be.
#[derive(Debug)]
pub(crate) struct Log {
    sink: Option<Sink>,
    level: Level,
    has_failed: Cell<bool>,
}

#[derive(Debug)]
enum Sink {
    File(LogFile),
    Syslog(Syslog),
    Journald(Journald),
}

impl Log {
    /// Opens what the global options ask for.
    pub(crate) fn new(invocation: &Invocation) -> Result<Self, Error> {
        let global = &invocation.global;
        let wrong = |message| Err(Error::new(Code::InvalidOption, message));
        let json = match global.value("log-format") {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => return wrong(format!("unknown log format type `{other}`")),
        };
        let level = match global.value("log-level") {
            _ if global.has("debug") => Level::Debug,
            None | Some("error") => Level::Error,
            Some("warning") => Level::Warning,
            Some("debug") => Level::Debug,
            Some(other) => return wrong(format!("unknown verbosity `{other}` specified")),
        };
        let open = |destination| Sink::open(destination, json, container(invocation));
        let sink = global.value("log").map(open).transpose()?;
        Ok(Self { sink, level, has_failed: Cell::new(false) })
    }

    /// Whether messages of this level are asked for.
    pub(crate) fn takes(&self, level: Level) -> bool {
        level <= self.level
    }

    /// Writes a message that is no failure, if the level asks for it.
    pub(crate) fn write(&self, level: Level, message: &str) {
        if !self.takes(level) {
            return;
        }
        let record = Record::new(level, message);
        if !self.to_sink(&record) {
            stderr::write(&record);
        }
    }

    /// Tells what a command has succeeded without, if the level asks for it.
    pub(crate) fn warn(&self, warning: &Error) {
        if self.level >= Level::Warning {
            self.write(Level::Warning, &warning.to_string());
        }
    }

    /// Whether the sink has taken the message.
    fn to_sink(&self, record: &Record<'_>) -> bool {
        let Some(sink) = self.sink.as_ref().filter(|_| !self.has_failed.get()) else { return false };
        let Err(error) = sink.write(record) else { return true };
        // Each of many messages would otherwise have to wait for somebody who does not listen.
        self.has_failed.set(true);
        say(&failed(format!("write to {sink}"), &error).to_string());
        false
    }
}

impl Sink {
    fn open(destination: &str, json: bool, container: Option<&str>) -> Result<Self, Error> {
        let path = match destination.split_once(':') {
            Some(("file", path)) => path,
            Some(("journald", name)) => return Journald::new(name, container).map(Self::Journald),
            Some(("syslog", name)) => return Syslog::new(name, container).map(Self::Syslog),
            Some((kind, _)) if !kind.contains('/') => {
                let message = format!("unknown log type `{destination}`");
                return Err(Error::new(Code::InvalidOption, message));
            }
            _ => destination,
        };
        LogFile::open(path, json).map(Self::File)
    }

    fn write(&self, record: &Record<'_>) -> io::Result<()> {
        match self {
            Self::File(file) => file.write(record),
            Self::Syslog(syslog) => syslog.write(record),
            Self::Journald(journald) => journald.write(record),
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "the log file `{}`", file.path()),
            Self::Syslog(_) => write!(f, "the log at `{}`", syslog::SOCKET),
            Self::Journald(_) => write!(f, "the log at `{}`", journald::SOCKET),
        }
    }
}

/// The container that the command is about, if it is about one.
fn container(invocation: &Invocation) -> Option<&str> {
    let arguments = invocation.command?.arguments.split(' ').filter(|word| *word != "[OPTION]...");
    let position = arguments.into_iter().position(|word| word == "CONTAINER")?;
    invocation.positionals.get(position).map(String::as_str)
}

/// Says why the command failed.
pub(crate) fn say_error(log: Option<&Log>, error: &Error) {
    let message = error.to_string();
    let record = Record { details: Some(Details::of(error)), ..Record::new(Level::Error, &message) };
    stderr::write(&record);
    if let Some(hint) = error.hint() {
        stderr::write_hint(hint, error.code());
    }
    if let Some(log) = log {
        log.to_sink(&record);
    }
}

/// Says what is wrong with the command.
pub(crate) fn say(message: &str) {
    stderr::write(&Record::new(Level::Error, message));
}

#[cfg(test)]
mod tests;
