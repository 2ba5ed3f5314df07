//! A profile with names as numbers; what cannot be meant is refused here.

use crate::action::{ACTIONS, Action, Problem};
use crate::architecture::{ARCHITECTURES, Architecture};
use crate::condition::{Condition, OPERATORS};
use crate::error::{Error, unknown};
use crate::syscalls::Syscall;
use crate::{Argument, Options, Profile, Rule};

/// How many arguments a call has.
const ARGUMENTS: u8 = 6;

/// A profile that can be compiled.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    /// What happens to calls that no rule is for.
    pub(crate) default: Action,
    /// The native one first, each once.
    pub(crate) architectures: Vec<Architecture>,
    /// The rules, also those that say what the default says.
    pub(crate) rules: Vec<ParsedRule>,
    /// Names of calls that no architecture has.
    pub(crate) unknown: Vec<&'a str>,
}

/// A rule that can be compiled.
#[derive(Debug)]
pub(crate) struct ParsedRule {
    /// The calls it is for.
    pub(crate) calls: Vec<Syscall>,
    /// What happens to them.
    pub(crate) action: Action,
    /// Where all conditions of one of these hold. There is always one; without conditions, it is without any.
    pub(crate) alternatives: Vec<Vec<Condition>>,
}

pub(crate) fn profile<'a>(profile: &Profile<'a>, options: &Options) -> Result<Parsed<'a>, Error> {
    let default = Action::named(profile.default_action, profile.default_errno).map_err(|problem| {
        refused(&problem, profile.default_action, "", ["defaultAction", "defaultErrnoRet"])
    })?;
    let mut architectures = vec![options.native];
    for (at, name) in profile.architectures.iter().enumerate() {
        let Some(architecture) = Architecture::named(name) else {
            return Err(Error::new(
                format_args!(".architectures[{at}]"),
                unknown("architecture", name, &ARCHITECTURES),
            ));
        };
        if !architectures.contains(&architecture) {
            architectures.push(architecture);
        }
    }
    let mut parsed = Parsed {
        default,
        architectures,
        rules: Vec::with_capacity(profile.rules.len()),
        unknown: Vec::new(),
    };
    for (at, rule) in profile.rules.iter().enumerate() {
        let calls = calls(at, rule, options, &mut parsed.unknown)?;
        let action = Action::named(rule.action, rule.errno).map_err(|problem| {
            refused(&problem, rule.action, &format!(".syscalls[{at}]"), ["action", "errnoRet"])
        })?;
        parsed.rules.push(ParsedRule { calls, action, alternatives: alternatives(at, &rule.arguments)? });
    }
    Ok(parsed)
}

/// What is said of an action that cannot be meant: `path` is where it is, `keys` are the names of it and its error there.
fn refused(problem: &Problem, name: &str, path: &str, keys: [&str; 2]) -> Error {
    let [action, errno] = keys;
    match problem {
        Problem::Unknown if name.is_empty() && path.is_empty() => {
            Error::new(format_args!(".{action}"), "seccomp misses the default action")
        }
        Problem::Unknown => Error::new(format_args!("{path}.{action}"), unknown("action", name, &ACTIONS)),
        Problem::Errno => Error::new(
            format_args!("{path}.{errno}"),
            format!(
                "errno value specified for action {name}, which gives none (SCMP_ACT_ERRNO and SCMP_ACT_TRACE do)"
            ),
        ),
        Problem::Large { number, most } => Error::new(
            format_args!("{path}.{errno}"),
            format!("{number} is more than {name} can give ({most})"),
        ),
    }
}

fn calls<'a>(
    at: usize,
    rule: &Rule<'a>,
    options: &Options,
    unknown: &mut Vec<&'a str>,
) -> Result<Vec<Syscall>, Error> {
    let mut calls = Vec::with_capacity(rule.names.len());
    for (position, name) in rule.names.iter().enumerate() {
        match Syscall::named(name) {
            Some(call) => calls.push(call),
            None if options.refuse_unknown_names => {
                return Err(Error::new(
                    format_args!(".syscalls[{at}].names[{position}]"),
                    format!("unknown system call {name:?}"),
                ));
            }
            None if unknown.contains(name) => {}
            None => unknown.push(name),
        }
    }
    Ok(calls)
}

/// The conditions of a rule as alternatives: where two are on one argument, each is an alternative of its own.
fn alternatives(at: usize, arguments: &[Argument<'_>]) -> Result<Vec<Vec<Condition>>, Error> {
    let mut seen = 0_u8;
    let mut again = false;
    let mut conditions = Vec::with_capacity(arguments.len());
    for (position, argument) in arguments.iter().enumerate() {
        let condition = condition(at, position, argument)?;
        again |= seen & (1 << condition.index) != 0;
        seen |= 1 << condition.index;
        conditions.push(condition);
    }
    Ok(if again {
        conditions.into_iter().map(|condition| vec![condition]).collect()
    } else {
        vec![conditions]
    })
}

fn condition(at: usize, position: usize, argument: &Argument<'_>) -> Result<Condition, Error> {
    let path = |key: &str| format!(".syscalls[{at}].args[{position}].{key}");
    let index = u8::try_from(argument.index).ok().filter(|index| *index < ARGUMENTS).ok_or_else(|| {
        Error::new(
            path("index"),
            format!("there is no argument {} (a call has 0 to {})", argument.index, ARGUMENTS - 1),
        )
    })?;
    Condition::named(index, argument.operator, argument.value, argument.value_two)
        .ok_or_else(|| Error::new(path("op"), unknown("operator", argument.operator, &OPERATORS)))
}
