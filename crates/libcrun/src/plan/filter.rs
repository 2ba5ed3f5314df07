//! The filter of system calls: from the configuration to a program, how it is put in force, and who is told of the listener
//! if somebody answers for calls.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustix::thread::CapabilitySet;
use seccomp::Options;
use sys::seccomp::{Flags, Instruction, MOST_INSTRUCTIONS};

use super::{Named, ProcessPlan, invalid, named};
use crate::error::{Code, Error, Result};
use crate::features::OCI_VERSION;
use crate::id::ContainerId;
use crate::spec::{Seccomp, Spec, Text};

/// The filter of a process.
#[derive(Debug)]
pub(crate) struct FilterPlan {
    pub(crate) program: Vec<Instruction>,
    pub(crate) flags: Flags,
    /// Whether the configuration asks for these flags; what is only usual is left out where a kernel does not know it.
    pub(crate) asks_for_flags: bool,
    /// Who gets the listener of a program that has one.
    pub(crate) receiver: Option<Receiver>,
    /// The names of calls that nobody knows, which it does without.
    pub(crate) skipped: Vec<String>,
}

/// Who gets a listener, and what is said with it.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) path: PathBuf,
    /// The state of the process as JSON, in parts: between them goes its pid, which is not known yet.
    pub(crate) state: [String; 3],
}

/// Whose filter it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) id: &'a ContainerId,
    pub(crate) bundle: &'a Path,
    /// Where the container is in its life.
    pub(crate) status: &'static str,
    /// Who gets the listener where the configuration does not say.
    pub(crate) receiver: Option<&'a Path>,
}

const RECEIVER: &str = "run.oci.seccomp.receiver";
const PLUGINS: &str = "run.oci.seccomp.plugins";
const RAW: &str = "run.oci.seccomp_bpf_data";
const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";

const FLAGS: [Named<Flags>; 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", Flags::TSYNC),
    ("SECCOMP_FILTER_FLAG_LOG", Flags::LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", Flags::SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", Flags::WAIT_KILLABLE_RECV),
];

impl FilterPlan {
    /// What the configuration asks for, if it does.
    pub(crate) fn new(spec: &Spec<'_>, subject: Subject<'_>) -> Result<Option<Self>> {
        let (program, skipped) = match (annotation(spec, RAW), profile(spec)) {
            (Some(data), _) => (raw_program(data)?, Vec::new()),
            (None, Some(profile)) => {
                let has_metadata = profile.listener_metadata.as_deref().is_some_and(|data| !data.is_empty());
                if has_metadata && receiver(spec, subject)?.is_none() {
                    return Err(invalid(
                        "linux.seccomp.listenerMetadata: there is no listenerPath to send it to",
                    ));
                }
                compile(spec, profile)?
            }
            (None, None) => return refuse_plugins(spec).map(|()| None),
        };
        Ok(Some(Self { skipped, ..Self::of_program(spec, program, subject)? }))
    }

    /// The filter of a container again, whose program is `saved`.
    pub(crate) fn of_saved(spec: &Spec<'_>, saved: &[u8], subject: Subject<'_>) -> Result<Self> {
        let program = from_bytes(saved).map_err(|reason| Error::new(Code::State, reason))?;
        Self::of_program(spec, program, subject)
    }

    /// Whether the configuration asks for one.
    pub(crate) fn is_asked_for(spec: &Spec<'_>) -> bool {
        profile(spec).is_some() || annotation(spec, RAW).is_some()
    }

    fn of_program(spec: &Spec<'_>, program: Vec<Instruction>, subject: Subject<'_>) -> Result<Self> {
        refuse_plugins(spec)?;
        let notifies = program.iter().any(notifies);
        let named = profile(spec).and_then(|profile| profile.flags.as_deref());
        let flags = named.map_or(Ok(Flags::SPEC_ALLOW), flags)?;
        // Of these one means something only with a listener, and the other, for a process with one thread, nothing: the
        // kernel takes neither where it has no meaning.
        let flags = flags - if notifies { Flags::TSYNC } else { Flags::WAIT_KILLABLE_RECV };
        let receiver = receiver(spec, subject)?;
        if notifies && receiver.is_none() {
            return Err(invalid(format!(
                "linux.seccomp: SCMP_ACT_NOTIFY needs somebody who answers: set linux.seccomp.listenerPath, the \
                 annotation {RECEIVER} or RUN_OCI_SECCOMP_RECEIVER to the socket of a seccomp agent"
            )));
        }
        let receiver = receiver.filter(|_| notifies).map(|path| Receiver::new(path, spec, subject));
        Ok(Self { program, flags, asks_for_flags: named.is_some(), receiver, skipped: Vec::new() })
    }

    /// The program as it is kept.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.program.iter().flat_map(|instruction| instruction.to_bytes()).collect()
    }
}

impl ProcessPlan {
    /// Who gets the listener of its filter, if that has one.
    pub(crate) fn receiver(&self) -> Option<&Receiver> {
        self.filter.as_ref().and_then(|filter| filter.receiver.as_ref())
    }

    /// Whether the process may still filter itself when it has become what it is to be, so that the filter concerns none of
    /// what it takes to get there.
    pub(crate) fn can_filter_at_last(&self) -> bool {
        self.no_new_privileges || self.capabilities.effective & CapabilitySet::SYS_ADMIN.bits() != 0
    }
}

