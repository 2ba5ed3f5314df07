//! The commands of runc. Most are those of `crun` ([`crate::commands`]); here is what is asked, answered or refused
//! otherwise.

use std::ffi::c_int;
use std::path::{Path, PathBuf};

use cli::args::{Invocation, Matches};
use libcrun::{Code, Error, Host, Phase, Result, StateRoot};
use rustix::process::{getegid, geteuid};

use super::journal::Journal;
use super::parse::{Answer, Parsed};
use super::shapes::State;
use super::table::Command;
use super::words::{self, Asked};
use super::{EXEC_FAILURE, FAILURE, LIMITS_OF_CONTAINER, SYSTEMD_SCOPE, help, process, shapes};
use crate::commands::{self, Context, print};
use crate::log::Log;

/// Does what was typed; returns the exit status.
pub(super) fn run(parsed: Parsed, journal: &Journal) -> c_int {
    let Parsed { mut invocation, command, answer } = parsed;
    if invocation.global.value("root") == Some("/") {
        journal.error("Option --root argument should not be set to /");
        return FAILURE;
    }
    if !invocation.global.has("root") {
        invocation.global.push("root", default_root());
    }
    if invocation.global.has("systemd-cgroup") {
        invocation.global.push(SYSTEMD_SCOPE, String::new());
    }
    let result = match (answer, command) {
        (Some(Answer::Version), _) => print(&shapes::version()),
        (Some(Answer::Help), Some(command)) => print(&help::command(command)),
        (None, Some(command)) => execute(command, &mut invocation),
        (_, None) => print(&help::program()),
    };
    let error = match result {
        Ok(status) => return status & 0xff,
        Err(error) => error,
    };
    let name = command.map_or("", |command| command.name);
    journal.error(&explained(&error, name, &invocation));
    if name == "exec" { EXEC_FAILURE } else { FAILURE }
}

/// The words for an error. That there is no such container is said before anything else that is wrong, and where it is in
/// its life is part of what is said.
fn explained(error: &Error, command: &str, invocation: &Invocation) -> String {
    let id = invocation.positionals.first().map(String::as_str).unwrap_or_default();
    let asked = |phase| Asked { command, id, phase };
    if id.is_empty() || matches!(command, "create" | "run" | "restore") {
        return words::of(error, &asked(None));
    }
    match phase(&invocation.global, id) {
        Ok(phase) => words::of(error, &asked(Some(phase))),
        Err(missing) if missing.code() == Code::ContainerNotFound => words::of(&missing, &asked(None)),
        Err(_) => words::of(error, &asked(None)),
    }
}

fn phase(global: &Matches, id: &str) -> Result<Phase> {
    let root = StateRoot::new(PathBuf::from(global.value("root").unwrap_or_default()));
    Ok(libcrun::snapshot(&root, &libcrun::ContainerId::new(id)?)?.phase)
}

fn execute(command: &Command, invocation: &mut Invocation) -> Result<i32> {
    // What the commands have to say is said as an error, in the journal.
    let log = Log::new(&Invocation::default())?;
    let kept = match command.name {
        "exec" => process::prepare(&Context { invocation, log: &log })?,
        _ => None,
    };
    if let Some(file) = &kept {
        invocation.options.push("process", process::path(file));
    }
    if command.name == "exec" {
        invocation.options.push(LIMITS_OF_CONTAINER, String::new());
    }
    if command.name == "ps" && invocation.positionals.len() == 1 {
        invocation.positionals.push("-ef".to_owned());
    }
    let context = Context { invocation, log: &log };
    match command.name {
        "checkpoint" | "restore" => unsupported(&context, command.name),
        "features" => print(&shapes::features()),
        "list" => list(&context),
        "pause" | "resume" | "start" => {
            refuse_by_phase(
                command.name,
                phase(&invocation.global, context.positional(0).unwrap_or_default())?,
            )?;
            commands::dispatch(&context, command.name)
        }
        "ps" if context.value("format") == Some("json") => ps_json(&context),
        "spec" => spec(&context),
        "state" => print(&shapes::state(&state(&context, context.positional(0).unwrap_or_default())?)),
        name => commands::dispatch(&context, name),
    }
}

/// What `crun` takes for done already, and runc for a mistake.
fn refuse_by_phase(command: &str, phase: Phase) -> Result<()> {
    let is_right = match command {
        "pause" => matches!(phase, Phase::Created | Phase::Running),
        "resume" => phase == Phase::Paused,
        _ => phase != Phase::Paused,
    };
    // The words are a matter of the phase.
    if is_right { Ok(()) } else { Err(Error::new(Code::WrongState, "wrong state")) }
}

fn unsupported(context: &Context<'_>, command: &str) -> Result<i32> {
    if command == "checkpoint" {
        libcrun::snapshot(&context.root(), &context.id()?)?;
    }
    Err(Error::new(Code::Unsupported, format!("{command} is not supported by this version")))
}

fn state(context: &Context<'_>, id: &str) -> Result<State> {
    let (root, id) = (context.root(), libcrun::ContainerId::new(id)?);
    let annotations = libcrun::annotations(&root, &id)?;
    Ok(State::new(libcrun::snapshot(&root, &id)?, annotations))
}

fn list(context: &Context<'_>) -> Result<i32> {
    let ids = context.root().containers()?;
    if context.has("quiet") {
        return print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    let wants_json = context.wants_json("table")?;
    // One that is just being made or removed is no reason not to list the others.
    let states: Vec<_> = ids.iter().filter_map(|id| state(context, id.as_str()).ok()).collect();
    print(&if wants_json { shapes::list_json(&states) } else { shapes::list_table(&states) })
}

fn ps_json(context: &Context<'_>) -> Result<i32> {
    let pids = libcrun::processes(&context.root(), &context.id()?)?;
    let pids: Vec<_> = pids.into_iter().map(|pid| pid.as_raw_nonzero().get()).collect();
    print(&shapes::pids_json(&pids))
}

fn spec(context: &Context<'_>) -> Result<i32> {
    let unified = Host::new().cgroups().is_ok_and(|layout| layout.is_unified());
    let ids = context.has("rootless").then(|| [geteuid().as_raw(), getegid().as_raw()]);
    let path = Path::new(context.value("bundle").unwrap_or_default()).join("config.json");
    commands::spec::write(&path, &shapes::template(ids, unified)).map(|()| 0)
}

/// Where the state is when nothing else is said: an ordinary user's in the user's own directory, also for root of a
/// user namespace that still is somebody else by name.
fn default_root() -> String {
    let directory = std::env::var("XDG_RUNTIME_DIR").unwrap_or_default();
    let is_other = || std::env::var("USER").is_ok_and(|user| !user.is_empty() && user != "root");
    if !directory.is_empty() && (!geteuid().is_root() || (is_other() && is_in_user_namespace())) {
        return format!("{directory}/runc");
    }
    "/run/runc".to_owned()
}

/// Whether not all ids are there (`user_namespaces(7)`).
fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_already_is_refused() {
        for (command, phase, is_right) in [
            ("pause", Phase::Running, true),
            ("pause", Phase::Paused, false),
            ("pause", Phase::Stopped, false),
            ("resume", Phase::Paused, true),
            ("resume", Phase::Running, false),
            ("start", Phase::Created, true),
            ("start", Phase::Paused, false),
        ] {
            assert_eq!(refuse_by_phase(command, phase).is_ok(), is_right, "{command} {phase:?}");
        }
    }
}
