//! From what was typed to a command with its options, by the tables of [`crate::table`].
//!
//! The rules are those of GNU argp, in order: global options, the command, its options, its arguments; long names may
//! be shortened as long as they stay unambiguous. Beyond argp, a command's options are also taken after its arguments
//! (`delete ID --force`), except by those commands that hand their arguments on (`exec`, `ps`).

use std::ffi::OsString;

use crate::kind::Kind;
use crate::suggest::closest;
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

    /// Whether a text was asked for. What follows is not read then.
    fn is_final(&self) -> bool {
        ["help", "usage", "version"].iter().any(|name| self.has(name))
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

/// Reads a command line; `args` starts with the program's name.
pub fn parse(args: &[OsString]) -> Result<Invocation, Mistake> {
    let mut invocation = Invocation { raw: args.to_vec(), ..Invocation::default() };
    let mut reader = Reader::new(args.get(1..).unwrap_or_default(), GLOBAL);
    let name = reader.operand()?;
    invocation.global = reader.matches;
    let Some(name) = name else {
        let missing = || Mistake::Wrong("please specify a command".to_owned());
        return if invocation.global.is_final() { Ok(invocation) } else { Err(missing()) };
    };
    let command = named(&name)?;
    let mut reader = Reader::new(reader.words, command.options);
    while let Some(operand) = reader.operand()? {
        invocation.positionals.push(operand);
        if command.passes_rest {
            reader.rest(&mut invocation.positionals)?;
        }
    }
    invocation.command = Some(command);
    invocation.options = reader.matches;
    if invocation.options.is_final() {
        return Ok(invocation);
    }
    check_count(command, invocation.positionals.len())?;
    if command.name == "help" { about(invocation) } else { Ok(invocation) }
}

fn named(name: &str) -> Result<&'static Command, Mistake> {
    table::command(name).ok_or_else(|| {
        let known = closest(name, table::COMMANDS.iter().map(|command| command.name));
        let hint = known.map_or(String::new(), |known| format!("; did you mean `{known}`?"));
        Mistake::Wrong(format!("unknown command {name}{hint}"))
    })
}

/// `help COMMAND` is another way to say `COMMAND --help`.
fn about(mut invocation: Invocation) -> Result<Invocation, Mistake> {
    invocation.command = invocation.positionals.first().map(|name| named(name)).transpose()?;
    let matches = if invocation.command.is_some() { &mut invocation.options } else { &mut invocation.global };
    matches.0.push(("help", String::new()));
    Ok(invocation)
}

fn check_count(command: &Command, count: usize) -> Result<(), Mistake> {
    let (least, most) = command.positionals;
    let complaint = |bound: &str, number: usize| {
        Err(Mistake::Wrong(format!("`{}` requires a {bound} of {number} arguments", command.name)))
    };
    if count == 0 && least > 0 && command.operands().next() == Some(Kind::Container) {
        return Err(Mistake::Wrong("please specify a ID for the container".to_owned()));
    }
    if count < least {
        return complaint("minimum", least);
    }
    if count > most {
        return complaint("maximum", most);
    }
    Ok(())
}

/// Reads words by the options that may stand among them.
struct Reader<'w> {
    words: &'w [OsString],
    options: &'static [Opt],
    matches: Matches,
    /// Whether `--` was there, after which nothing is an option.
    is_separated: bool,
}

impl<'w> Reader<'w> {
    fn new(words: &'w [OsString], options: &'static [Opt]) -> Self {
        Self { words, options, matches: Matches::default(), is_separated: false }
    }

    /// The next word that is no option, after those that are. There is none after an option that asks for a text.
    fn operand(&mut self) -> Result<Option<String>, Mistake> {
        while !self.matches.is_final()
            && let Some(word) = self.word()?
        {
            match word.strip_prefix('-') {
                None | Some("") => return Ok(Some(word)),
                Some(_) if self.is_separated => return Ok(Some(word)),
                Some("-") => self.is_separated = true,
                Some(rest) => match rest.strip_prefix('-') {
                    Some(long) => self.long(long)?,
                    None => self.letters(rest)?,
                },
            }
        }
        Ok(None)
    }

    /// All words that are left, as they are. A separator before them is not one of them.
    fn rest(&mut self, operands: &mut Vec<String>) -> Result<(), Mistake> {
        if self.words.first().is_some_and(|word| word == "--") {
            self.word()?;
        }
        while let Some(word) = self.word()? {
            operands.push(word);
        }
        Ok(())
    }

