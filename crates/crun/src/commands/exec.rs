//! `exec`.

use std::path::PathBuf;

use libcrun::{Code, Error, ExecOptions, Result};

use super::create::ensure_protectable;
use super::{Context, seccomp_receiver};
use crate::trace::traced;

pub(super) fn exec(context: &Context<'_>) -> Result<i32> {
    ensure_protectable(context)?;
    let args: Vec<String> = context.invocation.positionals.iter().skip(1).cloned().collect();
    let process = context.value("process").map(PathBuf::from);
    if args.is_empty() && process.is_none() {
        return Err(Error::new(Code::InvalidConfig, "`exec` requires a minimum of 2 arguments"));
    }
    let values = |name| context.invocation.options.values(name).map(str::to_owned).collect();
    let mut options = ExecOptions {
        args,
        env: values("env"),
        cwd: context.value("cwd").map(str::to_owned),
        user: context.value("user").map(user).transpose()?,
        capabilities: values("cap"),
        no_new_privileges: context.has("no-new-privs"),
        terminal: context.value("tty").is_some_and(|value| !matches!(value, "false" | "no")),
        apparmor_profile: context.value("apparmor").map(str::to_owned),
        selinux_label: context.value("process-label").map(str::to_owned),
        process,
        pid_file: context.value("pid-file").map(PathBuf::from),
        console_socket: context.value("console-socket").map(PathBuf::from),
        pidfd_socket: context.value("pidfd-socket").map(PathBuf::from),
        preserve_fds: context.preserved_descriptors()?,
        detach: context.has("detach"),
        cgroups: values("cgroup"),
        seccomp_receiver: seccomp_receiver(),
        ..ExecOptions::default()
    };
    let (root, id) = (context.root(), context.id()?);
    traced(context, |timeline| {
        options.timeline = timeline;
        libcrun::exec(&root, &id, &options)
    })
}

/// `UID[:GID]`, in numbers only: a name, or what is left of one, must never be taken for 0 (CVE-2026-30892).
fn user(text: &str) -> Result<(u32, u32)> {
    let wrong = || Error::new(Code::InvalidConfig, format!("invalid user `{text}`: UID[:GID] is expected"));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse::<u32>().map_err(|_| wrong()) } else { Err(wrong()) }
    };
    match text.split_once(':') {
        None => Ok((number(text)?, 0)),
        Some((uid, gid)) => Ok((number(uid)?, number(gid)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_given_in_numbers() {
        assert_eq!(user("1000").unwrap(), (1000, 0));
        assert_eq!(user("1:2").unwrap(), (1, 2));
        for text in ["", "root", "1:", ":1", "1x", "+1", "-1", "1:2:3", "4294967296"] {
            assert!(user(text).is_err(), "{text}");
        }
    }
}
