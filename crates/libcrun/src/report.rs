//! From what init reports to the words a person reads: the step, the object it concerned, the kernel's reason.

use core::ffi::CStr;

use rustix::io::Errno;

use crate::capabilities;
use crate::channel::{Failure, Step};
use crate::error::{Code, Doing, Error, Object, doing, words};
use crate::explain;
use crate::hooks;
use crate::init::DEEPEST_COPIED;
use crate::namespace_file;
use crate::plan::{InnerPath, MountOperation, MountSource, Plan, ProcessPlan, Sysctl};
use crate::rlimits;
use crate::scheduling;

/// The error for a failed start of a container.
pub(crate) fn container_failure(plan: &Plan, failure: Failure) -> Error {
    let error = what_failed(plan, failure).in_step(failure.step.name());
    explain::start_failed(error, plan, failure)
}

fn what_failed(plan: &Plan, failure: Failure) -> Error {
    let index = usize::from(failure.index);
    let rootfs = &plan.rootfs;
    let of_hook = || hooks::inside_failure(plan.hooks.as_deref(), failure);
    if let Some(error) = mount_failure(&rootfs.mounts, failure).or_else(of_hook) {
        return error;
    }
    let inner = |paths: &[InnerPath], what: (&str, &str)| {
        of_inside(what, paths.get(index).map(ToString::to_string).unwrap_or_default())
    };
    let of_rootfs = |what: &str| (Code::Rootfs, doing(what, &rootfs.path));
    let (code, doing): (_, Doing) = match failure.step {
        Step::JoinNamespace => {
            let Some(join) = plan.namespaces.join.get(index) else {
                return process_error(&plan.process, failure);
            };
            let why = namespace_file::explain(&join.path, join.kind, failure.errno);
            (Code::Namespace, doing("join the namespace", &join.path).then(&why))
        }
        Step::NewNamespaces => (Code::Namespace, "create the namespaces".into()),
        Step::TimeNamespace => (Code::Namespace, "create the time namespace with linux.timeOffsets".into()),
        Step::CgroupNamespace => (Code::Namespace, "create the cgroup namespace".into()),
        Step::MappedRoot => (Code::Namespace, MAPPED_ROOT.into()),
        Step::Loopback => (Code::Namespace, "bring the loopback interface up".into()),
        Step::Sysctl => (Code::System, sysctl(plan.sysctls.get(index), failure.errno)),
        Step::HostPropagation => (Code::Rootfs, "make the mounts of the new mount namespace private".into()),
        Step::MountNamespace => {
            (Code::Namespace, doing("make a mount namespace of the rootfs", &rootfs.path))
        }
        Step::AttachRoot => of_rootfs("mount the rootfs"),
        Step::DevDirectory => (Code::Rootfs, "open `/dev` in the rootfs without following links".into()),
        Step::Device => {
            let path = rootfs.devices.get(index).map(|device| device.path.to_string());
            (Code::Rootfs, of_inside(("create the device", ""), path.unwrap_or_default()))
        }
        Step::DeviceLink => (Code::Rootfs, "create the symbolic links in `/dev`".into()),
        Step::Console => (Code::Terminal, "process.terminal: show the terminal as `/dev/console`".into()),
        Step::MaskedPath => (Code::Rootfs, inner(&rootfs.masked, ("mask the path", ""))),
        Step::ReadOnlyPath => (Code::Rootfs, inner(&rootfs.read_only_paths, ("make the path", " read-only"))),
        Step::ReadOnlyRoot => (Code::Rootfs, "make the rootfs read-only".into()),
        Step::Pivot => of_rootfs("enter the rootfs"),
        Step::Hostname => (Code::System, named("set the host name", plan.hostname.as_deref())),
        Step::Domainname => (Code::System, named("set the domain name", plan.domainname.as_deref())),
        _ => return process_error(&plan.process, failure),
    };
    Error::of(code, doing, Some(failure.errno))
}

/// That something is done to a path in the container.
fn of_inside((before, behind): (&str, &str), path: String) -> Doing {
    Doing::to(format!("{before} `{path}`{behind}"), Object::Inside(path))
}

/// That something is done with a name.
fn named(what: &str, name: Option<&str>) -> Doing {
    let name = name.unwrap_or_default();
    Doing::to(format!("{what} `{name}`"), Object::Named(name.to_owned()))
}

fn sysctl(sysctl: Option<&Sysctl>, errno: Errno) -> Doing {
    let Some(Sysctl { name, value, .. }) = sysctl else { return "set a sysctl".into() };
    let hint = match errno {
        Errno::NOENT => " (this kernel has none of that name in the container's namespaces)",
        Errno::ACCESS | Errno::PERM => " (does the namespace belong to another user namespace?)",
        Errno::XDEV => OVER_PROC,
        _ => "",
    };
    Doing::to(format!("set the sysctl `{name}` to `{value}`{hint}"), Object::Named(name.clone()))
}

