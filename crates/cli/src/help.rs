//! Help and usage texts, made from the tables.

use std::fmt::Write;

use crate::args::{Invocation, Matches};
use crate::table::{COMMANDS, COMMON, Command, GLOBAL, Opt};

/// Column at which the explanations of options start.
const COLUMN: usize = 29;
/// No line is longer, but for examples that are.
const WIDTH: usize = 80;

/// What `--help`, `--usage` or `help` of this command line show; `None` if there is something else to do.
#[must_use]
pub fn asked(invocation: &Invocation) -> Option<String> {
    let wanted = |matches: &Matches| (matches.has("help"), matches.has("usage"));
    match (wanted(&invocation.global), invocation.command, wanted(&invocation.options)) {
        ((true, _), ..) => Some(program()),
        ((_, true), ..) => Some(short("COMMAND [OPTION...]", GLOBAL)),
        (_, Some(subject), (true, _)) => Some(command(subject)),
        (_, Some(subject), (_, true)) => Some(short(&words(subject), subject.options)),
        _ => None,
    }
}

/// The help of the whole program.
#[must_use]
pub fn program() -> String {
    let mut text = "\
Usage: crun [OPTION...] COMMAND [OPTION...]

Run containers as the Open Container Initiative specifies them.

COMMANDS:
"
    .to_owned();
    for command in COMMANDS {
        let _ = writeln!(text, "\t{:<11} - {}", command.name, command.summary);
    }
    text.push_str("\nOPTIONS, before the command:\n");
    append_options(&mut text, GLOBAL);
    text.push_str("\n`crun help COMMAND' explains a command; crun(1) tells the rest.\n");
    text
}

/// The help of one command.
#[must_use]
pub fn command(command: &Command) -> String {
    let mut text = format!("{}\n\n{}\n\nOPTIONS:\n", usage(command), sentence(command.summary));
    append_options(&mut text, command.options);
    append_notes(&mut text, command.notes);
    text
}

/// The usage line of one command.
#[must_use]
pub fn usage(command: &Command) -> String {
    format!("Usage: crun [OPTION...] {}", words(command))
}

/// The command lines among the notes of a command: what starts like one.
pub fn examples(command: &Command) -> impl Iterator<Item = &'static str> {
    command.notes.lines().filter(|line| is_example(line)).map(str::trim)
}

fn is_example(line: &str) -> bool {
    line.starts_with("  crun ")
}

fn words(command: &Command) -> String {
    format!("{} {}", command.name, command.arguments).trim_end().to_owned()
}

