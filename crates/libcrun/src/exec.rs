//! Running another process in a container.
//!
//! The same pipeline as for a container, with namespaces that are joined and nothing to be mounted: the process plan,
//! one clone into the container's cgroup, and the same last steps of init.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cgroups::Cgroup;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use sys::clone::Namespaces;
use sys::exec::StringArray;
use sys::signal::{SignalSet, set_mask};

use crate::channel::{At, Failure, InitEnd, Step, ToInit};
use crate::clone::{ForChildren, clone_into};
use crate::container::{Container, Phase};
use crate::error::{Code, Context, Error, Result, words};
use crate::exec_cgroup::Home;
use crate::foreground::{self, Company};
use crate::home;
use crate::host::Host;
use crate::id::ContainerId;
use crate::init::{Placement, binding, credentials, filter, labels, launch, terminal};
use crate::input;
use crate::oom_score::OwnScore;
use crate::pid_file;
use crate::pidfd_receiver::{self, Receivers};
use crate::plan::{
    FilterPlan, FilterSubject, MemoryPolicy, ProcessPlan, SetUpIds, keeps_groups, namespace_type,
    personality, process_plan,
};
use crate::prepare::PreparedProcess;
use crate::prepare::terminal::HostTerminal;
use crate::procfs::ProcFs;
use crate::receiver::Connection;
use crate::relay::{self, Relay, Users};
use crate::report;
use crate::scheduling;
use crate::self_protection;
use crate::spawn::{Observed, Spawned};
use crate::spec::{self, Spec, Text, User};
use crate::state::StateRoot;
use crate::terminal::Terminal;
use crate::timeline::{Room, Timeline, of_process};
use crate::user_namespace;

/// What to run, where it differs from the container's own process.
#[derive(Debug, Clone)]
pub struct ExecOptions {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Variables that are added to the container's or replace those of the same name, `NAME=value`.
    pub env: Vec<String>,
    /// The directory to start in.
    pub cwd: Option<String>,
    /// User and group.
    pub user: Option<(u32, u32)>,
    /// Capabilities that are added to all sets but the inheritable one.
    pub capabilities: Vec<String>,
    /// Whether `execve(2)` may give no more privileges, whatever the container's own process is allowed.
    pub no_new_privileges: bool,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// The AppArmor profile, if it is not to be the container's.
    pub apparmor_profile: Option<String>,
    /// The SELinux label, if it is not to be the container's.
    pub selinux_label: Option<String>,
    /// A file with a process object, instead of all of the above.
    pub process: Option<PathBuf>,
    /// A file that gets the pid of the process.
    pub pid_file: Option<PathBuf>,
    /// As for [`crate::CreateOptions`].
    pub console_socket: Option<PathBuf>,
    /// A socket that gets a descriptor of the process (`pidfd_open(2)`).
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on the process keeps.
    pub preserve_fds: u32,
    /// Whether not to wait for the process.
    pub detach: bool,
    /// The cgroup below the container's to run in; with v1 hierarchies also several, for a part of them each:
    /// `[CONTROLLER[,CONTROLLER...]:]PATH`.
    pub cgroups: Vec<String>,
    /// As for [`crate::CreateOptions`].
    pub seccomp_receiver: Option<PathBuf>,
    /// As for [`crate::CreateOptions`]. A program with several threads can only be kept from the container by being
    /// executed through a read-only mount.
    pub self_protection: bool,
    /// As for [`crate::CreateOptions`].
    pub timeline: Timeline,
}

impl Default for ExecOptions {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            user: None,
            capabilities: Vec::new(),
            no_new_privileges: false,
            terminal: false,
            apparmor_profile: None,
            selinux_label: None,
            process: None,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            preserve_fds: 0,
            detach: false,
            cgroups: Vec::new(),
            seccomp_receiver: None,
            self_protection: true,
            timeline: Timeline::default(),
        }
    }
}

