//! Starting a created container.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::container::Container;
use crate::delete::delete;
use crate::error::{Code, Context, Error, Result, words};
use crate::following::{self, Refusal};
use crate::hooks::{self, Hooks};
use crate::id::ContainerId;
use crate::plan::HookKind;
use crate::state::{EXEC_FIFO, StateRoot};

/// Lets the process of a created container go on to its program. Where it has hooks for its start, waits for these.
///
/// # Errors
/// When the container does not exist, has ended, or was started before; and when a hook fails, which is the end of the
/// container.
pub fn start(root: &StateRoot, id: &ContainerId) -> Result<()> {
    let container = Container::open(root, id)?;
    if !container.is_alive()? {
        return Err(words::container_not_running(id.as_str()));
    }
    let hooks = container.later_hooks()?.filter(|hooks| hooks.plan.follow_start());
    let followed = hooks.as_ref().map(|_| Followed::new(&container)).transpose()?;
    let path = || format!("cannot open `{}`", container.directory.file(EXEC_FIFO));
    let fifo = match container.directory.open_fifo() {
        // Nobody is at the other end: the process has ended since.
        Err(Errno::NXIO) => return Err(words::container_not_running(id.as_str())),
        other => other.context(Code::WrongState, path)?,
    };
    // Of two starts at the same time the one that removes the FIFO is the one that starts.
    container.directory.remove_fifo().context(Code::WrongState, path)?;
    match rustix::io::write(&fifo, &[0]) {
        Ok(1) => {}
        Ok(_) | Err(Errno::PIPE) => return Err(words::container_not_running(id.as_str())),
        Err(errno) => {
            let message = format!("write to `{}`", container.directory.file(EXEC_FIFO));
            return Err(Error::os(Code::State, message, errno));
        }
    }
    let (Some(hooks), Some(followed)) = (hooks, followed) else { return Ok(()) };
    let started = followed.to_program(&container, &hooks);
    started.and_then(|()| hooks.run(HookKind::Poststart, container.status.pid)).inspect_err(|_| {
        // What is wrong with its removal is not what was wrong with it.
        drop(delete(root, id, true));
    })
}

/// A process whose start is followed.
struct Followed {
    process: OwnedFd,
    /// Where it says what becomes of it.
    report: Option<OwnedFd>,
}

impl Followed {
    fn new(container: &Container) -> Result<Self> {
        Ok(Self { process: container.open_process()?, report: container.directory.open_report()? })
    }

    /// Waits until the process has become its program.
    fn to_program(&self, container: &Container, hooks: &Hooks) -> Result<()> {
        let Some(report) = &self.report else { return Ok(()) };
        let Some(Refusal { failure, text }) = following::follow(report, &self.process)? else {
            return Ok(());
        };
        Err(match hooks::inside_failure(Some(&hooks.plan), failure) {
            Some(error) => hooks::with_output(error, &text),
            None => container.failure(failure)?,
        })
    }
}
