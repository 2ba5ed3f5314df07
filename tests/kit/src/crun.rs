//! The runtime under test as a value with methods: [`Crun`] has a state directory of its own.
//!
//! Standard output and error of the runtime, and with them those of the container, go to files: a detached container
//! keeps them open, and a pipe would keep the test waiting.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failure of the kit is a failure of the test, and the reason for a skipped one is printed"
)]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::bundle::Bundle;
use crate::container::Container;
use crate::lane::{self, patience};
use crate::mapped_root::{MappedRoot, USER};
use crate::running::{Output, Running};
use crate::user::{self, User};
use crate::view::View;

/// The runtime under test, run by an ordinary user; returns from the test where there can be none, and says why.
#[macro_export]
macro_rules! runtime_of_user {
    () => {
        match $crate::crun::Crun::new().and_then($crate::crun::Crun::as_user) {
            Ok(crun) => crun,
            Err(reason) => return $crate::crun::skipped(reason),
        }
    };
}

/// How long a command may take before it counts as hanging, on a machine that runs other tests at the same time. In an
/// emulated one it is more ([`crate::lane::patience`]).
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Says on standard error why a test is not run here. The caller returns.
pub fn skipped(reason: impl std::fmt::Display) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped: {test}: {reason}");
}

/// The runtime under test with a new state directory; returns from the test where it cannot be run, and says why.
#[macro_export]
macro_rules! runtime {
    () => {
        match $crate::crun::Crun::new() {
            Ok(crun) => crun,
            Err(reason) => return $crate::crun::skipped(reason),
        }
    };
}

/// The runtime under test in a private place with pure cgroup v2; returns from the test where there can be none.
#[macro_export]
macro_rules! runtime_on_v2 {
    () => {
        match $crate::crun::Crun::on_v2() {
            Ok(crun) => crun,
            Err(reason) => return $crate::crun::skipped(reason),
        }
    };
}

/// The path of the binary under test: `CRUN_BIN`, else the newest release binary in `target`.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CRUN_BIN") {
        return fs::canonicalize(path).expect("CRUN_BIN");
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let found = fs::read_dir(&target).into_iter().flatten().flatten().map(|e| e.path().join("release/crun"));
    let newest = found.chain([target.join("release/crun")]).filter(|path| path.is_file());
    newest
        .max_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok())
        .expect("there is no release binary: run `cargo xtask test`, or set CRUN_BIN")
}

/// The first number of the kernel's version.
fn kernel() -> u32 {
    kernel_version().0
}

/// Whether the kernel is that version or a later one.
#[must_use]
pub fn kernel_is_at_least(version: (u32, u32)) -> bool {
    kernel_version() >= version
}

fn kernel_version() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text.split(['.', '-']).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// A program of the kit, which cargo puts two directories above the test.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn helper(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    let found = test.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("the kit's program `{name}` is not built: run `cargo xtask test`"))
}

/// A new container ID, unlike any other, and no part of any other.
#[must_use]
pub fn new_id() -> String {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    format!("t{:07}x{:04}z", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed))
}

/// Starts a program that may just have been written. Where tests are threads of one process, a child that another one
/// is about to execute still has the file open for writing, for a moment.
fn start(command: &mut Command) -> std::io::Result<Child> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// Polls until there is a result.
///
/// # Panics
/// When there is none for long.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience(PATIENCE);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, number: i32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let signal = rustix::process::Signal::from_named_raw(number).expect("a signal with a name");
    rustix::process::kill_process(pid, signal).expect("a process to signal");
}

/// The newer mount calls, of which all are missing where one is.
const MOUNT_CALLS: [&str; 7] =
    ["open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"];

/// Who runs a runtime, if not root.
#[derive(Debug)]
enum Caller {
    MappedRoot(MappedRoot),
    User(User),
    /// That of a lane, with a systemd of its own.
    Session,
}

impl Caller {
    fn words(&self) -> Vec<OsString> {
        match self {
            Self::MappedRoot(root) => root.words(),
            Self::User(user) => user.words(),
            Self::Session => lane::in_session().into_iter().map(OsString::from).collect(),
        }
    }
}

