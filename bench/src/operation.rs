//! The operations that are measured: what is called, and what belongs to the time.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bundle;
use crate::runtime::Runtime;

/// Something a runtime does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `--version`: what starting the program costs.
    Version,
    /// `run` of the bundle of this name, which ends at once.
    Run(&'static str),
    /// `run` with the cgroup made by systemd.
    RunSystemd,
    /// `run` by an ordinary user, in a user namespace with that user's id.
    RunRootless,
    /// `create`, `start`, and, once the program has ended, `delete`.
    Lifecycle,
    /// `exec` of `true` in a running container of the bundle of this name.
    Exec(&'static str),
    /// This many `exec` at once in one container, until the last has ended.
    ParallelExec(u32),
    /// `state` of a running container.
    State,
    /// `kill` with signal 0, which only looks whether it could.
    Kill,
    /// `pause` of a running container, then `resume`.
    Freeze,
    /// `ps` of a running container.
    Ps,
    /// `update` of a running container, with a limit that every v2 cgroup has.
    Update,
    /// `list` of this many containers, then `state` of one of them.
    Crowd(u32),
    /// This many `run` at once, until the last has ended.
    Parallel(u32),
}

/// Where the bundles are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) state: PathBuf,
}

impl Operation {
    /// Whether it can be done here at all.
    pub(crate) fn is_possible(self, place: &Place) -> bool {
        match self {
            Self::RunSystemd => Path::new("/run/systemd/private").exists(),
            Self::Run(bundle) => Path::new(&place.bundle(bundle)).exists(),
            // In the view everybody can reach the programs; on the machine they lie in root's home.
            Self::RunRootless => Path::new("/sys/fs/cgroup/cgroup.procs").exists(),
            _ => true,
        }
    }

    /// Whether the operation is on a container that runs already; [`crate::running::Running`] is one.
    pub(crate) fn needs_running(self) -> bool {
        match self {
            Self::Exec(_) | Self::ParallelExec(_) => true,
            Self::State | Self::Kill | Self::Freeze | Self::Ps | Self::Update | Self::Crowd(_) => true,
            Self::Version | Self::Run(_) | Self::RunSystemd | Self::RunRootless => false,
            Self::Lifecycle | Self::Parallel(_) => false,
        }
    }

    /// The bundle of that container.
    pub(crate) fn stays(self) -> &'static str {
        if let Self::Exec(bundle) = self { bundle } else { bundle::SLEEP }
    }

    /// How many containers there have to be.
    pub(crate) fn crowd(self) -> u32 {
        if let Self::Crowd(count) = self { count } else { 1 }
    }

    /// Whether the floor, which only does the work of one bundle, can take part.
    pub(crate) fn has_floor(self) -> bool {
        match self {
            Self::Run(bundle) => matches!(bundle, bundle::TRUE | bundle::CONFINED),
            Self::Exec(bundle) => bundle == bundle::SLEEP,
            Self::Parallel(_) | Self::ParallelExec(_) => true,
            _ => false,
        }
    }

    /// Does it once. The names are put behind the scenario's: parts of an operation are told on their own too.
    pub(crate) fn measure(
        self,
        place: &Place,
        runtime: &Runtime,
        running: &str,
    ) -> Result<Vec<(&'static str, Duration)>> {
        let whole = |time: Result<Duration>| time.map(|time| vec![("", time)]);
        match self {
            Self::Version => whole(timed(&mut runtime.command(&["--version"]))),
            Self::Run(bundle) => whole(run(place, runtime, bundle)),
            Self::RunSystemd => whole(run_by_systemd(place, runtime)),
            Self::RunRootless => whole(run_by_user(place, runtime)),
            Self::Lifecycle => lifecycle(place, runtime),
            Self::Exec(_) => whole(exec_command(runtime, running).and_then(|mut exec| timed(&mut exec))),
            Self::ParallelExec(count) => whole(parallel_exec(runtime, running, count)),
            Self::State => whole(timed(&mut runtime.command(&["state", running]))),
            Self::Kill => whole(timed(&mut runtime.command(&["kill", running, "0"]))),
            Self::Freeze => {
                both(runtime, [(": pause", &["pause", running]), (": resume", &["resume", running])])
            }
            Self::Ps => whole(timed(&mut runtime.command(&["ps", running]))),
            Self::Update => {
                let limits = place.dir.join(bundle::LIMITS);
                let arguments = ["update", "--resources", &limits.to_string_lossy(), running];
                whole(timed(&mut runtime.command(&arguments)))
            }
            Self::Crowd(_) => both(runtime, [(": list", &["list"]), (": state", &["state", running])]),
            Self::Parallel(count) => whole(parallel(place, runtime, count)),
        }
    }
}

