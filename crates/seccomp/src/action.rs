//! What can happen to a call.

use std::fmt;

/// The actions a profile may take (runtime-spec config-linux.md#seccomp).
pub static ACTIONS: [&str; 9] = [
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

/// What a filter answers the kernel: an action, with a number in its low half (linux/seccomp.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Action(pub u32);

/// The largest number that the kernel gives a program as an error (`MAX_ERRNO`).
const MOST_ERRNO: u32 = 4095;
/// The largest that a tracer can be told.
const MOST_TRACE: u32 = 0xffff;
/// The error if a profile does not say one.
const EPERM: u32 = 1;

impl Action {
    /// Ends the thread.
    pub const KILL_THREAD: Self = Self(0);
    /// Ends the process.
    pub const KILL_PROCESS: Self = Self(0x8000_0000);
    /// Sends SIGSYS.
    pub const TRAP: Self = Self(0x0003_0000);
    /// Fails with an error, which is added.
    pub const ERRNO: Self = Self(0x0005_0000);
    /// Asks the listener.
    pub const NOTIFY: Self = Self(0x7fc0_0000);
    /// Asks the tracer, who is told the number that is added.
    pub const TRACE: Self = Self(0x7ff0_0000);
    /// Allowed, and logged.
    pub const LOG: Self = Self(0x7ffc_0000);
    /// Allowed.
    pub const ALLOW: Self = Self(0x7fff_0000);

    /// That of a name, with the error or number beside it in the profile.
    pub(crate) fn named(name: &str, errno: Option<u32>) -> Result<Self, Problem> {
        let number = |most: u32| match errno.unwrap_or(EPERM) {
            number if number <= most => Ok(number),
            number => Err(Problem::Large { number, most }),
        };
        let action = match name {
            "SCMP_ACT_ERRNO" => return Ok(Self(Self::ERRNO.0 | number(MOST_ERRNO)?)),
            "SCMP_ACT_TRACE" => return Ok(Self(Self::TRACE.0 | number(MOST_TRACE)?)),
            "SCMP_ACT_ALLOW" => Self::ALLOW,
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Self::KILL_THREAD,
            "SCMP_ACT_KILL_PROCESS" => Self::KILL_PROCESS,
            "SCMP_ACT_LOG" => Self::LOG,
            "SCMP_ACT_NOTIFY" => Self::NOTIFY,
            "SCMP_ACT_TRAP" => Self::TRAP,
            _ => return Err(Problem::Unknown),
        };
        if errno.is_some() { Err(Problem::Errno) } else { Ok(action) }
    }

    /// The action without its number.
    #[must_use]
    pub const fn kind(self) -> Self {
        Self(self.0 & 0xffff_0000)
    }

    /// The number that is added to it.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 & 0xffff
    }

    /// Whether the call does not happen, with nobody to be asked.
    pub(crate) fn refuses(self) -> bool {
        [Self::KILL_THREAD, Self::KILL_PROCESS, Self::TRAP, Self::ERRNO].contains(&self.kind())
    }
}

/// As in a profile, with the number behind it.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Self::KILL_THREAD => f.write_str("SCMP_ACT_KILL_THREAD"),
            Self::KILL_PROCESS => f.write_str("SCMP_ACT_KILL_PROCESS"),
            Self::TRAP => f.write_str("SCMP_ACT_TRAP"),
            Self::ERRNO => write!(f, "SCMP_ACT_ERRNO({})", self.number()),
            Self::NOTIFY => f.write_str("SCMP_ACT_NOTIFY"),
            Self::TRACE => write!(f, "SCMP_ACT_TRACE({})", self.number()),
            Self::LOG => f.write_str("SCMP_ACT_LOG"),
            Self::ALLOW => f.write_str("SCMP_ACT_ALLOW"),
            Self(other) => write!(f, "{other:#010x}"),
        }
    }
}

/// What is wrong with an action in a profile.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There is no such action.
    Unknown,
    /// It has an error, and cannot give one.
    Errno,
    /// Its number is too large.
    Large {
        /// It.
        number: u32,
        /// The largest.
        most: u32,
    },
}
