//! `seccomp`: what a profile says of a call, of all calls, and the program that is made of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use libcrun::{Code, Error, Result, spec};
use seccomp::{
    Architecture, Filter, Judge, Options, Profile, Reason, Verdict, compile, disassemble, syscall_names,
};

use super::{Context, print, read};

pub(super) fn seccomp(context: &Context<'_>) -> Result<i32> {
    let given = context.positional(0).unwrap_or(".");
    let in_bundle = Path::new(given).join("config.json");
    let file = if Path::new(given).is_dir() { in_bundle.to_str().unwrap_or(given) } else { given };
    let text = read(file)?;
    let rights: Vec<&str> = context.invocation.options.values("cap").collect();
    let seccomp = spec::parse_seccomp(&text, file, &rights)?;
    let profile = seccomp.profile()?;
    let options = Options::default();
    let filter = compile(&profile, &options).map_err(|error| invalid(error.to_string()))?;
    let judge = Judge::new(&profile, &options).map_err(|error| invalid(error.to_string()))?;
    let architecture = architecture(context)?;
    let call = context.value("syscall").map(|call| number(call, architecture)).transpose()?;
    let arguments = arguments(context)?;
    if arguments.is_some() && call.is_none() {
        return Err(invalid("--arg says something of a call: give its name with --syscall"));
    }
    print(&match call {
        _ if context.has("disassemble") => disassemble(&filter.program),
        Some(number) => decision(&judge, architecture, number, arguments),
        None => summary(&judge, architecture, &profile, &filter),
    })
}