    fn word(&mut self) -> Result<Option<String>, Mistake> {
        let Some((word, rest)) = self.words.split_first() else { return Ok(None) };
        self.words = rest;
        match word.to_str() {
            Some(word) => Ok(Some(word.to_owned())),
            None => Err(Mistake::Wrong(format!("argument `{}` is not UTF-8", word.to_string_lossy()))),
        }
    }

    /// `--name`, `--name=value` or `--name value`.
    fn long(&mut self, given: &str) -> Result<(), Mistake> {
        let (name, attached) = match given.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (given, None),
        };
        let option = self.by_name(name, given)?;
        let value = match (option.value, attached) {
            (None, Some(_)) => {
                return Err(Mistake::Usage(format!("option '--{}' doesn't allow an argument", option.long)));
            }
            (Some(_), None) if !option.is_value_optional => self
                .word()?
                .ok_or_else(|| Mistake::Usage(format!("option '--{}' requires an argument", option.long)))?,
            (_, attached) => attached.unwrap_or_default(),
        };
        self.matches.0.push((option.long, value));
        Ok(())
    }

    /// `-a`, `-abc`, `-nvalue` or `-n value`.
    fn letters(&mut self, letters: &str) -> Result<(), Mistake> {
        let mut rest = letters;
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            let option = self
                .by_letter(letter)
                .ok_or_else(|| Mistake::Usage(format!("invalid option -- '{letter}'")))?;
            let value = match option.value {
                None => String::new(),
                // Beyond argp: `-t=no` is what those write who know `--tty=no`.
                Some(_) if option.is_value_optional => rest.strip_prefix('=').unwrap_or(rest).to_owned(),
                Some(_) if !rest.is_empty() => rest.to_owned(),
                Some(_) => self
                    .word()?
                    .ok_or_else(|| Mistake::Usage(format!("option requires an argument -- '{letter}'")))?,
            };
            self.matches.0.push((option.long, value));
            if option.value.is_some() || self.matches.is_final() {
                break;
            }
        }
        Ok(())
    }

    fn known(&self) -> impl Iterator<Item = &'static Opt> + Clone + use<> {
        self.options.iter().chain(&COMMON)
    }

    fn by_letter(&self, letter: char) -> Option<&'static Opt> {
        match letter {
            // argp's letter for the version, beside -v.
            'V' => self.known().find(|option| option.long == "version"),
            letter => self.known().find(|option| option.short == Some(letter)),
        }
    }

    /// The option of this name, or the only one whose name starts like this.
    fn by_name(&self, name: &str, given: &str) -> Result<&'static Opt, Mistake> {
        if let Some(exact) = self.known().find(|option| option.long == name) {
            return Ok(exact);
        }
        let beginning = self.known().filter(|option| option.long.starts_with(name));
        let mut of_both = beginning.clone().filter(|option| !option.is_extra);
        match (of_both.next(), of_both.next(), beginning.clone().count()) {
            (Some(only), None, _) => Ok(only),
            (None, _, 0) => Err(self.unrecognized(name, given)),
            (None, _, 1) => beginning.last().ok_or_else(|| self.unrecognized(name, given)),
            _ => {
                let names = beginning.map(|option| format!(" '--{}'", option.long)).collect::<String>();
                Err(Mistake::Usage(format!("option '--{given}' is ambiguous; possibilities:{names}")))
            }
        }
    }

    fn unrecognized(&self, name: &str, given: &str) -> Mistake {
        let known = closest(name, self.known().map(|option| option.long));
        let hint = known.map_or(String::new(), |known| format!("; did you mean '--{known}'?"));
        Mistake::Usage(format!("unrecognized option '--{given}'{hint}"))
    }
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
            ("exec -dt web sh", Some("")),
            ("exec web sh -t", None),
        ] {
            let invocation = parsed(line).unwrap();
            assert_eq!(invocation.options.value("tty"), value, "{line}");
            assert_eq!(invocation.positionals[..2], ["web", "sh"], "{line}");
        }
    }

    #[test]
    fn a_value_may_look_like_an_option() {
        let invocation = parsed("run --bundle --keep -f -- id").unwrap();
        assert_eq!(invocation.options.value("bundle"), Some("--keep"));
        assert_eq!(invocation.options.value("config"), Some("--"));
        assert_eq!(invocation.positionals, ["id"]);
    }

    #[test]
    fn letters_may_share_a_dash_up_to_one_with_a_value() {
        let invocation = parsed("list -qfjson").unwrap();
        assert!(invocation.options.has("quiet"));
        assert_eq!(invocation.options.value("format"), Some("json"));
        assert_eq!(parsed("list -fq").unwrap().options.value("format"), Some("q"));
        assert_eq!(parsed("list -f=json").unwrap().options.value("format"), Some("=json"));
    }

    #[test]
    fn after_a_separator_nothing_is_an_option() {
        assert_eq!(parsed("start -- -x").unwrap().positionals, ["-x"]);
        assert_eq!(parsed("kill web -- -9").unwrap().positionals, ["web", "-9"]);
        let invocation = parsed("-- list -q").unwrap();
        assert!(invocation.options.has("quiet"));
        assert_eq!(parsed("start -").unwrap().positionals, ["-"]);
    }

    #[test]
    fn an_option_that_the_c_crun_does_not_have_stands_in_nobodys_way() {
        let invocation = parsed("run --pid /x web").unwrap();
        assert_eq!(invocation.options.value("pid-file"), Some("/x"));
        let invocation = parsed("run --pidfd /x web").unwrap();
        assert_eq!(invocation.options.value("pidfd-socket"), Some("/x"));
    }

    #[test]
    fn mistakes_are_told_in_argps_words() {
        for (line, expected) in [
            ("-x", "invalid option -- 'x'"),
            ("list -qx", "invalid option -- 'x'"),
            ("list --version", "unrecognized option '--version'"),
            ("--root=/x --frob=1 list", "unrecognized option '--frob=1'"),
            ("--ro=/x list", "option '--ro=/x' is ambiguous; possibilities: '--root' '--rootless'"),
            (
                "run --no x",
                "option '--no' is ambiguous; possibilities: '--no-new-keyring' '--no-pivot' '--no-subreaper'",
            ),
            ("run -b", "option requires an argument -- 'b'"),
            ("run --bun", "option '--bundle' requires an argument"),
            ("run --keep=1 x", "option '--keep' doesn't allow an argument"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), Mistake::Usage(expected.into()), "{line}");
        }
        for (line, expected) in [
            ("", "please specify a command"),
            ("--", "please specify a command"),
            ("frob", "unknown command frob"),
            ("start", "please specify a ID for the container"),
            ("start a b", "`start` requires a maximum of 1 arguments"),
            ("mounts add", "`mounts` requires a minimum of 3 arguments"),
            ("help frob", "unknown command frob"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), Mistake::Wrong(expected.into()), "{line}");
        }
    }

    #[test]
    fn what_may_have_been_meant_is_suggested() {
        for (line, expected) in [
            ("lsit", "unknown command lsit; did you mean `list`?"),
            ("help upd", "unknown command upd; did you mean `update`?"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), Mistake::Wrong(expected.into()), "{line}");
        }
        let meant = Mistake::Usage("unrecognized option '--forec'; did you mean '--force'?".into());
        assert_eq!(parsed("delete --forec x").unwrap_err(), meant);
    }

    #[test]
    fn who_asks_for_a_text_gets_it_whatever_follows() {
        for line in
            ["delete --help", "help delete", "delete --help --frob a b", "delete -f? x", "help -- delete"]
        {
            let invocation = parsed(line).unwrap();
            assert_eq!(invocation.command.map(|command| command.name), Some("delete"), "{line}");
            assert!(invocation.options.has("help"), "{line}");
        }
        for line in ["--help", "--help frob", "help", "-?", "--he"] {
            let invocation = parsed(line).unwrap();
            assert!(invocation.command.is_none() && invocation.global.has("help"), "{line}");
        }
        for line in ["-V", "-v", "-vx", "--vers list"] {
            assert!(parsed(line).unwrap().global.has("version"), "{line}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_told_to_be_so() {
        use std::os::unix::ffi::OsStringExt;
        let args = [OsString::from("crun"), "state".into(), OsString::from_vec(b"a\xff".to_vec())];
        let wrong = Mistake::Wrong("argument `a\u{fffd}` is not UTF-8".into());
        assert_eq!(parse(&args).unwrap_err(), wrong);
    }
}
