//! Errors in the words of runc. Docker and containerd decide by them: whether a container is already gone, and which exit
//! status a command gets that could not be run.

use std::borrow::Cow;

use libcrun::{Code, Error, Phase};
use rustix::io::Errno;

/// What was asked for when an error came, and what has become of the container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) command: &'a str,
    pub(super) id: &'a str,
    /// Where the container is in its life, if there is one.
    pub(super) phase: Option<Phase>,
}

/// Errors that are worth the same words: how the message of the library begins, and what runc says. The rest is told in
/// the words of the library.
const SAME: [(&str, &str); 7] = [
    ("executable path not specified", "args must not be empty"),
    ("`exec` requires a minimum of 2 arguments", "exec args cannot be empty"),
    ("use --console-socket with", "cannot allocate tty if runc will detach without setting console socket"),
    ("duration interval must be greater than 0", "duration interval must be greater than 0"),
    ("invalid format `", "invalid format option"),
    ("`config.json` already exists", "File config.json exists. Remove it first"),
    ("block `process` not found", "process property must not be empty"),
];

/// What runc says of the error.
pub(super) fn of(error: &Error, asked: &Asked<'_>) -> String {
    let said = match error.code() {
        Code::ContainerNotFound => "container does not exist".to_owned(),
        Code::ContainerExists => "container with given ID already exists".to_owned(),
        Code::InvalidId if asked.id.is_empty() => "container id cannot be empty".to_owned(),
        Code::InvalidId => "invalid container ID format".to_owned(),
        _ if is_about_executable(error) => executable(error, asked.command),
        _ if is_without_configuration(error, asked) => {
            "JSON specification file config.json not found".to_owned()
        }
        _ => by_phase(error, asked).unwrap_or_else(|| by_text(error)),
    };
    format!("{}{said}", prefix(asked.command))
}

/// Whether the bundle has no configuration.
fn is_without_configuration(error: &Error, asked: &Asked<'_>) -> bool {
    matches!(asked.command, "create" | "run")
        && error.errno() == Some(Errno::NOENT)
        && error.message().ends_with("config.json`")
}

/// Whether it is the program that cannot be executed. The words tell more kinds of that apart than one code.
fn is_about_executable(error: &Error) -> bool {
    let begins = |start| error.message().starts_with(start);
    begins("executable file `")
        || begins("the path `")
        || matches!(error.code(), Code::Executable | Code::ExecutableDenied)
}

/// What every error of a command begins with.
fn prefix(command: &str) -> &'static str {
    match command {
        "create" => "runc create failed: ",
        "run" => "runc run failed: ",
        "exec" => "exec failed: ",
        _ => "",
    }
}

/// What is not possible because of where the container is in its life.
fn by_phase(error: &Error, asked: &Asked<'_>) -> Option<String> {
    let phase = asked.phase?;
    let said = match (asked.command, phase) {
        ("delete", phase) if error.message().contains("is not in `created` or `stopped` state") => {
            return Some(not_stopped(asked.id, phase));
        }
        ("start", Phase::Running) => "cannot start an already running container",
        ("start", Phase::Stopped) => "cannot start a container that has stopped",
        ("start", Phase::Paused) => "cannot start a container in the paused state",
        // Not of one that has been allowed to be paused.
        ("exec", Phase::Paused) if error.message().ends_with("is paused") => {
            "cannot exec in a paused container (use --ignore-paused to override)"
        }
        ("exec", Phase::Stopped) => "cannot exec in a stopped container",
        ("resume", phase) if phase != Phase::Paused => "container not paused",
        ("pause", Phase::Paused) => "container not running",
        ("kill", _) if error.errno() == Some(Errno::SRCH) => "container not running",
        ("pause" | "update" | "checkpoint", Phase::Stopped) => "container not running",
        _ => return None,
    };
    Some(said.to_owned())
}

/// Said by `delete`.
fn not_stopped(id: &str, phase: Phase) -> String {
    format!("cannot delete container {id} that is not stopped: {}", phase.as_str())
}

fn by_text(error: &Error) -> String {
    let message = error.message();
    if let Some((_, said)) = SAME.iter().find(|(start, _)| message.starts_with(start)) {
        return (*said).to_owned();
    }
    if let Some(name) = message.strip_prefix("unknown signal `").and_then(|rest| rest.strip_suffix('`')) {
        return format!("unknown signal {name:?}");
    }
    // An option with a value that is none.
    if let Some((option, reason)) = message.strip_prefix("--").and_then(|rest| rest.split_once(": ")) {
        return format!("invalid value for {option}: {reason}");
    }
    plain(error)
}

/// Docker makes exit status 127 of the words for a file that is not there, 126 of those for one that cannot be executed,
/// if the program's name is there, too.
fn executable(error: &Error, command: &str) -> String {
    let stage = match command {
        "exec" => "unable to start container process: ",
        "create" | "run" => "unable to start container process: error during container init: ",
        _ => "",
    };
    let message = error.message();
    let Some(name) = message.split('`').nth(1) else {
        return by_text(error);
    };
    let is_path = name.contains('/');
    let reason = match error.errno() {
        Some(Errno::NOENT) if !is_path => "executable file not found in $PATH".to_owned(),
        Some(Errno::NOENT) => format!("stat {name}: no such file or directory"),
        _ if message.contains("is not a regular file") => "is a directory".to_owned(),
        Some(Errno::PERM | Errno::ACCESS) => "permission denied".to_owned(),
        _ => return format!("{stage}{}", plain(error)),
    };
    format!("{stage}exec: {name:?}: {reason}")
}

