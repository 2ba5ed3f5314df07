//! `plan`: what would be done to start a container, for people and as JSON.

use std::path::PathBuf;

use libcrun::{Code, ContainerId, CreateOptions, Error, Result, describe};

use super::create::options;
use super::{Context, print};
use crate::output::json;

pub(super) fn plan(context: &Context<'_>) -> Result<i32> {
    let wants_json = context.wants_json("text")?;
    let bundle = match (context.positional(0), context.value("bundle")) {
        (Some(_), Some(_)) => return Err(given_twice()),
        (given, option) => PathBuf::from(given.or(option).unwrap_or(".")),
    };
    let options = CreateOptions { bundle, ..options(context)? };
    let id = id(context, &options)?;
    let description = describe(&context.root(), &id, &options)?;
    print(&if wants_json { json(&description) } else { description.to_string() })
}

/// What the container is to be called: where nothing is said, as the directory of its bundle, if that is a name.
fn id(context: &Context<'_>, options: &CreateOptions) -> Result<ContainerId> {
    if let Some(id) = context.value("id") {
        return ContainerId::new(id);
    }
    let directory = std::fs::canonicalize(&options.bundle).unwrap_or_default();
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ContainerId::new(name).or_else(|_| ContainerId::new("ID"))
}

fn given_twice() -> Error {
    Error::new(Code::InvalidOption, "the bundle is given twice, as argument and by --bundle")
}
