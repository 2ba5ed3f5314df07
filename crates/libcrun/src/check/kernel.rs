//! What this runtime uses of the kernel, and what is lost where it is not there.

use sys::probe::Call;

use super::subject::{Ability, Subject};
use super::{Answer, Finding};

/// Something a kernel can do.
struct Use {
    name: &'static str,
    ability: Ability,
    /// The version it came with.
    since: &'static str,
    /// What it is here for.
    what_for: &'static str,
    lost: Lost,
}

/// What happens without it.
enum Lost {
    /// No container runs.
    Everything,
    /// This.
    Something(&'static str),
}

const fn of(call: Call) -> Ability {
    Ability::Call(call)
}

const USES: [Use; 13] = [
    Use {
        name: "clone3",
        ability: of(Call::Clone3),
        since: "Linux 5.3",
        what_for: "makes a container's process in its namespaces",
        lost: Lost::Everything,
    },
    Use {
        name: "clone-into-cgroup",
        ability: of(Call::CloneIntoCgroup),
        since: "Linux 5.7",
        what_for: "processes are born in their cgroup (version 2)",
        lost: Lost::Something("they are moved into it afterwards, which takes longer"),
    },
    Use {
        name: "openat2",
        ability: of(Call::Openat2),
        since: "Linux 5.6",
        what_for: "paths of a container are looked up by the kernel, below its root",
        lost: Lost::Something("they are looked up step by step, which takes longer"),
    },
    Use {
        name: "open_tree",
        ability: of(Call::OpenTree),
        since: "Linux 5.2",
        what_for: "mounts are prepared before anything of the container is there",
        lost: Lost::Something("mounts are made by their paths"),
    },
    Use {
        name: "move_mount",
        ability: of(Call::MoveMount),
        since: "Linux 5.2",
        what_for: "mounts are attached by descriptor",
        lost: Lost::Something("mounts are made by their paths"),
    },
    Use {
        name: "fsopen",
        ability: of(Call::Fsopen),
        since: "Linux 5.2",
        what_for: "filesystems are made option by option, so that a refused one can be named",
        lost: Lost::Something("mounts are made by their paths"),
    },
    Use {
        name: "mount_setattr",
        ability: of(Call::MountSetattr),
        since: "Linux 5.12",
        what_for: "id-mapped mounts, and recursive options such as `rro`",
        lost: Lost::Something("mounts with `idmap` or with recursive options are refused"),
    },
    Use {
        name: "mount-namespace-of-tree",
        ability: Ability::MountNamespaceOfTree,
        since: "Linux 7.0",
        what_for: "a container starts without a copy of the host's mounts",
        lost: Lost::Something(
            "the host's mounts are copied for each container, which takes longer the more there are",
        ),
    },
    Use {
        name: "pidfd_open",
        ability: of(Call::PidfdOpen),
        since: "Linux 5.3",
        what_for: "processes are named by descriptor, whatever becomes of their pid",
        lost: Lost::Something("they are named by their pid, with its start time to tell it from another"),
    },
    Use {
        name: "pidfd_send_signal",
        ability: of(Call::PidfdSendSignal),
        since: "Linux 5.1",
        what_for: "signals go to the process that is meant",
        lost: Lost::Everything,
    },
    Use {
        name: "close_range",
        ability: of(Call::CloseRange),
        since: "Linux 5.9",
        what_for: "no descriptor of the host's gets into a container",
        lost: Lost::Something("descriptors are closed one by one, which takes longer"),
    },
    Use {
        name: "seccomp",
        ability: of(Call::Seccomp),
        since: "Linux 3.17, CONFIG_SECCOMP_FILTER",
        what_for: "filters of system calls",
        lost: Lost::Something("a configuration with linux.seccomp is refused"),
    },
    Use {
        name: "exchange-of-executable",
        ability: Ability::ExchangeOfExecutable,
        since: "CONFIG_CHECKPOINT_RESTORE",
        what_for: "the runtime gets its own executable out of a container's reach while it starts",
        lost: Lost::Something("for that it executes itself once more, which takes longer"),
    },
];

pub(super) fn look(subject: &Subject<'_>) -> Vec<Finding> {
    let concerns = |item: &&Use| {
        // Who has no right over the host's mount namespace has a copy of it to begin with.
        item.ability != Ability::MountNamespaceOfTree || !subject.host.is_rootless()
    };
    USES.iter().filter(concerns).map(|item| answer(item, subject).about(item.name)).collect()
}

fn answer(item: &Use, subject: &Subject<'_>) -> Answer {
    let what_for = item.what_for;
    if subject.kernel.can(item.ability) {
        return Answer::ok(what_for);
    }
    let since = item.since;
    let remedy = match subject.machine.status("Seccomp").as_deref() {
        Some("2") => {
            format!("a kernel with it ({since}), or a seccomp filter around this process that allows it")
        }
        _ => format!("a kernel with it ({since})"),
    };
    match item.lost {
        Lost::Everything => Answer::missing(format!("not there; {what_for}"), remedy),
        Lost::Something(lost) => Answer::limited(format!("not there: {lost}"), remedy),
    }
}

/// A filesystem, and whether the container of `crun spec` has one.
const FILESYSTEMS: [(&str, bool, &str); 7] = [
    ("proc", true, "/proc"),
    ("sysfs", true, "/sys"),
    ("tmpfs", true, "/dev, /dev/shm and the like"),
    ("devpts", true, "terminals"),
    ("mqueue", true, "/dev/mqueue"),
    ("cgroup2", false, "/sys/fs/cgroup"),
    ("overlay", false, "root filesystems that engines put together from images"),
];

pub(super) fn look_at_filesystems(subject: &Subject<'_>) -> Vec<Finding> {
    let known = Known::of(subject);
    let finding = |(name, is_needed, what_for): (&'static str, bool, &str)| {
        let answer = match known.find(name) {
            Found::BuiltIn => Answer::ok(what_for),
            Found::Module => {
                Answer::ok(format!("{what_for} (a module, which the kernel loads when it is asked for)"))
            }
            Found::Nowhere => Answer::lacking(
                is_needed,
                format!("this kernel has no such filesystem; {what_for}"),
                format!("a kernel with it, or its module (`modprobe {name}`)"),
            ),
        };
        answer.about(name)
    };
    FILESYSTEMS.into_iter().map(finding).collect()
}

/// The filesystems of a kernel.
pub(super) struct Known {
    list: String,
    modules: String,
}

/// Where one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    BuiltIn,
    Module,
    Nowhere,
}

impl Known {
    pub(super) fn of(subject: &Subject<'_>) -> Self {
        let text = |path: &str| subject.machine.text(path).unwrap_or_default();
        let release = text("/proc/sys/kernel/osrelease");
        let modules = text(&format!("/lib/modules/{release}/modules.dep"));
        Self { list: text("/proc/filesystems"), modules }
    }

    pub(super) fn find(&self, name: &str) -> Found {
        if self.list.lines().any(|line| line.split_whitespace().last() == Some(name)) {
            return Found::BuiltIn;
        }
        // `kernel/fs/overlayfs/overlay.ko.xz: OTHERS`; the module of cgroup2 and the like does not exist.
        let is_module = |line: &str| {
            let file = line.split(':').next().and_then(|path| path.rsplit('/').next());
            file.and_then(|file| file.split(".ko").next()).is_some_and(|module| module == name)
        };
        if self.modules.lines().any(is_module) { Found::Module } else { Found::Nowhere }
    }
}
