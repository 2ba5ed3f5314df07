//! The command line of runc, for a binary that is called so: what Docker and containerd run when nobody has told them of
//! another runtime.
//!
//! What differs from `crun` is the grammar ([`parse`], by the tables in [`table`]), the texts ([`help`], [`words`]), the
//! shapes of the answers ([`shapes`]) and where errors go ([`journal`]). What a command does is the same code: its options
//! have the same names in both, so that an invocation of either is the same to it.

mod commands;
mod help;
mod journal;
mod parse;
mod process;
mod shapes;
mod table;
mod words;

use std::ffi::{OsStr, OsString, c_int};
use std::path::Path;

use self::journal::Journal;
use self::parse::{Mistake, Parsed};

/// The exit status of an error; of `exec`, where a smaller one could be the program's; and of a command nobody knows.
const FAILURE: c_int = 1;
const EXEC_FAILURE: c_int = 255;
const UNKNOWN_COMMAND: c_int = 3;

/// What the commands find among the global options when systemd manages the cgroups, runc's way.
pub(crate) const SYSTEMD_SCOPE: &str = "systemd-scope";

/// What `exec` finds among its options, runc's way: its program has the limits of the container's process.
pub(crate) const LIMITS_OF_CONTAINER: &str = "limits-of-container";

/// Whether the program was called as runc, by whatever path.
pub(crate) fn is_asked_for(args: &[OsString]) -> bool {
    args.first().and_then(|name| Path::new(name).file_name()) == Some(OsStr::new("runc"))
}

/// Runs the command line; returns the exit status.
pub(crate) fn command_line(args: Vec<OsString>) -> c_int {
    let mut parsed = Parsed::default();
    let read = parse::globals(&args, &mut parsed);
    let journal = match Journal::new(&parsed.invocation.global) {
        Ok(journal) => journal,
        Err(message) => {
            Journal::default().error(&message);
            return FAILURE;
        }
    };
    let read = read.and_then(|rest| parse::command(&args, rest, &mut parsed));
    match read {
        Ok(()) => {
            parsed.invocation.raw = args;
            commands::run(parsed, &journal)
        }
        Err(Mistake::Usage { message, help }) => {
            // A reader that has gone away does not change that the command line is wrong.
            drop(crate::commands::print(&help));
            journal.error(&message);
            FAILURE
        }
        Err(Mistake::UnknownCommand(name)) => {
            journal.error(&words::no_such_command(&name));
            UNKNOWN_COMMAND
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_base_name_that_asks_for_runc() {
        for (name, expected) in [
            ("runc", true),
            ("/usr/sbin/runc", true),
            ("./runc", true),
            ("crun", false),
            ("/runc/crun", false),
            ("crun-runc", false),
            ("", false),
        ] {
            assert_eq!(is_asked_for(&[name.into(), "runc".into()]), expected, "{name}");
        }
        assert!(!is_asked_for(&[]));
    }
}
