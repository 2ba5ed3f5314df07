//! What the entries are called that the steps of a process work on.

use crate::channel::Step;
use crate::plan::{InnerPath, Plan, ProcessPlan, namespace_name};

/// Tells what entry of its list a step works on, where that has a name.
pub(crate) type Of<'a> = &'a dyn Fn(Step, u16) -> Option<String>;

/// Those of a container's first process.
pub(crate) fn of_container(plan: &Plan, step: Step, index: u16) -> Option<String> {
    let (rootfs, at) = (&plan.rootfs, usize::from(index));
    let path = |paths: &[InnerPath]| paths.get(at).map(ToString::to_string);
    match step {
        Step::MountAttach => {
            let mount = rootfs.mounts.iter().find(|mount| mount.index == at)?;
            Some(mount.destination.to_string())
        }
        Step::Device => rootfs.devices.get(at).map(|device| device.path.to_string()),
        Step::MaskedPath => path(&rootfs.masked),
        Step::ReadOnlyPath => path(&rootfs.read_only_paths),
        Step::Sysctl => plan.sysctls.get(at).map(|sysctl| sysctl.name.clone()),
        Step::JoinNamespace => plan.namespaces.join.get(at).map(|join| namespace_name(join.kind).to_owned()),
        _ => of_process(&plan.process, step, index),
    }
}

/// Those of any process.
pub(crate) fn of_process(process: &ProcessPlan, step: Step, index: u16) -> Option<String> {
    let at = usize::from(index);
    match step {
        Step::Rlimit => process.rlimits.get(at).map(|(kind, _)| crate::rlimits::name(*kind).to_owned()),
        Step::FindExecutable | Step::NotExecutable | Step::NotRegular | Step::Exec => {
            process.candidates.get(at).map(|path| path.to_string_lossy().into_owned())
        }
        _ => None,
    }
}
