//! All that the plan refuses, not only the first: what is to blame is left out, and what remains is planned again.

use crate::error::{Error, Result};
use crate::plan::{HookKind, Plan};
use crate::spec::{self, Hook, Hooks, Linux, Mount, Process, Resources, Spec};

/// A part of a configuration that can be left out without changing what the others are called.
#[derive(Debug)]
enum Part {
    Mount(usize),
    Device(usize),
    Hook(HookKind, usize),
    Rlimit(usize),
    Sysctl(String),
    Annotation(String),
    Field(&'static str, LeaveOut),
}

/// How something is taken out of a configuration.
type LeaveOut = fn(&mut Spec<'_>);

/// What can be left out as a whole, the smaller before the larger.
const FIELDS: [(&str, LeaveOut); 37] = [
    ("hostname", |spec| spec.hostname = None),
    ("domainname", |spec| spec.domainname = None),
    ("process.terminal", |spec| process(spec, |process| process.terminal = None)),
    ("process.capabilities", |spec| process(spec, |process| process.capabilities = None)),
    ("process.oomScoreAdj", |spec| process(spec, |process| process.oom_score_adj = None)),
    ("process.scheduler", |spec| process(spec, |process| process.scheduler = None)),
    ("process.ioPriority", |spec| process(spec, |process| process.io_priority = None)),
    ("process.execCPUAffinity", |spec| process(spec, |process| process.exec_cpu_affinity = None)),
    ("process.apparmorProfile", |spec| process(spec, |process| process.apparmor_profile = None)),
    ("process.selinuxLabel", |spec| process(spec, |process| process.selinux_label = None)),
    ("process.user", |spec| process(spec, |process| process.user = None)),
    ("linux.uidMappings", |spec| linux(spec, |linux| linux.uid_mappings = None)),
    ("linux.gidMappings", |spec| linux(spec, |linux| linux.gid_mappings = None)),
    ("linux.timeOffsets", |spec| linux(spec, |linux| linux.time_offsets = None)),
    ("linux.seccomp", |spec| linux(spec, |linux| linux.seccomp = None)),
    ("linux.maskedPaths", |spec| linux(spec, |linux| linux.masked_paths = None)),
    ("linux.readonlyPaths", |spec| linux(spec, |linux| linux.readonly_paths = None)),
    ("linux.mountLabel", |spec| linux(spec, |linux| linux.mount_label = None)),
    ("linux.personality", |spec| linux(spec, |linux| linux.personality = None)),
    ("linux.memoryPolicy", |spec| linux(spec, |linux| linux.memory_policy = None)),
    ("linux.intelRdt", |spec| linux(spec, |linux| linux.intel_rdt = Default::default())),
    ("linux.netDevices", |spec| linux(spec, |linux| linux.net_devices = Default::default())),
    ("linux.rootfsPropagation", |spec| linux(spec, |linux| linux.rootfs_propagation = None)),
    ("linux.cgroupsPath", |spec| linux(spec, |linux| linux.cgroups_path = None)),
    ("linux.resources.memory", |spec| resources(spec, |limits| limits.memory = None)),
    ("linux.resources.cpu", |spec| resources(spec, |limits| limits.cpu = None)),
    ("linux.resources.pids", |spec| resources(spec, |limits| limits.pids = None)),
    ("linux.resources.blockIO", |spec| resources(spec, |limits| limits.block_io = None)),
    ("linux.resources.hugepageLimits", |spec| resources(spec, |limits| limits.hugepage_limits.clear())),
    ("linux.resources.network", |spec| resources(spec, |limits| limits.network = None)),
    ("linux.resources.rdma", |spec| resources(spec, |limits| limits.rdma.clear())),
    ("linux.resources.unified", |spec| resources(spec, |limits| limits.unified.clear())),
    ("linux.resources.devices", |spec| resources(spec, |limits| limits.devices.clear())),
    ("linux.resources", |spec| linux(spec, |linux| linux.resources = None)),
    ("mounts", |spec| spec.mounts = None),
    ("linux.devices", |spec| linux(spec, |linux| linux.devices = None)),
    ("hooks", |spec| spec.hooks = None),
];

fn process(spec: &mut Spec<'_>, change: impl FnOnce(&mut Process<'_>)) {
    spec.process.as_mut().map(change);
}

fn linux(spec: &mut Spec<'_>, change: impl FnOnce(&mut Linux<'_>)) {
    spec.linux.as_mut().map(change);
}