/// A runtime with its state directory.
#[derive(Debug, Clone)]
pub struct Crun {
    program: PathBuf,
    work: Arc<TempDir>,
    view: Option<Arc<View>>,
    /// Who runs it, if not root.
    caller: Option<Arc<Caller>>,
    /// What the runtime is run by, if not directly.
    under: Vec<OsString>,
    global: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl Crun {
    /// The binary under test, on this machine as it is.
    ///
    /// # Errors
    /// Not root.
    pub fn new() -> Result<Self, String> {
        if !crate::rootfs::is_root() {
            return Err("only root can run containers so far".to_owned());
        }
        let (program, work) = (binary(), Self::place());
        let crun = Self {
            program,
            work,
            view: None,
            caller: None,
            under: Vec::new(),
            global: Vec::new(),
            env: Vec::new(),
        };
        // A developer can put a whole run on an older kernel: CRUN_WITHOUT="openat2 mount_setattr".
        let missing = std::env::var("CRUN_WITHOUT").unwrap_or_default();
        let missing: Vec<_> = missing.split_whitespace().collect();
        Ok(if missing.is_empty() { crun } else { crun.without_all(&missing) })
    }

    /// The binary under test, in a private place with pure cgroup v2.
    ///
    /// # Errors
    /// Not root, or no cgroup v2 here.
    pub fn on_v2() -> Result<Self, String> {
        let crun = Self::new()?;
        let view = View::pure_v2().map_err(|error| format!("no private cgroup v2: {error:#}"))?;
        Ok(Self { view: Some(Arc::new(view)), ..crun })
    }

    /// The binary under test, in a private place with the hierarchies of version 1 alone.
    ///
    /// # Errors
    /// As [`Self::on_v2`], or no hierarchies of version 1 here.
    pub fn on_v1() -> Result<Self, String> {
        let crun = Self::new()?;
        if !crate::leftovers::hierarchies().iter().any(|(list, _)| list == "freezer") {
            return Err("no cgroups of version 1".to_owned());
        }
        let view = View::builder().legacy().enter();
        let view = view.map_err(|error| format!("no private cgroups of version 1: {error:#}"))?;
        Ok(Self { view: Some(Arc::new(view)), ..crun })
    }

    /// The binary under test on each layout of cgroups that can be had here: this machine's own, version 1, version 2. For
    /// those that cannot, the reason is printed.
    #[must_use]
    pub fn on_every_layout() -> Vec<(&'static str, Self)> {
        let all = [("native", Self::new()), ("version 1", Self::on_v1()), ("version 2", Self::on_v2())];
        let tell = |(name, crun): (_, Result<_, _>)| match crun {
            Ok(crun) => Some((name, crun)),
            Err(reason) => {
                skipped(format!("{name}: {reason}"));
                None
            }
        };
        all.into_iter().filter_map(tell).collect()
    }

    /// The binary under test, in a private place without a `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// As [`Self::on_v2`].
    pub fn without_cgroups() -> Result<Self, String> {
        let crun = Self::new()?;
        let view = View::builder().without_cgroups().enter();
        let view = view.map_err(|error| format!("no private place without cgroups: {error:#}"))?;
        Ok(Self { view: Some(Arc::new(view)), ..crun })
    }

    /// A new directory that a runtime keeps its state in (below `state`), and bundles, if the caller likes.
    #[must_use]
    pub fn place() -> Arc<TempDir> {
        Arc::new(tempfile::Builder::new().prefix("crun-work-").tempdir().unwrap())
    }

    /// The runtime at the path `program` in `view`, which shows the directory `work` at its own path.
    #[must_use]
    pub fn in_view(view: &Arc<View>, program: &str, work: &Arc<TempDir>) -> Self {
        let view = Some(Arc::clone(view));
        let (program, work) = (program.into(), Arc::clone(work));
        Self { program, work, view, caller: None, under: Vec::new(), global: Vec::new(), env: Vec::new() }
    }

    /// The same state, used by another program.
    #[must_use]
    pub fn program(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.program);
        self
    }

