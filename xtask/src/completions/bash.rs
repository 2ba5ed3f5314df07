//! For bash: tables of what may follow what, and a function that walks over the words by them (`template.bash`). It needs
//! nothing of the package bash-completion.

use cli::kind::Kind;
use cli::table::{COMMANDS, Command, Opt};

use super::{SIGNALS, options};

const TEMPLATE: &str = include_str!("template.bash");

/// The file's text.
pub(super) fn script() -> String {
    let commands: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
    let rest: Vec<_> =
        COMMANDS.iter().filter(|command| command.passes_rest).map(|command| command.name).collect();
    TEMPLATE
        .replace("@OPTIONS@", &places().map(option_row).collect::<String>())
        .replace("@VALUES@", &places().flat_map(value_rows).collect::<String>())
        .replace("@OPERANDS@", &COMMANDS.iter().flat_map(operand_rows).collect::<String>())
        .replace("@SIGNALS@", &SIGNALS.join(" "))
        .replace("@COMMANDS@", &commands.join(" "))
        .replace("@REST@", &rest.join(" | "))
}

/// Before the command, and behind each.
fn places() -> impl Iterator<Item = Option<&'static Command>> {
    std::iter::once(None).chain(COMMANDS.iter().map(Some))
}

fn name(place: Option<&Command>) -> &'static str {
    place.map_or("", |command| command.name)
}

fn option_row(place: Option<&'static Command>) -> String {
    let names: Vec<_> = options(place).map(|option| format!("--{}", option.long)).collect();
    format!("    '{}') echo '{}' ;;\n", name(place), names.join(" "))
}

fn value_rows(place: Option<&'static Command>) -> impl Iterator<Item = String> {
    options(place).filter_map(move |option| {
        let spellings: Vec<_> =
            spellings(option).map(|spelling| format!("'{} {spelling}'", name(place))).collect();
        let kind = word(option.kind()?);
        let optional = if option.is_value_optional { "@optional " } else { "" };
        Some(format!("    {}) echo '{optional}{kind}' ;;\n", spellings.join(" | ")))
    })
}

fn spellings(option: &Opt) -> impl Iterator<Item = String> {
    let short = option.short.map(|letter| format!("-{letter}"));
    short.into_iter().chain([format!("--{}", option.long)])
}

fn operand_rows(command: &'static Command) -> impl Iterator<Item = String> {
    let kinds = command.operands().enumerate();
    kinds.map(|(index, kind)| format!("    '{} {}') echo '{}' ;;\n", command.name, index + 1, word(kind)))
}

/// A kind as the function `_crun_offer` knows it.
fn word(kind: Kind) -> String {
    match kind {
        Kind::Text => "@text".to_owned(),
        Kind::File => "@file".to_owned(),
        Kind::Directory => "@directory".to_owned(),
        Kind::Container => "@container".to_owned(),
        Kind::Signal => "@signal".to_owned(),
        Kind::Command => "@command".to_owned(),
        Kind::OneOf(words) => words.join(" "),
    }
}
