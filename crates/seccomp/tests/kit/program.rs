//! A C program that is built for a test and answers its questions, a line each.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The program, running.
pub(crate) struct Program {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Program {
    /// Builds and starts it, or says why that cannot be done.
    pub(crate) fn start(source: &str, arguments: &[&str]) -> Result<Self, String> {
        let here =
            format!("{}-{:?}", std::process::id(), std::thread::current().id()).replace(['(', ')'], "");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(here);
        let built = Command::new("cc").args(["-O1", "-o"]).arg(&program).arg(source).args(arguments).output();
        let built = built.map_err(|error| format!("no C compiler: {error}"))?;
        if !built.status.success() {
            let words = String::from_utf8_lossy(&built.stderr);
            return Err(format!("not to be built: {}", words.lines().next().unwrap_or_default()));
        }
        let started = Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let removed = std::fs::remove_file(&program);
        let mut child = started.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        removed.map_err(|error| format!("cannot remove {}: {error}", program.display()))?;
        let to = child.stdin.take().ok_or("no standard input")?;
        let from = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, to, from })
    }

    /// Says something that has no answer.
    pub(crate) fn say(&mut self, words: &str) {
        writeln!(self.to, "{words}").unwrap();
    }

    /// Asks something.
    pub(crate) fn ask(&mut self, question: &str) -> String {
        self.say(question);
        self.line()
    }

    /// The next line of an answer.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
