//! What a profile says of a call, found by reading it from the top: what [`compile`](crate::compile) is to be compared
//! with, and what tells a human why.

use crate::action::Action;
use crate::architecture::{Architecture, X32_BIT};
use crate::condition::Condition;
use crate::decide::BAD_ARCHITECTURE;
use crate::error::Error;
use crate::parse::{self, Parsed, ParsedRule};
use crate::syscalls::{Syscall, through};
use crate::{Data, Options, Profile};

/// What a profile says of a call, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What happens.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

/// Why something happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is what a rule of the profile says, by its place in there.
    Rule(usize),
    /// No rule says anything.
    Default,
    /// It is newer than all that the profile names.
    Newer,
    /// The profile does not name its architecture.
    Architecture,
}

/// A profile by which calls can be judged.
#[derive(Debug)]
pub struct Judge<'a> {
    parsed: Parsed<'a>,
    /// The highest number that the profile names of each of its architectures.
    highest: Vec<Option<u32>>,
}

impl<'a> Judge<'a> {
    /// Reads a profile.
    ///
    /// # Errors
    /// Those of [`compile`](crate::compile), but that for a program too long.
    pub fn new(profile: &Profile<'a>, options: &Options) -> Result<Self, Error> {
        let parsed = parse::profile(profile, options)?;
        let highest =
            parsed.architectures.iter().map(|architecture| highest(&parsed, *architecture)).collect();
        Ok(Self { parsed, highest })
    }

    /// Says what happens to a call, and why.
    #[must_use]
    pub fn judge(&self, call: &Data) -> Verdict {
        let Some(architecture) = self.architecture(call) else {
            return Verdict { action: BAD_ARCHITECTURE, reason: Reason::Architecture };
        };
        let default = Verdict { action: self.parsed.default, reason: Reason::Default };
        let Some(syscall) = architecture.syscall_at(call.number) else {
            return self.if_newer(call.number, architecture).unwrap_or(default);
        };
        let mut conditional = None;
        for (at, rule) in
            self.parsed.rules.iter().enumerate().filter(|(_, rule)| rule.action != self.parsed.default)
        {
            let verdict = Verdict { action: rule.action, reason: Reason::Rule(at) };
            for mut conditions in ways(rule, syscall) {
                conditions.retain(|condition| condition.looks(architecture.is_wide()));
                if conditions.is_empty() {
                    return verdict;
                }
                if conditions.iter().all(|condition| condition.holds(&call.arguments, architecture)) {
                    conditional = conditional.or(Some(verdict));
                }
            }
        }
        conditional.or_else(|| self.if_newer(call.number, architecture)).unwrap_or(default)
    }

    /// The architecture that a call comes from, if the profile names it.
    fn architecture(&self, call: &Data) -> Option<Architecture> {
        let is_x32 = call.architecture == Architecture::X32.token() && call.number >= X32_BIT;
        let of_call = |architecture: &Architecture| {
            architecture.token() == call.architecture && is_x32 == (*architecture == Architecture::X32)
        };
        let named = self.parsed.architectures.iter().copied().find(of_call);
        // A tracer makes a call that is not to be made one with this number, also where there is no x32.
        let x86_64 = Architecture::X86_64;
        let none = call.number == u32::MAX && is_x32 && self.parsed.architectures.contains(&x86_64);
        named.or(none.then_some(x86_64))
    }

    /// What happens to a call that no rule is for, if it is newer than the profile.
    fn if_newer(&self, number: u32, architecture: Architecture) -> Option<Verdict> {
        let at = self.parsed.architectures.iter().position(|known| *known == architecture)?;
        let is_newer = number > self.highest[at]? && !architecture.is_private(number);
        let verdict = Verdict { action: architecture.not_there(), reason: Reason::Newer };
        (is_newer && self.parsed.default.refuses()).then_some(verdict)
    }
}

/// The highest number that a profile names of an architecture.
fn highest(parsed: &Parsed<'_>, architecture: Architecture) -> Option<u32> {
    let calls = parsed.rules.iter().flat_map(|rule| &rule.calls);
    let numbers = calls.flat_map(|call| {
        let through = through(call.name()).and_then(|through| architecture.syscall_number(through.through));
        [architecture.number(*call), through].into_iter().flatten()
    });
    numbers.filter(|number| !architecture.is_private(*number)).max()
}

/// What has to hold for a rule to be for a call: its conditions, or, of a call that is made for many others, which of
/// them it is and their conditions. Any of the lists will do.
fn ways(rule: &ParsedRule, syscall: Syscall) -> Vec<Vec<Condition>> {
    let mut ways = Vec::new();
    let is_for_many = matches!(syscall.name(), "socketcall" | "ipc");
    for call in &rule.calls {
        if *call == syscall {
            ways.extend(rule.alternatives.iter().cloned());
        }
        let of_many = if is_for_many { through(call.name()) } else { None };
        if let Some(multiplexed) = of_many.filter(|through| through.through == syscall.name()) {
            ways.extend(rule.alternatives.iter().map(|conditions| multiplexed.conditions(conditions)));
        }
    }
    ways
}
