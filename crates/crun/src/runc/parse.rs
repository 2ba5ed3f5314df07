//! Reads runc's command line: Go's flags. One dash is as good as two, letters cannot be put together, a switch may be given
//! `=false`, and what a command does not know behind its first argument is one more argument.

use std::ffi::OsString;

use cli::args::{Invocation, Matches};

use super::help;
use super::table::{self, Command, Count, GLOBAL, HELP, Kind, Opt};
use super::words;
use crate::duration;

/// What was typed.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// As the commands read it.
    pub(super) invocation: Invocation,
    /// Which command, or none where only a text is asked for.
    pub(super) command: Option<&'static Command>,
    /// The text that is asked for instead of a command.
    pub(super) answer: Option<Answer>,
}

/// A text to be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Help,
    Version,
}

/// Why a command line was not understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// `help` is printed, too.
    Usage {
        message: String,
        help: String,
    },
    UnknownCommand(String),
}

/// Reads the options before the command; returns where that stands.
pub(super) fn globals(args: &[OsString], parsed: &mut Parsed) -> Result<usize, Mistake> {
    let mut words = Words { args, next: 1 };
    let usage = |message: String| {
        let help = format!("Incorrect Usage. {message}\n\n{}", help::program());
        Mistake::Usage { message, help }
    };
    while let Some(word) = words.peek() {
        let Some(flag) = Flag::new(&word).map_err(usage)? else { break };
        words.next += 1;
        if word == "--" {
            break;
        }
        let option = flag.find(GLOBAL).ok_or_else(|| usage(words::no_such_option(&flag.name)))?;
        take(option, flag, &mut words, &mut parsed.invocation.global).map_err(usage)?;
    }
    Ok(words.next)
}

/// Reads the command that stands at `start`.
pub(super) fn command(args: &[OsString], start: usize, parsed: &mut Parsed) -> Result<(), Mistake> {
    let mut words = Words { args, next: start };
    let global = &parsed.invocation.global;
    if global.has("help") || (!global.has("version") && words.peek().is_none()) {
        parsed.answer = Some(Answer::Help);
        return Ok(());
    }
    if global.has("version") {
        parsed.answer = Some(Answer::Version);
        return Ok(());
    }
    let mut name = words.take().unwrap_or_default();
    if matches!(name.as_str(), "help" | "h") {
        parsed.answer = Some(Answer::Help);
        let Some(subject) = words.take() else { return Ok(()) };
        name = subject;
    }
    let known = table::command(&name).ok_or(Mistake::UnknownCommand(name))?;
    parsed.command = Some(known);
    if parsed.answer.is_some() {
        return Ok(());
    }
    let usage = |message: String| {
        let help = format!("Incorrect Usage: {message}\n\n{}", help::command(known));
        Mistake::Usage { message, help }
    };
    options(known, &mut words, &mut parsed.invocation).map_err(usage)?;
    if parsed.invocation.options.has("help") {
        parsed.answer = Some(Answer::Help);
        return Ok(());
    }
    let program = args.first().map(|name| name.to_string_lossy()).unwrap_or_default();
    check_count(known, parsed.invocation.positionals.len()).map_err(|wrong| {
        let message = format!("{program}: {wrong}");
        let help = format!("Incorrect Usage.\n\n{}", help::command(known));
        Mistake::Usage { message, help }
    })
}

/// Options and arguments of a command.
fn options(command: &Command, words: &mut Words<'_>, invocation: &mut Invocation) -> Result<(), String> {
    while let Some(word) = words.take() {
        let is_first = invocation.positionals.is_empty();
        let flag = match Flag::new(&word) {
            Ok(flag) => flag,
            Err(message) if is_first => return Err(message),
            Err(_) => None,
        };
        let option = flag.as_ref().and_then(|flag| flag.find(command.options));
        match (flag, option) {
            (Some(_), _) if word == "--" => {
                if !is_first {
                    invocation.positionals.push(word);
                }
                invocation.positionals.extend(words.rest());
            }
            (Some(flag), Some(option)) => take(option, flag, words, &mut invocation.options)?,
            (Some(flag), None) if is_first => return Err(words::no_such_option(&flag.name)),
            _ => {
                invocation.positionals.push(word);
                if command.passes_rest {
                    invocation.positionals.extend(words.rest());
                }
            }
        }
    }
    Ok(())
}

fn check_count(command: &Command, count: usize) -> Result<(), String> {
    let (bound, number) = match command.count {
        Count::Exactly(number) if count != number => ("exactly", number),
        Count::AtLeast(number) | Count::Between(number, _) if count < number => ("a minimum of", number),
        Count::Between(_, number) if count > number => ("a maximum of", number),
        _ => return Ok(()),
    };
    Err(format!("\"{}\" requires {bound} {number} argument(s)", command.name))
}

/// The words of the command line, from the next one on.
struct Words<'a> {
    args: &'a [OsString],
    next: usize,
}

impl Words<'_> {
    fn peek(&self) -> Option<String> {
        self.args.get(self.next).map(|word| word.to_string_lossy().into_owned())
    }

    fn take(&mut self) -> Option<String> {
        let word = self.peek()?;
        self.next += 1;
        Some(word)
    }

    fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.take()).collect()
    }
}

/// A word with a dash at its beginning.
struct Flag {
    name: String,
    value: Option<String>,
}

impl Flag {
    /// `None` for an argument. The separator `--` is a flag without a name.
    fn new(word: &str) -> Result<Option<Self>, String> {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else { return Ok(None) };
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: {word}"));
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        Ok(Some(Self { name: name.to_owned(), value }))
    }