/// Runs a process in a running container. Returns its status as [`crate::run`] does, or 0 when it was detached. What is
/// said there of a terminal holds here, too.
///
/// # Errors
/// When the container does not run, or the process cannot be started.
pub fn exec(root: &StateRoot, id: &ContainerId, options: &ExecOptions) -> Result<i32> {
    let timeline = &options.timeline;
    let container = timeline.measure("read the state", || Container::open(root, id))?;
    match container.phase()? {
        Phase::Stopped => return Err(words::exec_not_running(id.as_str())),
        Phase::Paused => return Err(words::exec_paused(id.as_str())),
        Phase::Created | Phase::Running => {}
    }
    let config = timeline.measure("read the configuration", || container.directory.read_config())?;
    let spec =
        timeline.measure("parse", || spec::parse(&config, &container.directory.file("config.json")))?;
    let (plan, namespaces) = timeline.measure("plan", || {
        let mut plan = plan(&spec, options)?;
        plan.filter = saved_filter(&container, &spec, options)?;
        let namespaces = Namespaced::new(&container, &spec, &mut plan)?;
        Ok((plan, namespaces))
    })?;
    let before = set_mask(SignalSet::ALL).context(Code::System, || "block signals")?;
    let status = run(&container, &spec, &plan, namespaces, options);
    set_mask(before).context(Code::System, || "restore the signal mask")?;
    status
}

/// The filter of the container, as it was loaded then, so that it is not made anew.
fn saved_filter(container: &Container, spec: &Spec<'_>, options: &ExecOptions) -> Result<Option<FilterPlan>> {
    if !FilterPlan::is_asked_for(spec) {
        return Ok(None);
    }
    let subject = FilterSubject {
        id: &container.id,
        bundle: Path::new(&container.status.bundle),
        status: "running",
        receiver: options.seccomp_receiver.as_deref(),
    };
    FilterPlan::of_saved(spec, &container.directory.read_filter()?, subject).map(Some)
}

/// The process: an object of its own, or the container's with changes.
fn plan(spec: &Spec<'_>, options: &ExecOptions) -> Result<ProcessPlan> {
    let own = spec.process.as_ref();
    let Some(path) = &options.process else {
        let mut process = container_process(own);
        apply_options(&mut process, own, options);
        label(&mut process, own, options);
        return finish(&process, spec, options);
    };
    let text = input::read_file(path)?;
    let mut process = spec::parse_process(&text, &path.to_string_lossy())?;
    if process.env.is_none() {
        process.env = own.and_then(|own| own.env.clone());
    }
    if process.user.is_none() {
        process.user = own.and_then(|own| own.user.clone());
    }
    if process.exec_cpu_affinity.is_none() {
        process.exec_cpu_affinity = own.and_then(|own| own.exec_cpu_affinity.clone());
    }
    label(&mut process, own, options);
    finish(&process, spec, options)
}

/// The container's own process without its program.
fn container_process<'a>(own: Option<&spec::Process<'a>>) -> spec::Process<'a> {
    let Some(own) = own else { return spec::Process::default() };
    spec::Process {
        user: own.user.clone(),
        env: own.env.clone(),
        cwd: own.cwd.clone(),
        no_new_privileges: own.no_new_privileges,
        scheduler: own.scheduler.clone(),
        io_priority: own.io_priority.clone(),
        exec_cpu_affinity: own.exec_cpu_affinity.clone(),
        ..spec::Process::default()
    }
}

fn apply_options<'a>(
    process: &mut spec::Process<'a>,
    own: Option<&spec::Process<'a>>,
    options: &'a ExecOptions,
) {
    process.args = Some(options.args.iter().map(|arg| Text::from(arg.as_str())).collect());
    let env = process.env.get_or_insert_default();
    for variable in &options.env {
        let name = variable.split('=').next().unwrap_or_default();
        env.retain(|known| known.split('=').next() != Some(name));
        env.push(Text::from(variable.as_str()));
    }
    if let Some(cwd) = &options.cwd {
        process.cwd = Some(Text::from(cwd.as_str()));
    }
    if let Some((uid, gid)) = options.user {
        let umask = own.and_then(|own| own.user.as_ref()).and_then(|user| user.umask);
        process.user = Some(User { uid, gid, umask, additional_gids: None });
    }
    if options.no_new_privileges {
        process.no_new_privileges = Some(true);
    }
    process.terminal = Some(options.terminal);
}

