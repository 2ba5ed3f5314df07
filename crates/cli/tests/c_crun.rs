//! What may be typed for the C crun may be typed here: its options with their letters, and every way to shorten them.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::ffi::OsString;

use cli::args::{self, Invocation};
use cli::table;

/// The options as `crun COMMAND --usage` of the C crun 1.28 lists them: letter, name, and whether there is a value.
/// Global ones stand under an empty name.
const OPTIONS: &[(&str, &str)] = &[
    (
        "",
        "cgroup-manager= debug log= log-format= log-level= root= rootless= systemd-cgroup v:version V:version",
    ),
    (
        "create",
        "b:bundle= console-socket= f:config= no-new-keyring no-pivot no-subreaper pid-file= preserve-fds=",
    ),
    ("delete", "f:force r:regex"),
    (
        "exec",
        "apparmor= cgroup= console-socket= cwd= c:cap= d:detach e:env= no-new-privs pid-file= preserve-fds= \
         process-label= p:process= t:tty u:user=",
    ),
    ("features", ""),
    ("kill", "a:all r:regex"),
    ("list", "f:format= q:quiet"),
    ("mounts", ""),
    ("pause", ""),
    ("ps", "f:format="),
    ("resume", ""),
    (
        "run",
        "b:bundle= console-socket= d:detach f:config= keep no-new-keyring no-pivot no-subreaper pid-file= \
         preserve-fds=",
    ),
    ("spec", "b:bundle= f:file= rootless"),
    ("start", ""),
    ("state", ""),
    (
        "update",
        "blkio-weight= cpu-period= cpu-quota= cpu-rt-period= cpu-rt-runtime= cpu-share= cpuset-cpus= cpuset-mems= \
         kernel-memory= kernel-memory-tcp= l3-cache-schema= mem-bw-schema= memory= memory-reservation= \
         memory-swap= pids-limit= r:resources=",
    ),
];

/// What argp adds to each of them.
const EVERYWHERE: &str = "?:help usage program-name= HANG";

/// An option of the C crun.
struct Known<'a> {
    letter: Option<&'a str>,
    name: &'a str,
    has_value: bool,
}

fn options(list: &str) -> Vec<Known<'_>> {
    let read = |word| -> Known<'_> {
        let (letter, name) = str::split_once(word, ':').map_or((None, word), |(l, name)| (Some(l), name));
        Known { letter, name: name.trim_end_matches('='), has_value: name.ends_with('=') }
    };
    list.split_whitespace().chain(EVERYWHERE.split_whitespace()).map(read).collect()
}

/// Reads the option where it stands for `command`, with the operands that it asks for.
fn read(command: &str, option: &[&str]) -> Result<Invocation, args::Mistake> {
    let operands = table::command(command).map_or(1, |command| command.positionals.0);
    let mut words = vec!["crun"];
    match command {
        "" => words.extend(option.iter().copied().chain(["list"])),
        command => words.extend([command].into_iter().chain(option.iter().copied())),
    }
    words.extend(std::iter::repeat_n("x", if command.is_empty() { 0 } else { operands }));
    args::parse(&words.into_iter().map(OsString::from).collect::<Vec<_>>())
}

fn is_given(command: &str, option: &[&str], name: &str) -> Result<(), String> {
    let read = read(command, option).map_err(|mistake| format!("`{command}` {option:?}: {mistake:?}"))?;
    let matches = if command.is_empty() { &read.global } else { &read.options };
    matches.has(name).then_some(()).ok_or(format!("`{command}` {option:?} is not --{name}"))
}

/// Every option of the C crun that this one has to have, with its command.
fn each(mut look: impl FnMut(&str, &Known<'_>, &[Known<'_>])) {
    for (command, list) in OPTIONS {
        let options = options(list);
        for option in options.iter().filter(|option| !["program-name", "HANG"].contains(&option.name)) {
            look(command, option, &options);
        }
    }
}

#[test]
fn every_option_of_the_c_crun_is_there() {
    each(|command, option, _| {
        let long = format!("--{}", option.name);
        if option.has_value {
            is_given(command, &[&long, "1"], option.name).unwrap();
            is_given(command, &[&format!("{long}=1")], option.name).unwrap();
        } else {
            is_given(command, &[&long], option.name).unwrap();
        }
        if let Some(letter) = option.letter {
            let short = format!("-{letter}");
            is_given(command, &[&short, "1"][..if option.has_value { 2 } else { 1 }], option.name).unwrap();
        }
    });
}

#[test]
fn an_abbreviation_means_what_it_means_for_the_c_crun() {
    each(|command, option, all| {
        for length in 1..option.name.len() {
            let short = &option.name[..length];
            let others = all.iter().filter(|other| other.name != option.name);
            // As the beginning of two, or as another's whole name, it means no option or the other one there, too.
            if others.clone().any(|other| other.name.starts_with(short)) {
                continue;
            }
            let typed = format!("--{short}{}", if option.has_value { "=1" } else { "" });
            is_given(command, &[&typed], option.name)
                .unwrap_or_else(|wrong| panic!("{wrong}: is another option to be marked with `.extra()`?"));
        }
    });
}
