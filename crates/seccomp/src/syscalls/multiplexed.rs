//! Calls that some architectures have, or had first, as one call for many: `socketcall(2)` and `ipc(2)`.
//!
//! Their first argument says which of the many it is, and what a program means to pass is behind a pointer, where a filter
//! cannot look. A rule for one of the many holds there for all uses of it: what the rule says about its first argument
//! is not looked at, as in libseccomp.

use super::{Syscall, table};

/// A call among the many: its name and its number there (linux/net.h, linux/ipc.h).
pub(crate) struct Call {
    /// The call that it is one of.
    pub(crate) through: &'static str,
    /// The first argument by which it is meant.
    pub(crate) number: u64,
}

const SOCKET: [(&str, u8); 20] = [
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

const IPC: [(&str, u8); 12] = [
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

/// How a call is made through one for many, by its row in the table of calls: 0 if it is not, else its number there, with
/// a bit if that is `ipc`.
static THROUGH: [u8; table::COUNT] = rows();
const IS_IPC: u8 = 0x80;

/// What a call is made through on an architecture that has the one for many.
pub(crate) fn through(call: Syscall) -> Option<Call> {
    match THROUGH[usize::from(call.0)] {
        0 => None,
        ipc if ipc & IS_IPC != 0 => Some(Call { through: "ipc", number: u64::from(ipc & !IS_IPC) }),
        socket => Some(Call { through: "socketcall", number: u64::from(socket) }),
    }
}

const fn rows() -> [u8; table::COUNT] {
    let mut rows = [0; table::COUNT];
    let mut row = 0;
    while row < table::COUNT {
        let name = table::ROWS[row].0.as_bytes();
        rows[row] = match (number(name, &SOCKET), number(name, &IPC)) {
            (0, 0) => 0,
            (0, ipc) => ipc | IS_IPC,
            (socket, _) => socket,
        };
        row += 1;
    }
    rows
}

const fn number(name: &[u8], calls: &[(&str, u8)]) -> u8 {
    let mut at = 0;
    while at < calls.len() {
        if is_same(name, calls[at].0.as_bytes()) {
            return calls[at].1;
        }
        at += 1;
    }
    0
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_among_the_many_is_known_by_its_number_there() {
        let found = |name| Syscall::named(name).and_then(through).map(|call| (call.through, call.number));
        assert_eq!(found("socket"), Some(("socketcall", 1)));
        assert_eq!(found("sendmmsg"), Some(("socketcall", 20)));
        assert_eq!(found("shmctl"), Some(("ipc", 24)));
        assert_eq!(found("read"), None);
        assert_eq!(Syscall::all().filter_map(through).count(), SOCKET.len() + IPC.len());
    }
}
