//! A command of the runtime: while it runs, and what it did.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of the kit is a failure of the test")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::crun::{PATIENCE, wait_for};
use crate::golden;
use crate::lane::patience;

/// A command of the runtime that is running.
#[derive(Debug)]
pub struct Running {
    child: Child,
    what: String,
    stdout: PathBuf,
    stderr: PathBuf,
    work: Arc<TempDir>,
    words: Words,
}

/// Whose the words on the standard error are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// Another program's.
    Foreign,
    /// The runtime's, or its container's.
    Mixed,
    /// The runtime's alone.
    Own,
}

impl Running {
    pub(crate) fn new(child: Child, what: String, files: [PathBuf; 2], work: &Arc<TempDir>) -> Self {
        let [stdout, stderr] = files;
        Self { child, what, stdout, stderr, work: Arc::clone(work), words: Words::Foreign }
    }

    /// The same, of the runtime under test; `is_alone` when no container writes to its standard error.
    pub(crate) fn of_the_runtime(mut self, is_alone: bool) -> Self {
        self.words = if is_alone { Words::Own } else { Words::Mixed };
        self
    }

    /// The pid of the runtime (outside of views: there it is that of the program that enters the view).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pid of the runtime also where others have to start it, once they have.
    #[must_use]
    pub fn runtime(&self) -> u32 {
        let read = |pid: u32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        wait_for("the runtime", || {
            let mut pid = self.pid();
            while read(pid, "comm")? != "crun\n" {
                pid = read(pid, &format!("task/{pid}/children"))?.split(' ').next()?.parse().ok()?;
            }
            Some(pid)
        })
    }

    /// What was written to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    /// Kills the runtime, unless it has ended already. Whether it had to.
    pub fn kill(&mut self) -> bool {
        let early = self.child.try_wait().unwrap().is_none();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        early
    }

    /// Waits for the end; a hang is a failure.
    #[must_use]
    pub fn wait(mut self) -> Output {
        let deadline = Instant::now() + patience(PATIENCE);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.kill();
                panic!("hangs: {}\nstdout: {}\nstderr: {}", self.what, self.stdout(), self.read_stderr());
            }
            std::thread::sleep(Duration::from_micros(300));
        };
        let code = status.code().unwrap_or_else(|| {
            panic!("{} was killed by signal {:?}: {}", self.what, status.signal(), self.read_stderr())
        });
        let output = Output {
            code,
            stdout: self.stdout(),
            stderr: self.read_stderr(),
            what: self.what.clone(),
            files: [self.stdout.clone(), self.stderr.clone()],
            words: self.words,
            _work: Arc::clone(&self.work),
        };
        if self.words == Words::Own && matches!(code, 1 | 64) {
            output.look_up_error();
        }
        output
    }

    fn read_stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command of the runtime did.
#[derive(Debug)]
pub struct Output {
    /// The exit status.
    pub code: i32,
    /// Standard output, of the runtime and of its container.
    pub stdout: String,
    /// Standard error, of the runtime and of its container.
    pub stderr: String,
    what: String,
    files: [PathBuf; 2],
    words: Words,
    _work: Arc<TempDir>,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, code, stdout, stderr, .. } = self;
        write!(f, "{what}\nexit status {code}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

impl Output {
    /// The files that standard output and error go to, also later.
    pub(crate) fn files(&self) -> &[PathBuf; 2] {
        &self.files
    }

    /// Asserts success without a word on standard error.
    #[must_use]
    pub fn ok(self) -> String {
        assert!(self.code == 0 && self.stderr.is_empty(), "no plain success: {self}");
        self.stdout
    }

    /// Asserts an error: exit status 1 and exactly one line on standard error, which is returned without its newline,
    /// and perhaps one with a hint.
    #[must_use]
    pub fn error(self) -> String {
        self.error_and_hint().0
    }

    /// Standard error without hints, which only this runtime gives.
    #[must_use]
    pub fn without_hint(&self) -> String {
        self.stderr.split_inclusive('\n').filter(|line| !line.starts_with("hint: ")).collect()
    }

    /// The hint of an error.
    ///
    /// # Panics
    /// When it is no error, or has none.
    #[must_use]
    pub fn hint(self) -> String {
        let shown = self.to_string();
        self.error_and_hint().1.unwrap_or_else(|| panic!("an error without a hint: {shown}"))
    }

    fn error_and_hint(self) -> (String, Option<String>) {
        let text = self.stderr.strip_suffix('\n').unwrap_or("");
        let (line, hint) = match text.split_once("\nhint: ") {
            Some((line, hint)) => (line.to_owned(), Some(hint.to_owned())),
            None => (text.to_owned(), None),
        };
        let is_one = !line.is_empty()
            && !line.contains('\n')
            && !hint.as_ref().is_some_and(|hint| hint.contains('\n'));
        assert!(self.code == 1 && is_one, "not one error line: {self}");
        if self.words != Words::Foreign {
            golden::check(text);
        }
        (line, hint)
    }

    /// Looks for what the runtime said last in the golden file.
    fn look_up_error(&self) {
        let lines: Vec<_> = self.stderr.lines().filter(|line| !line.starts_with("Try `crun")).collect();
        let Some(last) = lines.iter().rposition(|line| !line.starts_with("hint: ")) else { return };
        golden::check(&lines[last..].join("\n"));
    }

    /// Asserts an error that contains all these words, in its line or in its hint.
    pub fn error_with<const N: usize>(self, words: [&str; N]) {
        let shown = self.to_string();
        let (line, hint) = self.error_and_hint();
        for word in words {
            let is_there = line.contains(word) || hint.as_ref().is_some_and(|hint| hint.contains(word));
            assert!(is_there, "`{word}` is not in the error line `{line}`: {shown}");
        }
    }

    /// The output as JSON.
    #[must_use]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"))
    }
}
