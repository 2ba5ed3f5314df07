//! Creating and running a container: the whole pipeline, and the guard that takes everything back when it fails.

mod attend;
mod company;
mod describe;
mod elsewhere;
mod given;
mod options;
mod removal;
mod status;
mod unit;
mod used;

pub use describe::describe;
pub(crate) use elsewhere::beside_own;
pub use options::{CreateOptions, Ended, RunMode};

use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use cgroups::Cgroup;
use cgroups::systemd::UnitStart;
use sys::clone::Namespaces;
use sys::signal::{SignalSet, set_mask};

use crate::error::{Code, Context, Error, Result};
use crate::foreground::{self, Adoption, Company};
use crate::hooks::Hooks;
use crate::host::Host;
use crate::id::ContainerId;
use crate::notify::Proxy;
use crate::pid_file;
use crate::pidfd_receiver::Receivers;
use crate::plan::{CgroupManager, Plan, Request};
use crate::prepare::{Beside, Prepared, Rung};
use crate::receiver::Connection;
use crate::self_protection;
use crate::spawn::{self, Spawned};
use crate::spec::Spec;
use crate::state::{StateDirectory, StateRoot};
use crate::terminal::Terminal;
use crate::timeline::Timeline;
use crate::warning::{self, Tell, Warnings};
use attend::attend;
use given::Given;

/// What a start has made so far. Dropped before [`Starting::keep`], it takes everything back, last things first.
struct Starting<'r> {
    root: &'r StateRoot,
    id: &'r ContainerId,
    directory: StateDirectory,
    /// Known from the beginning, or once systemd has made it.
    cgroup: OnceCell<Cgroup>,
    /// The connection over which systemd makes it.
    unit: RefCell<Option<UnitStart>>,
    unit_name: Option<String>,
    spawned: Option<Spawned>,
    terminal: Option<Terminal>,
    adoption: Option<Adoption>,
    hooks: Option<Rc<Hooks>>,
    proxy: Option<Proxy>,
    receivers: Receivers,
    has_own_pid_namespace: bool,
    kept: bool,
    timeline: Timeline,
}

impl<'r> Starting<'r> {
    fn new(
        (root, id): (&'r StateRoot, &'r ContainerId),
        directory: StateDirectory,
        plan: &Plan,
        terminal: Option<Terminal>,
        receivers: Receivers,
        timeline: &Timeline,
    ) -> Self {
        Self {
            root,
            id,
            directory,
            cgroup: OnceCell::new(),
            unit: RefCell::new(None),
            unit_name: plan.unit().map(|unit| unit.unit.name.clone()),
            spawned: None,
            terminal,
            adoption: None,
            hooks: None,
            proxy: None,
            receivers,
            has_own_pid_namespace: plan.namespaces.creates(Namespaces::PID),
            kept: false,
            timeline: timeline.clone(),
        }
    }

    /// What is to be told of what was made, once all is.
    fn warnings(&self, spec: &Spec<'_>) -> impl Iterator<Item = Error> {
        let resources = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref());
        let memory = self.cgroup.get().and_then(|cgroup| warning::kernel_memory(resources, cgroup));
        self.spawned.as_ref().and_then(Spawned::warning).into_iter().chain(memory)
    }

    fn keep(&mut self) {
        self.kept = true;
        if let Some(mut unit) = self.unit.take() {
            unit.keep();
        }
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.timeline.clone().look("takes everything back", || self.take_back());
    }
}

/// Creates a container and leaves its process waiting for [`crate::start`].
///
/// # Errors
/// Any; nothing is left of the container then.
pub fn create(root: &StateRoot, id: &ContainerId, options: &CreateOptions) -> Result<Warnings> {
    let mut warnings = Warnings::new();
    create_telling(root, id, options, &mut |warning| warnings.push(warning))?;
    Ok(warnings)
}

/// The same; who is told of a warning is told at once, also if the operation fails after that.
///
/// # Errors
/// Those of [`create`].
pub fn create_telling(
    root: &StateRoot,
    id: &ContainerId,
    options: &CreateOptions,
    tell: &mut dyn FnMut(Error),
) -> Result<()> {
    let before = set_mask(SignalSet::ALL).context(Code::System, || "block signals")?;
    let created = begin(root, id, options, Kind::Create, tell).map(|mut started| started.keep());
    set_mask(before).context(Code::System, || "restore the signal mask")?;
    created
}

/// Runs a container, until it has ended or was detached.
///
/// While it waits for a container without a pid namespace of its own in the foreground, the calling process is a
/// subreaper and waits for all children that end. With a terminal and no console socket the standard input of the calling
/// process is read and its standard output written meanwhile, and if they are a terminal, that hands on every key.
///
/// # Errors
/// Any; nothing is left of the container then.
pub fn run(root: &StateRoot, id: &ContainerId, options: &CreateOptions, mode: RunMode) -> Result<Ended> {
    Ended::of(|tell| run_telling(root, id, options, mode, tell))
}

/// The same; who is told of a warning is told at once, not when the container has ended. Returns its status.
///
/// # Errors
/// Those of [`run`].
pub fn run_telling(
    root: &StateRoot,
    id: &ContainerId,
    options: &CreateOptions,
    mode: RunMode,
    tell: &mut dyn FnMut(Error),
) -> Result<i32> {
    let before = set_mask(SignalSet::ALL).context(Code::System, || "block signals")?;
    let ended = run_blocked(root, id, options, mode, tell);
    set_mask(before).context(Code::System, || "restore the signal mask")?;
    ended
}

