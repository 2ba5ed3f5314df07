//! What could not be done, as init says it: which step, at which entry of the plan, and the kernel's reason.

use rustix::io::Errno;

use crate::timeline::marks;

/// What could not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    /// Which entry of the list the step works on.
    pub(crate) index: u16,
    /// Which part of that entry.
    pub(crate) detail: u16,
    pub(crate) errno: Errno,
}

impl Failure {
    /// A failure at entry `index` of a list.
    pub(crate) fn new(step: Step, index: usize, errno: Errno) -> Self {
        Self { step, index: u16::try_from(index).unwrap_or(u16::MAX), detail: 0, errno }
    }

    /// The same, at part `detail` of the entry.
    pub(crate) fn concerning(self, detail: usize) -> Self {
        Self { detail: u16::try_from(detail).unwrap_or(u16::MAX), ..self }
    }
}

/// Makes an enumeration of which the members can be told by their number, which is what goes over the channel.
macro_rules! steps {
    ($($step:ident = $name:literal,)*) => {
        /// The steps of init, as far as they can fail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Step {
            $($step,)*
        }

        impl Step {
            /// All of them, by number.
            pub(super) const ALL: &[Self] = &[$(Self::$step,)*];

            /// The name that programs know it by.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)*
                }
            }

            /// The one of that number.
            pub(crate) fn numbered(number: u8) -> Self {
                Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Runtime)
            }
        }
    };
}

steps! {
    Runtime = "runtime",
    JoinNamespace = "join-namespace",
    NewNamespaces = "new-namespaces",
    CgroupNamespace = "cgroup-namespace",
    TimeNamespace = "time-namespace",
    MappedRoot = "mapped-root",
    KeyringLabel = "keyring-label",
    Loopback = "loopback",
    Sysctl = "sysctl",
    HostPropagation = "host-propagation",
    MountNamespace = "mount-namespace",
    AttachRoot = "attach-root",
    MountSource = "mount-source",
    MountTarget = "mount-target",
    MountTargetLink = "mount-target-link",
    MountTargetKernel = "mount-target-kernel",
    MountLinkDiffers = "mount-link-differs",
    MountCreate = "mount-create",
    MountOption = "mount-option",
    MountAttach = "mount-attach",
    MountAttributes = "mount-attributes",
    MountIdmap = "mount-idmap",
    MountCopyUp = "mount-copy-up",
    MountLabel = "mount-label",
    NotMounted = "not-mounted",
    Unmount = "unmount",
    DevDirectory = "dev-directory",
    Device = "device",
    DeviceLink = "device-link",
    Terminal = "terminal",
    Console = "console",
    WorkingDirectoryCreate = "working-directory-create",
    MaskedPath = "masked-path",
    ReadOnlyPath = "read-only-path",
    ReadOnlyRoot = "read-only-root",
    HookExit = "hook-exit",
    HookKilled = "hook-killed",
    HookTimeout = "hook-timeout",
    HookExec = "hook-exec",
    HookRun = "hook-run",
    Pivot = "pivot",
    Hostname = "hostname",
    Domainname = "domainname",
    FinalCpus = "final-cpus",
    MemoryPolicy = "memory-policy",
    SelfProtection = "self-protection",
    ControllingTerminal = "controlling-terminal",
    Rlimit = "rlimit",
    Personality = "personality",
    Bounding = "bounding",
    Groups = "groups",
    UserIds = "user-ids",
    Capabilities = "capabilities",
    NoNewPrivileges = "no-new-privileges",
    SelinuxLabel = "selinux-label",
    AppArmor = "app-armor",
    Seccomp = "seccomp",
    SeccompReceiver = "seccomp-receiver",
    WorkingDirectory = "working-directory",
    WorkingDirectoryOutside = "working-directory-outside",
    FindExecutable = "find-executable",
    NotExecutable = "not-executable",
    NotRegular = "not-regular",
    Exec = "exec",
}

/// Names the step of a call that may fail, and notes for a timeline that it was taken.
pub(crate) trait At<T> {
    /// For a step that works on one thing only.
    fn at(self, step: Step) -> Result<T, Failure>;
    /// For entry `index` of the list that the step works through.
    fn at_entry(self, step: Step, index: usize) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.at_entry(step, 0)
    }

    fn at_entry(self, step: Step, index: usize) -> Result<T, Failure> {
        let entry = u16::try_from(index).unwrap_or(u16::MAX);
        marks::step(step, entry, self.as_ref().err().copied());
        self.map_err(|errno| Failure::new(step, index, errno))
    }
}
