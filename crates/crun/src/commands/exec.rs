//! `exec`.

use std::path::PathBuf;

use libcrun::{Code, Error, ExecOptions, Result};

use super::create::ensure_protectable;
use super::{Context, seccomp_receiver};
use crate::runc;
use crate::trace::traced;

pub(super) fn exec(context: &Context<'_>) -> Result<i32> {
    ensure_protectable(context)?;
    let args: Vec<String> = context.invocation.positionals.iter().skip(1).cloned().collect();
    let process = context.value("process").map(PathBuf::from);
    if args.is_empty() && process.is_none() {
        return Err(Error::new(Code::InvalidOption, "`exec` requires a minimum of 2 arguments"));
    }
    let values = |name| context.invocation.options.values(name).map(str::to_owned).collect();
    let mut options = ExecOptions {
        args,
        env: values("env"),
        cwd: context.value("cwd").map(str::to_owned),
        user: context.value("user").map(user).transpose()?,
        additional_gids: context
            .invocation
            .options
            .values("additional-gids")
            .map(group)
            .collect::<Result<_>>()?,
        capabilities: values("cap"),
        no_new_privileges: context.has("no-new-privs"),
        limits_of_container: context.has(runc::LIMITS_OF_CONTAINER),
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
        ignore_paused: context.has("ignore-paused"),
        seccomp_receiver: seccomp_receiver(),
        ..ExecOptions::default()
    };
    let (root, id) = (context.root(), context.id()?);
    let tell = &mut |warning| context.log.warn(&warning);
    traced(context, |timeline| {
        options.timeline = timeline;
        libcrun::exec_telling(&root, &id, &options, tell)
    })
}

/// `UID[:GID]`, in numbers only: a name, or what is left of one, must never be taken for 0 (CVE-2026-30892).
fn user(text: &str) -> Result<(u32, u32)> {
    let wrong = || Error::new(Code::InvalidOption, format!("invalid user `{text}`: UID[:GID] is expected"));
    let number = |text: &str| number(text).ok_or_else(wrong);
    match text.split_once(':') {
        None => Ok((number(text)?, 0)),
        Some((uid, gid)) => Ok((number(uid)?, number(gid)?)),
    }
}

/// One group, in numbers only, too.
fn group(text: &str) -> Result<u32> {
    let wrong = || Error::new(Code::InvalidConfig, format!("invalid group `{text}`: a number is expected"));
    number(text).ok_or_else(wrong)
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
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

    #[test]
    fn a_group_is_given_in_numbers() {
        assert_eq!(group("0"), Ok(0));
        assert_eq!(group("4294967294"), Ok(u32::MAX - 1));
        for text in ["", "wheel", "1,2", "1:2", "-1", "+1", "1 ", "4294967296"] {
            assert_eq!(
                group(text).unwrap_err().to_string(),
                format!("invalid group `{text}`: a number is expected")
            );
        }
    }
}
