//! Seccomp: what the OCI runtime specification lets a profile say, as data.
//!
//! The compiler from a profile to a BPF program lives here once it is written; until then a configuration that
//! has a `linux.seccomp` section is refused by `libcrun`, because a container that runs without the confinement
//! it was given is worse than one that does not run.
#![forbid(unsafe_code)]

/// The operators a profile may compare arguments with (runtime-spec config-linux.md#seccomp).
pub const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

/// The actions a profile may take (runtime-spec config-linux.md#seccomp).
pub const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