/// A process beside a confined one is confined alike, unless it says otherwise itself.
fn label<'a>(process: &mut spec::Process<'a>, own: Option<&spec::Process<'a>>, options: &'a ExecOptions) {
    let choose = |option: &'a Option<String>, given: &mut Option<Text<'a>>, own: Option<&Text<'a>>| {
        if let Some(label) = option {
            *given = Some(Text::from(label.as_str()));
        } else if given.is_none() {
            *given = own.cloned();
        }
    };
    let profile = own.and_then(|own| own.apparmor_profile.as_ref());
    choose(&options.apparmor_profile, &mut process.apparmor_profile, profile);
    let label = own.and_then(|own| own.selinux_label.as_ref());
    choose(&options.selinux_label, &mut process.selinux_label, label);
}

fn finish(process: &spec::Process<'_>, spec: &Spec<'_>, options: &ExecOptions) -> Result<ProcessPlan> {
    let mut plan = process_plan(process, options.preserve_fds, &Host::new())?;
    plan.memory_policy = MemoryPolicy::of(spec.linux.as_ref())?;
    if let Some(terminal) = &mut plan.terminal {
        terminal.settle(spec);
    }
    plan.personality = personality(spec.linux.as_ref())?;
    if process.capabilities.is_none() {
        let own = spec.process.as_ref().and_then(|own| own.capabilities.as_ref());
        plan.capabilities = crate::capabilities::Sets::from_spec(own)?;
    }
    for name in &options.capabilities {
        let bit = 1 << crate::capabilities::number(name)?;
        let sets = &mut plan.capabilities;
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted, &mut sets.ambient] {
            *set |= bit;
        }
    }
    Ok(plan)
}

/// What the joining process needs, acquired before it exists.
struct Joining<'p> {
    pidfd: OwnedFd,
    namespaces: Namespaced,
    /// The container's root directory, for a container that shares the mount namespace.
    root: Option<OwnedFd>,
    process: PreparedProcess<'p>,
    /// The name of its session keyring: with the caller's it would hold the caller's keys.
    keyring: CString,
    timeline: &'p Timeline,
}

