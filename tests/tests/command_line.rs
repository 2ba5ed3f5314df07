//! The same command lines for the C crun and this one: exit statuses and first words are the same, but for what the table
//! (`command_line/table.rs`) gives a reason for. Both run where there is no container.

#![cfg(test)]
#![forbid(unsafe_code)]

#[path = "command_line/table.rs"]
mod table;

use std::io::Write;
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

/// The line as a shell takes it: `''` is an empty word, `\xff` a byte that is not UTF-8.
fn quoted(line: &str) -> Vec<u8> {
    let words = line.split_whitespace().map(|word| format!("'{}'", word.replace("''", "")));
    let text = words.collect::<Vec<_>>().join(" ");
    text.split("\\xff").map(str::as_bytes).collect::<Vec<_>>().join(&b"\xff"[..])
}

/// What each line of the table leads to. One shell types them all, because to enter the view takes longer than the rest.
fn outcomes(view: &View, program: &str) -> Vec<Outcome> {
    let mut script = Vec::new();
    for (line, _) in INVOCATIONS {
        script.extend([program.as_bytes(), b" ", &quoted(line)].concat());
        script.extend(b" </dev/null >/dev/null 2>/tmp/said; status=$?; first= second=\n");
        script.extend(b"{ read -r first; read -r second; } </tmp/said\n");
        script.extend(b"printf '%s\\n%s\\n%s\\0' $status \"$first\" \"$second\"\n");
    }
    let mut shell = view.command("sh");
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = shell.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&script).unwrap());
    let output = shell.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.split_terminator('\0').map(|said| outcome(program, said)).collect()
}

fn outcome(program: &str, said: &str) -> Outcome {
    let [status, first, second] = said.split('\n').collect::<Vec<_>>().try_into().unwrap();
    let named = [format!("{program}: "), "crun: ".to_owned()];
    let first = named.iter().find_map(|name| first.strip_prefix(name.as_str())).unwrap_or(first);
    Outcome {
        status: status.parse().unwrap(),
        words: first.split(';').next().unwrap_or_default().to_owned(),
        advice: Some(second.to_owned()).filter(|line| line.starts_with("Try ")),
    }
}

/// What is wrong with a row of the table, if anything is.
fn difference(line: &str, expected: Expected, theirs: &Outcome, ours: &Outcome) -> Option<String> {
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
    let (theirs, ours) = (outcomes(&view, THEIRS), outcomes(&view, OURS));
    assert_eq!([theirs.len(), ours.len()], [INVOCATIONS.len(); 2]);
    let rows = INVOCATIONS.iter().zip(theirs.iter().zip(&ours));
    let wrong: Vec<_> = rows
        .filter_map(|((line, expected), (theirs, ours))| difference(line, *expected, theirs, ours))
        .collect();
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
