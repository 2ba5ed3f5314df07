//! The plan in words: what a start would do, in the order in which it would do it (`crun plan`).
//!
//! [`ORDER`] is that order, in one place: a chapter for each thing that is done, by whom and when. A chapter goes by the
//! plan and by what the plan was made of, and asks the kernel nothing. So where only the kernel can tell which of several
//! ways is taken, the first one is told, and the others are alternatives.

mod cgroup;
mod company;
mod filter;
mod mounts;
mod namespaces;
mod process;
mod rootfs;
#[cfg(test)]
mod tests;
mod text;
mod words;

use std::path::Path;

use serde::{Serialize, Serializer};

use super::{Plan, Request};
use crate::host::Host;
use crate::spec::Spec;

/// The version of the shape of a [`Description`] as JSON: another one where something is taken away or means something
/// else, the same where something is added.
const VERSION: u32 = 1;

/// What a start would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The version of this shape.
    pub version: u32,
    /// The container's name.
    pub id: String,
    /// The directory of the bundle.
    pub bundle: String,
    /// What would be done, in order. What is done outside and inside is done at the same time.
    pub actions: Vec<Action>,
}

/// When something is done, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// By the runtime, while there is no process yet.
    Prepare,
    /// The making of the process.
    Clone,
    /// By the runtime, while the process sets itself up.
    Outside,
    /// By the container's process.
    Inside,
    /// Once everything is set up; of a container that is only created, with its start.
    Start,
    /// When the container is gone.
    End,
}

/// One thing that would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// When, and by whom.
    pub stage: Stage,
    /// What it is about, in a word: `mount`, `cgroup`, `hook`, ...
    pub subject: &'static str,
    /// What is done, for people.
    #[serde(rename = "action")]
    pub text: String,
    /// The same in parts, for programs.
    #[serde(serialize_with = "as_map", skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
    /// What is done instead, where this kernel or this host does not let it be done so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<String>,
}

/// A part of what is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// What it is.
    pub name: &'static str,
    /// Its value.
    pub value: DetailValue,
    /// Whether the text says it, so that people need not read it twice.
    pub is_said: bool,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DetailValue {
    /// A word or a path.
    Text(String),
    /// A number.
    Number(i64),
    /// Several of the first kind.
    List(Vec<String>),
}

impl From<String> for DetailValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for DetailValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<String>> for DetailValue {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}

impl From<i64> for DetailValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for DetailValue {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

fn as_map<S: Serializer>(details: &[Detail], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(details.iter().map(|detail| (detail.name, &detail.value)))
}

impl Action {
    /// A part that the text does not say.
    fn with(&mut self, name: &'static str, value: impl Into<DetailValue>) -> &mut Self {
        self.push(name, value.into(), false)
    }

    /// A part that the text says.
    fn said(&mut self, name: &'static str, value: impl Into<DetailValue>) -> &mut Self {
        self.push(name, value.into(), true)
    }

    fn push(&mut self, name: &'static str, value: DetailValue, is_said: bool) -> &mut Self {
        // A list without anything in it is none.
        if value != DetailValue::List(Vec::new()) {
            self.details.push(Detail { name, value, is_said });
        }
        self
    }

    fn or(&mut self, alternative: impl Into<String>) -> &mut Self {
        self.alternatives.push(alternative.into());
        self
    }

    fn or_if(&mut self, may_be: bool, alternative: &str) -> &mut Self {
        if may_be { self.or(alternative) } else { self }
    }
}

/// What is described, and what that was made of.
pub(crate) struct View<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) spec: &'a Spec<'a>,
    pub(crate) request: &'a Request<'a>,
    pub(crate) host: &'a Host,
    /// The directory for the container's state.
    pub(crate) state: &'a Path,
    /// Who gets the terminal.
    pub(crate) console_socket: Option<&'a Path>,
    /// Who gets a descriptor of the process.
    pub(crate) pidfd_sockets: Vec<&'a Path>,
    /// Whether the runtime's executable is kept from the container.
    pub(crate) self_protection: bool,
}

/// The description as far as it is written.
struct Sheet {
    stage: Stage,
    actions: Vec<Action>,
}

impl Sheet {
    fn add(&mut self, subject: &'static str, text: impl Into<String>) -> &mut Action {
        let (stage, text) = (self.stage, text.into());
        let at = self.actions.len();
        let (details, alternatives) = Default::default();
        self.actions.push(Action { stage, subject, text, details, alternatives });
        &mut self.actions[at]
    }
}

/// Tells of one thing, if the plan has it.
type Chapter = fn(&View<'_>, &mut Sheet);

/// The order of a start: that of `create.rs` and `prepare.rs`, of `spawn.rs`, and of `init.rs`.
const ORDER: [(Stage, &[Chapter]); 6] = [
    (
        Stage::Prepare,
        &[
            company::find_console_socket,
            company::connect_agent,
            company::connect_pidfd_sockets,
            company::make_state,
            cgroup::make,
            company::open_hook_output,
            company::make_notify_socket,
            process::protect_executable_before,
            namespaces::open,
            rootfs::open,
            mounts::acquire,
            rootfs::acquire_nodes,
            rootfs::acquire_masks,
            process::host_terminal,
        ],
    ),
    (Stage::Clone, &[namespaces::make_for_child, namespaces::clone]),
    (
        Stage::Outside,
        &[
            filter::keep,
            cgroup::restrict_devices_first,
            cgroup::start_unit,
            cgroup::serve,
            cgroup::limit_unit,
            company::write_status,
            cgroup::restrict_devices,
            process::schedule,
            company::run_early_hooks,
            company::send_pidfds,
        ],
    ),
    (
        Stage::Inside,
        &[
            process::lead_session,
            process::become_mapped_at_birth,
            process::keyring,
            process::protect_executable_early,
            namespaces::join,
            namespaces::unshare,
            namespaces::make_time,
            process::protect_executable_late,
            process::early_sysctls,
            rootfs::attach,
            mounts::make,
            rootfs::make_devices,
            process::make_terminal,
            company::await_hooks,
            process::late_sysctls,
            rootfs::make_working_directory,
            rootfs::mask,
            rootfs::protect,
            company::run_create_hooks,
            mounts::finish,
            rootfs::make_read_only,
            rootfs::enter,
            namespaces::late_cgroup,
            process::bind,
            process::names,
            process::labels,
            process::close_descriptors,
            process::limit,
            process::personality,
            process::place,
            process::drop_bounding,
            process::give_streams,
            process::identity,
            filter::load_early,
            process::capabilities,
            process::no_new_privileges,
            process::find_program,
        ],
    ),
    (
        Stage::Start,
        &[
            process::limit_from_outside,
            cgroup::delegate,
            company::hand_over_terminal,
            company::await_start,
            filter::load_at_last,
            company::run_start_hooks,
            process::execute,
            company::run_poststart_hooks,
        ],
    ),
    (Stage::End, &[company::run_poststop_hooks]),
];

/// Tells what would be done.
pub(crate) fn describe(view: &View<'_>) -> Description {
    let mut sheet = Sheet { stage: Stage::Prepare, actions: Vec::with_capacity(64) };
    for (stage, chapters) in ORDER {
        sheet.stage = stage;
        chapters.iter().for_each(|chapter| chapter(view, &mut sheet));
    }
    Description {
        version: VERSION,
        id: view.request.id.to_string(),
        bundle: view.request.bundle.to_string_lossy().into_owned(),
        actions: sheet.actions,
    }
}