impl Receiver {
    /// The container process state (runtime-spec config-linux.md#containerprocessstate).
    fn new(path: PathBuf, spec: &Spec<'_>, subject: Subject<'_>) -> Self {
        let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let metadata = profile(spec).and_then(|profile| profile.listener_metadata.as_deref());
        let metadata = metadata.map(|data| format!(",\"metadata\":{}", text(data))).unwrap_or_default();
        let annotations: BTreeMap<&str, &str> =
            spec.annotations.iter().flatten().map(|(name, value)| (&**name, &**value)).collect();
        let annotations = serde_json::to_string(&annotations).unwrap_or_default();
        let Subject { id, bundle, status, .. } = subject;
        let state = [
            format!(r#"{{"ociVersion":"{OCI_VERSION}","fds":["seccompFd"],"pid":"#),
            format!(
                r#"{metadata},"state":{{"ociVersion":"{OCI_VERSION}","id":{},"status":"{status}","pid":"#,
                text(id.as_str())
            ),
            format!(r#","bundle":{},"annotations":{annotations}}}}}"#, text(&bundle.to_string_lossy())),
        ];
        Self { path, state }
    }
}

fn profile<'s, 'a>(spec: &'s Spec<'a>) -> Option<&'s Seccomp<'a>> {
    spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref())
}

fn annotation<'s>(spec: &'s Spec<'_>, wanted: &str) -> Option<&'s str> {
    let mut all = spec.annotations.iter().flatten();
    all.find(|(name, value)| &***name == wanted && !value.is_empty()).map(|(_, value)| &**value)
}

fn refuse_plugins(spec: &Spec<'_>) -> Result<()> {
    match annotation(spec, PLUGINS) {
        None => Ok(()),
        Some(_) => Err(Error::new(
            Code::Unsupported,
            format!(
                "annotations.{PLUGINS}: plugins are libraries, which this program, a static one, cannot load: use a \
                 seccomp agent (linux.seccomp.listenerPath or the annotation {RECEIVER})"
            ),
        )),
    }
}

fn compile(spec: &Spec<'_>, profile: &Seccomp<'_>) -> Result<(Vec<Instruction>, Vec<String>)> {
    let mut rules = profile.syscalls.iter().flatten();
    if let Some(index) = rules.position(|rule| rule.names.is_empty()) {
        return Err(invalid(format!(
            "linux.seccomp.syscalls[{index}].names: empty, so the rule is for no call"
        )));
    }
    let refuse_unknown_names = annotation(spec, FAIL_UNKNOWN).is_some_and(|value| value != "0");
    let options = Options { refuse_unknown_names, ..Options::default() };
    let filter = seccomp::compile(&profile.profile()?, &options);
    filter.map(|filter| (filter.program, filter.skipped)).map_err(|error| invalid(error.to_string()))
}

/// With or without padding at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn raw_program(data: &str) -> Result<Vec<Instruction>> {
    let refuse = |reason: &str| invalid(format!("annotations.{RAW}: {reason}"));
    let bytes = BASE64.decode(data).map_err(|_| refuse("it is not base64"))?;
    from_bytes(&bytes).map_err(|reason| refuse(&reason))
}

fn from_bytes(bytes: &[u8]) -> core::result::Result<Vec<Instruction>, String> {
    let (instructions, rest) = bytes.as_chunks::<{ Instruction::SIZE }>();
    if instructions.is_empty() || !rest.is_empty() {
        let size = Instruction::SIZE;
        return Err(format!("{} bytes are no program: each instruction has {size}", bytes.len()));
    }
    if instructions.len() > MOST_INSTRUCTIONS {
        let count = instructions.len();
        return Err(format!("{count} instructions are more than the kernel takes ({MOST_INSTRUCTIONS})"));
    }
    Ok(instructions.iter().map(|bytes| Instruction::from_bytes(*bytes)).collect())
}

/// Whether it is the end of a program at which somebody is asked.
fn notifies(instruction: &Instruction) -> bool {
    const RETURN: u16 = 0x06;
    const USER_NOTIF: u32 = 0x7fc0_0000;
    instruction.code == RETURN && instruction.operand & 0xffff_0000 == USER_NOTIF
}

/// The names of flags.
pub(super) fn flag_names(flags: Flags) -> Vec<String> {
    FLAGS.iter().filter(|(_, flag)| flags.contains(*flag)).map(|(name, _)| (*name).to_owned()).collect()
}

/// The names of those flags that this kernel knows, too.
pub(crate) fn supported_flags() -> Vec<&'static str> {
    FLAGS.iter().filter(|(_, flag)| sys::seccomp::knows(*flag)).map(|(name, _)| *name).collect()
}

fn flags(names: &[Text<'_>]) -> Result<Flags> {
    let flag = |(index, name): (usize, &Text<'_>)| {
        named(&format!("linux.seccomp.flags[{index}]"), name, &FLAGS).map(|(_, flag)| flag)
    };
    names.iter().enumerate().map(flag).collect()
}

/// Who gets the listener, if somebody does.
fn receiver(spec: &Spec<'_>, subject: Subject<'_>) -> Result<Option<PathBuf>> {
    let configured = profile(spec).and_then(|profile| profile.listener_path.as_deref());
    let (source, path) = match (configured.filter(|path| !path.is_empty()), annotation(spec, RECEIVER)) {
        (Some(path), _) => ("linux.seccomp.listenerPath".to_owned(), Path::new(path)),
        (None, Some(path)) => (format!("annotations.{RECEIVER}"), Path::new(path)),
        (None, None) => match subject.receiver {
            Some(path) => ("RUN_OCI_SECCOMP_RECEIVER".to_owned(), path),
            None => return Ok(None),
        },
    };
    if !path.is_absolute() {
        let path = path.display();
        return Err(invalid(format!("{source}: the seccomp receiver `{path}` is not an absolute path")));
    }
    Ok(Some(path.to_owned()))
}

#[cfg(test)]
mod tests;
