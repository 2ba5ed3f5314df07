//! `mounts`: mounts that a running container gets or loses.

use libcrun::{Code, ContainerId, Error, MountsOptions, Result, spec};

use super::create::ensure_protectable;
use super::{Context, read};

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
