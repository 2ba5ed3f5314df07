//! Creating and running a container: the whole pipeline, and the guard that takes everything back when it fails.

mod company;
mod describe;
mod elsewhere;
mod given;
mod removal;
mod unit;
mod used;

pub use describe::describe;
pub(crate) use elsewhere::beside_own;

use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use cgroups::systemd::UnitStart;
use cgroups::{Cgroup, CgroupPath};
use rustix::fs::{CWD, readlinkat};
use rustix::process::Pid;
use sys::clone::Namespaces;
use sys::signal::{SignalSet, set_mask};

use crate::channel::Failure;
use crate::error::{Code, Context, Error, Result};
use crate::foreground::{self, Adoption, Company};
use crate::hooks::Hooks;
use crate::host::{Host, users};
use crate::id::ContainerId;
use crate::notify::Proxy;
use crate::pid_file;
use crate::pidfd_receiver::Receivers;
use crate::plan::{CgroupManager, CgroupPlan, Notify, Plan, Request};
use crate::prepare::{Beside, Prepared, Rung};
use crate::receiver::Connection;
use crate::report;
use crate::scheduling;
use crate::self_protection;
use crate::spawn::{self, Spawned};
use crate::spec::Spec;
use crate::state::{StateDirectory, StateRoot, Status, start_time};
use crate::terminal::Terminal;
use crate::timeline::{Timeline, of_container};
use crate::warning::{self, Tell, Warnings};
use given::Given;

/// How to create a container.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// The bundle directory.
    pub bundle: PathBuf,
    /// The configuration; `config.json` of the bundle unless another is given.
    pub config: Option<PathBuf>,
    /// A file that gets the pid of the container's process.
    pub pid_file: Option<PathBuf>,
    /// The socket that gets the terminal, if there is one. Without it the process in the foreground is attached to what
    /// the caller has as standard input and output.
    pub console_socket: Option<PathBuf>,
    /// How many descriptors from 3 on the process keeps.
    pub preserve_fds: u32,
    /// How many of these are sockets that systemd has passed: the process is told so (`sd_listen_fds(3)`).
    pub listen_fds: u32,
    /// Whether the process gets a session keyring of its own.
    pub new_keyring: bool,
    /// Whether the root is entered with `pivot_root(2)` (or else `chroot(2)`).
    pub pivot: bool,
    /// The socket of a service manager that waits for the container to be ready (`sd_notify(3)`). The program gets one of
    /// its own for saying so.
    pub notify_socket: Option<PathBuf>,
    /// A socket that gets a descriptor of the container's process (`pidfd_open(2)`).
    pub pidfd_socket: Option<PathBuf>,
    /// The socket of who answers for system calls that the seccomp profile leaves to somebody, where neither that nor an
    /// annotation says whom to ask.
    pub seccomp_receiver: Option<PathBuf>,
    /// Who manages the cgroup.
    pub cgroup_manager: CgroupManager,
    /// Whether the running executable is kept from the container (CVE-2019-5736). An embedder whose executable is not
    /// root's to lose may do without.
    pub self_protection: bool,
    /// Where it is noted what is done when.
    pub timeline: Timeline,
}

impl CreateOptions {
    /// The usual way to create the container of `bundle`.
    #[must_use]
    pub fn new(bundle: PathBuf) -> Self {
        Self {
            bundle,
            config: None,
            pid_file: None,
            console_socket: None,
            preserve_fds: 0,
            listen_fds: 0,
            new_keyring: true,
            pivot: true,
            notify_socket: None,
            pidfd_socket: None,
            seccomp_receiver: None,
            cgroup_manager: CgroupManager::default(),
            self_protection: true,
            timeline: Timeline::default(),
        }
    }
}

impl CreateOptions {
    fn request<'a>(
        &'a self,
        id: &'a ContainerId,
        bundle: &'a Path,
        notify_directory: &'a Path,
    ) -> Request<'a> {
        let notify = self.notify_socket.as_deref();
        Request {
            id,
            bundle,
            cgroup_manager: self.cgroup_manager,
            preserve_fds: self.preserve_fds,
            listen_fds: self.listen_fds,
            new_keyring: self.new_keyring,
            pivot: self.pivot,
            seccomp_receiver: self.seccomp_receiver.as_deref(),
            notify: notify.map(|socket| Notify { socket, directory: notify_directory }),
        }
    }
}

