//! The commands: each turns its options into a call of the library and prints the answer.

mod check;
pub(crate) mod create;
mod events;
mod exec;
mod explain;
mod inspect;
mod mounts;
mod plan;
mod ps;
mod seccomp;
mod signal;
pub(crate) mod spec;
mod update;

use std::io::Write;
use std::path::{Path, PathBuf};

use libcrun::{CgroupManager, Code, ContainerId, Error, Result, StateRoot};

use crate::failed;
use crate::log::Log;
use crate::runc;
use cli::args::Invocation;

/// What every command gets.
pub(crate) struct Context<'a> {
    pub(crate) invocation: &'a Invocation,
    pub(crate) log: &'a Log,
}

/// The version that is printed and reported.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, when the build says so (`cargo xtask build` does).
pub(crate) const COMMIT: &str = match option_env!("CRUN_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Runs the command; returns the exit status.
pub(crate) fn run(invocation: &Invocation, log: &Log) -> Result<i32> {
    let context = Context { invocation, log };
    let Some(command) = invocation.command else {
        return print(&version(&context));
    };
    // What an unset variable leaves of `--root=$DIR` must not become the current directory.
    if invocation.global.value("root") == Some("") {
        return Err(Error::os(Code::System, "stat ``", rustix::io::Errno::NOENT));
    }
    // Wrong for every command, also for those that make no cgroup.
    context.cgroup_manager()?;
    dispatch(&context, command.name)
}

/// Runs the command of that name.
pub(crate) fn dispatch(context: &Context<'_>, name: &str) -> Result<i32> {
    // By a pointer, so that each stays a function: the code of one does not become resident with that of another.
    let perform: fn(&Context<'_>) -> Result<i32> = match name {
        "check" => check::check,
        "create" => create::create,
        "delete" => signal::delete,
        "events" => events::events,
        "exec" => exec::exec,
        "explain" => explain::explain,
        "features" => inspect::features,
        "kill" => signal::kill,
        "list" => inspect::list,
        "mounts" => mounts::mounts,
        "pause" => signal::pause,
        "plan" => plan::plan,
        "ps" => ps::ps,
        "resume" => signal::resume,
        "run" => create::run,
        "seccomp" => seccomp::seccomp,
        "spec" => spec::spec,
        "start" => create::start,
        "state" => inspect::state,
        "update" => update::update,
        name => return Err(Error::new(Code::Unsupported, format!("unknown command {name}"))),
    };
    perform(context)
}

impl Context<'_> {
    /// Where the state of the containers is.
    pub(crate) fn root(&self) -> StateRoot {
        state_root(self.invocation)
    }

    /// The container the command is about.
    pub(crate) fn id(&self) -> Result<ContainerId> {
        ContainerId::new(self.positional(0).unwrap_or_default())
    }

    pub(crate) fn positional(&self, index: usize) -> Option<&str> {
        self.invocation.positionals.get(index).map(String::as_str)
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        self.invocation.options.has(option)
    }

    pub(crate) fn value(&self, option: &str) -> Option<&str> {
        self.invocation.options.value(option)
    }

    /// Whether the output is to be JSON and not in the other format of the command.
    pub(crate) fn wants_json(&self, or: &str) -> Result<bool> {
        match self.value("format") {
            None => Ok(false),
            Some("json") => Ok(true),
            Some(other) if other == or => Ok(false),
            Some(other) => Err(Error::new(Code::InvalidOption, format!("invalid format `{other}`"))),
        }
    }

    /// How many descriptors from 3 on are passed on: those that systemd has passed, and those of `--preserve-fds`.
    pub(crate) fn preserved_descriptors(&self) -> Result<u32> {
        let given = self.value("preserve-fds").map_or(Ok(0), |text| count("--preserve-fds", text))?;
        Ok(given.saturating_add(listening_descriptors()?))
    }

    pub(crate) fn cgroup_manager(&self) -> Result<CgroupManager> {
        let global = &self.invocation.global;
        if global.has(runc::SYSTEMD_SCOPE) {
            return Ok(CgroupManager::SystemdScope);
        }
        let name =
            if global.has("systemd-cgroup") { Some("systemd") } else { global.value("cgroup-manager") };
        match name {
            None | Some("cgroupfs") => Ok(CgroupManager::Cgroupfs),
            Some("disabled") => Ok(CgroupManager::Disabled),
            Some("systemd") => Ok(CgroupManager::Systemd),
            Some(_) => Err(Error::new(Code::InvalidOption, "unknown cgroup manager specified")),
        }
    }
}

/// Where a command looks for containers.
pub(crate) fn state_root(invocation: &Invocation) -> StateRoot {
    let given = invocation.global.value("root").map(PathBuf::from);
    StateRoot::new(given.unwrap_or_else(StateRoot::default_path))
}

/// The socket of a service manager that waits for the container to be ready (`sd_notify(3)`).
pub(crate) fn notify_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()).map(PathBuf::from)
}

/// How many descriptors systemd has passed (`sd_listen_fds(3)`).
pub(crate) fn listening_descriptors() -> Result<u32> {
    match std::env::var("LISTEN_FDS") {
        Ok(text) if !text.is_empty() => count("LISTEN_FDS", &text),
        _ => Ok(0),
    }
}

/// Who answers for system calls, where the container does not say.
pub(crate) fn seccomp_receiver() -> Option<PathBuf> {
    std::env::var_os("RUN_OCI_SECCOMP_RECEIVER").filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn count(name: &str, text: &str) -> Result<u32> {
    text.parse().map_err(|_| Error::new(Code::InvalidOption, format!("{name}: `{text}` is not a number")))
}

/// What is in the file; `-` is the standard input.
pub(crate) fn read(file: &str) -> Result<Vec<u8>> {
    match file {
        "-" => libcrun::input::read_stdin(),
        file => libcrun::input::read_file(Path::new(file)),
    }
}

/// Prints an answer. That the reader has gone away is a failure like any other.
pub(crate) fn print(text: &str) -> Result<i32> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(0),
        Err(error) => Err(failed("write to the standard output", &error)),
    }
}

fn version(context: &Context<'_>) -> String {
    let root = context.root();
    format!(
        "crun version {VERSION}\ncommit: {COMMIT}\nrundir: {}\nspec: 1.0.0\n+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF\n",
        root.path().display()
    )
}
