//! What happens to each number of an architecture, while it is decided; and from that the ranges that are alike.

use super::{BAD_ARCHITECTURE, Outcome, Range};
use crate::action::Action;
use crate::architecture::{Architecture, X32_BIT};
use crate::syscalls::{ARM_PRIVATE, Multiplexed, Syscall, through};

/// What happens to each number of an architecture.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) architecture: Architecture,
    default: Action,
    /// By number, up to the highest that the profile names.
    outcomes: Vec<Outcome>,
    /// Those with numbers beyond all others ([`Architecture::is_private`]), which are few.
    private: Vec<(u32, Outcome)>,
    /// `socketcall` and `ipc`, if the architecture has them.
    socketcall: Option<u32>,
    ipc: Option<u32>,
}

impl Table {
    pub(super) fn new(architecture: Architecture, default: Action) -> Self {
        let number = |name| Syscall::named(name).and_then(|call| call.number(architecture));
        Self {
            architecture,
            default,
            outcomes: Vec::with_capacity(512),
            private: Vec::new(),
            socketcall: number("socketcall"),
            ipc: number("ipc"),
        }
    }

    pub(super) fn multiplexes(&self) -> bool {
        self.socketcall.is_some() || self.ipc.is_some()
    }

    /// The number of the one call for many, if the architecture has it.
    pub(super) fn through(&self, call: &Multiplexed) -> Option<u32> {
        if call.through == "ipc" { self.ipc } else { self.socketcall }
    }

    /// Notes that the profile's author knew a call.
    pub(super) fn mention(&mut self, call: Syscall) {
        if let Some(number) = call.number(self.architecture) {
            self.outcome(number);
        }
        let through = || through(call).and_then(|call| self.through(&call));
        if let Some(number) = self.multiplexes().then(through).flatten() {
            self.outcome(number);
        }
    }

    pub(super) fn outcome(&mut self, number: u32) -> &mut Outcome {
        let default = Outcome::Always(self.default);
        if self.architecture.is_private(number) {
            let at = self.private.iter().position(|(known, _)| *known == number).unwrap_or_else(|| {
                self.private.push((number, default));
                self.private.len() - 1
            });
            return &mut self.private[at].1;
        }
        let at = number as usize;
        if at >= self.outcomes.len() {
            self.outcomes.resize(at + 1, default);
        }
        &mut self.outcomes[at]
    }

    /// What happens to calls with numbers above all that the profile names.
    fn above(&self) -> Action {
        if self.default.refuses() && !self.outcomes.is_empty() {
            self.architecture.not_there()
        } else {
            self.default
        }
    }

    /// Adds the ranges of the architecture.
    fn append_to(&self, ranges: &mut Vec<Range>) {
        let mut add =
            |start, outcome| append(ranges, Range { start, outcome, architecture: self.architecture });
        let base = self.architecture.base();
        for (number, outcome) in (base..).zip(&self.outcomes) {
            add(number, *outcome);
        }
        if let Some(above) = u32::try_from(self.outcomes.len()).ok().and_then(|count| base.checked_add(count))
        {
            add(above, Outcome::Always(self.above()));
        }
        if self.architecture.is_private(ARM_PRIVATE) {
            let mut private = self.private.clone();
            private.sort_unstable_by_key(|(number, _)| *number);
            add(ARM_PRIVATE, Outcome::Always(self.default));
            for (number, outcome) in private {
                add(number, outcome);
                add(number + 1, Outcome::Always(self.default));
            }
        }
    }
}

/// What happens to the numbers of a token: those of x32 are numbers of x86_64 with a bit, the others have it for themselves.
pub(super) fn ranges(token: u32, tables: &[Table]) -> Vec<Range> {
    let mut ranges = Vec::with_capacity(256);
    let table = |wanted| tables.iter().find(|table| table.architecture == wanted);
    if token != Architecture::X86_64.token() {
        for table in tables.iter().filter(|table| table.architecture.token() == token) {
            let architecture = table.architecture;
            append(&mut ranges, Range { start: 0, outcome: Outcome::Always(table.default), architecture });
            table.append_to(&mut ranges);
        }
        return ranges;
    }
    let bad = |start, architecture| Range { start, outcome: Outcome::Always(BAD_ARCHITECTURE), architecture };
    match table(Architecture::X86_64) {
        Some(table) => table.append_to(&mut ranges),
        None => append(&mut ranges, bad(0, Architecture::X86_64)),
    }
    match (table(Architecture::X32), table(Architecture::X86_64)) {
        (Some(table), _) => table.append_to(&mut ranges),
        (None, Some(table)) => {
            append(&mut ranges, bad(X32_BIT, Architecture::X32));
            // What a tracer makes of a call that is not to be made (`seccomp(2)`): it has all bits, and is none of x32.
            let outcome = Outcome::Always(table.above());
            append(&mut ranges, Range { start: u32::MAX, outcome, architecture: Architecture::X86_64 });
        }
        (None, None) => {}
    }
    ranges
}

/// Adds a range to those before it, of which it may be a part.
fn append(ranges: &mut Vec<Range>, range: Range) {
    if ranges.last().is_some_and(|last| last.start == range.start) {
        ranges.pop();
    }
    let same = |last: &Range| match range.outcome {
        Outcome::Always(_) => last.outcome == range.outcome,
        Outcome::Depends(_) => last.outcome == range.outcome && last.architecture == range.architecture,
    };
    if !ranges.last().is_some_and(same) {
        ranges.push(range);
    }
}
