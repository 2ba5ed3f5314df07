//! What is executed, as whom and with which rights; shared by the container's first process and `exec`.

use std::collections::BTreeSet;
use std::ffi::CString;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid};
use sys::exec::StringArray;

use super::{
    Affinity, FilterPlan, IoPriority, Labels, MemoryPolicy, Named, Scheduler, TerminalPlan, invalid, named,
};
use crate::capabilities::Sets;
use crate::error::{Code, Error, Result, words};
use crate::host::Host;
use crate::rlimits;
use crate::spec::{Linux, Process};

/// The process to start.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    /// The program's name as it was given, for messages.
    pub(crate) name: String,
    pub(crate) argv: StringArray,
    /// `NAME=value`; HOME is added when it is missing and the home directory is known.
    pub(crate) env: Vec<Vec<u8>>,
    /// The paths the program may be at, in the order of PATH.
    pub(crate) candidates: Vec<CString>,
    pub(crate) cwd: CString,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// The supplementary groups; without, they stay as they are.
    pub(crate) groups: Option<Vec<Gid>>,
    pub(crate) umask: Mode,
    pub(crate) capabilities: Sets,
    pub(crate) no_new_privileges: bool,
    pub(crate) labels: Labels,
    pub(crate) rlimits: Vec<(Resource, Rlimit)>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) io_priority: Option<IoPriority>,
    /// The CPUs it is bound to; all of its cpuset if there are none here.
    pub(crate) affinity: Affinity,
    /// That of the container.
    pub(crate) memory_policy: Option<MemoryPolicy>,
    /// What it is attached to, instead of the caller's descriptors.
    pub(crate) terminal: Option<TerminalPlan>,
    /// That of the container.
    pub(crate) personality: Option<u32>,
    /// Which system calls it may make.
    pub(crate) filter: Option<FilterPlan>,
    /// Descriptors from this number on do not survive the exec.
    pub(crate) first_closed_fd: u32,
}

/// The execution domains of the specification (linux/personality.h).
const DOMAINS: [Named<u32>; 2] = [("LINUX", 0), ("LINUX32", 8)];

/// The execution domain of the processes of a container (runtime-spec config-linux.md#personality).
pub(crate) fn personality(linux: Option<&Linux<'_>>) -> Result<Option<u32>> {
    let Some(personality) = linux.and_then(|linux| linux.personality.as_ref()) else { return Ok(None) };
    named("linux.personality.domain", &personality.domain, &DOMAINS).map(|(_, domain)| Some(domain))
}

/// What is searched when the container's environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) fn process_plan(process: &Process<'_>, preserve_fds: u32, host: &Host) -> Result<ProcessPlan> {
    let args = process.args.as_deref().unwrap_or_default();
    let name = args.first().ok_or_else(|| Error::new(Code::Executable, "executable path not specified"))?;
    let env = last_of_each(process.env.as_deref().unwrap_or_default());
    let cwd = process.cwd.as_deref().filter(|cwd| !cwd.is_empty()).unwrap_or("/");
    if !cwd.starts_with('/') {
        return Err(invalid(format!("process.cwd: `{cwd}` is not an absolute path")));
    }
    let nul = |what: &'static str| move |_| invalid(format!("{what}: a string holds a NUL byte"));
    if env.iter().any(|variable| variable.contains('\0')) {
        return Err(invalid("process.env: a string holds a NUL byte"));
    }
    let user = process.user.clone().unwrap_or_default();
    let groups = user.additional_gids.unwrap_or_default().into_iter();
    let groups = groups.map(|gid| assignable(gid, "process.user.additionalGids").map(Gid::from_raw));
    Ok(ProcessPlan {
        name: name.to_string(),
        argv: StringArray::new(args).map_err(|_| invalid("process.args: a string holds a NUL byte"))?,
        candidates: candidates(name, &env)?,
        env: env.iter().map(|variable| variable.as_bytes().to_vec()).collect(),
        cwd: CString::new(cwd).map_err(nul("process.cwd"))?,
        uid: Uid::from_raw(assignable(user.uid, "process.user.uid")?),
        gid: Gid::from_raw(assignable(user.gid, "process.user.gid")?),
        groups: Some(groups.collect::<Result<_>>()?),
        umask: Mode::from_raw_mode(user.umask.unwrap_or(0o022)),
        capabilities: Sets::from_spec(process.capabilities.as_ref())?,
        no_new_privileges: process.no_new_privileges == Some(true),
        labels: Labels::new(process, host)?,
        rlimits: rlimits::parse(process.rlimits.as_deref().unwrap_or_default())?,
        oom_score_adj: process.oom_score_adj,
        scheduler: process.scheduler.as_ref().map(Scheduler::new).transpose()?,
        io_priority: process.io_priority.as_ref().map(IoPriority::new).transpose()?,
        affinity: process.exec_cpu_affinity.as_ref().map(Affinity::new).transpose()?.unwrap_or_default(),
        memory_policy: None,
        terminal: TerminalPlan::new(process)?,
        personality: None,
        filter: None,
        first_closed_fd: 3_u32.saturating_add(preserve_fds),
    })
}

