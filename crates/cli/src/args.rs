//! From what was typed to a command with its options, by the tables of [`crate::table`].
//!
//! The rules are those of GNU argp, in order: global options, the command, its options, its arguments; long names may
//! be shortened as long as they stay unambiguous. Beyond argp, a command's options are also taken after its arguments
//! (`delete ID --force`), except by `exec`, where they belong to the program.

use std::ffi::OsString;

use lexopt::Arg;

use crate::table::{self, COMMON, Command, GLOBAL, Opt};

/// What was typed.
#[derive(Debug, Default)]
pub struct Invocation {
    /// The options before the command.
    pub global: Matches,
    /// `None` for `--version` and `--help` without a command.
    pub command: Option<&'static Command>,
    /// The options of the command.
    pub options: Matches,
    /// What stands behind the options.
    pub positionals: Vec<String>,
    /// All of it, program name included, for a program that has to execute itself again.
    pub raw: Vec<OsString>,
}

/// Options with their values, in the order they were given.
#[derive(Debug, Default)]
pub struct Matches(Vec<(&'static str, String)>);

impl Matches {
    /// Adds an option, for a command line that is read by other rules.
    pub fn push(&mut self, name: &'static str, value: String) {
        self.0.push((name, value));
    }

    /// Whether the option was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    /// The option's value; the last one counts.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// All values of an option that may be repeated.
    pub fn values<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m str> {
        self.0.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// Why a command line was not understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Mistake {
    /// An option is wrong (argp's own complaint, exit status 64).
    Usage(String),
    /// The command or its arguments are wrong (exit status 1).
    Wrong(String),
}

/// Whether options that ask for a text end the parsing, as they make the rest irrelevant.
fn is_final(matches: &Matches) -> bool {
    matches.has("help") || matches.has("usage")
}

/// Reads a command line; `args` starts with the program's name.
pub fn parse(args: &[OsString]) -> Result<Invocation, Mistake> {
    let mut parser = lexopt::Parser::from_iter(args.iter().cloned());
    let mut invocation = Invocation { raw: args.to_vec(), ..Invocation::default() };
    let name = loop {
        match next(&mut parser)? {
            None if is_final(&invocation.global) || invocation.global.has("version") => {
                return Ok(invocation);
            }
            None => return Err(Mistake::Wrong("please specify a command".to_owned())),
            Some(Token::Positional(name)) => break name,
            Some(Token::Option(given)) => read_option(&mut parser, given, GLOBAL, &mut invocation.global)?,
        }
    };
    if is_final(&invocation.global) || invocation.global.has("version") {
        return Ok(invocation);
    }
    let command = table::command(&name).ok_or_else(|| Mistake::Wrong(format!("unknown command {name}")))?;
    invocation.command = Some(command);
    while let Some(token) = next(&mut parser)? {
        match token {
            Token::Option(given) => {
                read_option(&mut parser, given, command.options, &mut invocation.options)?;
            }
            Token::Positional(first) => {
                invocation.positionals.push(first);
                if command.passes_rest {
                    take_rest(&mut parser, &mut invocation.positionals)?;
                }
            }
        }
    }
    if is_final(&invocation.options) {
        return Ok(invocation);
    }
    check_count(command, invocation.positionals.len())?;
    Ok(invocation)
}

fn take_rest(parser: &mut lexopt::Parser, positionals: &mut Vec<String>) -> Result<(), Mistake> {
    let rest = parser.raw_args().map_err(|error| Mistake::Usage(error.to_string()))?;
    let mut rest = rest.peekable();
    // The separator is not part of the program's command line.
    rest.next_if(|arg| arg == "--");
    for arg in rest {
        positionals.push(text(arg)?);
    }
    Ok(())
}

fn check_count(command: &Command, count: usize) -> Result<(), Mistake> {
    let (least, most) = command.positionals;
    let complaint = |bound: &str, number: usize| {
        Err(Mistake::Wrong(format!("`{}` requires a {bound} of {number} arguments", command.name)))
    };
    if count < least {
        return complaint("minimum", least);
    }
    if count > most {
        return complaint("maximum", most);
    }
    Ok(())
}

/// One word of the command line.
enum Token {
    Option(Given),
    Positional(String),
}

/// An option as it was given.
enum Given {
    Long(String),
    Short(char),
}

fn next(parser: &mut lexopt::Parser) -> Result<Option<Token>, Mistake> {
    let arg = parser.next().map_err(|error| Mistake::Usage(error.to_string()))?;
    Ok(match arg {
        None => None,
        Some(Arg::Long(name)) => Some(Token::Option(Given::Long(name.to_owned()))),
        Some(Arg::Short(name)) => Some(Token::Option(Given::Short(name))),
        Some(Arg::Value(value)) => Some(Token::Positional(text(value)?)),
    })
}

fn text(value: OsString) -> Result<String, Mistake> {
    value
        .into_string()
        .map_err(|value| Mistake::Wrong(format!("argument `{}` is not UTF-8", value.to_string_lossy())))
}

fn read_option(
    parser: &mut lexopt::Parser,
    given: Given,
    options: &'static [Opt],
    matches: &mut Matches,
) -> Result<(), Mistake> {
    let option = find(&given, options)?;
    let is_long = matches!(given, Given::Long(_));
    let value = match option.value {
        None => String::new(),
        Some(_) if option.is_value_optional => parser.optional_value().map_or(Ok(String::new()), text)?,
        Some(_) => {
            let value = parser
                .value()
                .map_err(|_| Mistake::Usage(format!("option '--{}' requires an argument", option.long)))?;
            text(value)?
        }
    };
    if is_long && option.value.is_none() && parser.optional_value().is_some() {
        return Err(Mistake::Usage(format!("option '--{}' doesn't allow an argument", option.long)));
    }
    matches.0.push((option.long, value));
    Ok(())
}

/// The option meant: by its letter, its name, or a beginning of its name that no other has.
fn find(given: &Given, options: &'static [Opt]) -> Result<&'static Opt, Mistake> {
    let all = || options.iter().chain(&COMMON);
    match given {
        // argp's -V for the version, beside -v.
        Given::Short('V') => all().find(|option| option.long == "version"),
        Given::Short(letter) => all().find(|option| option.short == Some(*letter)),
        Given::Long(name) => {
            if let Some(exact) = all().find(|option| option.long == name) {
                return Ok(exact);
            }
            let mut candidates = all().filter(|option| option.long.starts_with(name.as_str()));
            let first = candidates.next();
            if let (Some(_), Some(_)) = (first, candidates.next()) {
                return Err(Mistake::Usage(format!("option '--{name}' is ambiguous")));
            }
            first
        }
    }
    .ok_or_else(|| {
        Mistake::Usage(match given {
            Given::Long(name) => format!("unrecognized option '--{name}'"),
            Given::Short(letter) => format!("invalid option -- '{letter}'"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, Mistake> {
        let args: Vec<_> =
            std::iter::once("crun").chain(line.split_whitespace()).map(OsString::from).collect();
        parse(&args)
    }

    #[test]
    fn options_are_taken_in_all_their_forms() {
        for line in
            ["run -b /x id", "run -b/x id", "run --bundle=/x id", "run --bundle /x id", "run --bun /x id"]
        {
            let invocation = parsed(line).unwrap();
            assert_eq!(invocation.options.value("bundle"), Some("/x"), "{line}");
            assert_eq!(invocation.positionals, ["id"], "{line}");
        }
    }

    #[test]
    fn options_may_follow_the_container() {
        let invocation = parsed("delete web --force").unwrap();
        assert!(invocation.options.has("force"));
        let invocation = parsed("kill web KILL --all").unwrap();
        assert_eq!(invocation.positionals, ["web", "KILL"]);
        assert!(invocation.options.has("all"));
    }

    #[test]
    fn what_follows_the_container_of_exec_is_left_alone() {
        for line in ["exec -e A=b web ls -l --force", "exec -e A=b web -- ls -l --force"] {
            let invocation = parsed(line).unwrap();
            assert_eq!(invocation.positionals, ["web", "ls", "-l", "--force"], "{line}");
            assert_eq!(invocation.options.values("env").collect::<Vec<_>>(), ["A=b"]);
        }
    }

    #[test]
    fn an_optional_value_is_attached_to_its_option() {
        for (line, value) in [
            ("exec -t web sh", Some("")),
            ("exec --tty web sh", Some("")),
            ("exec --tty=false web sh", Some("false")),
            ("exec -tno web sh", Some("no")),
            ("exec -t=no web sh", Some("no")),
            ("exec web sh -t", None),
        ] {
            let invocation = parsed(line).unwrap();
            assert_eq!(invocation.options.value("tty"), value, "{line}");
            assert_eq!(invocation.positionals[..2], ["web", "sh"], "{line}");
        }
    }

    #[test]
    fn mistakes_are_told_in_argps_words() {
        for (line, expected) in [
            ("", Mistake::Wrong("please specify a command".into())),
            ("frob", Mistake::Wrong("unknown command frob".into())),
            ("--frob", Mistake::Usage("unrecognized option '--frob'".into())),
            ("run --no x", Mistake::Usage("option '--no' is ambiguous".into())),
            ("run -b", Mistake::Usage("option '--bundle' requires an argument".into())),
            ("run --keep=1 x", Mistake::Usage("option '--keep' doesn't allow an argument".into())),
            ("start", Mistake::Wrong("`start` requires a minimum of 1 arguments".into())),
            ("start a b", Mistake::Wrong("`start` requires a maximum of 1 arguments".into())),
        ] {
            assert_eq!(parsed(line).unwrap_err(), expected, "{line}");
        }
    }

    #[test]
    fn help_needs_no_arguments() {
        assert!(parsed("delete --help").unwrap().options.has("help"));
        assert!(parsed("-V").unwrap().global.has("version"));
    }
}
