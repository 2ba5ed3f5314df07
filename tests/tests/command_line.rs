//! The same command lines for the C crun and this one: exit statuses and first words are the same, but for what the table
//! (`command_line/table.rs`) gives a reason for. Both run where there is no container.

#![cfg(test)]
#![forbid(unsafe_code)]

#[path = "command_line/table.rs"]
mod table;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

use kit::crun::{binary, skipped};
use kit::rootfs::peers_root;
use kit::view::View;
use table::{Expected, INVOCATIONS};

const OURS: &str = "/tmp/ours/crun";
const THEIRS: &str = "/usr/bin/crun";

/// What a command line leads to.
#[derive(Debug, PartialEq)]
struct Outcome {
    status: i32,
    /// The first line of the standard error, without the program's name and what is said beyond the words of the C crun.
    words: String,
    /// What it advises to try.
    advice: Option<String>,
}

/// The words of a line: `''` is an empty one, `\xff` a byte that is not UTF-8.
fn words(line: &str) -> Vec<OsString> {
    let word = |word: &str| match word.replace("''", "") {
        word if word.contains("\\xff") => {
            OsString::from_vec(word.split("\\xff").map(str::as_bytes).collect::<Vec<_>>().join(&b"\xff"[..]))
        }
        word => word.into(),
    };
    line.split_whitespace().map(word).collect()
}

fn outcome(view: &View, program: &str, line: &str) -> Outcome {
    let mut command = view.command(program);
    command.args(words(line)).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let first = said.lines().next().unwrap_or_default();
    let named = [format!("{program}: "), "crun: ".to_owned()];
    let first = named.iter().find_map(|name| first.strip_prefix(name.as_str())).unwrap_or(first);
    let words = first.split(';').next().unwrap_or_default().to_owned();
    let advice = said.lines().nth(1).filter(|line| line.starts_with("Try ")).map(str::to_owned);
    Outcome { status: output.status.code().unwrap(), words, advice }
}

/// What is wrong with a row of the table, if anything is.
fn difference(view: &View, line: &str, expected: Expected) -> Option<String> {
    let (theirs, ours) = (outcome(view, THEIRS, line), outcome(view, OURS, line));
    let is_right = match expected {
        Expected::Same => ours == theirs,
        Expected::OtherWords(_) => ours.status == theirs.status && ours.words != theirs.words,
        Expected::Other(_) => ours.status != theirs.status,
    };
    (!is_right)
        .then(|| format!("crun {line}\n    C crun: {theirs:?}\n    this:   {ours:?}\n    {expected:?}"))
}

#[test]
fn what_is_typed_is_understood_as_by_the_c_crun() {
    let Some(root) = peers_root() else {
        return skipped("there is no root filesystem with C crun");
    };
    let view = match View::builder().root(root).bind(binary(), OURS).enter() {
        Ok(view) => view,
        Err(error) => return skipped(format!("{error:#}")),
    };
    let wrong: Vec<_> = INVOCATIONS.iter().filter_map(|(line, row)| difference(&view, line, *row)).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), INVOCATIONS.len(), wrong.join("\n"));
}

#[test]
fn every_difference_has_its_reason() {
    for (line, expected) in INVOCATIONS {
        if let Expected::OtherWords(reason) | Expected::Other(reason) = expected {
            assert!(reason.contains(' '), "{line}");
        }
    }
}
