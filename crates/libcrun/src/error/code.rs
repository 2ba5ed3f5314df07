//! The kinds of error: a name that stays, and the long text of `crun explain`.

/// Makes the enumeration and what goes with it of one list.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $code:ident = $name:literal,)*) => {
        /// What kind of thing went wrong; stable across versions, for programs to act on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $code,)*
        }

        impl Code {
            /// All of them, those of one subject side by side.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The name by which logs and `crun explain` know it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }
        }
    };
}

codes! {
    /// There is no container of that name.
    ContainerNotFound = "container-not-found",
    /// A container of that name exists already.
    ContainerExists = "container-exists",
    /// The operation needs a container whose process is there.
    ContainerNotRunning = "container-not-running",
    /// The operation needs a container that is not paused.
    ContainerPaused = "container-paused",
    /// The operation needs a container that has not been started, or has ended.
    ContainerRunning = "container-running",
    /// The container is not in the state the operation needs, for another reason.
    WrongState = "wrong-state",
    /// The container's name is not allowed.
    InvalidId = "invalid-id",
    /// The state directory could not be read or written.
    State = "state",

    /// A file is no JSON.
    MalformedJson = "malformed-json",
    /// The configuration, or a value in it, is not what the specification allows, or contradicts itself.
    InvalidConfig = "invalid-config",
    /// An option of the command line has a value that it cannot have.
    InvalidOption = "invalid-option",
    /// What is asked for cannot be done by this version, or on this kernel.
    Unsupported = "unsupported",

    /// The program to run is not there.
    ExecutableNotFound = "executable-not-found",
    /// The program to run may not be executed.
    ExecutableDenied = "executable-denied",
    /// The interpreter that the program names is not there.
    InterpreterNotFound = "interpreter-not-found",
    /// The program is nothing that this kernel can execute.
    ExecutableFormat = "executable-format",
    /// The program could not be executed for another reason.
    Executable = "executable",

    /// The root filesystem is not there.
    RootfsNotFound = "rootfs-not-found",
    /// Something in the root filesystem could not be set up.
    Rootfs = "rootfs",
    /// A mount could not be made.
    Mount = "mount",

    /// The cgroup could not be created, configured or removed.
    Cgroup = "cgroup",
    /// The cgroup cannot be removed, because processes stay in it.
    CgroupBusy = "cgroup-busy",
    /// The cgroup is not for this user to make or change.
    CgroupDenied = "cgroup-denied",
    /// A limit needs a controller that is not to be had.
    ControllerNotFound = "controller-not-found",
    /// There was too little memory for the container's process.
    OutOfMemory = "out-of-memory",
    /// systemd is not to be reached, or has refused the container's unit.
    Systemd = "systemd",

    /// A namespace could not be created or joined.
    Namespace = "namespace",
    /// This host does not let this user make user namespaces, or do anything in them.
    UserNamespaceForbidden = "user-namespace-forbidden",
    /// Ids have no counterpart in the user namespace, or may not be given one.
    IdsNotMapped = "ids-not-mapped",
    /// User, groups, capabilities or limits of the process could not be set.
    Credentials = "credentials",
    /// A security module or the seccomp profile could not be set up.
    Confinement = "confinement",

    /// A limit on processes is reached.
    ProcessLimit = "process-limit",
    /// A limit on namespaces is reached.
    NamespaceLimit = "namespace-limit",
    /// A limit on open descriptors is reached.
    DescriptorLimit = "descriptor-limit",
    /// A filesystem, or what a limit allows on it, is full.
    NoSpace = "no-space",
    /// A filesystem is mounted read-only.
    ReadOnly = "read-only",
    /// A path does not exist.
    PathNotFound = "path-not-found",
    /// Somebody may not go along a path.
    PathDenied = "path-denied",

    /// The process could not be signalled.
    Signal = "signal",
    /// The process has ended.
    ProcessGone = "process-gone",
    /// A hook has failed.
    Hook = "hook-failed",
    /// The terminal could not be made or handed over.
    Terminal = "terminal",
    /// Anything else the kernel refused.
    System = "system",
}

/// The long texts, a section for each code, in the order of [`Code::ALL`].
const EXPLANATIONS: &str = include_str!("explanations.md");

impl Code {
    /// The code of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// What it means, what usually causes it, how to find out and what to do: Markdown that reads well as it is. The
    /// first line is a summary.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        let mut sections = EXPLANATIONS.split("\n## ");
        let text = sections.find_map(|section| section.strip_prefix(self.name())?.strip_prefix('\n'));
        text.unwrap_or_default().trim()
    }

    /// What it means, in a line.
    #[must_use]
    pub fn summary(self) -> &'static str {
        self.explanation().lines().next().unwrap_or_default()
    }

    /// Whether nothing more is known than what was being done.
    pub(crate) const fn is_coarse(self) -> bool {
        matches!(
            self,
            Self::State
                | Self::InvalidConfig
                | Self::InvalidOption
                | Self::Executable
                | Self::Rootfs
                | Self::Mount
                | Self::Cgroup
                | Self::Namespace
                | Self::Credentials
                | Self::Hook
                | Self::Terminal
                | Self::System
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_has_a_name_of_its_own_by_which_it_is_found() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::from_name(code.name()), Some(*code));
            assert!(code.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code:?}");
        }
        assert_eq!(Code::from_name("containernotfound"), None);
    }

    #[test]
    fn each_code_is_explained_and_nothing_else_is() {
        let explained: Vec<_> =
            EXPLANATIONS.split("\n## ").skip(1).filter_map(|section| section.lines().next()).collect();
        let names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(explained, names);
        for code in Code::ALL {
            let text = code.explanation();
            assert!(code.summary().ends_with('.') && code.summary().len() <= 90, "{code:?}");
            for part in ["\n**Usual causes**\n", "\n**What to do**\n"] {
                assert!(text.contains(part), "{code:?} says nothing of {part}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{code:?}: a line is too long");
        }
    }
}
