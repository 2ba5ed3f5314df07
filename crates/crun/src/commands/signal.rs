//! `kill` and `delete`, for one container or all that match an expression.

use libcrun::{ContainerId, DeleteOptions, Result, signals};

use super::Context;
use crate::log::Level;
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
            for warning in libcrun::delete_with(&root, id, &options)? {
                context.log.write(Level::Warning, &warning.to_string());
            }
            Ok(())
        })
    })
}

/// Does it to the container given, or with `--regex` to all that match; there the failure of one is a warning and no
/// reason to spare the others.
fn for_each(context: &Context<'_>, operation: impl Fn(&ContainerId) -> Result<()>) -> Result<i32> {
    if !context.has("regex") {
        return operation(&context.id()?).map(|()| 0);
    }
    for id in libcrun::matching(&context.root(), context.positional(0).unwrap_or_default())? {
        if let Err(error) = operation(&id) {
            context.log.write(Level::Warning, &error.to_string());
        }
    }
    Ok(0)
}
