//! What a profile says of a call, found by reading it from the top: what [`compile`](crate::compile) is to be compared
//! with, and what tells a human why.

use crate::action::Action;
use crate::architecture::{Architecture, X32_BIT};
use crate::condition::Condition;
use crate::decide::BAD_ARCHITECTURE;
use crate::error::Error;
use crate::parse::{self, Parsed};
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

/// Judges a call by a profile.
///
/// # Errors
/// Those of [`compile`](crate::compile), but that for a program too long.
pub fn judge(profile: &Profile<'_>, options: &Options, call: &Data) -> Result<Verdict, Error> {
    Ok(Judge { parsed: parse::profile(profile, options)? }.judge(call))
}

/// A profile by which many calls can be judged.
#[derive(Debug)]
struct Judge<'a> {
    parsed: Parsed<'a>,
}

impl Judge<'_> {
    fn judge(&self, call: &Data) -> Verdict {
        let Some(architecture) = self.architecture(call) else {
            return Verdict { action: BAD_ARCHITECTURE, reason: Reason::Architecture };
        };
        let mut conditional = None;
        for (at, rule) in
            self.parsed.rules.iter().enumerate().filter(|(_, rule)| rule.action != self.parsed.default)
        {
            let verdict = Verdict { action: rule.action, reason: Reason::Rule(at) };
            let forms =
                rule.calls.iter().flat_map(|syscall| forms(*syscall, &rule.alternatives, architecture));
            for (_, conditions) in forms.filter(|(number, _)| *number == call.number) {
                if conditions.is_empty() {
                    return verdict;
                }
                if conditions.iter().all(|condition| condition.holds(&call.arguments, architecture)) {
                    conditional = conditional.or(Some(verdict));
                }
            }
        }
        conditional.unwrap_or_else(|| self.otherwise(call.number, architecture))
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

    /// What happens to a call of which no rule says anything.
    fn otherwise(&self, number: u32, architecture: Architecture) -> Verdict {
        let default = Verdict { action: self.parsed.default, reason: Reason::Default };
        let calls = self.parsed.rules.iter().flat_map(|rule| &rule.calls);
        let numbers =
            calls.flat_map(|call| forms(*call, &[Vec::new()], architecture)).map(|(number, _)| number);
        let highest = numbers.filter(|number| *number < architecture.private()).max();
        let is_newer = highest.is_some_and(|highest| number > highest) && number < architecture.private();
        if is_newer && default.action.refuses() {
            Verdict { action: architecture.not_there(), reason: Reason::Newer }
        } else {
            default
        }
    }
}

/// The numbers a call has on an architecture, each with what has to hold: its own, and that of the one call for many that
/// it can be made through.
fn forms(
    call: Syscall,
    alternatives: &[Vec<Condition>],
    architecture: Architecture,
) -> Vec<(u32, Vec<Condition>)> {
    let mut forms = Vec::new();
    for conditions in alternatives {
        if let Some(number) = architecture.syscall_number(call.name()) {
            forms.push((number, conditions.clone()));
        }
        if let Some(multiplexed) = through(call.name())
            && let Some(number) = architecture.syscall_number(multiplexed.through)
        {
            forms.push((number, multiplexed.conditions(conditions)));
        }
    }
    forms
}
