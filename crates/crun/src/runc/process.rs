//! What `exec` is asked to run. For runc a process object is the whole truth; crun takes from the container's own process
//! what it leaves out.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use libcrun::{Code, Error, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::{Map, Value, json};

use crate::commands::create::ensure_protectable;
use crate::commands::{self, Context};

/// Refuses what crun would put up with. Returns the process object that is to replace the one given.
pub(super) fn prepare(context: &Context<'_>) -> Result<Option<File>> {
    let Some(path) = context.value("process") else {
        let is_seen = context.has("detach") && context.has("tty");
        if context.value("console-socket").is_some() && !is_seen {
            let message = "cannot use console socket if runc will not detach or allocate tty";
            return Err(Error::new(Code::InvalidConfig, message));
        }
        return context.invocation.options.values("env").try_for_each(check_variable).map(|()| None);
    };
    // Before it is read: a program that is executed once more would find a pipe empty.
    ensure_protectable(context)?;
    completed(&commands::read(path)?)
}

fn check_variable(variable: &str) -> Result<()> {
    let wrong = match variable.find('=') {
        None => "missing '='",
        Some(0) => "name cannot be empty",
        Some(_) => return Ok(()),
    };
    let message = format!("unable to start container process: invalid environment variable: {wrong}");
    Err(Error::new(Code::InvalidConfig, message))
}

/// The file with what it leaves out said: no variables, and root. `None` if nothing had to be said.
///
/// The file is in memory, and there for as long as the value is.
fn completed(text: &[u8]) -> Result<Option<File>> {
    // What is wrong with it is for its reader to say.
    let Ok(mut process) = serde_json::from_slice::<Map<String, Value>>(text) else { return Ok(None) };
    if !complete(&mut process) {
        return Ok(None);
    }
    let failed =
        |error: std::io::Error| Error::new(Code::System, format!("copy the process object: {error}"));
    let file = memfd_create("process", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
    let mut file = File::from(file);
    file.write_all(Value::Object(process).to_string().as_bytes()).map_err(failed)?;
    Ok(Some(file))
}

/// Where the file can be opened.
pub(super) fn path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Returns whether something was missing.
fn complete(process: &mut Map<String, Value>) -> bool {
    let mut is_changed = false;
    for (key, value) in [("env", json!([])), ("user", json!({"uid": 0, "gid": 0}))] {
        if process.get(key).is_none_or(Value::is_null) {
            process.insert(key.to_owned(), value);
            is_changed = true;
        }
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_a_name_and_a_value() {
        assert!(check_variable("A=b").is_ok() && check_variable("A=").is_ok());
        assert!(check_variable("A").is_err() && check_variable("=b").is_err());
    }

    #[test]
    fn what_is_left_out_is_not_taken_from_the_container() {
        let file = completed(br#"{"args":["true"],"cwd":"/","env":null}"#).unwrap().unwrap();
        let text = std::fs::read_to_string(path(&file)).unwrap();
        let process: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(process, json!({"args": ["true"], "cwd": "/", "env": [], "user": {"uid": 0, "gid": 0}}));
    }

    #[test]
    fn a_whole_process_and_what_is_none_are_left_alone() {
        assert!(completed(br#"{"env":["A=b"],"user":{"uid":1}}"#).unwrap().is_none());
        assert!(completed(b"[]").unwrap().is_none());
        assert!(completed(b"x").unwrap().is_none());
    }
}
