//! The commands: each turns its options into a call of the library and prints the answer.

mod create;
mod events;
mod exec;
mod inspect;
mod mounts;
mod ps;
mod seccomp;
mod signal;
mod spec;
mod update;

use std::io::Write;
use std::path::{Path, PathBuf};

use libcrun::{CgroupManager, Code, ContainerId, Error, Result, StartOptions, StateRoot};

use crate::log::Log;
use crate::trace::traced;
use cli::args::Invocation;
use cli::help;

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
    let global = &invocation.global;
    let Some(command) = invocation.command else {
        return print(&if global.has("version") { version(&context) } else { help::program() });
    };
    if invocation.options.has("help") {
        return print(&help::command(command));
    }
    if invocation.options.has("usage") {
        return print(&format!("{}\n", help::usage(command)));
    }
    // A name nobody knows is wrong for every command; one this version cannot use only for those that make cgroups.
    if let Err(error) = context.cgroup_manager()
        && error.code() != Code::Unsupported
    {
        return Err(error);
    }
    match command.name {
        "create" => create::create(&context),
        "delete" => signal::delete(&context),
        "events" => events::events(&context),
        "exec" => exec::exec(&context),
        "features" => inspect::features(),
        "kill" => signal::kill(&context),
        "list" => inspect::list(&context),
        "mounts" => mounts::mounts(&context),
        "pause" => libcrun::pause(&context.root(), &context.id()?).map(|()| 0),
        "ps" => ps::ps(&context),
        "resume" => libcrun::resume(&context.root(), &context.id()?).map(|()| 0),
        "run" => create::run(&context),
        "seccomp" => seccomp::seccomp(&context),
        "spec" => spec::spec(&context),
        "start" => {
            let (root, id, notify_socket) = (context.root(), context.id()?, notify_socket());
            traced(&context, |timeline| {
                let options = StartOptions { notify_socket, timeline };
                libcrun::start_with(&root, &id, &options).map(|()| 0)
            })
        }
        "state" => inspect::state(&context),
        "update" => update::update(&context),
        name => Err(Error::new(Code::Unsupported, format!("unknown command {name}"))),
    }
}

impl Context<'_> {
    /// Where the state of the containers is.
    pub(crate) fn root(&self) -> StateRoot {
        let given = self.invocation.global.value("root").map(PathBuf::from);
        StateRoot::new(given.unwrap_or_else(StateRoot::default_path))
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

    /// Whether the output is to be JSON.
    pub(crate) fn wants_json(&self) -> Result<bool> {
        match self.value("format") {
            None | Some("table") => Ok(false),
            Some("json") => Ok(true),
            Some(other) => Err(Error::new(Code::InvalidConfig, format!("invalid format `{other}`"))),
        }
    }

    /// How many descriptors from 3 on are passed on: those that systemd has passed, and those of `--preserve-fds`.
    pub(crate) fn preserved_descriptors(&self) -> Result<u32> {
        let given = self.value("preserve-fds").map_or(Ok(0), |text| count("--preserve-fds", text))?;
        Ok(given.saturating_add(listening_descriptors()?))
    }

    pub(crate) fn cgroup_manager(&self) -> Result<CgroupManager> {
        let global = &self.invocation.global;
        let name =
            if global.has("systemd-cgroup") { Some("systemd") } else { global.value("cgroup-manager") };
        match name {
            None | Some("cgroupfs") => Ok(CgroupManager::Cgroupfs),
            Some("disabled") => Ok(CgroupManager::Disabled),
            Some("systemd") => Ok(CgroupManager::Systemd),
            Some(_) => Err(Error::new(Code::InvalidConfig, "unknown cgroup manager specified")),
        }
    }
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
    text.parse().map_err(|_| Error::new(Code::InvalidConfig, format!("{name}: `{text}` is not a number")))
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
        Err(error) => Err(Error::new(Code::System, format!("write to the standard output: {error}"))),
    }
}

fn version(context: &Context<'_>) -> String {
    let root = context.root();
    format!(
        "crun version {VERSION}\ncommit: {COMMIT}\nrundir: {}\nspec: 1.0.0\n+SYSTEMD +CAP +SECCOMP +EBPF\n",
        root.path().display()
    )
}