    /// The same state, on a kernel that does not seem to have these system calls.
    #[must_use]
    pub fn without<const N: usize>(self, calls: [&str; N]) -> Self {
        self.without_all(&calls)
    }

    /// The runtime on this kernel and on older ones: each rung of its ladders of system calls, and what it is called.
    #[must_use]
    pub fn rungs(&self) -> Vec<(&'static str, Self)> {
        let mut rungs = self.mount_rungs();
        rungs.push(("no close_range", self.clone().without(["close_range"])));
        rungs
    }

    /// The rungs of the ladders that paths and mounts go by, as far as this kernel has them.
    #[must_use]
    pub fn mount_rungs(&self) -> Vec<(&'static str, Self)> {
        let mut rungs = vec![("all calls", self.clone())];
        if kernel() >= 7 {
            rungs.push(("no OPEN_TREE_NAMESPACE", self.clone().without(["OPEN_TREE_NAMESPACE"])));
        }
        rungs.push(("no openat2", self.clone().without(["openat2"])));
        rungs.push(("no mount_setattr", self.clone().without(["mount_setattr"])));
        rungs.push(("no open_tree and the like", self.clone().without(MOUNT_CALLS)));
        rungs
    }

    fn without_all(mut self, calls: &[&str]) -> Self {
        let mut without = vec![helper("without").into_os_string()];
        without.extend(calls.iter().map(OsString::from));
        without.push("--".into());
        self.under = match self.caller.as_deref() {
            // To be filtered, a user would have to give up newuidmap's privilege.
            Some(Caller::User(user)) => [without, user.words()].concat(),
            Some(caller) => [caller.words(), without].concat(),
            None => without,
        };
        self
    }

    /// The same runtime as root of a user namespace only, in a state directory that is its own.
    ///
    /// # Errors
    /// When there can be no such namespace here.
    pub fn as_mapped_root(self) -> Result<Self, String> {
        let root = MappedRoot::new(self.view())?;
        Ok(self.called_by(Caller::MappedRoot(root), USER))
    }

    /// The same in a private place with pure cgroup v2, where it has a cgroup.
    ///
    /// # Errors
    /// As [`Self::on_v2`] and [`Self::as_mapped_root`].
    pub fn as_mapped_root_with_cgroup() -> Result<Self, String> {
        let crun = Self::on_v2()?;
        let view = crun.view.clone().expect("a view");
        let root = MappedRoot::new(Some(&view))?.with_cgroup(&view);
        Ok(crun.called_by(Caller::MappedRoot(root), USER))
    }

    /// The same runtime run by an ordinary user ([`crate::user`]), in a state directory that is its own.
    ///
    /// # Errors
    /// When there can be no such user here.
    pub fn as_user(self) -> Result<Self, String> {
        let user = User::new(self.view(), self.work.path())?;
        Ok(self.called_by(Caller::User(user), user::UID))
    }

    /// The same in a private place with pure cgroup v2, where the user has a cgroup.
    ///
    /// # Errors
    /// As [`Self::on_v2`] and [`Self::as_user`].
    pub fn as_user_with_cgroup() -> Result<Self, String> {
        let crun = Self::on_v2()?;
        let view = crun.view.clone().expect("a view");
        let user = User::new(Some(&view), crun.work.path())?.with_cgroup(&view);
        Ok(crun.called_by(Caller::User(user), user::UID))
    }

    /// The same run by the user of a lane, in a scope that its systemd has delegated to it.
    ///
    /// # Errors
    /// Outside of lanes.
    pub fn in_user_session() -> Result<Self, String> {
        let _ = lane::user_session()?;
        Ok(Self::new()?.called_by(Caller::Session, lane::UID))
    }

    fn called_by(mut self, caller: Caller, uid: u32) -> Self {
        std::os::unix::fs::chown(self.work.path(), Some(uid), Some(uid)).unwrap();
        // Read from there, because the directory of the original may be closed to the user.
        let program = self.work.path().join("crun");
        fs::copy(&self.program, &program).unwrap();
        self.under = caller.words();
        self.caller = Some(Arc::new(caller));
        self.program(&program)
    }

