//! Calls that some architectures have, or had first, as one call for many: `socketcall(2)` and `ipc(2)`.
//!
//! Their first argument says which of the many it is, and what a program means to pass is behind a pointer, where a filter
//! cannot look. A rule for one of the many holds there for all uses of it: what the rule says about its first argument
//! is not looked at, as in libseccomp.

/// A call among the many: its name and its number there (linux/net.h, linux/ipc.h).
pub(crate) struct Call {
    /// The call that it is one of.
    pub(crate) through: &'static str,
    /// The first argument by which it is meant.
    pub(crate) number: u64,
}

const SOCKET: [(&str, u64); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// What a name is called through on an architecture that has the one for many.
pub(crate) fn through(name: &str) -> Option<Call> {
    // Asked for every name of a profile, most of which begin with another letter.
    let number =
        |calls: &[(&str, u64)]| calls.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    match name.as_bytes().first()? {
        b'a' | b'b' | b'c' | b'g' | b'l' | b'm' | b'r' | b's' => number(&SOCKET)
            .map(|number| Call { through: "socketcall", number })
            .or_else(|| number(&IPC).map(|number| Call { through: "ipc", number })),
        _ => None,
    }
}
