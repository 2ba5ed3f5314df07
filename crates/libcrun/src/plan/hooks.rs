//! The hooks of a container, taken apart into programs that can be run without allocating: two of the six kinds are run by
//! init (runtime-spec config.md#posix-platform-hooks).

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use sys::exec::StringArray;

use super::invalid;
use crate::error::Result;
use crate::id::ContainerId;
use crate::spec::{self, Annotations, Spec, Text};

/// When a hook is run, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookKind {
    /// By the runtime, once the container has its namespaces and its mounts.
    Prestart,
    /// The same, after those.
    CreateRuntime,
    /// By init, before it enters the root: in the container's namespaces, with the host's files.
    CreateContainer,
    /// By init, as its last step before the program.
    StartContainer,
    /// By the runtime, when the program runs.
    Poststart,
    /// By the runtime, when the container is gone.
    Poststop,
}

impl HookKind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];

    /// The specification's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// The container's status while it is run (runtime-spec runtime.md#state).
    const fn status(self) -> &'static str {
        match self {
            Self::Prestart | Self::CreateRuntime | Self::CreateContainer => "creating",
            Self::StartContainer => "created",
            Self::Poststart => "running",
            Self::Poststop => "stopped",
        }
    }
}

/// One hook.
#[derive(Debug)]
pub(crate) struct HookPlan {
    pub(crate) path: CString,
    pub(crate) argv: StringArray,
    /// Without one of its own it gets that of who runs it.
    pub(crate) env: Option<StringArray>,
    pub(crate) timeout: Option<Duration>,
}

impl std::fmt::Debug for StateText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}PID{}", String::from_utf8_lossy(&self.before), String::from_utf8_lossy(&self.after))
    }
}

/// The state a hook reads from its standard input: what stands before the pid, and what after it. The pid is only known
/// to who runs the hook.
pub(crate) struct StateText {
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

/// The hooks of one kind.
#[derive(Debug)]
pub(crate) struct HookList {
    pub(crate) hooks: Vec<HookPlan>,
    pub(crate) state: StateText,
}

/// All hooks of a container that has some.
#[derive(Debug)]
pub(crate) struct HooksPlan {
    /// By [`HookKind`].
    lists: [HookList; 6],
    /// The directory they are run in, outside.
    pub(crate) bundle: CString,
    /// Files that get what they write.
    pub(crate) output: HookOutput,
}

/// Where the output of hooks goes, if not into errors.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct HookOutput {
    pub(crate) stdout: Option<PathBuf>,
    pub(crate) stderr: Option<PathBuf>,
}

