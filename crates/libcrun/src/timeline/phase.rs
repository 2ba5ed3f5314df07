//! Which steps of a process make up which part of its way.

use crate::channel::Step;

/// The parts of the way of a process to its program. It never goes back: what belongs to an earlier one and comes late is
/// done for the later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Place,
    Namespaces,
    Mounts,
    Devices,
    Masks,
    Root,
    Names,
    Rights,
    Program,
    Start,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Place => "takes its place",
            Self::Namespaces => "namespaces",
            Self::Mounts => "mounts",
            Self::Devices => "devices",
            Self::Masks => "masked and read-only paths",
            Self::Root => "change of root",
            Self::Names => "names and bindings",
            Self::Rights => "gives up rights",
            Self::Program => "program",
            Self::Start => "start",
        }
    }

    /// The one that begins with this step at the latest. A step that is not here belongs to whichever it comes in.
    pub(super) fn of(step: Step) -> Option<Self> {
        Some(match step {
            Step::JoinNamespace
            | Step::NewNamespaces
            | Step::CgroupNamespace
            | Step::TimeNamespace
            | Step::Loopback
            | Step::Sysctl => Self::Namespaces,
            step if is_of_mount(step) || is_of_all_mounts(step) => Self::Mounts,
            Step::DevDirectory
            | Step::Device
            | Step::DeviceLink
            | Step::Terminal
            | Step::Console
            | Step::WorkingDirectoryCreate => Self::Devices,
            Step::MaskedPath | Step::ReadOnlyPath => Self::Masks,
            Step::ReadOnlyRoot | Step::Pivot => Self::Root,
            Step::Hostname | Step::Domainname | Step::FinalCpus | Step::MemoryPolicy => Self::Names,
            Step::Rlimit | Step::Personality | Step::Bounding | Step::Groups | Step::UserIds => Self::Rights,
            Step::FindExecutable | Step::NotExecutable | Step::NotRegular => Self::Program,
            _ => return None,
        })
    }
}

/// Whether it works on one mount.
pub(super) fn is_of_mount(step: Step) -> bool {
    (Step::MountSource as u8..=Step::MountLabel as u8).contains(&(step as u8))
}

/// Whether it makes the place that all mounts are made in.
pub(super) fn is_of_all_mounts(step: Step) -> bool {
    matches!(step, Step::HostPropagation | Step::MountNamespace | Step::AttachRoot)
}
