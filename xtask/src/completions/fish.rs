//! For fish: a `complete` for each option and argument, under a condition that looks at the words before the cursor.

use std::fmt::Write;

use cli::kind::Kind;
use cli::table::{COMMANDS, Command, Opt};

use super::{SIGNALS, options};

const HEAD: &str = r#"# fish completion for crun: put this file into ~/.config/fish/completions, as crun.fish.
# Written by `cargo xtask completions` from the tables of the command line.

# What has been typed before the cursor: the command, how many arguments it has, and the state directory, a line each.
function __crun_typed
    set -l words (commandline -opc)
    set -e words[1]
    set -l command ''
    set -l operands 0
    set -l root ''
    set -l pending ''
    for word in $words
        if test -n "$pending"
            test -z "$command"; and test $pending = --root; and set root $word
            set pending ''
            continue
        end
        switch $word
            case '--root=*'
                test -z "$command"; and set root (string replace -- '--root=' '' $word)
            case '-*'
                contains -- $word (__crun_valued $command); and set pending $word
            case '*'
                if test -z "$command"
                    set command $word
                else
                    set operands (math $operands + 1)
                end
        end
    end
    printf '%s\n' "$command" $operands "$root"
end

function __crun_is
    set -l typed (__crun_typed)
    test "$typed[1]" = "$argv[1]"
end

# Whether the argument of that number (from 0) is being typed.
function __crun_is_operand
    set -l typed (__crun_typed)
    test "$typed[1]" = "$argv[1]"; and test $typed[2] -eq $argv[2]
end

# Whether what is being typed is the command's, and not of a program that the command runs.
function __crun_is_own
    set -l typed (__crun_typed)
    test "$typed[1]" = "$argv[1]"; and test $typed[2] -eq 0
end

function __crun_containers
    set -l typed (__crun_typed)
    set -l program (commandline -opc)[1]
    if test -n "$typed[3]"
        $program --root $typed[3] list --quiet 2>/dev/null
    else
        $program list --quiet 2>/dev/null
    end
end

"#;

/// The file's text.
pub(super) fn script() -> String {
    let mut text = HEAD.to_owned();
    append_valued(&mut text);
    text.push_str("complete -c crun -f\n");
    for option in options(None) {
        append_option(&mut text, "__crun_is ''", option);
    }
    for command in COMMANDS {
        let summary = quoted(command.summary);
        let _ = writeln!(text, "complete -c crun -n \"__crun_is ''\" -a {} -d {summary}", command.name);
    }
    for command in COMMANDS {
        let condition = if command.passes_rest { "__crun_is_own" } else { "__crun_is" };
        for option in options(Some(command)) {
            append_option(&mut text, &format!("{condition} {}", command.name), option);
        }
        append_operands(&mut text, command);
    }
    text
}

/// The options of each command that take the next word for their value.
fn append_valued(text: &mut String) {
    text.push_str("function __crun_valued\n    switch \"$argv[1]\"\n");
    let places = std::iter::once(None).chain(COMMANDS.iter().map(Some));
    for place in places {
        let valued = options(place).filter(|option| option.value.is_some() && !option.is_value_optional);
        let names: Vec<_> = valued.flat_map(spellings).collect();
        if !names.is_empty() {
            let name = place.map_or("", |command| command.name);
            let _ = writeln!(text, "        case '{name}'\n            printf '%s\\n' {}", names.join(" "));
        }
    }
    text.push_str("    end\nend\n\n");
}

fn spellings(option: &Opt) -> impl Iterator<Item = String> + use<> {
    let long = format!("--{}", option.long);
    option.short.map(|letter| format!("-{letter}")).into_iter().chain([long])
}

fn append_option(text: &mut String, condition: &str, option: &Opt) {
    let short = option.short.map_or_else(String::new, |letter| format!(" -s '{letter}'"));
    let value = match option.kind() {
        None => String::new(),
        // Offered attached only, as it is no value otherwise.
        Some(_) if option.is_value_optional => String::new(),
        Some(kind) => format!(" -r{}", offer(kind)),
    };
    let help = quoted(option.help);
    let _ = writeln!(text, "complete -c crun -n \"{condition}\"{short} -l {}{value} -d {help}", option.long);
}

fn append_operands(text: &mut String, command: &Command) {
    let most = if command.passes_rest { 1 } else { usize::MAX };
    for (index, kind) in command.operands().enumerate().take(most) {
        if kind != Kind::Text {
            let condition = format!("__crun_is_operand {} {index}", command.name);
            let _ = writeln!(text, "complete -c crun -n \"{condition}\"{}", offer(kind));
        }
    }
}

fn offer(kind: Kind) -> String {
    match kind {
        Kind::Text => " -f".to_owned(),
        Kind::File => " -F".to_owned(),
        Kind::Directory => " -f -a '(__fish_complete_directories)'".to_owned(),
        Kind::Container => " -f -a '(__crun_containers)'".to_owned(),
        Kind::Signal => format!(" -f -a '{}'", SIGNALS.join(" ")),
        Kind::Command => {
            let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
            format!(" -f -a '{}'", names.join(" "))
        }
        Kind::OneOf(words) => format!(" -f -a '{}'", words.join(" ")),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