    /// A command that runs another program as the runtime is run: by whom, and where.
    #[must_use]
    pub fn beside(&self, program: &str) -> Command {
        self.words_of(Path::new(program))
    }

    fn words_of(&self, program: &Path) -> Command {
        let mut words = self.under.iter().map(OsString::as_os_str).chain([program.as_os_str()]);
        let first = words.next().unwrap();
        let mut command = match &self.view {
            Some(view) => view.command(first),
            None => Command::new(first),
        };
        command.args(words);
        command.envs(self.env.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    /// The same state; run by these words, which it is given to, behind all others.
    #[must_use]
    pub fn through<const N: usize>(mut self, words: [&str; N]) -> Self {
        self.under.extend(words.map(OsString::from));
        self
    }

    /// The same state; a shell becomes the runtime after these commands, which change what it inherits.
    #[must_use]
    pub fn after(self, commands: &str) -> Self {
        let script = self.work.path().join(new_id());
        let text = format!("#!/bin/bash\n{commands}\nexec {} \"$@\"\n", self.program.display());
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        self.program(&script)
    }

    /// The same state, with a global option.
    #[must_use]
    pub fn with(mut self, option: &str) -> Self {
        self.global.push(option.into());
        self
    }

    /// The same state, with a variable in the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The directory with the state of the containers.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.work.path().join("state")
    }

    /// The private place this runtime is run in, if it is.
    #[must_use]
    pub fn view(&self) -> Option<&View> {
        self.view.as_deref()
    }

    /// `crun --root STATE ARGS...`, to be changed and spawned.
    pub fn command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Command {
        let mut command = self.words_of(&self.program);
        command.arg("--root").arg(self.state_dir()).args(&self.global).args(args);
        command
    }

    /// Runs a command of the runtime to its end.
    pub fn cmd<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Output {
        self.spawn(self.command(args)).wait()
    }

    /// Starts a command made by [`Self::command`].
    #[must_use]
    pub fn spawn(&self, mut command: Command) -> Running {
        let what = format!("{command:?}");
        let [stdout, stderr] =
            ["out", "err"].map(|suffix| self.work.path().join(format!("{}.{suffix}", new_id())));
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        let child = start(&mut command).unwrap_or_else(|error| panic!("cannot run {what}: {error}"));
        let running = Running::new(child, what, [stdout, stderr], &self.work);
        let is_ours = self.program.starts_with(self.work.path()) || self.program == binary();
        // What comes on the standard error of the first two may be the container's; a state is asked for until it is
        // there, or gone, and what is half made then is chance.
        let is_alone = !command.get_args().any(|arg| arg == "run" || arg == "exec" || arg == "state");
        if is_ours { running.of_the_runtime(is_alone) } else { running }
    }

    /// Runs the bundle in the foreground, and looks whether it left anything.
    #[must_use]
    pub fn run(&self, bundle: &Bundle) -> Output {
        self.run_with(bundle, [])
    }

    /// As [`Self::run`], with options.
    #[must_use]
    pub fn run_with<const N: usize>(&self, bundle: &Bundle, options: [&str; N]) -> Output {
        let container = self.container(bundle);
        let args =
            [&["run", "--bundle", bundle.save().to_str().unwrap()], options.as_slice(), &[container.id()]];
        let output = self.cmd(args.concat());
        container.assert_nothing_left();
        output
    }

    /// A container that can be made of the bundle. Dropping it deletes it.
    #[must_use]
    pub fn container(&self, bundle: &Bundle) -> Container {
        Container::new(self, bundle)
    }

    /// Creates a container.
    #[must_use]
    pub fn create(&self, bundle: &Bundle) -> Container {
        let mut container = self.container(bundle);
        container.make("create", []);
        container
    }

    /// Creates and starts a container, which stays in the background.
    #[must_use]
    pub fn start(&self, bundle: &Bundle) -> Container {
        let mut container = self.container(bundle);
        container.make("run", ["--detach"]);
        container
    }
}
