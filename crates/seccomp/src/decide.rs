//! What happens to each number of each architecture.

mod table;

use self::table::{Table, ranges};
use crate::action::Action;
use crate::architecture::Architecture;
use crate::condition::{Condition, Operator};
use crate::error::Error;
use crate::parse::{Parsed, ParsedRule};
use crate::syscalls::{Multiplexed, Syscall, through};
use crate::{MOST_INSTRUCTIONS, tree};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Always the same.
    Always(Action),
    /// What the last rule of a list says if it holds, else what those before it say: a place in [`Decided::links`].
    Depends(usize),
}

/// The last rule of a list, and the list before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// What the rules before it come to, if any.
    pub(crate) before: Option<usize>,
    /// What this one says if its conditions hold.
    pub(crate) action: Action,
    /// A place in [`Decided::conditions`].
    pub(crate) conditions: usize,
}

/// Where conditions are kept, for wide and for narrow arguments.
#[derive(Debug, Clone, Copy)]
struct Kept {
    wide: Option<usize>,
    narrow: Option<usize>,
}

/// What happens from a number on, up to the next range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first number.
    pub(crate) start: u32,
    /// What happens to it.
    pub(crate) outcome: Outcome,
    /// How its arguments are looked at.
    pub(crate) architecture: Architecture,
}

/// What happens to the calls that the kernel gives one token.
#[derive(Debug)]
pub(crate) struct Calls {
    /// The token.
    pub(crate) token: u32,
    /// From number 0 on; two that follow each other differ.
    pub(crate) ranges: Vec<Range>,
}

/// A profile with nothing left to decide.
#[derive(Debug)]
pub(crate) struct Decided {
    /// The native architecture first.
    pub(crate) calls: Vec<Calls>,
    /// The rules that hold under conditions.
    pub(crate) links: Vec<Link>,
    /// Conditions that have to hold together.
    pub(crate) conditions: Vec<Vec<Condition>>,
    /// What happens if none does.
    pub(crate) default: Action,
}

/// What happens to calls of an architecture that the profile does not name.
pub(crate) const BAD_ARCHITECTURE: Action = Action::KILL_THREAD;

pub(crate) fn decide(parsed: &Parsed<'_>) -> Result<Decided, Error> {
    let mut decided =
        Decided { calls: Vec::new(), links: Vec::new(), conditions: Vec::new(), default: parsed.default };
    let mut tables: Vec<Table> =
        parsed.architectures.iter().map(|it| Table::new(*it, parsed.default)).collect();
    for rule in &parsed.rules {
        for call in &rule.calls {
            for table in &mut tables {
                table.mention(*call);
            }
        }
        if rule.action != parsed.default {
            decided.apply(rule, &mut tables)?;
        }
    }
    for table in &tables {
        let token = table.architecture.token();
        if decided.calls.iter().all(|calls| calls.token != token) {
            decided.calls.push(Calls { token, ranges: ranges(token, &tables) });
        }
    }
    Ok(decided)
}

impl Decided {
    /// Adds a rule to what happens to its calls.
    fn apply(&mut self, rule: &ParsedRule, tables: &mut [Table]) -> Result<(), Error> {
        for alternative in &rule.alternatives {
            let conditions = self.keep(alternative);
            for call in &rule.calls {
                for table in tables.iter_mut() {
                    if let Some(number) = call.number(table.architecture) {
                        self.add(table, number, rule.action, conditions)?;
                    }
                }
                if tables.iter().any(Table::multiplexes) {
                    self.apply_through(*call, alternative, rule.action, tables)?;
                }
            }
        }
        Ok(())
    }

    /// The same for a call that is made through one for many.
    fn apply_through(
        &mut self,
        call: Syscall,
        alternative: &[Condition],
        action: Action,
        tables: &mut [Table],
    ) -> Result<(), Error> {
        let Some(multiplexed) = through(call) else {
            return Ok(());
        };
        let conditions = self.keep(&multiplexed.conditions(alternative));
        for table in tables {
            if let Some(number) = table.through(&multiplexed) {
                self.add(table, number, action, conditions)?;
            }
        }
        Ok(())
    }

    /// Keeps conditions, for arguments of 64 bits and of 32; there is nothing to keep where there are none.
    fn keep(&mut self, conditions: &[Condition]) -> Kept {
        let mut keep = |is_wide: bool| {
            let conditions: Vec<Condition> =
                conditions.iter().copied().filter(|it| it.looks(is_wide)).collect();
            if conditions.is_empty() {
                return None;
            }
            self.conditions.push(conditions);
            Some(self.conditions.len() - 1)
        };
        match conditions.iter().all(|it| it.looks(false) == it.looks(true)) {
            true => {
                let both = keep(true);
                Kept { wide: both, narrow: both }
            }
            false => Kept { wide: keep(true), narrow: keep(false) },
        }
    }

    /// Adds an action under conditions to what happens to a number.
    fn add(&mut self, table: &mut Table, number: u32, action: Action, conditions: Kept) -> Result<(), Error> {
        let conditions = if table.architecture.is_wide() { conditions.wide } else { conditions.narrow };
        let outcome = table.outcome(number);
        *outcome = self.then(*outcome, action, conditions)?;
        Ok(())
    }

    /// What happens if after what is there a rule is asked.
    fn then(
        &mut self,
        outcome: Outcome,
        action: Action,
        conditions: Option<usize>,
    ) -> Result<Outcome, Error> {
        let before = match outcome {
            Outcome::Always(already) if already != self.default => return Ok(outcome),
            Outcome::Always(_) => None,
            Outcome::Depends(link) => Some(link),
        };
        let Some(conditions) = conditions else {
            return Ok(Outcome::Always(action));
        };
        if self.is_asked(before, conditions) {
            return Ok(outcome);
        }
        let link = Link { before, action, conditions };
        // The calls of a rule come one after the other, so that what is looked for is among the last.
        if let Some(known) = self.links.iter().rposition(|known| *known == link) {
            return Ok(Outcome::Depends(known));
        }
        if self.links.len() == MOST_INSTRUCTIONS {
            return Err(tree::too_long());
        }
        self.links.push(link);
        Ok(Outcome::Depends(self.links.len() - 1))
    }

    /// Whether the rules of a list ask for these conditions already: then they decide, and not another rule after them.
    fn is_asked(&self, last: Option<usize>, conditions: usize) -> bool {
        let mut next = last;
        while let Some(link) = next {
            if self.conditions[self.links[link].conditions] == self.conditions[conditions] {
                return true;
            }
            next = self.links[link].before;
        }
        false
    }

    /// The rules of a list from the first that is asked to the last.
    pub(crate) fn rules(&self, last: usize) -> Vec<Link> {
        let mut rules = Vec::new();
        let mut next = Some(last);
        while let Some(link) = next {
            rules.push(self.links[link]);
            next = self.links[link].before;
        }
        rules.reverse();
        rules
    }
}

impl Multiplexed {
    /// What has to hold of the one call for many, where something has to hold of one of them.
    pub(crate) fn conditions(&self, of_call: &[Condition]) -> Vec<Condition> {
        let this = Condition { index: 0, operator: Operator::Equal, mask: u64::MAX, value: self.number };
        let others = of_call.iter().copied().filter(|condition| condition.index != 0);
        std::iter::once(this).chain(others).collect()
    }
}