/// A summary as a sentence of its own.
#[must_use]
pub fn sentence(summary: &str) -> String {
    let mut letters = summary.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// All options in brackets, as argp shows them.
fn short(end: &str, options: &[Opt]) -> String {
    let options = || options.iter().chain(&COMMON);
    let is_version = |option: &&Opt| option.long == "version";
    let mut parts = Vec::new();
    let switches = options().filter(|option| option.value.is_none());
    let mut letters: String = switches.filter_map(|option| option.short).collect();
    if options().any(|option| is_version(&option)) {
        letters.push('V');
    }
    parts.push(format!("[-{letters}]"));
    for option in options() {
        if let (Some(letter), Some(value)) = (option.short, option.value) {
            let optional = format!("[-{letter}[{value}]]");
            parts.push(if option.is_value_optional { optional } else { format!("[-{letter} {value}]") });
        }
    }
    parts.extend(options().map(|option| format!("[--{}{}]", option.long, value(option))));
    parts.push(end.to_owned());
    let mut text = "Usage: crun".to_owned();
    append_wrapped(&mut text, parts.iter().map(String::as_str), 12, WIDTH - 2);
    text.push('\n');
    text
}

/// How the value stands behind the long name.
fn value(option: &Opt) -> String {
    match (option.value, option.is_value_optional) {
        (None, _) => String::new(),
        (Some(value), true) => format!("[={value}]"),
        (Some(value), false) => format!("={value}"),
    }
}

fn append_options(text: &mut String, options: &[Opt]) {
    for option in options.iter().chain(&COMMON) {
        let short = option.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
        let name = format!("  {short}--{}{}", option.long, value(option));
        text.push_str(&name);
        // Two blanks at least between a name and its explanation, or else a line of its own.
        if name.len() + 2 > COLUMN {
            text.push('\n');
        }
        let used = if name.len() + 2 > COLUMN { 0 } else { name.len() };
        let _ = write!(text, "{:width$}", "", width = COLUMN - 1 - used);
        append_wrapped(text, option.help.split(' '), COLUMN, WIDTH);
        text.push('\n');
    }
}

/// What stands below the options: paragraphs of text, and those that are shown as they are because they start with a
/// blank. Examples get a heading.
fn append_notes(text: &mut String, notes: &str) {
    let paragraphs = notes.split("\n\n").map(|paragraph| paragraph.trim_matches('\n'));
    for paragraph in paragraphs.filter(|paragraph| !paragraph.is_empty()) {
        text.push('\n');
        if is_example(paragraph) {
            text.push_str("EXAMPLES:\n");
        }
        if paragraph.starts_with(' ') {
            text.push_str(paragraph);
        } else {
            append_wrapped(text, paragraph.split_whitespace(), 0, WIDTH);
        }
        text.push('\n');
    }
}

/// Appends words to the last line of the text; where it gets too long, lines follow that start at column `indent`.
fn append_wrapped<'w>(text: &mut String, words: impl Iterator<Item = &'w str>, indent: usize, width: usize) {
    let start = text.rfind('\n').map_or(0, |end| end + 1);
    let mut used = text.len() - start;
    for word in words {
        let is_first = used == 0;
        if used + 1 + word.len() > width {
            let _ = write!(text, "\n{:indent$}{word}", "");
            used = indent + word.len();
        } else {
            let _ = write!(text, "{}{word}", if is_first { "" } else { " " });
            used += usize::from(!is_first) + word.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    #[test]
    fn every_command_stands_in_the_help() {
        let text = program();
        assert!(COMMANDS.iter().all(|command| text.contains(&format!("\t{} ", command.name))));
    }

    #[test]
    fn a_commands_help_starts_with_the_usage_engines_look_for() {
        for (name, line) in [
            ("delete", "Usage: crun [OPTION...] delete CONTAINER"),
            ("exec", "Usage: crun [OPTION...] exec CONTAINER cmd"),
            ("mounts", "Usage: crun [OPTION...] mounts [add|remove] CONTAINER FILE"),
            ("start", "Usage: crun [OPTION...] start CONTAINER"),
        ] {
            let text = command(table::command(name).unwrap());
            assert_eq!(text.lines().next(), Some(line));
        }
    }

    #[test]
    fn the_short_usage_has_argps_shape() {
        let of = |name: &str| {
            let command = table::command(name).unwrap();
            short(&words(command), command.options)
        };
        assert_eq!(of("pause"), "Usage: crun [-?] [--help] [--usage] pause CONTAINER\n");
        assert_eq!(
            of("kill"),
            "Usage: crun [-ar?] [--all] [--regex] [--help] [--usage]\n            kill CONTAINER [SIGNAL]\n"
        );
        assert!(of("exec").contains(" [-t[TTY]] ") && of("exec").contains("[--tty[=TTY]]"));
        assert!(short("COMMAND", GLOBAL).starts_with("Usage: crun [-v?V] [--cgroup-manager=MANAGER]"));
    }

    #[test]
    fn text_is_wrapped_and_examples_are_not() {
        let mut text = String::new();
        append_notes(&mut text, "one two\nthree\n\n  crun a  b\n");
        assert_eq!(text, "\none two three\n\nEXAMPLES:\n  crun a  b\n");
        let mut text = "  --x".to_owned();
        append_wrapped(&mut text, "aa bb cc".split(' '), 4, 9);
        assert_eq!(text, "  --x aa\n    bb cc");
    }
}
