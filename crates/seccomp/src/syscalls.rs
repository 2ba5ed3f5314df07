//! The names and numbers of the system calls, of all architectures in one table: a name is looked up once.

mod multiplexed;
mod table;

use crate::Architecture;

pub(crate) use multiplexed::{Call as Multiplexed, through};

/// How many columns the table has: architectures that differ only in the order of bytes share one.
const COLUMNS: usize = 18;
/// In the table: the architecture does not have the call.
const NONE: u16 = u16::MAX;

/// Where the table has the calls that only 32-bit ARM knows, and where the kernel has them (`__ARM_NR_BASE`).
const PRIVATE: u16 = 0xf000;
pub(crate) const ARM_PRIVATE: u32 = 0xf_0000;

/// A system call by its name: a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syscall(u16);

/// What the table is compiled into: names one after the other and where each begins, numbers, and a hash table of rows.
static TEXT: [u8; TEXT_LENGTH] = text();
static STARTS: [u16; table::COUNT + 1] = starts();
static NUMBERS: [[u16; COLUMNS]; table::COUNT] = numbers();
static SLOTS: [u16; SLOT_COUNT] = slots();

/// A power of two, twice as many as there are rows at least: most names are found at the first look.
const SLOT_COUNT: usize = 1024;
const TEXT_LENGTH: usize = {
    let mut length = 0;
    let mut row = 0;
    while row < table::COUNT {
        length += table::ROWS[row].0.len();
        row += 1;
    }
    length
};

impl Syscall {
    /// The call of a name, if any architecture has one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut slot = hash(name.as_bytes()) % SLOT_COUNT;
        while SLOTS[slot] != NONE {
            let found = Self(SLOTS[slot]);
            if found.name() == name {
                return Some(found);
            }
            slot = (slot + 1) % SLOT_COUNT;
        }
        None
    }

    /// All there are.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0_u16..).take(table::COUNT).map(Self)
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        let row = usize::from(self.0);
        let text = &TEXT[usize::from(STARTS[row])..usize::from(STARTS[row + 1])];
        str::from_utf8(text).unwrap_or_default()
    }

    /// Its number, without what is added to all numbers of the architecture ([`Architecture::base`]).
    pub(crate) fn number(self, architecture: Architecture) -> Option<u32> {
        match NUMBERS[usize::from(self.0)][architecture.column()] {
            NONE => None,
            number if number >= PRIVATE => Some(ARM_PRIVATE + u32::from(number - PRIVATE)),
            number => Some(u32::from(number)),
        }
    }
}

/// FNV-1a, folded so that the low bits depend on all.
const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 15)) as usize
}

const fn text() -> [u8; TEXT_LENGTH] {
    let mut text = [0; TEXT_LENGTH];
    let (mut row, mut at) = (0, 0);
    while row < table::COUNT {
        let name = table::ROWS[row].0.as_bytes();
        let mut letter = 0;
        while letter < name.len() {
            text[at] = name[letter];
            (letter, at) = (letter + 1, at + 1);
        }
        row += 1;
    }
    text
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a length of text that is far below; u16::try_from is not const"
)]
const fn starts() -> [u16; table::COUNT + 1] {
    assert!(TEXT_LENGTH < NONE as usize);
    let mut starts = [0; table::COUNT + 1];
    let mut row = 0;
    while row < table::COUNT {
        starts[row + 1] = starts[row] + table::ROWS[row].0.len() as u16;
        row += 1;
    }
    starts
}

const fn numbers() -> [[u16; COLUMNS]; table::COUNT] {
    let mut numbers = [[NONE; COLUMNS]; table::COUNT];
    let mut row = 0;
    while row < table::COUNT {
        numbers[row] = table::ROWS[row].1;
        row += 1;
    }
    numbers
}

const fn slots() -> [u16; SLOT_COUNT] {
    let mut slots = [NONE; SLOT_COUNT];
    let mut row: u16 = 0;
    while (row as usize) < table::COUNT {
        let mut slot = hash(table::ROWS[row as usize].0.as_bytes()) % SLOT_COUNT;
        while slots[slot] != NONE {
            slot = (slot + 1) % SLOT_COUNT;
        }
        slots[slot] = row;
        row += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again() {
        for call in Syscall::all() {
            assert_eq!(Syscall::named(call.name()), Some(call), "{}", call.name());
        }
        assert_eq!(Syscall::named("no_such_call"), None);
        assert_eq!(Syscall::named(""), None);
    }

    #[test]
    fn the_numbers_are_those_of_the_kernel_this_runs_on() {
        let number =
            |name| Syscall::named(name).and_then(|call| call.number(Architecture::NATIVE)).map(i64::from);
        assert_eq!(number("read"), Some(libc::SYS_read));
        assert_eq!(number("openat2"), Some(libc::SYS_openat2));
        assert_eq!(number("clone3"), Some(libc::SYS_clone3));
    }

    #[test]
    fn a_call_has_no_number_where_the_architecture_does_not_have_it() {
        let number = |name, architecture| Syscall::named(name).and_then(|call| call.number(architecture));
        assert_eq!(number("fork", Architecture::Aarch64), None);
        assert_eq!(number("socketcall", Architecture::X86_64), None);
        assert_eq!(number("socketcall", Architecture::X86), Some(102));
        assert_eq!(number("breakpoint", Architecture::Arm), Some(0xf_0001));
    }
}