fn run(
    container: &Container,
    spec: &Spec<'_>,
    plan: &ProcessPlan,
    namespaces: Namespaced,
    options: &ExecOptions,
) -> Result<i32> {
    // Other processes of the container see this one from the clone on.
    let timeline = &options.timeline;
    let has_users = namespaces.kinds.contains(Namespaces::USER);
    let executable_view = match options.self_protection {
        true => timeline.measure("view of the executable", || self_protection::protect_joining(has_users))?,
        false => None,
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
        executable_view,
        host_terminal,
        proc,
        agent: agent.as_ref(),
        hooks: None,
        report: None,
    };
    let (joining, mut home) = timeline.measure("prepare", || {
        let joining = Joining::new(container, spec, plan, (namespaces, timeline), process)?;
        Ok((joining, Home::new(container, &options.cgroups)?))
    })?;
    let spawned = home.make(|cgroup| joining.spawn_in(cgroup))?;
    let started = timeline.measure("attend to the process", || {
        attend(&spawned, &joining, home.cgroup(), terminal.as_ref())?;
        receivers.send(spawned.child().pidfd.as_fd())?;
        options.pid_file.as_deref().map_or(Ok(()), |path| pid_file::write(path, spawned.child().pid))
    });
    let of = |step, index| of_process(plan, step, index);
    spawned.tell(|| format!("exec ({})", container.id), || spawned.outcome(&started, &plan.name), &of);
    if let Err(error) = started {
        spawned.end();
        return Err(error);
    }
    // Not open for as long as the process runs: its agent may wait for the end of what is said.
    drop(joining);
    drop(agent);
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

/// The namespaces that the container does not share with the runtime.
fn namespaces(container: &Container, spec: &Spec<'_>) -> Namespaces {
    let entries = spec.linux.as_ref().and_then(|linux| linux.namespaces.as_deref()).unwrap_or_default();
    let configured = entries.iter().filter_map(|entry| namespace_type(&entry.kind));
    configured.chain(container.is_an_ordinary_users().then_some(Namespaces::USER)).collect()
}

/// The namespaces a process enters, and who it is there before it becomes who it is to be.
#[derive(Debug, Clone, Copy)]
struct Namespaced {
    kinds: Namespaces,
    set_up: SetUpIds,
    /// Whether it is a process in between that joins the user namespace: only from there an ordinary user may join that of
    /// pids.
    user_by_relay: bool,
}

impl Namespaced {
    /// Makes sure, too, that the user namespace has the ids of the process.
    fn new(container: &Container, spec: &Spec<'_>, process: &mut ProcessPlan) -> Result<Self> {
        let mut kinds = namespaces(container, spec);
        if keeps_groups(spec) {
            process.groups = None;
        }
        if !kinds.contains(Namespaces::USER) {
            process.own_terminal(None);
            return Ok(Self { kinds, set_up: SetUpIds::default(), user_by_relay: false });
        }
        let path = format!("/proc/{}/ns/user", container.status.pid);
        if user_namespace::is_own(Path::new(&path)) {
            kinds -= Namespaces::USER;
        }
        let namespace =
            user_namespace::at(Path::new(&path)).ok_or_else(|| match container.directory.has_fifo() {
                true => not_started(container),
                false => words::exec_not_running(container.id.as_str()),
            })?;
        process.settle_in(&namespace)?;
        process.own_terminal(kinds.contains(Namespaces::USER).then_some(&namespace));
        let set_up = SetUpIds::new(&namespace.maps, process.uid, process.gid);
        let user_by_relay =
            kinds.contains(Namespaces::PID | Namespaces::USER) && !rustix::process::geteuid().is_root();
        Ok(Self { kinds, set_up, user_by_relay })
    }
}

/// A container with a new mount namespace has made its root that namespace's; any other was put into a root directory.
fn has_new_mount_namespace(spec: &Spec<'_>) -> bool {
    let entries = spec.linux.as_ref().and_then(|linux| linux.namespaces.as_deref()).unwrap_or_default();
    let is_new = |path: Option<&str>| path.is_none_or(str::is_empty);
    entries.iter().any(|entry| &*entry.kind == "mount" && is_new(entry.path.as_deref()))
}

impl<'p> Joining<'p> {
    fn new(
        container: &Container,
        spec: &Spec<'_>,
        plan: &ProcessPlan,
        (namespaces, timeline): (Namespaced, &'p Timeline),
        process: impl FnOnce(StringArray, Option<ProcFs>) -> PreparedProcess<'p>,
    ) -> Result<Self> {
        let pidfd = container.open_process().map_err(|_| words::exec_not_running(container.id.as_str()))?;
        let root_path = format!("/proc/{}/root", container.status.pid);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, &root_path, flags, Mode::empty())
            .context(Code::Namespace, || format!("open `{root_path}`"))
            .map_err(|error| match error.errno() {
                Some(Errno::ACCESS) if container.directory.has_fifo() => not_started(container),
                _ => error,
            })?;
        let env = home::environment(plan, root.as_fd()).context(Code::InvalidConfig, || "process.env")?;
        let proc = if plan.labels.is_empty() { None } else { Some(ProcFs::open()?) };
        Ok(Self {
            pidfd,
            namespaces,
            root: (!has_new_mount_namespace(spec)).then_some(root),
            process: process(env, proc),
            keyring: container.id.to_c_string(),
            timeline,
        })
    }

    fn spawn(&self, cgroup: Option<&Cgroup>) -> Result<Spawned> {
        let (mut borrowed, mut relay) = (ForChildren::default(), None);
        if self.namespaces.user_by_relay {
            let (namespace, set_up) = (self.pidfd.as_fd(), self.namespaces.set_up);
            relay = Some(Relay::JoinedPids(namespace, Some(Users { namespace, set_up, others: None })));
        } else if self.namespaces.kinds.contains(Namespaces::PID) {
            match borrowed.join_pid(self.pidfd.as_fd()) {
                Err(error) if error.errno() == Some(Errno::PERM) => {
                    relay = Some(Relay::JoinedPids(self.pidfd.as_fd(), None));
                }
                joined => joined?,
            }
        }
        let placement = match cgroup {
            Some(cgroup) if !cgroup.is_unified_only() => Placement::BeforeMounts,
            _ => Placement::Done,
        };
        let live = |channel: &InitEnd, placement| {
            let Err(failure) = self.live(channel, placement);
            launch::report_failure(channel, &self.process, failure)
        };
        // One that has CPUs of its own until then is not born in the cgroup.
        let (cgroup, placement) = match &self.process.plan.affinity.initial {
            Some(_) => (None, Placement::BeforeMounts),
            None => (cgroup, placement),
        };
        let none = Namespaces::empty();
        let room = || Room::for_joining(self.process.plan, self.namespaces.kinds);
        let observed = Observed::new(self.timeline, room)?;
        let spawned = Spawned::new(observed, borrowed, live, |live| match relay {
            None => clone_into(none, cgroup, placement, live),
            Some(relay) => relay::clone_by_relay(relay, none, cgroup, placement, live, |failure| {
                report::process_failure(self.process.plan, failure)
            }),
        })?;
        spawned.tell_pid(self.process.plan);
        Ok(spawned)
    }

    /// Makes the process and puts it into its place.
    fn spawn_in(&self, cgroup: Option<&Cgroup>) -> Result<Spawned> {
        let plan = self.process.plan;
        let inherited = OwnScore::set_for_child(plan.oom_score_adj);
        let spawned = self.spawn(cgroup)?;
        drop(inherited);
        let placed = scheduling::begin(plan, spawned.child().pid)
            .and_then(|()| spawned.place(plan.oom_score_adj, None, cgroup));
        match placed {
            Ok(()) => Ok(spawned),
            Err(error) => {
                spawned.end();
                Err(error)
            }
        }
    }

    /// The terminal, in the devpts of the container.
    fn make_terminal(&self, channel: &InitEnd) -> core::result::Result<Option<terminal::Terminal>, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, c"/", flags, Mode::empty()).at(Step::Terminal)?;
        terminal::make(root.as_fd(), &self.process, channel)
    }

    fn is_in_user_namespace(&self) -> bool {
        self.namespaces.kinds.contains(Namespaces::USER)
    }

    /// The joining process, from the clone to the exec; it was not to be traced from its birth ([`clone_into`]).
    fn live(&self, channel: &InitEnd, placement: Placement) -> core::result::Result<Infallible, Failure> {
        let _ = rustix::process::setsid();
        filter::hear_pid(&self.process, channel)?;
        let plan = self.process.plan;
        if placement != Placement::Done {
            channel.expect(ToInit::Placed).at(Step::Runtime)?;
        }
        binding::settle(plan)?;
        // The pid namespace is that of the clone already; joining it again would only concern children.
        let mut others = self.namespaces.kinds - Namespaces::PID;
        if self.namespaces.user_by_relay {
            others -= Namespaces::USER;
        }
        if !others.is_empty() {
            sys::namespace::join(self.pidfd.as_fd(), others).at(Step::JoinNamespace)?;
        }
        if self.is_in_user_namespace() {
            credentials::become_mapped(self.namespaces.set_up)?;
        }
        launch::protect_executable(&self.process)?;
        if let Some(root) = &self.root {
            change_root(root.as_fd()).at(Step::JoinNamespace)?;
        }
        if plan.terminal.is_some() {
            terminal::take(self.make_terminal(channel)?)?;
        }
        labels::take_keyring(&self.process, &self.keyring)?;
        labels::assume(&self.process)?;
        launch::close_descriptors(&self.process, channel, None)?;
        let load_early = || filter::load_early(&self.process, channel);
        credentials::assume(plan, !self.is_in_user_namespace(), load_early)?;
        let program = launch::find_executable(plan)?;
        channel.tell_ready().at(Step::Runtime)?;
        channel.expect(ToInit::Go).at(Step::Runtime)?;
        launch::confine(&self.process, channel)?;
        launch::execute(&self.process, program)
    }
}

/// Until a container is started its first process can be looked at by nobody but root: it has the runtime's memory.
fn not_started(container: &Container) -> Error {
    let message = "has to be started before anybody but root can run something in it";
    Error::new(Code::WrongState, format!("the container `{}` {message}", container.id.as_str()))
}

fn change_root(root: BorrowedFd<'_>) -> core::result::Result<(), rustix::io::Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(c".")
}

/// The parent's part.
fn attend(
    spawned: &Spawned,
    joining: &Joining<'_>,
    cgroup: Option<&Cgroup>,
    terminal: Option<&Terminal>,
) -> Result<()> {
    let plan = joining.process.plan;
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