/// Two commands, the time of each told on its own.
fn both(runtime: &Runtime, commands: [(&'static str, &[&str]); 2]) -> Result<Vec<(&'static str, Duration)>> {
    commands
        .into_iter()
        .map(|(part, arguments)| Ok((part, timed(&mut runtime.command(arguments))?)))
        .collect()
}

impl Place {
    /// The path of the bundle of this name.
    pub(crate) fn bundle(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }
}

/// A name no container of this process had yet.
pub(crate) fn fresh_id() -> String {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    format!("bench-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed))
}

/// The call that runs a bundle from beginning to end.
pub(crate) fn run_command(place: &Place, runtime: &Runtime, bundle: &str, id: &str) -> Command {
    if !runtime.is_floor() {
        return runtime.command(&["run", "--bundle", &place.bundle(bundle), id]);
    }
    let mut command = runtime.bare_command();
    if bundle == bundle::CONFINED {
        command.arg("--filter").arg(place.dir.join(bundle::FILTER));
    }
    command.arg(place.dir.join("rootfs")).arg(cgroup_of_floor(id));
    command.args(if bundle == bundle::SLEEP { bundle::STAYS } else { bundle::ENDS });
    command
}

/// The call that runs `true` in a running container.
fn exec_command(runtime: &Runtime, running: &str) -> Result<Command> {
    if !runtime.is_floor() {
        return Ok(runtime.command(&[&["exec", running], bundle::ENDS].concat()));
    }
    let cgroup = cgroup_of_floor(running);
    let first = fs::read_to_string(cgroup.join("cgroup.procs"))?;
    let first = first.lines().next().context("the floor's container is gone")?;
    let mut command = runtime.bare_command();
    command.args(["--exec", first]).arg(cgroup).args(bundle::ENDS);
    Ok(command)
}

/// The cgroup that the floor makes.
pub(crate) fn cgroup_of_floor(id: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(id)
}

fn run(place: &Place, runtime: &Runtime, bundle: &str) -> Result<Duration> {
    let id = fresh_id();
    timed(&mut run_command(place, runtime, bundle, &id)).inspect_err(|_| runtime.remove(&id))
}

fn run_by_systemd(place: &Place, runtime: &Runtime) -> Result<Duration> {
    let id = fresh_id();
    let arguments = ["--systemd-cgroup", "run", "--bundle", &place.bundle(bundle::TRUE), &id];
    timed(&mut runtime.command(&arguments)).inspect_err(|_| runtime.remove(&id))
}

fn run_by_user(place: &Place, runtime: &Runtime) -> Result<Duration> {
    let state = runtime.state.join("user");
    fs::create_dir_all(&state)?;
    chown(&state, Some(bundle::USER), Some(bundle::USER))?;
    let mut command = Command::new(&runtime.path);
    command.arg("--root").arg(&state).args(["run", "--bundle", &place.bundle(bundle::ROOTLESS), &fresh_id()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    timed(command.uid(bundle::USER).gid(bundle::USER))
}

fn lifecycle(place: &Place, runtime: &Runtime) -> Result<Vec<(&'static str, Duration)>> {
    let id = fresh_id();
    let pid_file = place.state.join("pid");
    let steps = || {
        let (bundle, pid_path) = (place.bundle(bundle::TRUE), pid_file.to_string_lossy());
        let create =
            timed(&mut runtime.command(&["create", "--bundle", &bundle, "--pid-file", &pid_path, &id]))?;
        let start = timed(&mut runtime.command(&["start", &id]))?;
        wait_for_end(&fs::read_to_string(&pid_file)?)?; // how long the program takes is not the runtime's affair
        let delete = timed(&mut runtime.command(&["delete", &id]))?;
        Ok(vec![
            ("", create + start + delete),
            (": create", create),
            (": start", start),
            (": delete", delete),
        ])
    };
    steps().inspect_err(|_: &anyhow::Error| runtime.remove(&id))
}

/// Waits until a process has ended, reaped or not.
fn wait_for_end(pid: &str) -> Result<()> {
    let stat = format!("/proc/{}/stat", pid.trim());
    for _ in 0..50_000 {
        match fs::read_to_string(&stat) {
            Ok(line) if !line.contains(") Z") && !line.contains(") X") => {}
            _ => return Ok(()),
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    bail!("the container's program does not end");
}

fn parallel(place: &Place, runtime: &Runtime, count: u32) -> Result<Duration> {
    let ids: Vec<String> = (0..count).map(|_| fresh_id()).collect();
    let commands = ids.iter().map(|id| run_command(place, runtime, bundle::TRUE, id)).collect();
    all_at_once(commands).inspect_err(|_| ids.iter().for_each(|id| runtime.remove(id)))
}

fn parallel_exec(runtime: &Runtime, running: &str, count: u32) -> Result<Duration> {
    all_at_once((0..count).map(|_| exec_command(runtime, running)).collect::<Result<_>>()?)
}

fn all_at_once(mut commands: Vec<Command>) -> Result<Duration> {
    let start = Instant::now();
    let children: Vec<_> = commands.iter_mut().map(Command::spawn).collect();
    let ends: Vec<_> =
        children.into_iter().map(|child| child.and_then(|mut child: Child| child.wait())).collect();
    let time = start.elapsed();
    let failed = ends.iter().filter(|end| !end.as_ref().is_ok_and(|status| status.success())).count();
    if failed > 0 {
        bail!("{failed} of {} failed", commands.len());
    }
    Ok(time)
}

/// From before the process is made until its end is known. Only the process and the wait are in between.
pub(crate) fn timed(command: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let status = command.spawn().and_then(|mut child| child.wait());
    let time = start.elapsed();
    let status = status.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        // Once more to hear what it says; its time does not count.
        let again = command.stderr(Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&again.stderr);
        let otherwise = if again.status.success() { "but not when tried again" } else { "(no message)" };
        bail!("{status}: {}", said.lines().last().unwrap_or(otherwise));
    }
    Ok(time)
}
