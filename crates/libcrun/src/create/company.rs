//! Who takes part in a start beside the container's process: hooks, a service manager that waits for it to be ready, and
//! who wants a descriptor of it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use super::{CreateOptions, Kind, Starting};
use crate::error::{Code, Error, Result};
use crate::foreground;
use crate::hooks::Hooks;
use crate::notify::{Proxy, Waited};
use crate::pidfd_receiver::{self, Receivers};
use crate::plan::{HookKind, Plan};
use crate::report;
use crate::spawn::Spawned;
use crate::spec::{Spec, Text};

/// The annotation that names who gets a descriptor of the process.
const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";

/// Connects to who is to get a descriptor of the process.
pub(super) fn pidfd_receivers(spec: &Spec<'_>, options: &CreateOptions) -> Result<Receivers> {
    Receivers::connect(receiver_paths(spec, options))
}

/// Who that is, and what is said to them.
pub(super) fn receiver_paths<'a>(
    spec: &'a Spec<'_>,
    options: &'a CreateOptions,
) -> [(Option<&'a Path>, &'static [u8]); 2] {
    let annotated = spec.annotations.as_ref().and_then(|all| all.get(&Text::from(PIDFD_RECEIVER)));
    let annotated = annotated.filter(|path| !path.is_empty()).map(|path| Path::new(&**path));
    [(annotated, pidfd_receiver::ANNOTATED), (options.pidfd_socket.as_deref(), pidfd_receiver::FIRST)]
}

impl Starting<'_> {
    /// Opens what hooks need. Returns where the process says what becomes of its start, if that has to be known.
    pub(super) fn begin_hooks(&mut self, plan: &Plan, kind: Kind) -> Result<Option<OwnedFd>> {
        let Some(hooks) = &plan.hooks else { return Ok(None) };
        self.hooks = Some(Rc::new(Hooks::new(Rc::clone(hooks), true)?));
        let is_followed = kind == Kind::Create && hooks.follow_start();
        is_followed.then(|| self.directory.create_report()).transpose()
    }

    /// Runs the hooks that look at a container that is about to enter its root.
    pub(super) fn run_early_hooks(&self, plan: &Plan, spawned: &Spawned) -> Result<()> {
        if plan.hooks.as_ref().is_some_and(|hooks| hooks.stop_init()) {
            let describe = |failure| report::container_failure(plan, failure);
            spawned.await_hooks(self.cgroup.get(), describe)?;
            self.timeline.measure("prestart hooks", || self.run_hooks(HookKind::Prestart))?;
            self.timeline.measure("createRuntime hooks", || self.run_hooks(HookKind::CreateRuntime))?;
            spawned.tell_hooks_run();
        }
        Ok(())
    }

    pub(super) fn run_hooks(&self, kind: HookKind) -> Result<()> {
        match (&self.hooks, &self.spawned) {
            (Some(hooks), Some(spawned)) => hooks.run(kind, spawned.child().pid.as_raw_nonzero().get()),
            _ => Ok(()),
        }
    }

    /// Makes what the program says that it is ready to: the socket, for a container that is started at once, or only the
    /// place for it.
    pub(super) fn begin_notify(&mut self, options: &CreateOptions, kind: Kind) -> Result<()> {
        let Some(manager) = &options.notify_socket else { return Ok(()) };
        let directory = self.directory.create_notify()?;
        if kind != Kind::Create {
            self.proxy = Some(Proxy::new(directory.as_fd(), manager)?);
        }
        Ok(())
    }

    /// What follows the start of the program. A runtime that does not stay with it waits here until it is ready.
    pub(super) fn finish_start(&self, kind: Kind) -> Result<()> {
        self.run_hooks(HookKind::Poststart)?;
        let (Kind::Run { detached: true }, Some(proxy), Some(spawned)) = (kind, &self.proxy, &self.spawned)
        else {
            return Ok(());
        };
        let signals = foreground::ending_signals()?;
        match proxy.wait(&spawned.child().pidfd, Some(signals.as_fd()))? {
            Waited::Ready => proxy.tell_ready(Some(spawned.child().pid)),
            Waited::Ended => Ok(()),
            Waited::Interrupted => {
                // Taken, or it would end this process before it has taken back what it has made.
                let signal = signals.next().ok().flatten().unwrap_or_default();
                let message =
                    format!("given up on signal {signal} while waiting for the container to be ready");
                Err(Error::new(Code::System, message))
            }
        }
    }
}
