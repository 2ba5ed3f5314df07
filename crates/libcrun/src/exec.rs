//! Running another process in a container.
//!
//! The same pipeline as for a container, with namespaces that are joined and nothing to be mounted: the process plan
//! ([`plan`]), one clone into the container's cgroup, and the same last steps of init ([`joining`]).

mod cgroup;
mod joining;
mod namespaced;
mod options;
mod plan;

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use cgroups::Cgroup;
use sys::clone::Namespaces;
use sys::signal::{SignalSet, set_mask};

use crate::container::Container;
use crate::create::Ended;
use crate::error::{Code, Context, Error, Result, words};
use crate::explain;
use crate::foreground::{self, Company};
use crate::id::ContainerId;
use crate::pid_file;
use crate::pidfd_receiver::{self, Receivers};
use crate::plan::ProcessPlan;
use crate::prepare::PreparedProcess;
use crate::prepare::terminal::HostTerminal;
use crate::receiver::Connection;
use crate::report;
use crate::scheduling;
use crate::self_protection::{self, Protection};
use crate::spawn::Spawned;
use crate::spec;
use crate::state::StateRoot;
use crate::terminal::Terminal;
use crate::timeline::of_process;
use cgroup::Home;
use joining::{Joined, Joining};
use namespaced::Namespaced;
pub use options::ExecOptions;

/// How long the container may take to end by a signal that has ended another of its processes.
const MOMENT: Duration = Duration::from_millis(100);

/// Runs a process in a running container. Returns its status as [`crate::run`] does, or 0 when it was detached. What is
/// said there of a terminal holds here, too.
///
/// # Errors
/// When the container does not run, or the process cannot be started.
pub fn exec(root: &StateRoot, id: &ContainerId, options: &ExecOptions) -> Result<Ended> {
    Ended::of(|tell| exec_telling(root, id, options, tell))
}

/// The same; who is told of a warning is told at once, not when the process has ended. Returns its status.
///
/// # Errors
/// Those of [`exec`].
pub fn exec_telling(
    root: &StateRoot,
    id: &ContainerId,
    options: &ExecOptions,
    tell: &mut dyn FnMut(Error),
) -> Result<i32> {
    let timeline = &options.timeline;
    let container = timeline.measure("read the state", || Container::open(root, id))?;
    let pidfd = container.open_running()?;
    let mut home = Home::new(&container).map_err(|error| why_not(&container, error))?;
    if home.is_frozen() && !options.ignore_paused {
        return Err(words::exec_paused(id.as_str()));
    }
    let config = timeline.measure("read the configuration", || container.directory.read_config())?;
    let spec =
        timeline.measure("parse", || spec::parse(&config, &container.directory.file("config.json")))?;
    let (plan, namespaces) = timeline.measure("plan", || {
        let mut plan = plan::plan(&spec, options)?;
        plan.filter = plan::saved_filter(&container, &spec, options)?;
        let namespaces = Namespaced::new(&container, &spec, &mut plan)?;
        home.choose(&options.cgroups)?;
        Ok((plan, namespaces))
    })?;
    plan.warning().into_iter().for_each(tell);
    let joined = Joined { container: &container, spec: &spec, pidfd, namespaces, timeline };
    let before = set_mask(SignalSet::ALL).context(Code::System, || "block signals")?;
    let status = run(joined, home, &plan, options);
    set_mask(before).context(Code::System, || "restore the signal mask")?;
    status
}

fn run(joined: Joined<'_>, mut home: Home<'_>, plan: &ProcessPlan, options: &ExecOptions) -> Result<i32> {
    // Other processes of the container see this one from the clone on.
    let timeline = &options.timeline;
    let has_users = joined.namespaces.kinds.contains(Namespaces::USER);
    let mut protection = match options.self_protection {
        true => timeline.measure("view of the executable", || self_protection::protect_joining(has_users))?,
        false => Protection::default(),
    };
    let detached_by = options.detach.then_some("--detach");
    let terminal = Terminal::new(plan, options.console_socket.as_deref(), detached_by)?;
    let host_terminal = HostTerminal::new(plan)?;
    let agent = Connection::open(plan)?;
    let pidfd_socket = options.pidfd_socket.as_deref();
    let receivers = Receivers::connect([(pidfd_socket, pidfd_receiver::LATER)])?;
    let process = |env, proc| PreparedProcess {
        plan,
        env,
        executable_view: protection.view.take(),
        host_terminal,
        proc,
        agent: agent.as_ref(),
        hooks: None,
        report: None,
    };
    let container = joined.container;
    let why = |error| why_not(container, error);
    let joining = timeline.measure("prepare", || Joining::new(joined, plan, process)).map_err(why)?;
    let spawned = home.make(|cgroup| joining.spawn_in(cgroup)).map_err(why)?;
    let started = timeline.measure("attend to the process", || {
        attend(&spawned, &joining, home.cgroup(), terminal.as_ref())?;
        receivers.send(spawned.child().pidfd.as_fd())?;
        options.pid_file.as_deref().map_or(Ok(()), |path| pid_file::write(path, spawned.child().pid))
    });
    let of = |step, index| of_process(plan, step, index);
    spawned.tell(|| format!("exec ({})", container.id), || spawned.outcome(&started, &plan.name), &of);
    if let Err(error) = started {
        spawned.end_soon();
        // One that was killed without a word was perhaps the first of the container's processes to notice that all are.
        if spawned.failure().is_none() {
            foreground::ends_within(&joining.pidfd, MOMENT);
        }
        let root = format!("/proc/{}/root", container.status.pid);
        return Err(why(explain::program_failed(error, Path::new(&root))));
    }
    // Not open for as long as the process runs: its agent may wait for the end of what is said.
    drop(joining);
    drop(agent);
    drop(protection);
    if options.detach {
        return Ok(0);
    }
    let master = terminal.and_then(Terminal::into_kept);
    let company = Company { master, ..Company::default() };
    let ended =
        timeline.measure_wait("waits for the process' end", || foreground::wait(spawned.child(), company))?;
    timeline.add_end_of_program();
    ended.status()
}

/// The error for what could not be done, perhaps only because the container ends.
fn why_not(container: &Container, error: Error) -> Error {
    if container.is_ending() { words::exec_not_running(container.id.as_str()) } else { error }
}

/// The parent's part.
fn attend(
    spawned: &Spawned,
    joining: &Joining<'_>,
    cgroup: Option<&Cgroup>,
    terminal: Option<&Terminal>,
) -> Result<()> {
    let plan = joining.process.plan;
    // It stands still for as long as the container is paused.
    spawned.end_on(foreground::ending_signals()?);
    scheduling::apply(plan, spawned.child().pid)?;
    let mut limits = if joining.is_in_user_namespace() { plan.rlimits.as_slice() } else { &[] };
    let describe = |failure| report::process_failure(plan, failure);
    if let Some(terminal) = terminal {
        spawned.make_ready(std::mem::take(&mut limits), cgroup, describe)?;
        terminal.take_over(spawned)?;
    }
    spawned.execute(limits, cgroup, describe)?;
    // A filter may have kept the process from saying what failed.
    if plan.filter.is_some() { spawned.confirm_execution(cgroup) } else { Ok(()) }
}
