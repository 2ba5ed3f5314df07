//! `create`, `start` and `run`.

use std::path::{Path, PathBuf};

use libcrun::{Code, CreateOptions, Error, Result, RunMode, StartOptions, self_protection};

use super::{Context, listening_descriptors, notify_socket, seccomp_receiver};
use crate::trace::traced;

pub(super) fn create(context: &Context<'_>) -> Result<i32> {
    ensure_protectable(context)?;
    let (mut options, root, id) = (options(context)?, context.root(), context.id()?);
    let tell = &mut |warning| context.log.warn(&warning);
    traced(context, |timeline| {
        options.timeline = timeline;
        libcrun::create_telling(&root, &id, &options, tell).map(|()| 0)
    })
}

pub(super) fn start(context: &Context<'_>) -> Result<i32> {
    let (root, id, notify_socket) = (context.root(), context.id()?, notify_socket());
    traced(context, |timeline| {
        let options = StartOptions { notify_socket, timeline };
        libcrun::start_with(&root, &id, &options).map(|()| 0)
    })
}

pub(super) fn run(context: &Context<'_>) -> Result<i32> {
    ensure_protectable(context)?;
    let (mut options, root, id) = (options(context)?, context.root(), context.id()?);
    let mode = if context.has("detach") {
        RunMode::Detached
    } else {
        RunMode::Foreground { keep: context.has("keep") }
    };
    let tell = &mut |warning| context.log.warn(&warning);
    traced(context, |timeline| {
        options.timeline = timeline;
        libcrun::run_telling(&root, &id, &options, mode, tell)
    })
}

/// What the options say, for who makes a container and who only tells how.
pub(super) fn options(context: &Context<'_>) -> Result<CreateOptions> {
    let bundle = PathBuf::from(context.value("bundle").unwrap_or("."));
    // Relative to the caller's directory, not to the bundle.
    let config =
        context.value("config").map(|path| std::path::absolute(path).unwrap_or_else(|_| path.into()));
    Ok(CreateOptions {
        config,
        pid_file: context.value("pid-file").map(|path| Path::new(path).to_path_buf()),
        console_socket: context.value("console-socket").map(PathBuf::from),
        preserve_fds: context.preserved_descriptors()?,
        listen_fds: listening_descriptors()?,
        new_keyring: !context.has("no-new-keyring"),
        pivot: !context.has("no-pivot"),
        seccomp_receiver: seccomp_receiver(),
        cgroup_manager: context.cgroup_manager()?,
        notify_socket: notify_socket(),
        pidfd_socket: context.value("pidfd-socket").map(PathBuf::from),
        ..CreateOptions::new(bundle)
    })
}

pub(super) fn unsupported(option: &str) -> Error {
    Error::new(Code::Unsupported, format!("{option}: not supported by this version"))
}

/// On a kernel where the executable of a running process cannot be exchanged, executes the runtime once more through a
/// read-only mount (see [`self_protection`]).
pub(crate) fn ensure_protectable(context: &Context<'_>) -> Result<()> {
    if self_protection::can_exchange() || self_protection::is_unneeded() {
        return Ok(());
    }
    use std::os::unix::ffi::OsStrExt;
    let args = context.invocation.raw.iter().map(|arg| arg.as_bytes());
    self_protection::reexecute(args).map(drop)
}