/// Checks an id that a process or a file is to get. The kernel takes the highest number for "as it is", which here is root.
pub(super) fn assignable(id: u32, path: &str) -> Result<u32> {
    match id {
        u32::MAX => Err(invalid(format!("{path}: {id} is nobody's id (it stands for none)"))),
        id => Ok(id),
    }
}

impl ProcessPlan {
    /// Tells the first process of a pid namespace of the sockets it is passed (`sd_listen_fds(3)`), unless its own
    /// environment does.
    pub(crate) fn tell_of_sockets(&mut self, count: u32) {
        for variable in [format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()] {
            let name = variable.split_inclusive('=').next().unwrap_or_default();
            if !self.env.iter().any(|known| known.starts_with(name.as_bytes())) {
                self.env.push(variable.into_bytes());
            }
        }
    }
}

/// The environment with the last value of each variable: engines put what somebody asks for behind what the image has,
/// and getenv(3) finds the first.
fn last_of_each<S: AsRef<str>>(env: &[S]) -> Vec<&str> {
    let (mut names, mut last) = (BTreeSet::new(), Vec::with_capacity(env.len()));
    for variable in env.iter().rev().map(AsRef::as_ref) {
        if names.insert(variable.split_once('=').map_or(variable, |(name, _)| name)) {
            last.push(variable);
        }
    }
    last.reverse();
    last
}

/// The paths at which the program is looked for: itself when it holds a slash, otherwise below each directory of the
/// container's PATH.
fn candidates<S: AsRef<str>>(name: &str, env: &[S]) -> Result<Vec<CString>> {
    if name.is_empty() {
        return Err(words::executable_not_found(name, Errno::NOENT));
    }
    let path = |text: String| CString::new(text).map_err(|_| invalid("process.args[0]: holds a NUL byte"));
    if name.contains('/') {
        return Ok(vec![path(name.to_owned())?]);
    }
    let search = env.iter().find_map(|variable| variable.as_ref().strip_prefix("PATH="));
    search
        .unwrap_or(DEFAULT_PATH)
        .split(':')
        .map(|directory| if directory.is_empty() { "." } else { directory })
        .map(|directory| path(format!("{directory}/{name}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::User;

    #[test]
    fn a_name_is_looked_for_below_each_directory_of_the_containers_path() {
        let found = candidates("sh", &["A=b", "PATH=/x::/y"]).unwrap();
        assert_eq!(found, [c"/x/sh".to_owned(), c"./sh".to_owned(), c"/y/sh".to_owned()]);
    }

    #[test]
    fn of_several_values_of_a_variable_the_last_one_counts() {
        let env = last_of_each(&["A=1", "PATH=/x", "B", "A=2", "AB=", "PATH=/y", "=", "B=3"]);
        assert_eq!(env, ["A=2", "AB=", "PATH=/y", "=", "B=3"]);
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        assert_eq!(candidates("./a/b", &["PATH=/x"]).unwrap(), [c"./a/b".to_owned()]);
    }

    #[test]
    fn the_number_that_stands_for_no_id_is_refused_for_it_would_mean_root() {
        const NONE: u32 = u32::MAX;
        let message = |uid, gid, group| {
            let user = User { uid, gid, additional_gids: Some(vec![1, group]), ..User::default() };
            let process = Process { args: Some(vec!["sh".into()]), user: Some(user), ..Process::default() };
            process_plan(&process, 0, &Host::new()).unwrap_err().to_string()
        };
        let reason = "4294967295 is nobody's id (it stands for none)";
        assert_eq!(message(NONE, 0, 0), format!("process.user.uid: {reason}"));
        assert_eq!(message(0, NONE, 0), format!("process.user.gid: {reason}"));
        assert_eq!(message(0, 0, NONE), format!("process.user.additionalGids: {reason}"));
    }

    #[test]
    fn no_program_is_an_error() {
        let error = process_plan(&Process::default(), 0, &Host::new()).unwrap_err();
        assert_eq!(error.to_string(), "executable path not specified");
    }
}