/// The words of the library, the reason beginning as Go's do.
pub(super) fn plain(error: &Error) -> String {
    let text = error.to_string();
    let Some(reason) = text.strip_prefix(error.message()).and_then(|rest| rest.strip_prefix(": ")) else {
        return text;
    };
    let mut letters = reason.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    format!("{}: {}{}", error.message(), first.into_iter().collect::<String>(), letters.as_str())
}

/// Said of an option that is not in the tables.
pub(super) fn no_such_option(name: &str) -> String {
    format!("flag provided but not defined: -{name}")
}

/// Said of a command that is not in the tables. The line break is runc's.
pub(super) fn no_such_command(name: &str) -> String {
    format!("No help topic for '{name}'\n")
}

/// A line break in a message would make two messages of one.
pub(super) fn in_one_line(message: &str) -> Cow<'_, str> {
    let message = message.trim_end_matches('\n');
    match message.contains(char::is_control) {
        true => Cow::Owned(message.escape_debug().to_string()),
        false => Cow::Borrowed(message),
    }
}

/// A value as it stands behind its key in a text log: in quotes unless it is one plain word.
pub(super) fn quoted_if_needed(value: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| {
        letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_' | '/' | '@' | '^' | '+')
    };
    match !value.is_empty() && value.chars().all(is_plain) {
        true => Cow::Borrowed(value),
        false => Cow::Owned(format!("{value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(command: &str, phase: Option<Phase>, error: &Error) -> String {
        of(error, &Asked { command, id: "web", phase })
    }

    #[test]
    fn the_words_engines_match_are_there() {
        let missing = Error::os(Code::ContainerNotFound, "x", Errno::NOENT);
        assert_eq!(said("state", None, &missing), "container does not exist");
        assert_eq!(said("exec", None, &missing), "exec failed: container does not exist");
        let exists = Error::new(Code::ContainerExists, "x");
        assert_eq!(
            said("create", None, &exists),
            "runc create failed: container with given ID already exists"
        );
        let ended = Error::os(Code::Signal, "process not running", Errno::SRCH);
        assert_eq!(said("kill", Some(Phase::Stopped), &ended), "container not running");
        let state =
            Error::new(Code::WrongState, "the container `web` is not in `created` or `stopped` state");
        for (command, phase, expected) in [
            ("start", Phase::Running, "cannot start an already running container"),
            ("start", Phase::Stopped, "cannot start a container that has stopped"),
            ("delete", Phase::Running, "cannot delete container web that is not stopped: running"),
            ("delete", Phase::Paused, "cannot delete container web that is not stopped: paused"),
            ("resume", Phase::Running, "container not paused"),
            ("exec", Phase::Stopped, "exec failed: cannot exec in a stopped container"),
        ] {
            assert_eq!(said(command, Some(phase), &state), expected);
        }
    }

    #[test]
    fn a_program_that_cannot_be_executed_is_named_with_the_reason() {
        let init = "runc run failed: unable to start container process: error during container init: ";
        for (message, errno, expected) in [
            (
                "executable file `x` not found in $PATH",
                Errno::NOENT,
                r#"exec: "x": executable file not found in $PATH"#,
            ),
            (
                "executable file `/x` not found",
                Errno::NOENT,
                r#"exec: "/x": stat /x: no such file or directory"#,
            ),
            (
                "the path `/x` exists but it is not executable",
                Errno::PERM,
                r#"exec: "/x": permission denied"#,
            ),
            ("the path `/x` is not a regular file", Errno::PERM, r#"exec: "/x": is a directory"#),
            ("open `/x`", Errno::ACCESS, r#"exec: "/x": permission denied"#),
        ] {
            let error = Error::os(Code::Executable, message, errno);
            assert_eq!(said("run", None, &error), format!("{init}{expected}"));
        }
    }

    #[test]
    fn other_errors_keep_their_words_with_a_reason_in_small_letters() {
        let error = Error::os(Code::System, "open `/x`", Errno::NOENT);
        assert_eq!(said("update", None, &error), "open `/x`: no such file or directory");
        let error = Error::new(Code::InvalidConfig, "--memory: `x` is not a size");
        assert_eq!(said("update", None, &error), "invalid value for memory: `x` is not a size");
    }

    #[test]
    fn a_value_is_quoted_where_it_has_to_be() {
        assert_eq!(quoted_if_needed("EOF"), "EOF");
        assert_eq!(quoted_if_needed("a b"), "\"a b\"");
        assert_eq!(quoted_if_needed("a\n"), "\"a\\n\"");
        assert_eq!(in_one_line("a\n"), "a");
        assert_eq!(in_one_line("a\nb"), "a\\nb");
    }
}