const MAPPED_ROOT: &str = "become root in the user namespace (is id 0 mapped?)";

/// The error for a mount that could not be added to a running container.
pub(crate) fn added_mount_failure(mounts: &[MountOperation], failure: Failure) -> Error {
    let error = mount_failure(mounts, failure).unwrap_or_else(|| visit_failure(failure));
    error.in_step(failure.step.name())
}

/// The error for a mount that could not be taken off.
pub(crate) fn removed_mount_failure(destinations: &[InnerPath], failure: Failure) -> Error {
    let what = match failure.step {
        Step::MountTarget => "find the mount point",
        Step::NotMounted => "unmount (nothing is mounted exactly there)",
        Step::Unmount => "unmount",
        _ => return visit_failure(failure),
    };
    let index = usize::from(failure.index);
    let destination = destinations.get(index).map(ToString::to_string).unwrap_or_default();
    let message = format!("mounts[{index}]: {destination}: {what}");
    Error::os(Code::Mount, message, failure.errno).in_step(failure.step.name())
}

/// The error for a process that could not enter a running container.
fn visit_failure(failure: Failure) -> Error {
    let (code, message) = match failure.step {
        Step::JoinNamespace => (Code::Namespace, "join the namespaces of the container"),
        Step::MappedRoot => (Code::Namespace, MAPPED_ROOT),
        _ => (Code::System, "set up the process that enters the container"),
    };
    Error::os(code, message, failure.errno).in_step(failure.step.name())
}

/// The error for a failed mount; nothing for a step that concerns no mount.
fn mount_failure(mounts: &[MountOperation], failure: Failure) -> Option<Error> {
    let mount = mounts.iter().find(|mount| mount.index == usize::from(failure.index))?;
    let destination = &mount.destination;
    let filesystem = || match &mount.source {
        MountSource::Filesystem(filesystem) => (filesystem.kind.clone(), filesystem.parameters.as_slice()),
        MountSource::Remount { parameters, .. } => (c"mounted".to_owned(), parameters.as_slice()),
        MountSource::CgroupTree(_) => (c"tmpfs".to_owned(), [].as_slice()),
        MountSource::Bind(_) => (c"bound".to_owned(), [].as_slice()),
    };
    let message = match failure.step {
        Step::MountSource => match &mount.source {
            MountSource::Bind(bind) => {
                return Some(Error::of(Code::Mount, bind.opening(mount), Some(failure.errno)));
            }
            _ => mount.name("open the host's directory"),
        },
        Step::MountTarget if failure.errno == Errno::BUSY => {
            mount.name("a link in the rootfs leads to the root directory itself")
        }
        Step::MountTarget => mount.name("create the mount point"),
        Step::MountTargetLink if failure.errno == Errno::ACCESS => mount.name("open the mount point"),
        Step::MountTargetLink => {
            mount.name(&format!("invalid target `{destination}`: it must be mounted at the root"))
        }
        Step::MountTargetKernel => {
            mount.name(&format!("override of the mount destination `{destination}` is not allowed"))
        }
        Step::MountLinkDiffers => {
            mount.name(&format!("symlink `{destination}` already exists with a different content"))
        }
        Step::MountCreate => {
            let (kind, _) = filesystem();
            let hint = visibility_hint(&kind, failure.errno);
            mount.refused(&kind, None) + hint
        }
        Step::MountOption => {
            let (kind, parameters) = filesystem();
            mount.refused(&kind, parameters.get(usize::from(failure.detail)))
        }
        Step::MountAttach => mount.name("attach the mount"),
        Step::MountAttributes => mount.name("set the mount's options"),
        Step::MountIdmap => {
            mount.name(&format!("id-map the {} filesystem", filesystem().0.to_string_lossy()))
        }
        Step::MountLabel => mount.name("give the root of the filesystem the label of linux.mountLabel"),
        Step::MountCopyUp if failure.errno == Errno::LOOP => {
            let message = format!(
                "copy what the tmpfs covers: directories lie more than {DEEPEST_COPIED} deep in each other"
            );
            return Some(Error::new(Code::Mount, mount.name(&message)));
        }
        Step::MountCopyUp => mount.name("copy what the tmpfs covers"),
        _ => return None,
    };
    Some(Error::os(Code::Mount, message, failure.errno))
}

