//! `mounts`: mounts that a running container gets or loses.

use std::io::Read;

use libcrun::{Code, ContainerId, Error, MountsOptions, Result, spec};
use rustix::io::Errno;

use super::Context;
use super::create::ensure_protectable;

pub(super) fn mounts(context: &Context<'_>) -> Result<i32> {
    let change = match context.positional(0).unwrap_or_default() {
        "add" => libcrun::add_mounts,
        "remove" => libcrun::remove_mounts,
        other => return Err(Error::new(Code::Unsupported, format!("unknown command {other}"))),
    };
    ensure_protectable(context)?;
    let id = ContainerId::new(context.positional(1).unwrap_or_default())?;
    let file = context.positional(2).unwrap_or_default();
    let text = read(file)?;
    let mounts = spec::parse_mounts(&text, file)?;
    change(&context.root(), &id, &mounts, &MountsOptions::default()).map(|()| 0)
}

/// What is in the file; `-` is the standard input.
fn read(file: &str) -> Result<Vec<u8>> {
    let read = if file == "-" {
        let mut text = Vec::new();
        std::io::stdin().lock().read_to_end(&mut text).map(|_| text)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| {
        let message = format!("open `{file}`");
        match error.raw_os_error() {
            Some(raw) => Error::os(Code::InvalidConfig, message, Errno::from_raw_os_error(raw)),
            None => Error::new(Code::InvalidConfig, format!("{message}: {error}")),
        }
    })
}
