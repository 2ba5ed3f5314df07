//! Golden files: every error that the tests provoke stands in `tests/golden/errors`, for a reviewer to read.
//!
//! A file for each file of tests; in it each message once, in order, with its hint below. What differs from run to run (temporary
//! directories, names of containers, pids) has a word in capitals in its place. Since the messages of one file depend on the
//! machine, on who runs the tests and on the cgroups there are, it holds those of all. A message that is not in it fails the
//! test that provoked it; `CRUN_GOLDEN=accept` puts it in instead.
//!
//! Lanes do not have the sources, and so do not look.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure of the kit is a failure of the test"
)]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Files of tests, or single ones, whose messages are not to be foreseen, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("attacks_races", "which side of a race wins, and so what fails, is chance"),
    (
        "faults",
        "each system call of a start fails in turn: the messages are those of this kernel and this libc",
    ),
    ("faults_rootfs", "as for `faults`"),
    ("interop", "the words are those of whichever C crun is installed"),
    ("kill_storm", "the runtime is killed at random moments, and later ones find what is left"),
    ("killed_runtime", "as for `kill_storm`"),
    (
        "mounts_command::a_destination_that_changes_all_the_time_never_leads_outside",
        "what has just been there decides what fails",
    ),
    ("cgroup_stress", "many runtimes are at the same cgroups at the same time"),
];

/// What engines look for in errors, in small letters. Some look at all that is on the standard error: in a hint it would say
/// something else than the error does.
const WORDS_OF_ENGINES: &[&str] = &[
    "permission denied",
    "operation not permitted",
    "no such file or directory",
    "no such process",
    "executable file not found in",
    "does not exist",
    "already exists",
    "not running",
];

/// Looks for an error of the runtime in the golden file of this test: a line, and perhaps one with a hint.
///
/// # Panics
/// When it is not there, with how to put it there.
pub(crate) fn check(message: &str) {
    if let Some((_, hint)) = message.split_once("\nhint: ") {
        let hint = hint.to_lowercase();
        let found = WORDS_OF_ENGINES.iter().find(|words| hint.contains(**words));
        assert!(found.is_none(), "a hint with words that engines look for: {hint}");
    }
    let Some(area) = area() else { return };
    let test = format!("{area}::{}", std::thread::current().name().unwrap_or_default());
    if !LEFT_OUT.iter().any(|(name, _)| *name == area || *name == test) {
        check_in(&area, message);
    }
}

/// Looks for a message in the golden file of that name.
///
/// # Panics
/// When it is not there, with how to put it there.
pub fn check_in(area: &str, message: &str) {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/errors"));
    // A test that fails has something else to say; a runtime on an older kernel has other words.
    if std::thread::panicking() || !directory.is_dir() || std::env::var_os("CRUN_WITHOUT").is_some() {
        return;
    }
    let (entry, file) = (normalised(message), directory.join(format!("{area}.txt")));
    if std::env::var_os("CRUN_GOLDEN").is_some_and(|value| value == "accept") {
        return accept(&file, entry);
    }
    let known = entries(&fs::read_to_string(&file).unwrap_or_default());
    assert!(
        known.contains(&entry),
        "an error that is not in tests/golden/errors/{area}.txt:\n\n{entry}\n\nIf it is as it should be, put it there: \
         CRUN_GOLDEN=accept cargo nextest run -p crun-tests --test {area}\n"
    );
}

/// Adds an entry to a file, beside other tests that do so.
fn accept(file: &Path, entry: String) {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file);
    let mut open = open.unwrap();
    flock(&open, FlockOperation::LockExclusive).unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    let mut all = entries(&text);
    if all.insert(entry) {
        let text: String = all.into_iter().map(|entry| entry + "\n").collect();
        open.rewind().unwrap();
        open.write_all(text.as_bytes()).unwrap();
        open.set_len(text.len() as u64).unwrap();
    }
}

/// The entries of a file: lines, each with those below it that are indented.
fn entries(text: &str) -> BTreeSet<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines() {
        match entries.last_mut() {
            Some(entry) if line.starts_with(' ') => *entry = format!("{entry}\n{line}"),
            _ => entries.push(line.to_owned()),
        }
    }
    entries.into_iter().collect()
}

/// The name of the file that this test is in: that of its binary, without cargo's hash.
fn area() -> Option<String> {
    let name = std::env::current_exe().ok()?.file_name()?.to_str()?.to_owned();
    let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match name.rsplit_once('-') {
        Some((name, hash)) if is_hash(hash) => Some(name.to_owned()),
        _ => Some(name),
    }
}

/// The message without what differs from run to run; the hint in a line of its own, indented.
fn normalised(message: &str) -> String {
    let mut text = without_time(&message.trim_end().replace("\nhint: ", "\n    hint: "));
    let cache = crate::rootfs::cache_dir().unwrap();
    for (path, word) in [(home_of_sources(), "SOURCES"), (cache, "CACHE")] {
        text = text.replace(path.to_str().unwrap(), word);
    }
    text = without_temporary(&text, &format!("{}/", std::env::temp_dir().display()), "TMP");
    for elsewhere in ["crun-bundle-", "crun-work-", "outside-"] {
        text = without_temporary(&text, elsewhere, &format!("{elsewhere}X"));
    }
    repeated(&controllers(&numbers(&ids(&text))))
}

