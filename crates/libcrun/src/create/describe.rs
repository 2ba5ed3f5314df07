//! What a start would do, without doing it.

use std::path::Path;

use super::{CreateOptions, Given, company};
use crate::error::Result;
use crate::host::Host;
use crate::id::ContainerId;
use crate::plan::Plan;
use crate::plan::show::{self, Description, View};
use crate::state::StateRoot;
use crate::terminal::Terminal;

/// Tells what [`crate::create`] or [`crate::run`] would do, in order, and does nothing of it: it reads the configuration,
/// and of the host what deciding takes.
///
/// # Errors
/// Those of [`crate::create`] that do not take trying.
pub fn describe(root: &StateRoot, id: &ContainerId, options: &CreateOptions) -> Result<Description> {
    let given = Given::read(options)?;
    let spec = given.spec()?;
    let notify_directory = root.notify_directory(id);
    let request = options.request(id, &given.bundle, &notify_directory);
    let host = Host::new();
    let plan = Plan::new(&spec, &request, &host)?;
    drop(Terminal::new(&plan.process, options.console_socket.as_deref(), None)?);
    if let Some(cgroup) = plan.cgroup.as_ref().filter(|cgroup| cgroup.unit.is_none()) {
        cgroup.path.refuse_root()?;
    }
    let receivers = company::receiver_paths(&spec, options);
    Ok(show::describe(&View {
        plan: &plan,
        spec: &spec,
        request: &request,
        host: &host,
        state: &root.path().join(id.as_str()),
        console_socket: options.console_socket.as_deref(),
        pidfd_sockets: receivers.into_iter().filter_map(|(path, _): (Option<&Path>, _)| path).collect(),
        self_protection: options.self_protection,
    }))
}