fn resources(spec: &mut Spec<'_>, change: impl FnOnce(&mut Resources)) {
    spec.linux.as_mut().and_then(|linux| linux.resources.as_mut()).map(change);
}

fn hooks<'s, 'a>(hooks: &'s mut Hooks<'a>, kind: HookKind) -> &'s mut Option<Vec<Hook<'a>>> {
    match kind {
        HookKind::Prestart => &mut hooks.prestart,
        HookKind::CreateRuntime => &mut hooks.create_runtime,
        HookKind::CreateContainer => &mut hooks.create_container,
        HookKind::StartContainer => &mut hooks.start_container,
        HookKind::Poststart => &mut hooks.poststart,
        HookKind::Poststop => &mut hooks.poststop,
    }
}

impl Part {
    /// The parts there are, those that are best to blame first.
    fn of(spec: &mut Spec<'_>) -> Vec<Self> {
        let mut parts: Vec<Self> = (0..spec.mounts.as_ref().map_or(0, Vec::len)).map(Self::Mount).collect();
        if let Some(linux) = &spec.linux {
            parts.extend((0..linux.devices.as_ref().map_or(0, Vec::len)).map(Self::Device));
            parts.extend(linux.sysctl.iter().flatten().map(|(name, _)| Self::Sysctl(name.to_string())));
        }
        let limits = spec.process.as_ref().and_then(|process| process.rlimits.as_ref()).map_or(0, Vec::len);
        parts.extend((0..limits).map(Self::Rlimit));
        if let Some(all) = &mut spec.hooks {
            for kind in HookKind::ALL {
                let count = hooks(all, kind).as_ref().map_or(0, Vec::len);
                parts.extend((0..count).map(|index| Self::Hook(kind, index)));
            }
        }
        parts.extend(spec.annotations.iter().flatten().map(|(name, _)| Self::Annotation(name.to_string())));
        parts.extend(FIELDS.iter().map(|(name, leave_out)| Self::Field(name, *leave_out)));
        parts
    }

    fn name(&self) -> String {
        match self {
            Self::Mount(index) => format!("mounts[{index}]"),
            Self::Device(index) => format!("linux.devices[{index}]"),
            Self::Hook(kind, index) => crate::plan::hook_name(*kind, *index),
            Self::Rlimit(index) => format!("process.rlimits[{index}]"),
            Self::Sysctl(name) => format!("linux.sysctl.{name}"),
            Self::Annotation(name) => format!("annotations.{name}"),
            Self::Field(name, _) => (*name).to_owned(),
        }
    }

    /// Leaves it out; in a list something harmless takes its place, so that the others keep their numbers.
    fn leave_out(&self, spec: &mut Spec<'_>) {
        match self {
            Self::Mount(index) => {
                if let Some(mount) = spec.mounts.as_mut().and_then(|mounts| mounts.get_mut(*index)) {
                    let destination = std::mem::take(&mut mount.destination);
                    *mount = Mount { destination, kind: Some("tmpfs".into()), ..Mount::default() };
                }
            }
            Self::Device(index) => linux(spec, |linux| {
                if let Some(device) = linux.devices.as_mut().and_then(|devices| devices.get_mut(*index)) {
                    (device.kind, device.path) = ("p".into(), "/dev/none".into());
                    (device.major, device.minor, device.uid, device.gid) = (None, None, None, None);
                }
            }),
            Self::Hook(kind, index) => {
                let list = spec.hooks.as_mut().and_then(|all| hooks(all, *kind).as_mut());
                if let Some(hook) = list.and_then(|list| list.get_mut(*index)) {
                    *hook = Hook { path: NO_HOOK.into(), ..Hook::default() };
                }
            }
            Self::Rlimit(index) => process(spec, |process| {
                if let Some(limit) = process.rlimits.as_mut().and_then(|limits| limits.get_mut(*index)) {
                    limit.kind = LEFT_OUT.into();
                }
            }),
            Self::Sysctl(name) => linux(spec, |linux| {
                linux.sysctl.iter_mut().for_each(|all| all.retain(|key, _| **key != **name));
            }),
            Self::Annotation(name) => {
                spec.annotations.iter_mut().for_each(|all| all.retain(|key, _| **key != **name));
            }
            Self::Field(_, leave_out) => leave_out(spec),
        }
    }
}