    fn find(&self, options: &'static [Opt]) -> Option<&'static Opt> {
        let mut letters = self.name.chars();
        let letter = letters.next().filter(|_| letters.next().is_none());
        let is_it = |option: &&Opt| option.long == self.name || (letter.is_some() && option.short == letter);
        options.iter().chain([&HELP]).find(is_it)
    }
}

/// Reads an option's value, and keeps it unless it is a switch that is off.
fn take(option: &Opt, flag: Flag, words: &mut Words<'_>, matches: &mut Matches) -> Result<(), String> {
    let Flag { name, value } = flag;
    let wrong = |value: &str| format!("invalid value {value:?} for flag -{name}: parse error");
    if option.kind == Kind::Switch {
        let value = value.unwrap_or_else(|| "true".to_owned());
        let wrong = || format!("invalid boolean value {value:?} for -{name}: parse error");
        if truth(&value).ok_or_else(wrong)? {
            matches.push(option.long, String::new());
        }
        return Ok(());
    }
    let value = value.or_else(|| words.take()).ok_or_else(|| format!("flag needs an argument: -{name}"))?;
    let value = match option.kind {
        Kind::Number => value.parse::<i64>().map_err(|_| wrong(&value))?.to_string(),
        Kind::Duration if duration::parse(&value).is_none() => return Err(wrong(&value)),
        // As good as none.
        Kind::Text if value.is_empty() => return Ok(()),
        _ => value,
    };
    matches.push(option.long, value);
    Ok(())
}

/// Go's truth values.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Parsed, String> {
        let args: Vec<_> =
            std::iter::once("runc").chain(line.split_whitespace()).map(OsString::from).collect();
        let mut parsed = Parsed::default();
        let read = globals(&args, &mut parsed).and_then(|start| command(&args, start, &mut parsed));
        match read {
            Ok(()) => Ok(parsed),
            Err(Mistake::Usage { message, .. }) => Err(message),
            Err(Mistake::UnknownCommand(name)) => Err(format!("unknown {name}")),
        }
    }

    #[test]
    fn options_are_taken_in_all_their_forms() {
        for line in
            ["run -b /x id", "run --b /x id", "run -bundle=/x id", "run --bundle /x id", "run id -b /x"]
        {
            let invocation = parsed(line).unwrap().invocation;
            assert_eq!(invocation.options.value("bundle"), Some("/x"), "{line}");
            assert_eq!(invocation.positionals, ["id"], "{line}");
        }
    }

    #[test]
    fn a_switch_can_be_switched_off() {
        for (line, expected) in [
            ("-d", true),
            ("--detach=true", true),
            ("-d=1", true),
            ("-d=false", false),
            ("--detach=F", false),
        ] {
            let invocation = parsed(&format!("run {line} id")).unwrap().invocation;
            assert_eq!(invocation.options.has("detach"), expected, "{line}");
        }
    }

    #[test]
    fn what_follows_the_container_of_exec_is_left_alone() {
        let invocation = parsed("exec -e A=b web ls --env --help -- x").unwrap().invocation;
        assert_eq!(invocation.positionals, ["web", "ls", "--env", "--help", "--", "x"]);
        let invocation = parsed("exec -- web -- ls").unwrap().invocation;
        assert_eq!(invocation.positionals, ["web", "--", "ls"]);
    }

    #[test]
    fn behind_the_first_argument_what_is_no_option_is_an_argument() {
        assert_eq!(parsed("kill web -9").unwrap().invocation.positionals, ["web", "-9"]);
        assert!(parsed("kill web KILL --all").unwrap().invocation.options.has("all"));
        assert!(parsed("delete -9 web").is_err());
    }

    #[test]
    fn help_and_version_need_nothing_else() {
        for (line, command, answer) in [
            ("", None, Answer::Help),
            ("-h", None, Answer::Help),
            ("help", None, Answer::Help),
            ("h run", Some("run"), Answer::Help),
            ("run --help a b", Some("run"), Answer::Help),
            ("state a -h", Some("state"), Answer::Help),
            ("--version", None, Answer::Version),
            ("-v list", None, Answer::Version),
        ] {
            let parsed = parsed(line).unwrap();
            assert_eq!(parsed.command.map(|command| command.name), command, "{line}");
            assert_eq!(parsed.answer, Some(answer), "{line}");
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_gos_flags() {
        for (line, expected) in [
            ("frob", "unknown frob"),
            ("help frob", "unknown frob"),
            ("--frob", "flag provided but not defined: -frob"),
            ("run -frob x", "flag provided but not defined: -frob"),
            ("list -qf json", "flag provided but not defined: -qf"),
            ("---x list", "bad flag syntax: ---x"),
            ("--log", "flag needs an argument: -log"),
            ("create -b", "flag needs an argument: -b"),
            ("create --preserve-fds=x a", "invalid value \"x\" for flag -preserve-fds: parse error"),
            ("events --interval 5 a", "invalid value \"5\" for flag -interval: parse error"),
            ("run --detach=x a", "invalid boolean value \"x\" for -detach: parse error"),
            ("start", "runc: \"start\" requires exactly 1 argument(s)"),
            ("start a b", "runc: \"start\" requires exactly 1 argument(s)"),
            ("list a", "runc: \"list\" requires exactly 0 argument(s)"),
            ("exec", "runc: \"exec\" requires a minimum of 1 argument(s)"),
            ("kill a b c", "runc: \"kill\" requires a maximum of 2 argument(s)"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), expected, "{line}");
        }
    }
}
