//! Help and usage texts, made from the tables.

use std::fmt::Write;

use crate::table::{COMMANDS, COMMON, Command, GLOBAL, Opt};

/// Column at which the explanations of options start.
const COLUMN: usize = 29;

/// The help of the whole program.
pub fn program() -> String {
    let mut text = "Usage: crun [OPTION...] COMMAND [OPTION...]\n\nCOMMANDS:\n".to_owned();
    for command in COMMANDS {
        let _ = writeln!(text, "\t{:<11} - {}", command.name, command.summary);
    }
    text.push('\n');
    append_options(&mut text, GLOBAL);
    text
}

/// The help of one command.
pub fn command(command: &Command) -> String {
    let mut text = format!("{}\nOCI runtime\n\n", usage(command));
    append_options(&mut text, command.options);
    if !command.notes.is_empty() {
        text.push('\n');
        text.push_str(command.notes);
    }
    text
}

/// The usage line of one command.
pub fn usage(command: &Command) -> String {
    let separator = if command.arguments.is_empty() { "" } else { " " };
    format!("Usage: crun [OPTION...] {}{separator}{}", command.name, command.arguments)
}

fn append_options(text: &mut String, options: &[Opt]) {
    for option in options.iter().chain(&COMMON) {
        let short = option.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
        let value = match (option.value, option.is_value_optional) {
            (None, _) => String::new(),
            (Some(value), true) => format!("[={value}]"),
            (Some(value), false) => format!("={value}"),
        };
        let name = format!("  {short}--{}{value}", option.long);
        // At least one blank between the name and its explanation, however long the name.
        let _ = writeln!(text, "{name:<width$} {}", option.help, width = COLUMN - 1);
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
}