/// What happens to a call.
fn decision(
    judge: &Judge<'_>,
    architecture: Architecture,
    number: u32,
    arguments: Option<[u64; 6]>,
) -> String {
    let name = architecture.syscall_name(number).unwrap_or("no known call");
    let mut text = format!("{name}, number {number} of {}:\n", architecture.name());
    let cases = judge.cases(architecture.token(), number);
    let holding = arguments.and_then(|arguments| cases.iter().position(|case| case.holds(&arguments)));
    for (at, case) in cases.iter().enumerate() {
        if holding.is_some_and(|holding| holding != at) {
            continue;
        }
        let when = match case.conditions() {
            conditions if !conditions.is_empty() => format!("if {conditions}"),
            _ if cases.len() > 1 => "otherwise".to_owned(),
            _ => "always".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {} {when} ({})", case.verdict.action, reason(case.verdict.reason));
    }
    text
}

fn reason(reason: Reason) -> String {
    match reason {
        Reason::Rule(at) => format!("syscalls[{at}]"),
        Reason::Default => "defaultAction".to_owned(),
        Reason::Newer => "the call is newer than all that the profile names".to_owned(),
        Reason::Architecture => "the profile does not name the architecture".to_owned(),
    }
}

/// What happens to all calls of an architecture.
fn summary(judge: &Judge<'_>, architecture: Architecture, profile: &Profile<'_>, filter: &Filter) -> String {
    let architectures = judge.architectures().iter().map(|architecture| architecture.name());
    let mut text = format!(
        "architectures: {}\ndefault action: {}\nrules: {}\ninstructions: {}\n",
        architectures.collect::<Vec<_>>().join(" "),
        judge.default().action,
        profile.rules.iter().filter(|rule| !rule.names.is_empty()).count(),
        filter.program.len(),
    );
    if !filter.skipped.is_empty() {
        let _ = writeln!(text, "unknown calls, left out: {}", filter.skipped.join(" "));
    }
    for (what, names) in by_action(judge, architecture) {
        let _ =
            writeln!(text, "\n{what}, {} calls of {}:\n{}", names.len(), architecture.name(), lines(&names));
    }
    text
}

/// The calls of an architecture by what happens to them.
fn by_action(judge: &Judge<'_>, architecture: Architecture) -> BTreeMap<String, Vec<&'static str>> {
    let mut all: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    for name in syscall_names() {
        let Some(number) = architecture.syscall_number(name) else {
            continue;
        };
        let what = match judge.cases(architecture.token(), number).as_slice() {
            [only] => told(only.verdict),
            _ => "by their arguments (see --syscall)".to_owned(),
        };
        all.entry(what).or_default().push(name);
    }
    all
}

fn told(verdict: Verdict) -> String {
    match verdict.reason {
        Reason::Rule(_) => verdict.action.to_string(),
        other => format!("{} ({})", verdict.action, reason(other)),
    }
}

/// Words in lines that fit on a screen.
fn lines(words: &[&str]) -> String {
    let mut text = String::new();
    let mut width = 0;
    for word in words {
        if width == 0 || width + word.len() > 78 {
            text.push_str(if text.is_empty() { "  " } else { "\n  " });
            width = 2;
        } else {
            text.push(' ');
        }
        text.push_str(word);
        width += word.len() + 1;
    }
    text
}

/// The architecture of `--arch`, by its name in a profile, or what is behind `SCMP_ARCH_` there.
fn architecture(context: &Context<'_>) -> Result<Architecture> {
    let Some(given) = context.value("arch") else {
        return Ok(Architecture::NATIVE);
    };
    let name = given.to_uppercase();
    Architecture::named(&name).or_else(|| Architecture::named(&format!("SCMP_ARCH_{name}"))).ok_or_else(
        || {
            let known =
                seccomp::ARCHITECTURES.map(|name| name.trim_start_matches("SCMP_ARCH_").to_lowercase());
            invalid(format!("--arch: unknown architecture `{given}` (one of {})", known.join(", ")))
        },
    )
}

/// The number of a call that was given by its name or number.
fn number(call: &str, architecture: Architecture) -> Result<u32> {
    if let Some(number) = architecture.syscall_number(call) {
        return Ok(number);
    }
    let number = parse(call).and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| match syscall_names().any(|name| name == call) {
        true => invalid(format!("--syscall: {} has no call `{call}`", architecture.name())),
        false => invalid(format!("--syscall: unknown system call `{call}`")),
    })
}

/// The arguments of `--arg`; what is not given is 0.
fn arguments(context: &Context<'_>) -> Result<Option<[u64; 6]>> {
    let mut arguments = None;
    for given in context.invocation.options.values("arg") {
        let wrong = || invalid(format!("--arg: `{given}` is not an argument and its value, as 0=0x10"));
        let (index, value) = given.split_once('=').ok_or_else(wrong)?;
        let value = parse(value).ok_or_else(wrong)?;
        let all: &mut [u64; 6] = arguments.get_or_insert_default();
        let index: usize = index.parse().map_err(|_| wrong())?;
        *all.get_mut(index)
            .ok_or_else(|| invalid(format!("--arg: a call has arguments 0 to 5, not {index}")))? = value;
    }
    Ok(arguments)
}

/// A number, decimal or after 0x, also a negative one.
fn parse(text: &str) -> Option<u64> {
    match (text.strip_prefix("0x"), text.starts_with('-')) {
        (Some(digits), _) => u64::from_str_radix(digits, 16).ok(),
        (None, true) => text.parse::<i64>().ok().map(i64::cast_unsigned),
        (None, false) => text.parse().ok(),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidConfig, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_hexadecimal_or_negative() {
        assert_eq!(parse("16"), Some(16));
        assert_eq!(parse("0x10"), Some(16));
        assert_eq!(parse("-1"), Some(u64::MAX));
        assert_eq!([parse(""), parse("0x"), parse("x"), parse("-0x1")], [None; 4]);
    }

    #[test]
    fn words_are_broken_into_lines() {
        assert_eq!(lines(&["a", "b"]), "  a b");
        assert_eq!(lines(&["x"; 60]).lines().count(), 2);
        assert!(lines(&["twelve_chars"; 60]).lines().all(|line| line.len() <= 79));
    }
}
