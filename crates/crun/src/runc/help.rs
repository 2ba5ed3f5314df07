//! Help texts in the shape of runc's: `NAME`, `USAGE`, `OPTIONS`, as the library prints them that most Go programs use.

use std::fmt::Write;

use super::table::{COMMANDS, Command, GLOBAL, Kind, Opt};
use crate::commands::VERSION;

/// The help of the whole program.
pub(super) fn program() -> String {
    let mut text = format!(
        "NAME:\n   runc - Open Container Initiative runtime (crun)\n\n\
         USAGE:\n   runc [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   {VERSION}\n\nCOMMANDS:\n"
    );
    for command in COMMANDS {
        let _ = writeln!(text, "   {:<10}  {}", command.name, command.summary);
    }
    text.push_str("   help, h     show the help of a command\n\nGLOBAL OPTIONS:\n");
    append(&mut text, GLOBAL);
    text
}

/// The help of one command.
pub(super) fn command(command: &Command) -> String {
    let Command { name, summary, arguments, .. } = command;
    let mut text = format!("NAME:\n   runc {name} - {summary}\n\nUSAGE:\n   runc {name}");
    if !command.options.is_empty() {
        text.push_str(" [command options]");
    }
    let _ = writeln!(text, " {arguments}");
    if command.options.iter().any(|option| !option.help.is_empty()) {
        text.push_str("\nOPTIONS:\n");
        append(&mut text, command.options);
    }
    text
}

fn append(text: &mut String, options: &[Opt]) {
    let told = || options.iter().filter(|option| !option.help.is_empty());
    let width = told().map(|option| names(option).len()).max().unwrap_or(0);
    for option in told() {
        let _ = writeln!(text, "   {:<width$}  {}", names(option), option.help);
    }
}

/// `--bundle value, -b value`.
fn names(option: &Opt) -> String {
    let value = if option.kind == Kind::Switch { "" } else { " value" };
    let short = option.short.map(|letter| format!(", -{letter}{value}")).unwrap_or_default();
    format!("--{}{value}{short}", option.long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runc::table;

    #[test]
    fn the_help_of_a_command_names_its_usage_and_its_options() {
        let text = command(table::command("list").unwrap());
        let expected = "NAME:\n   runc list - list the containers below the given root\n\n\
                        USAGE:\n   runc list [command options] \n\nOPTIONS:\n   \
                        --format value, -f value  table or json (default: \"table\")\n   \
                        --quiet, -q               only their names\n";
        assert_eq!(text, expected);
        assert!(!command(table::command("start").unwrap()).contains("OPTIONS"));
    }

    #[test]
    fn every_command_stands_in_the_help_of_the_program() {
        let text = program();
        assert!(COMMANDS.iter().all(|command| text.contains(&format!("\n   {} ", command.name))));
        assert!(text.contains("--help, -h ") && !text.contains("--criu"));
    }
}