impl HooksPlan {
    /// Those of the configuration; nothing where it has none.
    pub(crate) fn new(spec: &Spec<'_>, id: &ContainerId, bundle: &Path) -> Result<Option<Rc<Self>>> {
        let Some(hooks) = &spec.hooks else { return Ok(None) };
        let root = spec.root.as_ref().map(|root| &*root.path).unwrap_or_default();
        let annotations = spec.annotations.as_ref();
        let list = |kind: HookKind, hooks: &Option<Vec<spec::Hook<'_>>>| -> Result<HookList> {
            let hooks = hooks.iter().flatten().enumerate();
            let hooks = hooks.map(|(index, hook)| hook_plan(kind, index, hook)).collect::<Result<_>>()?;
            Ok(HookList { hooks, state: StateText::new(id, root, bundle, kind.status(), annotations) })
        };
        let lists = [
            list(HookKind::Prestart, &hooks.prestart)?,
            list(HookKind::CreateRuntime, &hooks.create_runtime)?,
            list(HookKind::CreateContainer, &hooks.create_container)?,
            list(HookKind::StartContainer, &hooks.start_container)?,
            list(HookKind::Poststart, &hooks.poststart)?,
            list(HookKind::Poststop, &hooks.poststop)?,
        ];
        if lists.iter().all(|list| list.hooks.is_empty()) {
            return Ok(None);
        }
        let file =
            |name| annotations.and_then(|all| all.get(&Text::from(name))).filter(|path| !path.is_empty());
        let file = |name| file(name).map(|path| bundle.join(&**path));
        let output =
            HookOutput { stdout: file("run.oci.hooks.stdout"), stderr: file("run.oci.hooks.stderr") };
        let bundle = CString::new(bundle.as_os_str().as_encoded_bytes());
        let bundle = bundle.map_err(|_| invalid("the path of the bundle holds a NUL byte"))?;
        Ok(Some(Rc::new(Self { lists, bundle, output })))
    }

    pub(crate) fn list(&self, kind: HookKind) -> &HookList {
        &self.lists[kind as usize]
    }

    pub(crate) fn has(&self, kind: HookKind) -> bool {
        !self.list(kind).hooks.is_empty()
    }

    /// Whether one is run while init waits for it to be.
    pub(crate) fn stop_init(&self) -> bool {
        self.has(HookKind::Prestart) || self.has(HookKind::CreateRuntime)
    }

    /// Whether one looks at the container's mounts from where the host's files are still in sight.
    pub(crate) fn see_both_sides(&self) -> bool {
        self.stop_init() || self.has(HookKind::CreateContainer)
    }

    /// Whether who starts the container has to know what becomes of it.
    pub(crate) fn follow_start(&self) -> bool {
        self.has(HookKind::StartContainer) || self.has(HookKind::Poststart)
    }

    /// Whether there is something for the commands that come after the creation.
    pub(crate) fn come_later(&self) -> bool {
        self.follow_start() || self.has(HookKind::Poststop)
    }
}

/// What errors call a hook.
pub(crate) fn hook_name(kind: HookKind, index: usize) -> String {
    format!("hooks.{}[{index}]", kind.name())
}

fn hook_plan(kind: HookKind, index: usize, hook: &spec::Hook<'_>) -> Result<HookPlan> {
    let wrong = |what: &str| invalid(format!("{}.{what}", hook_name(kind, index)));
    if !hook.path.starts_with('/') {
        return Err(wrong(&format!("path: `{}` is not an absolute path", hook.path)));
    }
    let strings = |name: &str, list: &[Text<'_>]| {
        StringArray::new(list).map_err(|_| wrong(&format!("{name}: a string holds a NUL byte")))
    };
    let path = CString::new(&*hook.path).map_err(|_| wrong("path: holds a NUL byte"))?;
    let args = hook.args.as_deref().filter(|args| !args.is_empty());
    let timeout = match hook.timeout {
        // The specification has no 0; the C crun takes it for no limit.
        None | Some(0) => None,
        Some(seconds) => {
            let seconds = u64::try_from(seconds);
            let seconds = seconds.map_err(|_| wrong("timeout: it must be greater than zero"))?;
            Some(Duration::from_secs(seconds))
        }
    };
    Ok(HookPlan {
        argv: strings("args", args.unwrap_or(std::slice::from_ref(&hook.path)))?,
        env: hook.env.as_deref().map(|env| strings("env", env)).transpose()?,
        path,
        timeout,
    })
}

/// The state with the keys of the C crun, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'static str,
    id: &'a str,
    pid: i32,
    root: &'a str,
    bundle: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a Annotations<'a>>,
}

