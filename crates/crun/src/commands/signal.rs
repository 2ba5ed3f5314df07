//! `kill` and `delete`, for one container or all that match an expression; `pause` and `resume`.

use libcrun::{ContainerId, DeleteOptions, Result, signals};

use super::Context;
use crate::trace::traced;

pub(super) fn kill(context: &Context<'_>) -> Result<i32> {
    let signal = signals::parse(context.positional(1).unwrap_or("TERM"))?;
    let root = context.root();
    for_each(context, |id| {
        if context.has("all") {
            libcrun::kill_all(&root, id, signal)
        } else {
            libcrun::kill(&root, id, signal)
        }
    })
}

pub(super) fn delete(context: &Context<'_>) -> Result<i32> {
    let root = context.root();
    traced(context, |timeline| {
        let options = DeleteOptions { force: context.has("force"), timeline };
        for_each(context, |id| {
            let warnings = libcrun::delete_with(&root, id, &options)?;
            warnings.iter().for_each(|warning| context.log.warn(warning));
            Ok(())
        })
    })
}

pub(super) fn pause(context: &Context<'_>) -> Result<i32> {
    libcrun::pause(&context.root(), &context.id()?).map(|()| 0)
}

pub(super) fn resume(context: &Context<'_>) -> Result<i32> {
    libcrun::resume(&context.root(), &context.id()?).map(|()| 0)
}

/// Does it to the container given, or with `--regex` to all that match; there the failure of one is a warning and no
/// reason to spare the others.
fn for_each(context: &Context<'_>, operation: impl Fn(&ContainerId) -> Result<()>) -> Result<i32> {
    if !context.has("regex") {
        return operation(&context.id()?).map(|()| 0);
    }
    for id in libcrun::matching(&context.root(), context.positional(0).unwrap_or_default())? {
        if let Err(error) = operation(&id) {
            context.log.warn(&error);
        }
    }
    Ok(0)
}
