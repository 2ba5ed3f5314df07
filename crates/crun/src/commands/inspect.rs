//! `state`, `list` and `features`: what there is to be known.

use libcrun::Result;

use super::{COMMIT, Context, VERSION, print};
use crate::output;

pub(super) fn state(context: &Context<'_>) -> Result<i32> {
    let (root, id) = (context.root(), context.id()?);
    let snapshot = libcrun::snapshot(&root, &id)?;
    let annotations = libcrun::annotations(&root, &id)?;
    print(&output::state(&snapshot, &annotations))
}

pub(super) fn list(context: &Context<'_>) -> Result<i32> {
    let root = context.root();
    if context.has("quiet") {
        let ids = root.containers()?;
        return print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    let wants_json = context.wants_json("table")?;
    let mut containers = Vec::new();
    for container in libcrun::list(&root)? {
        match container {
            Ok(snapshot) => containers.push(snapshot),
            // One that is just being made or removed is no reason not to list the others.
            Err(error) => context.log.warn(&error),
        }
    }
    print(&if wants_json { output::list_json(&containers) } else { output::list_table(&containers) })
}

pub(super) fn features(_: &Context<'_>) -> Result<i32> {
    print(&output::json(&libcrun::features(VERSION, COMMIT)))
}