/// When it was said, which is told under the name of runc.
fn without_time(text: &str) -> String {
    const BEFORE: &str = "time=\"";
    match text.strip_prefix(BEFORE).and_then(|rest| rest.split_once('"')) {
        Some((_, rest)) => format!("{BEFORE}TIME\"{rest}"),
        None => text.to_owned(),
    }
}

/// Which controllers a machine has is its affair.
fn controllers(text: &str) -> String {
    const BEFORE: &str = "cgroup.controllers` has ";
    match (text.find(BEFORE), text.rfind(" (crun explain")) {
        (Some(start), Some(end)) => format!("{}LIST{}", &text[..start + BEFORE.len()], &text[end..]),
        _ => text.to_owned(),
    }
}

/// `d/d/d/…`, more than thirty times: names that are there for their length.
fn repeated(text: &str) -> String {
    const MOST: usize = 30;
    let letters: Vec<char> = text.chars().collect();
    let (mut result, mut at) = (String::new(), 0);
    while at < letters.len() {
        let times = |length: usize| {
            let unit = &letters[at..(at + length).min(letters.len())];
            letters[at..].chunks_exact(length).take_while(|chunk| *chunk == unit).count()
        };
        match (1..=16).map(|length| (length, times(length))).find(|(_, times)| *times > MOST) {
            Some((length, times)) => {
                result.extend(&letters[at..at + length]);
                result.push('…');
                at += length * times;
            }
            None => {
                result.push(letters[at]);
                at += 1;
            }
        }
    }
    result
}

fn home_of_sources() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::canonicalize(&path).unwrap_or(path)
}

/// `/tmp/x1y2z3/rest` → `TMP/rest`: what begins with `prefix`, to the end of the name.
fn without_temporary(text: &str, prefix: &str, word: &str) -> String {
    let mut parts = text.split(prefix);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !(c.is_alphanumeric() || "-_.".contains(c))).unwrap_or(part.len());
        result.push_str(word);
        result.push_str(&part[end..]);
    }
    result
}

/// The names that [`crate::crun::new_id`] makes → `ID`.
fn ids(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('t') {
        let (before, from) = rest.split_at(start);
        result.push_str(before);
        match id_length(from) {
            Some(length) => {
                result.push_str("ID");
                rest = &from[length..];
            }
            None => {
                result.push('t');
                rest = &from[1..];
            }
        }
    }
    result + rest
}

fn id_length(text: &str) -> Option<usize> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let first = digits(text.get(1..)?);
    let second = text.get(1 + first..)?.strip_prefix('x').map(digits)?;
    let end = first + second + 2;
    (first >= 7 && second >= 4 && text.get(end..)?.starts_with('z')).then_some(end + 1)
}

/// Numbers of five digits and more, those of processes, and places in a file → `N`.
fn numbers(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        result.push_str(before);
        let length = from.bytes().take_while(u8::is_ascii_digit).count();
        let before = ["/proc/", "process ", "fd/", " line ", " column "];
        let is_one = before.iter().any(|word| result.ends_with(word))
            || result.ends_with("write `") && from.contains("cgroup.procs`");
        result.push_str(if length >= 5 || is_one { "N" } else { &from[..length] });
        rest = &from[length..];
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_has_a_word_in_its_place() {
        let temporary = std::env::temp_dir();
        let shown = temporary.display();
        let said = format!(
            "open `{shown}/crun-work-a1B2/state/t0012345x0007z/status` of process 7, 4096 of 123456: no\nhint: `{shown}/x`"
        );
        assert_eq!(
            normalised(&said),
            "open `TMP/state/ID/status` of process N, 4096 of N: no\n    hint: `TMP`"
        );
        assert_eq!(
            normalised("write `7` to `/x/cgroup.procs` at line 7 column 8 of 9"),
            "write `N` to `/x/cgroup.procs` at line N column N of 9"
        );
        assert_eq!(repeated(&format!("a{}b{}", "x/".repeat(31), "y".repeat(500))), "ax/…by…");
        assert_eq!(
            controllers("`/cgroup.controllers` has cpu io (crun explain x)"),
            "`/cgroup.controllers` has LIST (crun explain x)"
        );
        assert_eq!(normalised("time=\"2026-11-24T16:37:23Z\" level=error"), "time=\"TIME\" level=error");
        assert_eq!(ids("t1x1z tt0012345x0007zt"), "t1x1z tIDt");
    }

    #[test]
    fn an_entry_is_a_line_and_what_is_indented_below_it() {
        let text = "b\n    hint: c\na\n";
        let all: Vec<_> = entries(text).into_iter().collect();
        assert_eq!(all, ["a", "b\n    hint: c"]);
    }
}
