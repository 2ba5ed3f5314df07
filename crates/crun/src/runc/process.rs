//! What `exec` is asked to run. For runc a process object is the whole truth; crun takes from the container's own process
//! what it leaves out.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use libcrun::{Code, Error, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::Deserialize;
use serde::de::IgnoredAny;

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

/// What of a process object matters here: whether it is there.
#[derive(Deserialize)]
struct Said {
    env: Option<IgnoredAny>,
    user: Option<IgnoredAny>,
}

/// The file with what it leaves out said: no variables, and root. `None` if nothing had to be said.
///
/// The file is in memory, and there for as long as the value is.
fn completed(text: &[u8]) -> Result<Option<File>> {
    let Some(whole) = complete(text) else { return Ok(None) };
    let failed =
        |error: std::io::Error| Error::new(Code::System, format!("copy the process object: {error}"));
    let file = memfd_create("process", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
    let mut file = File::from(file);
    file.write_all(whole.as_bytes()).map_err(failed)?;
    Ok(Some(file))
}

/// The object's text with what it leaves out. What is wrong with it is for its reader to say.
fn complete(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?;
    let said: Said = serde_json::from_str(text).ok()?;
    let behind = text.trim_start().strip_prefix('{')?;
    let mut whole = String::from("{");
    if said.env.is_none() {
        whole.push_str(r#""env":[]"#);
    }
    if said.user.is_none() {
        let separator = if whole.len() > 1 { "," } else { "" };
        whole.push_str(separator);
        whole.push_str(r#""user":{"uid":0,"gid":0}"#);
    }
    let is_empty = behind.trim_start().starts_with('}');
    let separator = if is_empty { "" } else { "," };
    (whole.len() > 1).then(|| whole + separator + behind)
}

/// Where the file can be opened.
pub(super) fn path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
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
        for (text, expected) in [
            ("{}", r#"{"env":[],"user":{"uid":0,"gid":0}}"#),
            (" {\n}", "{\"env\":[],\"user\":{\"uid\":0,\"gid\":0}\n}"),
            (r#"{"env":["A=b"]}"#, r#"{"user":{"uid":0,"gid":0},"env":["A=b"]}"#),
            (r#"{"user":{"uid":1},"cwd":"/"}"#, r#"{"env":[],"user":{"uid":1},"cwd":"/"}"#),
        ] {
            assert_eq!(complete(text.as_bytes()).as_deref(), Some(expected));
        }
        let file = completed(b"{}").unwrap().unwrap();
        assert!(std::fs::read_to_string(path(&file)).unwrap().starts_with(r#"{"env":[]"#));
    }

    #[test]
    fn a_whole_process_and_what_is_none_are_left_alone() {
        for text in [r#"{"env":["A=b"],"user":{"uid":1}}"#, "[]", "x", "", "{"] {
            assert_eq!(complete(text.as_bytes()), None, "{text}");
        }
    }
}
