//! The capabilities Linux knows, by name and number (`capabilities(7)`, linux/capability.h).

use crate::error::{Code, Error, Result};
use crate::spec::{self, Text};

/// All names; a capability's number is its place in the list.
pub(crate) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A set of capabilities: bit n stands for capability n.
pub(crate) type Set = u64;

/// The five sets of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) bounding: Set,
    pub(crate) effective: Set,
    pub(crate) inheritable: Set,
    pub(crate) permitted: Set,
    pub(crate) ambient: Set,
}

impl Sets {
    /// The sets of a configuration; without any, a process has no capability at all.
    pub(crate) fn from_spec(capabilities: Option<&spec::Capabilities<'_>>) -> Result<Self> {
        let Some(capabilities) = capabilities else { return Ok(Self::default()) };
        Ok(Self {
            bounding: set(capabilities.bounding.as_deref())?,
            effective: set(capabilities.effective.as_deref())?,
            inheritable: set(capabilities.inheritable.as_deref())?,
            permitted: set(capabilities.permitted.as_deref())?,
            ambient: set(capabilities.ambient.as_deref())?,
        })
    }
}

fn set(names: Option<&[Text<'_>]>) -> Result<Set> {
    names.unwrap_or_default().iter().try_fold(0, |set, name| Ok(set | 1 << number(name)?))
}

/// The number of the capability called `name`, with or without `CAP_`, in any case.
pub(crate) fn number(name: &str) -> Result<usize> {
    let is = |known: &&str| {
        known.eq_ignore_ascii_case(name) || known.trim_start_matches("CAP_").eq_ignore_ascii_case(name)
    };
    NAMES
        .iter()
        .position(is)
        .ok_or_else(|| Error::new(Code::InvalidConfig, format!("unknown capability `{name}`")))
}

/// The names of the capabilities in `set`.
pub(crate) fn list(set: Set) -> impl Iterator<Item = &'static str> {
    let numbered = NAMES.iter().enumerate();
    numbered.filter(move |(bit, _)| set & (1 << bit) != 0).map(|(_, name)| *name)
}

/// The same for messages.
pub(crate) fn names_of(set: Set) -> String {
    let names: Vec<_> = list(set).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_of_the_kernel_header() {
        for (name, expected) in
            [("CAP_CHOWN", 0), ("CAP_SYS_ADMIN", 21), ("cap_bpf", 39), ("CHECKPOINT_RESTORE", 40)]
        {
            assert_eq!(number(name).unwrap(), expected);
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_it() {
        assert_eq!(number("CAP_FOO").unwrap_err().to_string(), "unknown capability `CAP_FOO`");
    }
}