/// Why the kernel does not let a user namespace have a filesystem that shows the whole system (`user_namespaces(7)`).
fn visibility_hint(kind: &CStr, errno: Errno) -> &'static str {
    match kind.to_bytes() {
        b"proc" if errno == Errno::PERM => {
            " (in a user namespace it takes a pid namespace of its own, and a `/proc` outside that is fully visible: \
             nothing may be mounted over parts of it)"
        }
        b"sysfs" if errno == Errno::PERM => {
            " (in a user namespace it takes a network namespace of its own, and a `/sys` outside that is fully \
             visible: nothing may be mounted over parts of it)"
        }
        _ => "",
    }
}

/// The error for a failed start of a process, in a new container or by `exec`.
pub(crate) fn process_failure(process: &ProcessPlan, failure: Failure) -> Error {
    let error = process_error(process, failure).in_step(failure.step.name());
    explain::process_failed(error, process, failure)
}

fn process_error(process: &ProcessPlan, failure: Failure) -> Error {
    let Failure { step, index, errno, .. } = failure;
    let candidate = || {
        let path = process.candidates.get(usize::from(index)).map(|path| path.to_string_lossy());
        path.unwrap_or_default().into_owned()
    };
    let cwd = process.cwd.to_string_lossy();
    let (code, message) = match step {
        Step::FindExecutable if matches!(errno, Errno::NOENT | Errno::NOTDIR) => {
            return words::executable_not_found(&process.name, Errno::NOENT);
        }
        Step::FindExecutable => return words::executable_denied(&candidate(), errno),
        Step::NotExecutable => return words::not_executable(&candidate()),
        Step::NotRegular => return words::not_a_regular_file(&candidate()),
        Step::Exec => {
            let what = of_inside(("exec container process", ""), candidate());
            return Error::of(Code::Executable, what, Some(errno));
        }
        Step::JoinNamespace => (Code::Namespace, "join the namespaces of the container".to_owned()),
        Step::Terminal => (Code::Terminal, terminal(errno)),
        Step::ControllingTerminal => {
            (Code::Terminal, "process.terminal: give the process its terminal".to_owned())
        }
        Step::SelfProtection => {
            (Code::System, "protect the runtime's executable from the container".to_owned())
        }
        Step::FinalCpus => (Code::System, scheduling::cpus_refused("final", process.affinity.last.as_ref())),
        Step::MemoryPolicy => (Code::System, memory_policy(process)),
        Step::Rlimit => {
            let name =
                process.rlimits.get(usize::from(index)).map_or("rlimit", |(kind, _)| rlimits::name(*kind));
            (Code::Credentials, format!("set the limit `{name}`"))
        }
        Step::Personality => (Code::System, "linux.personality: set the execution domain".to_owned()),
        Step::Bounding => (Code::Credentials, "drop capabilities from the bounding set".to_owned()),
        Step::Groups | Step::UserIds => return ids_refused(process, failure),
        Step::Capabilities => (Code::Credentials, missing_capabilities(process)),
        Step::NoNewPrivileges => (Code::Credentials, "set no_new_privs".to_owned()),
        Step::Seccomp => (Code::Confinement, filter_refused(process, errno)),
        Step::SeccompReceiver => return receiver_failed(process, errno),
        Step::KeyringLabel | Step::SelinuxLabel => (Code::Confinement, selinux_label(process, failure)),
        Step::AppArmor => (Code::Confinement, apparmor_profile(process, errno)),
        Step::WorkingDirectoryCreate | Step::WorkingDirectory => {
            let (code, what) = match step {
                Step::WorkingDirectory => (Code::System, "chdir to"),
                _ => (Code::Rootfs, "create the working directory"),
            };
            return Error::of(code, of_inside((what, ""), cwd.into_owned()), Some(errno));
        }
        Step::WorkingDirectoryOutside => {
            return Error::new(
                Code::System,
                format!("the working directory `{cwd}` is outside of the container's root"),
            );
        }
        _ => (Code::System, "set up the container's process".to_owned()),
    };
    Error::os(code, message, errno)
}

fn terminal(errno: Errno) -> String {
    let hint = match errno {
        Errno::NODEV => " (what is mounted there is no devpts)",
        Errno::NOSPC => " (the limit is /proc/sys/kernel/pty/max, or the option `max` of the mount)",
        _ => "",
    };
    format!("process.terminal: open a pseudoterminal in `/dev/pts` of the container{hint}")
}

fn ids_refused(process: &ProcessPlan, Failure { step, errno, .. }: Failure) -> Error {
    let message = match step {
        Step::Groups => format!("set the supplementary groups{}", groups_hint(errno)),
        _ => {
            let (uid, gid) = (process.uid.as_raw(), process.gid.as_raw());
            let hint = if errno == Errno::INVAL { NOT_MAPPED } else { "" };
            format!("become user {uid} and group {gid}{hint}")
        }
    };
    let code = if errno == Errno::INVAL { Code::IdsNotMapped } else { Code::Credentials };
    Error::os(code, message, errno)
}