/// The path in the place of a hook that is left out.
pub(super) const NO_HOOK: &str = "/";
/// What a limit is called that is taken out once all are known that are.
const LEFT_OUT: &str = "";

/// Plans the configuration, and what is left of it without what is refused: each refusal with the part that is to blame, and
/// the plan for the rest if there is one. `name` is what the text is called.
pub(super) fn all(
    text: &[u8],
    name: &str,
    plan: impl Fn(&Spec<'_>) -> Result<Plan>,
) -> (Vec<(String, Error)>, Option<Plan>) {
    let Ok(mut whole) = spec::parse(text, name) else { return (Vec::new(), None) };
    let parts = Part::of(&mut whole);
    let planned = |left_out: &[usize]| -> Result<Plan> {
        let mut spec = spec::parse(text, name)?;
        left_out.iter().filter_map(|index| parts.get(*index)).for_each(|part| part.leave_out(&mut spec));
        process(&mut spec, |process| {
            process.rlimits.iter_mut().for_each(|limits| limits.retain(|limit| &*limit.kind != LEFT_OUT));
        });
        plan(&spec)
    };
    let (mut refused, mut left_out) = (Vec::new(), Vec::new());
    loop {
        let error = match planned(&left_out) {
            Ok(plan) => return (refused, Some(plan)),
            Err(error) => error,
        };
        let is_to_blame = |index: &usize| {
            let without = [left_out.as_slice(), &[*index]].concat();
            !left_out.contains(index) && planned(&without).err().as_ref() != Some(&error)
        };
        let Some(index) = (0..parts.len()).find(is_to_blame) else {
            refused.push(("config.json".to_owned(), error));
            return (refused, None);
        };
        refused.push((parts[index].name(), error));
        left_out.push(index);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cgroups::Layout;

    use super::*;
    use crate::host::Host;
    use crate::id::ContainerId;
    use crate::plan::Request;

    /// What is refused of the configuration of `crun spec` with this changed, and whether the rest can be planned.
    fn refused(change: impl Fn(&mut serde_json::Value)) -> (Vec<(String, String)>, bool) {
        let mut config = serde_json::from_str(&spec::template(false, true)).unwrap();
        change(&mut config);
        let (host, id) = (Host::with(0, Layout::unified()), ContainerId::new("x").unwrap());
        let request = Request::new(&id, Path::new("/b"));
        let text = config.to_string();
        let (refused, plan) = all(text.as_bytes(), "c", |spec| Plan::new(spec, &request, &host));
        (refused.into_iter().map(|(name, error)| (name, error.to_string())).collect(), plan.is_some())
    }

    #[test]
    fn nothing_is_refused_of_what_can_be_planned() {
        assert_eq!(refused(|_| ()), (Vec::new(), true));
    }

    #[test]
    fn each_refusal_is_told_with_the_place_it_has_in_the_configuration() {
        let (found, is_planned) = refused(|config| {
            let bad = serde_json::json!({"destination": "/x", "type": "bind"});
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.insert(1, bad.clone());
            mounts.insert(3, bad);
            let limit = |kind: &str, soft: u32| serde_json::json!({"type": kind, "soft": soft, "hard": 5});
            let limits = [limit("RLIMIT_A", 1), limit("RLIMIT_AS", 9), limit("RLIMIT_CORE", 5)];
            config["process"]["rlimits"] = limits.as_slice().into();
            config["linux"]["sysctl"] = serde_json::json!({"vm.a": "1", "kernel.msgmax": "1"});
            config["linux"]["resources"] = serde_json::json!({"memory": {"swap": 5}, "pids": {"limit": 5}});
            config["linux"]["devices"] = serde_json::json!([{"type": "z", "path": "/dev/z"}]);
        });
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let all = [
            "linux.resources.memory",
            "mounts[1]",
            "mounts[3]",
            "linux.devices[0]",
            "process.rlimits[0]",
            "process.rlimits[1]",
            "linux.sysctl.vm.a",
        ];
        assert_eq!(names, all, "{found:#?}");
        assert_eq!(found[1].1, "mounts[1]: /x: a bind mount needs a source");
        assert!(is_planned);
    }

    #[test]
    fn what_nothing_can_be_left_out_for_ends_it() {
        let (found, is_planned) = refused(|config| config["process"]["args"] = serde_json::json!([]));
        assert_eq!(found, [("config.json".to_owned(), "executable path not specified".to_owned())]);
        assert!(!is_planned);
    }
}
