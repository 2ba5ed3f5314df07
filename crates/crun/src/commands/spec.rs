//! `spec`: a configuration to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use libcrun::{Code, Error, Host, Result, spec::template};

use super::Context;
use crate::failed;

pub(super) fn spec(context: &Context<'_>) -> Result<i32> {
    let unified = Host::new().cgroups().is_ok_and(|layout| layout.is_unified());
    write(&path(context), &template(context.has("rootless"), unified)).map(|()| 0)
}

/// Writes a configuration where there is none.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |error| failed(format!("write `{}`", path.display()), &error);
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return Err(Error::new(Code::InvalidConfig, format!("`{name}` already exists")));
        }
        other => other.map_err(failed)?,
    };
    file.write_all(text.as_bytes()).map_err(|error| {
        // Half of it would be in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}

fn path(context: &Context<'_>) -> PathBuf {
    let name = Path::new(context.value("file").unwrap_or("config.json"));
    context.value("bundle").map_or_else(|| name.to_path_buf(), |bundle| Path::new(bundle).join(name))
}