/// What the kernel means for a process that is in a user namespace.
const NOT_MAPPED: &str = " (in its user namespace they are not mapped)";

fn groups_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => NOT_MAPPED,
        Errno::PERM => " (in a user namespace it may be denied, see `/proc/self/setgroups`)",
        _ => "",
    }
}

fn memory_policy(process: &ProcessPlan) -> String {
    let Some(policy) = &process.memory_policy else { return String::new() };
    let (nodes, hint) = match policy.nodes.is_empty() {
        true => (String::new(), ""),
        false => (format!(" on the nodes `{}`", policy.nodes), " (are they there, and in the cpuset?)"),
    };
    format!("linux.memoryPolicy: set the policy `{}`{nodes}{hint}", policy.name)
}

/// What the kernel could mean by its refusal of a filter (`seccomp(2)`).
fn filter_refused(process: &ProcessPlan, errno: Errno) -> String {
    let Some(filter) = &process.filter else { return String::new() };
    let what = format!("linux.seccomp: load the filter of {} instructions", filter.program.len());
    let hint = match errno {
        Errno::INVAL if filter.asks_for_flags => " (does this kernel know all of linux.seccomp.flags?)",
        Errno::ACCESS => " (it takes process.noNewPrivileges, or CAP_SYS_ADMIN of the runtime's)",
        Errno::NOMEM => {
            " (the filters of a process have 32768 instructions at most, those it was born with included)"
        }
        Errno::BUSY => " (somebody answers for calls of the runtime already; there can be no second one)",
        Errno::AGAIN => " (to hand over its listener takes one thread more: is there a limit on processes?)",
        _ => "",
    };
    what + hint
}

fn receiver_failed(process: &ProcessPlan, errno: Errno) -> Error {
    let path = process.receiver().map(|receiver| receiver.path.display().to_string()).unwrap_or_default();
    let silent =
        format!("the seccomp receiver `{path}` does not answer for a call that takes part in the start");
    match errno {
        Errno::TIMEDOUT => Error::new(Code::System, silent),
        Errno::AGAIN => {
            Error::new(Code::System, format!("the seccomp receiver `{path}` does not take the listener"))
        }
        errno => {
            Error::os(Code::System, format!("hand the listener over to the seccomp receiver `{path}`"), errno)
        }
    }
}

fn selinux_label(process: &ProcessPlan, failure: Failure) -> String {
    let label = process.labels.selinux.as_deref().unwrap_or_default();
    let file = if failure.step == Step::KeyringLabel { "keycreate" } else { "exec" };
    let hint = match failure.errno {
        Errno::INVAL => " (the loaded policy has no such label)",
        Errno::ACCESS | Errno::PERM => " (the policy does not allow the runtime that)",
        Errno::XDEV => OVER_PROC,
        _ => "",
    };
    format!("process.selinuxLabel: write `{label}` to `/proc/thread-self/attr/{file}`{hint}")
}

fn apparmor_profile(process: &ProcessPlan, errno: Errno) -> String {
    let name = process.labels.apparmor.as_ref().map_or("", |profile| profile.name.as_str());
    let hint = match errno {
        Errno::NOENT => {
            " (it is not loaded: `aa-status` lists those that are, `apparmor_parser -r FILE` loads one)"
        }
        Errno::ACCESS | Errno::PERM => " (the profile that the runtime is confined to does not allow it)",
        Errno::XDEV => OVER_PROC,
        _ => "",
    };
    format!("process.apparmorProfile: change to the AppArmor profile `{name}`{hint}")
}

const OVER_PROC: &str = " (something is mounted over a part of `/proc` on the host)";

/// capset(2) only says EPERM; which of its rules was broken says more.
fn missing_capabilities(process: &ProcessPlan) -> String {
    let sets = &process.capabilities;
    let wanted = sets.permitted | sets.effective;
    let own = rustix::thread::capabilities(None).map_or(u64::MAX, |sets| sets.permitted.bits());
    let rules = [
        (sets.effective & !sets.permitted, "process.capabilities.effective holds what is not permitted:"),
        (wanted & !own, "the runtime itself does not have"),
        (sets.inheritable & !sets.bounding, "process.capabilities.inheritable holds what is not bounding:"),
    ];
    match rules.into_iter().find(|(missing, _)| *missing != 0) {
        None => "capset".to_owned(),
        Some((missing, rule)) => format!("capset: {rule} {}", capabilities::names_of(missing)),
    }
}