fn run_blocked(
    root: &StateRoot,
    id: &ContainerId,
    options: &CreateOptions,
    mode: RunMode,
    tell: &mut Tell<'_>,
) -> Result<i32> {
    let detached = mode == RunMode::Detached;
    let mut started = begin(root, id, options, Kind::Run { detached }, tell)?;
    started.keep();
    let RunMode::Foreground { keep } = mode else { return Ok(0) };
    let Some(spawned) = &started.spawned else { return Ok(0) };
    let master = started.terminal.take().and_then(Terminal::into_kept);
    let company = Company { adoption: started.adoption.as_ref(), proxy: started.proxy.as_ref(), master };
    let ended = started
        .timeline
        .measure_wait("waits for the container's end", || foreground::wait(spawned.child(), company))?;
    started.timeline.add_end_of_program();
    if keep {
        return ended.status();
    }
    options.timeline.measure("removal", || {
        let removed = started.remove(tell);
        options.timeline.look("let go of the rest", || drop(started));
        removed
    })?;
    ended.status()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Run { detached: bool },
}

impl Kind {
    fn is_detached(self) -> bool {
        !matches!(self, Self::Run { detached: false })
    }

    /// What makes it so.
    fn detached_by(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("create"),
            Self::Run { detached: true } => Some("--detach"),
            Self::Run { detached: false } => None,
        }
    }
}

/// The pipeline: spec → host → plan → prepare → spawn → init, and the state in between.
fn begin<'r>(
    root: &'r StateRoot,
    id: &'r ContainerId,
    options: &CreateOptions,
    kind: Kind,
    tell: &mut Tell<'_>,
) -> Result<Starting<'r>> {
    let timeline = &options.timeline;
    let given = timeline.measure("read the configuration", || Given::read(options))?;
    let (bundle, spec) = (given.bundle.as_path(), timeline.measure("parse", || given.spec())?);
    let notify_directory = root.notify_directory(id);
    let request = options.request(id, bundle, &notify_directory);
    let host = Host::new().with_timeline(timeline);
    let mut plan = timeline.measure("plan", || Plan::new(&spec, &request, &host))?;
    plan.warnings(&spec, &request).into_iter().for_each(&mut *tell);
    if let Some(path) = &options.pid_file {
        pid_file::check(path)?;
    }
    let terminal = Terminal::new(&plan.process, options.console_socket.as_deref(), kind.detached_by())?;

    let agent = Connection::open(&plan.process)?;
    let receivers = company::pidfd_receivers(&spec, options)?;
    let directory = timeline.measure("make the state directory", || root.create(id))?;
    let mut starting = Starting::new((root, id), directory, &plan, terminal, receivers, timeline);
    timeline.measure("keep the configuration", || {
        starting.directory.write_config(&used::used(&given.config, &plan.namespaces)?)
    })?;
    let without_cgroup = Request { cgroup_manager: CgroupManager::Disabled, ..request };
    let refused = timeline.measure("make the cgroup", || {
        starting
            .begin_cgroup_anywhere(&mut plan, &host, || Plan::without_filter(&spec, &without_cgroup, &host))
    })?;
    refused.as_ref().map(warning::no_cgroup).into_iter().for_each(&mut *tell);
    let fifo = if kind == Kind::Create { Some(starting.directory.create_fifo()?) } else { None };
    let report = starting.begin_hooks(&plan, kind)?;
    starting.begin_notify(options, kind)?;
    if kind == (Kind::Run { detached: false }) {
        starting.adoption = Adoption::begin(&plan.namespaces)?;
    }
    let beside = Beside {
        agent: agent.as_ref(),
        hooks: starting.hooks.clone(),
        report: report.as_ref().map(AsFd::as_fd),
        timeline,
    };
    let fifo = fifo.as_ref().map(AsFd::as_fd);
    make_process(&mut starting, &plan, options, (fifo, &beside), |starting| {
        attend(starting, &plan, bundle, kind, options.pid_file.as_deref())
    })?;
    starting.warnings(&spec).for_each(tell);
    if kind != Kind::Create {
        timeline.measure("poststart", || starting.finish_start(kind))?;
    }
    Ok(starting)
}

/// Acquires what the plan names, makes the container's process and sees it on its way by `attend`; once more where the
/// newest way into a mount namespace turns out not to be one for this container.
fn make_process(
    starting: &mut Starting<'_>,
    plan: &Plan,
    options: &CreateOptions,
    (fifo, beside): (Option<BorrowedFd<'_>>, &Beside<'_>),
    attend: impl Fn(&Starting<'_>) -> Result<()>,
) -> Result<()> {
    let mut rung = match &plan.hooks {
        // They look at the container's mounts from where the host's are still in sight.
        Some(hooks) if hooks.see_both_sides() => Rung::CopiedNamespace,
        _ => Rung::Newest,
    };
    loop {
        let cgroup = starting.cgroup.get();
        let timeline = &options.timeline;
        let prepared = timeline.measure("prepare", || {
            let protect = || self_protection::protect(&plan.namespaces);
            let executable_view = match options.self_protection {
                true => timeline.measure("view of the executable", protect)?,
                false => None,
            };
            Prepared::new(plan, cgroup, starting.root, rung, executable_view, beside)
        })?;
        starting.spawned = Some(spawn::spawn(&prepared, cgroup, fifo)?);
        let attended = timeline.measure("attend to init", || attend(starting));
        starting.tell(plan, &attended);
        let failure = starting.spawned.as_ref().and_then(Spawned::failure);
        let next = failure.and_then(|failure| prepared.next_rung(failure));
        timeline.look("let go of what was prepared", || drop(prepared));
        match next {
            Some(next) if attended.is_err() => rung = next,
            _ => return attended,
        }
        if let Some(spawned) = starting.spawned.take() {
            spawned.end();
        }
        starting.begin_unit_again(plan)?;
    }
}
