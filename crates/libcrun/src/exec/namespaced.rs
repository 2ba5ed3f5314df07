//! The namespaces of a container that a process enters, and who it is in there.

use std::path::Path;

use sys::clone::Namespaces;

use crate::container::Container;
use crate::error::{Code, Error, Result, words};
use crate::plan::{ProcessPlan, SetUpIds, keeps_groups, namespace_type};
use crate::spec::Spec;
use crate::user_namespace;

/// The namespaces that the container does not share with the runtime.
fn namespaces(container: &Container, spec: &Spec<'_>) -> Namespaces {
    let entries = spec.linux.as_ref().and_then(|linux| linux.namespaces.as_deref()).unwrap_or_default();
    let configured = entries.iter().filter_map(|entry| namespace_type(&entry.kind));
    configured.chain(container.is_an_ordinary_users().then_some(Namespaces::USER)).collect()
}

/// The namespaces a process enters, and who it is there before it becomes who it is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namespaced {
    pub(super) kinds: Namespaces,
    pub(super) set_up: SetUpIds,
}

impl Namespaced {
    /// Makes sure, too, that the user namespace has the ids of the process.
    pub(super) fn new(container: &Container, spec: &Spec<'_>, process: &mut ProcessPlan) -> Result<Self> {
        let mut kinds = namespaces(container, spec);
        if keeps_groups(spec) {
            process.groups = None;
        }
        if !kinds.contains(Namespaces::USER) {
            process.own_terminal(None);
            return Ok(Self { kinds, set_up: SetUpIds::default() });
        }
        let path = format!("/proc/{}/ns/user", container.status.pid);
        if user_namespace::is_own(Path::new(&path)) {
            kinds -= Namespaces::USER;
        }
        let namespace =
            user_namespace::at(Path::new(&path)).ok_or_else(|| match container.directory.has_fifo() {
                true => not_started(container),
                false => words::exec_not_running(container.id.as_str()),
            })?;
        process.settle_in(&namespace)?;
        process.own_terminal(kinds.contains(Namespaces::USER).then_some(&namespace));
        let set_up = SetUpIds::new(&namespace.maps, process.uid, process.gid);
        Ok(Self { kinds, set_up })
    }
}

/// Until a container is started its first process can be looked at by nobody but root: it has the runtime's memory.
pub(super) fn not_started(container: &Container) -> Error {
    let message = "has to be started before anybody but root can run something in it";
    Error::new(Code::WrongState, format!("the container `{}` {message}", container.id.as_str()))
}
