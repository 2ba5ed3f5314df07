//! Starting a created container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::container::Container;
use crate::delete::delete;
use crate::error::{Code, Context, Error, Result, words};
use crate::following::{self, Refusal};
use crate::hooks::{self, Hooks};
use crate::id::ContainerId;
use crate::notify::{Proxy, Waited};
use crate::plan::HookKind;
use crate::state::{EXEC_FIFO, StateRoot};
use crate::timeline::Timeline;

/// How to start a container.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// The socket of a service manager that waits for the container to be ready, as when it was created
    /// ([`crate::CreateOptions::notify_socket`]).
    pub notify_socket: Option<PathBuf>,
    /// Where it is noted what is done when.
    pub timeline: Timeline,
}

/// Starts a created container as [`start_with`] does, without options.
///
/// # Errors
/// Those of [`start_with`].
pub fn start(root: &StateRoot, id: &ContainerId) -> Result<()> {
    start_with(root, id, &StartOptions::default())
}

/// Lets the process of a created container go on to its program. Where it has hooks for its start, waits for these;
/// where somebody waits for it to be ready, for that, or for its end.
///
/// # Errors
/// When the container does not exist, has ended, or was started before; and when a hook fails, which is the end of the
/// container.
pub fn start_with(root: &StateRoot, id: &ContainerId, options: &StartOptions) -> Result<()> {
    let timeline = &options.timeline;
    let container = timeline.measure("read the state", || Container::open(root, id))?;
    if !container.is_alive()? {
        return Err(words::container_not_running(id.as_str()));
    }
    let hooks = container.later_hooks()?.filter(|hooks| hooks.plan.follow_start());
    let is_followed = hooks.is_some() || options.notify_socket.is_some();
    let process = if is_followed { Some(container.open_process()?) } else { None };
    let report = if hooks.is_some() { container.directory.open_report()? } else { None };
    let manager = options.notify_socket.as_deref();
    let proxy = timeline.measure("let the process go", || release(&container, manager))?;
    let Some(process) = process else { return Ok(()) };
    if let Some(hooks) = hooks {
        let started = timeline.measure_wait("waits for the exec", || {
            follow_to_program(&container, &hooks, report.as_ref(), &process)
        });
        let poststart = || hooks.run(HookKind::Poststart, container.status.pid);
        let started = started.and_then(|()| timeline.measure("poststart hooks", poststart));
        // What is wrong with its removal is not what was wrong with it.
        started.inspect_err(|_| drop(delete(root, id, true)))?;
    }
    match proxy {
        Some(proxy) => timeline.measure_wait("waits for the program to be ready", || {
            match proxy.wait(&process, None)? {
                Waited::Ready => proxy.tell_ready(container.pid()),
                _ => Ok(()),
            }
        }),
        None => Ok(()),
    }
}

/// Lets the process go. Returns the socket it was given to say that it is ready, for `manager` to know.
fn release(container: &Container, manager: Option<&Path>) -> Result<Option<Proxy>> {
    let id = container.id.as_str();
    let path = || format!("cannot open `{}`", container.directory.file(EXEC_FIFO));
    let fifo = match container.directory.open_fifo() {
        // Nobody is at the other end: the process has ended since.
        Err(Errno::NXIO) => return Err(words::container_not_running(id)),
        Err(errno @ Errno::NOENT) => {
            return Err(Error::os(Code::WrongState, path(), errno).with_hint("it was started before"));
        }
        other => other.context(Code::WrongState, path)?,
    };
    // Of two starts at the same time the one that removes the FIFO is the one that starts.
    container.directory.remove_fifo().context(Code::WrongState, path)?;
    let place = match manager {
        Some(_) => container.directory.open_notify()?,
        None => None,
    };
    let proxy = place.as_ref().zip(manager).map(|(place, manager)| Proxy::new(place.as_fd(), manager));
    let proxy = proxy.transpose()?;
    match rustix::io::write(&fifo, &[0]) {
        Ok(1) => Ok(proxy),
        Ok(_) | Err(Errno::PIPE) => Err(words::container_not_running(id)),
        Err(errno) => {
            let message = format!("write to `{}`", container.directory.file(EXEC_FIFO));
            Err(Error::os(Code::State, message, errno))
        }
    }
}

/// Waits until the process has become its program; `report` is where it says why not.
fn follow_to_program(
    container: &Container,
    hooks: &Hooks,
    report: Option<&OwnedFd>,
    process: &OwnedFd,
) -> Result<()> {
    let Some(report) = report else { return Ok(()) };
    let Some(Refusal { failure, text }) = following::follow(report, process)? else { return Ok(()) };
    Err(match hooks::inside_failure(Some(&hooks.plan), failure) {
        Some(error) => hooks::with_output(error, &text),
        None => container.failure(failure)?,
    })
}