impl StateText {
    fn new(
        id: &ContainerId,
        root: &str,
        bundle: &Path,
        status: &'static str,
        annotations: Option<&Annotations<'_>>,
    ) -> Self {
        let bundle = bundle.to_string_lossy();
        let annotations = annotations.filter(|all| !all.is_empty());
        let state = State {
            oci_version: "1.0.0",
            id: id.as_str(),
            pid: 0,
            root,
            bundle: &bundle,
            status,
            annotations,
        };
        let mut before = serde_json::to_vec(&state).unwrap_or_default();
        // A container's name holds nothing that would look like it.
        const PID: &[u8] = b"\"pid\":";
        let at = before.windows(PID.len()).position(|found| found == PID).map_or(0, |at| at + PID.len());
        let mut after = before.split_off(at);
        after.drain(..1.min(after.len()));
        Self { before, after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(text: &str) -> Result<Option<Rc<HooksPlan>>> {
        let spec = spec::parse(text.as_bytes(), "config.json").unwrap();
        HooksPlan::new(&spec, &ContainerId::new("web").unwrap(), Path::new("/b/\"x"))
    }

    fn refusal(hooks_of: &str) -> String {
        hooks(&format!(r#"{{"ociVersion":"1.0.0","hooks":{hooks_of}}}"#)).unwrap_err().to_string()
    }

    #[test]
    fn the_state_is_compact_and_has_the_keys_of_the_c_crun_and_annotations_as_they_are() {
        let text = r#"{"ociVersion":"1.0.0","root":{"path":"r"},"annotations":{"b/c":"\"pid\":7/ü","a":""},
            "hooks":{"poststop":[{"path":"/x"}]}}"#;
        let plan = hooks(text).unwrap().unwrap();
        let state = |kind| format!("{:?}", plan.list(kind).state);
        let expected = r#"{"ociVersion":"1.0.0","id":"web","pid":PID,"root":"r","bundle":"/b/\"x","status":"stopped","annotations":{"a":"","b/c":"\"pid\":7/ü"}}"#;
        assert_eq!(state(HookKind::Poststop), expected);
        for (kind, status) in [
            (HookKind::Prestart, "creating"),
            (HookKind::CreateRuntime, "creating"),
            (HookKind::CreateContainer, "creating"),
            (HookKind::StartContainer, "created"),
            (HookKind::Poststart, "running"),
        ] {
            assert_eq!(state(kind), expected.replace("stopped", status));
        }
    }

    #[test]
    fn lists_are_found_by_their_kind() {
        for kind in HookKind::ALL {
            let text = format!(r#"{{"ociVersion":"1","hooks":{{"{}":[{{"path":"/x"}}]}}}}"#, kind.name());
            let plan = hooks(&text).unwrap().unwrap();
            let having: Vec<_> = HookKind::ALL.into_iter().filter(|kind| plan.has(*kind)).collect();
            assert_eq!(having, [kind]);
        }
    }

    #[test]
    fn no_hooks_are_no_plan() {
        for text in ["", r#","hooks":null"#, r#","hooks":{}"#, r#","hooks":{"prestart":[],"poststop":null}"#]
        {
            assert!(hooks(&format!(r#"{{"ociVersion":"1.0.0"{text}}}"#)).unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let text = r#"{"ociVersion":"1","hooks":{"prestart":[{"path":"/x","timeout":0},
            {"path":"/y","args":["name","-v"],"env":[],"timeout":3}]}}"#;
        let plan = hooks(text).unwrap().unwrap();
        let [first, second] = plan.list(HookKind::Prestart).hooks.as_slice() else { panic!("not two hooks") };
        assert_eq!(first.argv.iter().collect::<Vec<_>>(), [c"/x"]);
        assert!(first.env.is_none() && first.timeout.is_none());
        assert_eq!(second.argv.iter().collect::<Vec<_>>(), [c"name", c"-v"]);
        assert_eq!(second.env.as_ref().unwrap().iter().count(), 0);
        assert_eq!(second.timeout, Some(Duration::from_secs(3)));
    }

    #[test]
    fn mistakes_are_named_by_their_place() {
        let refused = refusal(r#"{"createRuntime":[{"path":"/x"},{"path":"bin/x"}]}"#);
        assert_eq!(refused, "hooks.createRuntime[1].path: `bin/x` is not an absolute path");
        let refused = refusal(r#"{"poststop":[{"path":"/x","timeout":-1}]}"#);
        assert_eq!(refused, "hooks.poststop[0].timeout: it must be greater than zero");
        let refused = refusal(r#"{"prestart":[{"path":"/x","env":["A=\u0000"]}]}"#);
        assert_eq!(refused, "hooks.prestart[0].env: a string holds a NUL byte");
    }
}
