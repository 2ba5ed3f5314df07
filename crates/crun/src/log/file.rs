//! A file: lines of text, or of JSON.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;

use libcrun::Error;
use rustix::fs::OFlags;

use super::record::Record;
use super::stderr::wants_colour;
use crate::failed;

/// How a file is opened that only tells of a container: a FIFO that nobody reads would keep the container from being made,
/// first when it is opened and then when it is full. A terminal is not to become that of the runtime.
pub(crate) fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed());
    options
}

#[derive(Debug)]
pub(super) struct LogFile {
    path: String,
    file: File,
    json: bool,
}

impl LogFile {
    pub(super) fn open(path: &str, json: bool) -> Result<Self, Error> {
        let file = without_waiting().append(true).create(true).open(path);
        let file = file.map_err(|error| failed(format!("open log file `{path}`"), &error))?;
        Ok(Self { path: path.to_owned(), file, json })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn write(&self, record: &Record<'_>) -> io::Result<()> {
        let line = match self.json {
            true => record.json(),
            false if self.file.is_terminal() => record.for_terminal(wants_colour()),
            false => record.text(),
        };
        let mut file = &self.file;
        // In one piece, so that lines of several runtimes stay apart.
        let written = file.write(line.as_bytes())?;
        let Some(rest) = line.as_bytes().get(written..).filter(|rest| !rest.is_empty()) else {
            return Ok(());
        };
        file.write_all(rest).inspect_err(|_| self.cut(written))
    }

    /// Takes back the beginning of a line for which the disk has no room: readers of JSON would stumble over it, and over
    /// what comes behind it once there is room again.
    fn cut(&self, written: usize) {
        if let Ok(metadata) = self.file.metadata()
            && metadata.is_file()
            && let Ok(written) = u64::try_from(written)
        {
            let _ = self.file.set_len(metadata.len().saturating_sub(written));
        }
    }
}
