//! The help texts as a reader sees them, and the examples in them.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use cli::args;
use cli::help;
use cli::table::COMMANDS;

/// Set to `accept`, the files of the texts are written anew.
const WRITE: &str = "CRUN_GOLDEN";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/help").join(name)
}

/// What is shown for a command line.
fn shown(line: &str) -> String {
    let args: Vec<_> = line.split(' ').map(OsString::from).collect();
    help::asked(&args::parse(&args).unwrap()).unwrap()
}

/// Every help text there is: the name of its file and the command line that shows it.
fn texts() -> Vec<(String, String)> {
    let commands = COMMANDS.iter().map(|command| command.name);
    let help = commands.clone().map(|name| (format!("{name}.txt"), format!("crun {name} --help")));
    let usage = commands.map(|name| (format!("{name}.usage.txt"), format!("crun {name} --usage")));
    let program = [("crun.txt", "crun --help"), ("crun.usage.txt", "crun --usage")];
    let program = program.map(|(file, line)| (file.to_owned(), line.to_owned()));
    program.into_iter().chain(help).chain(usage).collect()
}

#[test]
fn the_help_is_what_its_golden_files_say() {
    let mut differing = Vec::new();
    for (file, line) in texts() {
        let text = shown(&line);
        if std::env::var_os(WRITE).is_some_and(|value| value == "accept") {
            fs::write(golden(&file), &text).unwrap();
        }
        if fs::read_to_string(golden(&file)).unwrap_or_default() != text {
            differing.push(format!("{line} (tests/golden/help/{file})"));
        }
    }
    assert!(
        differing.is_empty(),
        "other than the files say: {}; if that is meant: {WRITE}=accept cargo test -p crun-cli, and look at the difference",
        differing.join(", ")
    );
}

#[test]
fn no_golden_file_is_left_of_a_text_that_is_gone() {
    let known: Vec<_> = texts().into_iter().map(|(file, _)| file).collect();
    for entry in fs::read_dir(golden("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "tests/golden/help/{name}");
    }
}

#[test]
fn nothing_is_wider_than_a_terminal() {
    for (_, line) in texts() {
        for row in shown(&line).lines() {
            // The usage line is in the words that programs look for, and an example is to be copied.
            let may_be_long = row.starts_with("Usage:") || row.starts_with("  crun ");
            assert!(row.chars().count() <= 80 || may_be_long, "{line}: {row}");
        }
    }
}

/// What the shell would hand to the program: without the comment, the next program's part and the quotes.
fn words(example: &str) -> Vec<OsString> {
    let words = example.split_whitespace().take_while(|word| !["#", "|", "<", ">", "&&"].contains(word));
    words.map(|word| OsString::from(word.trim_matches('\''))).collect()
}

#[test]
fn every_command_has_examples_and_they_are_understood() {
    for command in COMMANDS {
        assert!(help::examples(command).next().is_some(), "{} has no example", command.name);
        for example in help::examples(command) {
            let parsed = args::parse(&words(example));
            let subject = parsed.as_ref().ok().and_then(|parsed| parsed.command.or(Some(command)));
            assert_eq!(subject.map(|subject| subject.name), Some(expected(example)), "{example}: {parsed:?}");
        }
    }
}

/// The command that an example is about: `help run` is about `run`.
fn expected(example: &str) -> &'static str {
    let words = example.split_whitespace().skip(1).filter_map(cli::table::command);
    let names: Vec<_> = words.map(|command| command.name).collect();
    match names[..] {
        ["help", subject, ..] => subject,
        [name, ..] => name,
        [] => "none",
    }
}
