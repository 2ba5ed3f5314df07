//! For zsh: a call of `_arguments` for the options before the command and one for each command.

use std::fmt::Write;

use cli::kind::Kind;
use cli::table::{COMMANDS, Command, Opt};

use super::{SIGNALS, is_repeatable, options};

const HEAD: &str = "\
#compdef crun
# zsh completion for crun: put this file into a directory of $fpath, as _crun.
# Written by `cargo xtask completions` from the tables of the command line.

_crun_containers() {
    local -a ids
    ids=(${(f)\"$(_call_program containers ${(q)service} ${root:+--root ${(q)root}} list --quiet 2>/dev/null)\"})
    _describe -t containers container ids
}

";

/// The file's text.
pub(super) fn script() -> String {
    let mut text = HEAD.to_owned();
    let _ = writeln!(text, "_crun_signals() {{\n    compadd -- {}\n}}\n", SIGNALS.join(" "));
    text.push_str("_crun_commands() {\n    local -a commands\n    commands=(\n");
    for command in COMMANDS {
        let _ = writeln!(text, "        '{}:{}'", command.name, quoted(command.summary));
    }
    text.push_str("    )\n    _describe -t commands command commands\n}\n\n");
    text.push_str("_crun() {\n    local curcontext=$curcontext state line root\n    typeset -A opt_args\n");
    text.push_str("    _arguments -s -C \\\n");
    append_options(&mut text, 8, None);
    text.push_str("        '1:command:_crun_commands' \\\n        '*::argument:->arguments' && return\n");
    // A value keeps the quotes with which it was typed.
    text.push_str("    root=${(Q)opt_args[--root]}\n");
    text.push_str("    curcontext=\"${curcontext%:*}-$line[1]:\"\n    case $line[1] in\n");
    for command in COMMANDS {
        let _ = writeln!(text, "    {})\n        _arguments -s \\", command.name);
        append_options(&mut text, 12, Some(command));
        append_operands(&mut text, command);
        text.push_str("        ;;\n");
    }
    text.push_str("    esac\n}\n\n_crun \"$@\"\n");
    text
}

fn append_options(text: &mut String, indent: usize, command: Option<&'static Command>) {
    for option in options(command) {
        let _ = writeln!(text, "{:indent$}{} \\", "", specification(option));
    }
}

/// One option: `'(-b --bundle)'{-b+,--bundle=}'[what it is for]:DIR:_directories'`.
fn specification(option: &Opt) -> String {
    let (long, help) = (option.long, quoted(option.help));
    let value = match (option.value, option.kind()) {
        (Some(name), Some(kind)) if option.is_value_optional => {
            format!("::{}:{}", quoted(name), action(kind))
        }
        (Some(name), Some(kind)) => format!(":{}:{}", quoted(name), action(kind)),
        _ => String::new(),
    };
    let (short_mark, long_mark) = match (option.value, option.is_value_optional) {
        (None, _) => ("", ""),
        (Some(_), true) => ("-", "=-"),
        (Some(_), false) => ("+", "="),
    };
    match (option.short, is_repeatable(option)) {
        (None, false) => format!("'--{long}{long_mark}[{help}]{value}'"),
        (None, true) => format!("'*--{long}{long_mark}[{help}]{value}'"),
        (Some(letter), false) => {
            format!(
                "'(-{letter} --{long})'{{'-{letter}{short_mark}','--{long}{long_mark}'}}'[{help}]{value}'"
            )
        }
        (Some(letter), true) => {
            format!("'*'{{'-{letter}{short_mark}','--{long}{long_mark}'}}'[{help}]{value}'")
        }
    }
}

fn append_operands(text: &mut String, command: &Command) {
    let mut rows: Vec<_> = command
        .operands()
        .enumerate()
        .map(|(index, kind)| format!("            '{}:{}:{}'", index + 1, name(kind), action(kind)))
        .collect();
    if command.passes_rest {
        // The first only: what follows belongs to another program.
        rows.truncate(1);
        rows.push("            '*::argument: '".to_owned());
    }
    if rows.is_empty() {
        rows.push("            ':: :_nothing'".to_owned());
    }
    let _ = writeln!(text, "{}", rows.join(" \\\n"));
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Container => "container",
        Kind::Signal => "signal",
        Kind::Command => "command",
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Text | Kind::OneOf(_) => "argument",
    }
}

fn action(kind: Kind) -> String {
    match kind {
        Kind::Text => " ".to_owned(),
        Kind::File => "_files".to_owned(),
        Kind::Directory => "_directories".to_owned(),
        Kind::Container => "_crun_containers".to_owned(),
        Kind::Signal => "_crun_signals".to_owned(),
        Kind::Command => "_crun_commands".to_owned(),
        Kind::OneOf(words) => format!("({})", words.join(" ")),
    }
}

/// Text within the single quotes of a specification, where brackets and colons mean something, too.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for letter in text.chars() {
        match letter {
            '\'' => quoted.push_str("'\\''"),
            '[' | ']' | ':' | '\\' => quoted.extend(['\\', letter]),
            letter => quoted.push(letter),
        }
    }
    quoted
}