/// What becomes of a container that [`run`] has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// The caller waits until it ends; then it is removed unless it is to be kept.
    Foreground {
        /// Whether its state stays until it is deleted.
        keep: bool,
    },
    /// It is left to itself.
    Detached,
}

/// How a process ended that [`run`] or [`crate::exec`] has run.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status, 128 plus the signal that ended it, or 0 when it was detached.
    pub status: i32,
    /// What is to be told of its start, and of what came after its end.
    pub warnings: Warnings,
}

impl Ended {
    /// Collects what `operation` tells while it goes on.
    pub(crate) fn of(operation: impl FnOnce(&mut Tell<'_>) -> Result<i32>) -> Result<Self> {
        let mut warnings = Warnings::new();
        let status = operation(&mut |warning| warnings.push(warning))?;
        Ok(Self { status, warnings })
    }
}

/// What a start has made so far. Dropped before [`Starting::keep`], it takes everything back, last things first.
struct Starting {
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

impl Starting {
    fn new(
        directory: StateDirectory,
        plan: &Plan,
        terminal: Option<Terminal>,
        receivers: Receivers,
        timeline: &Timeline,
    ) -> Self {
        Self {
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

impl Drop for Starting {
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
        let removed = started.remove(root, id, tell);
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
fn begin(
    root: &StateRoot,
    id: &ContainerId,
    options: &CreateOptions,
    kind: Kind,
    tell: &mut Tell<'_>,
) -> Result<Starting> {
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
    let mut starting = Starting::new(directory, &plan, terminal, receivers, timeline);
    timeline.measure("keep the configuration", || {
        starting.directory.write_config(&used::used(&given.config, &plan.namespaces)?)
    })?;
    let without_cgroup = Request { cgroup_manager: CgroupManager::Disabled, ..request };
    let refused = timeline.measure("make the cgroup", || {
        starting.begin_cgroup_anywhere(&mut plan, root, &host, || {
            Plan::without_filter(&spec, &without_cgroup, &host)
        })
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
    make_process(&mut starting, &plan, root, options, (fifo, &beside), |starting| {
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
    starting: &mut Starting,
    plan: &Plan,
    root: &StateRoot,
    options: &CreateOptions,
    (fifo, beside): (Option<BorrowedFd<'_>>, &Beside<'_>),
    attend: impl Fn(&Starting) -> Result<()>,
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
            Prepared::new(plan, cgroup, root, rung, executable_view, beside)
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
        starting.begin_unit_again(plan, root)?;
    }
}

/// From the clone to the exec (or to the FIFO): does the parent's part while the child does its own, and makes sure
/// that the child gets there.
fn attend(
    starting: &Starting,
    plan: &Plan,
    bundle: &Path,
    kind: Kind,
    pid_file: Option<&Path>,
) -> Result<()> {
    let Some(spawned) = &starting.spawned else { return Ok(()) };
    let describe = |failure: Failure| report::container_failure(plan, failure);
    if let Err(error) = attend_outside(starting, plan, spawned, bundle, kind) {
        // Where the child has failed already, what it has to say is the cause, and that it is gone only the effect.
        spawned.give_up();
        return match spawned.make_ready(&[], starting.cgroup.get(), describe) {
            Err(cause) if cause.code() != Code::System => Err(cause),
            _ => Err(error),
        };
    }
    let cgroup = starting.cgroup.get();
    spawned.tell_attended();
    let timeline = &starting.timeline;
    let write = |path: &Path| timeline.measure("pid file", || pid_file::write(path, spawned.child().pid));
    let write_pid_file = || pid_file.map_or(Ok(()), write);
    let mut limits = plan.limits_from_outside();
    let delegation = plan.cgroup.as_ref().and_then(|cgroup| cgroup.delegation.as_ref());
    if kind == Kind::Create || delegation.is_some() || starting.terminal.is_some() {
        spawned.make_ready(std::mem::take(&mut limits), cgroup, describe)?;
        if let (Some(delegation), Some(cgroup)) = (delegation, cgroup) {
            let below = starting.cgroup_below_unit(plan)?;
            let cgroup = below.as_ref().unwrap_or(cgroup);
            timeline.measure("delegation", || {
                delegation.carry_out(cgroup, spawned.child().pid, plan.namespaces.id_maps.as_ref())
            })?;
        }
        if let Some(terminal) = &starting.terminal {
            timeline.measure("terminal", || terminal.take_over(spawned))?;
        }
    }
    if kind == Kind::Create {
        // Go comes last: a container whose creator is killed before is not to be left waiting for a start.
        write_pid_file()?;
        spawned.let_go();
        return Ok(());
    }
    spawned.execute(limits, cgroup, describe)?;
    // A filter may have kept the process from saying what failed.
    if plan.limits_memory() || plan.process.filter.is_some() {
        spawned.confirm_execution(cgroup)?;
    }
    write_pid_file()
}

/// The parent's part: everything about the process that is done from outside.
fn attend_outside(
    starting: &Starting,
    plan: &Plan,
    spawned: &Spawned,
    bundle: &Path,
    kind: Kind,
) -> Result<()> {
    let pid = spawned.child().pid;
    let timeline = &starting.timeline;
    if let Some(filter) = &plan.process.filter {
        // Before the status, which tells others that they can join.
        timeline.measure("keep the filter", || starting.directory.write_filter(&filter.to_bytes()))?;
    }
    let restrict_devices = || match (starting.cgroup.get(), &plan.cgroup) {
        (Some(cgroup), Some(planned)) if !starting.has_device_program() => {
            timeline.measure("device program", || Ok(cgroup.restrict_devices(&planned.device_rules)?))
        }
        _ => Ok(()),
    };
    let write_status =
        |status: &Status| timeline.measure("keep the status", || starting.directory.write_status(status));
    let path = |cgroup: &CgroupPlan| cgroup.path.clone();
    let mut status = status(plan, pid, bundle, kind, plan.cgroup.as_ref().map(path).as_ref())?;
    let at_once = starting.cgroup.get().is_none_or(Cgroup::restricts_devices_at_once);
    if !at_once {
        restrict_devices()?;
    }
    if plan.unit().is_some() {
        // Whatever becomes of this runtime, the unit is not lost: it can be found by what is written here.
        write_status(&status)?;
        timeline.measure("ask systemd for the unit", || starting.begin_unit(pid))?;
    }
    spawned.serve(plan, || starting.finish_cgroup(plan, pid))?;
    let unit_path = starting.finish_unit(plan)?;
    if plan.unit().is_none() || unit_path.as_ref().is_some_and(|path| status.change_path(path)) {
        write_status(&status)?;
    }
    if at_once {
        restrict_devices()?;
    }
    // Last, because it may slow down what the process is still doing.
    timeline.measure("scheduler and I/O priority", || scheduling::apply(&plan.process, pid))?;
    starting.run_early_hooks(plan, spawned)?;
    starting.receivers.send(spawned.child().pidfd.as_fd())
}

impl Starting {
    /// Adds to the timeline what init did, which has come as far as `attended` says.
    fn tell(&self, plan: &Plan, attended: &Result<()>) {
        let Some(spawned) = &self.spawned else { return };
        let outcome = || spawned.outcome(attended, &plan.process.name);
        let of = |step, index| of_container(plan, step, index);
        spawned.tell(|| format!("init ({})", self.directory.id()), outcome, &of);
    }
}

fn status(plan: &Plan, pid: Pid, bundle: &Path, kind: Kind, path: Option<&CgroupPath>) -> Result<Status> {
    let process_start_time = start_time(pid)
        .context(Code::State, || format!("read the start time of process {pid}"))?
        .unwrap_or_default();
    Ok(Status {
        pid: pid.as_raw_nonzero().get(),
        process_start_time,
        cgroup_path: path.filter(|path| !path.is_root()).map(CgroupPath::to_string).unwrap_or_default(),
        scope: Some(plan.unit().map(|unit| unit.unit.name.clone()).unwrap_or_default()),
        rootfs: plan.rootfs.given_path.clone(),
        systemd_cgroup: plan.unit().is_some(),
        bundle: bundle.to_string_lossy().into_owned(),
        created: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
        owner: owner(),
        detached: kind.is_detached(),
        later_hooks: Some(plan.hooks.as_ref().is_some_and(|hooks| hooks.come_later())),
        external_descriptors: Some(external_descriptors()),
    })
}

/// The name of the user the runtime works for.
fn owner() -> Option<String> {
    let uid = rustix::process::geteuid().as_raw();
    if uid == 0 {
        return Some("root".to_owned());
    }
    users::name_of(uid).or_else(|| Some(uid.to_string()))
}

/// What the standard descriptors are, for a later checkpoint.
fn external_descriptors() -> String {
    let links = ["/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"].map(|path| {
        let link = readlinkat(CWD, path, Vec::new()).unwrap_or_default();
        link.to_string_lossy().into_owned()
    });
    serde_json::to_string(&links).unwrap_or_default()
}
