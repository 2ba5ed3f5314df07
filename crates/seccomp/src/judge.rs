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

/// What happens to a call if its arguments are so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What happens, and why.
    pub verdict: Verdict,
    conditions: Vec<Condition>,
    /// That of the call, if the profile names it.
    architecture: Option<Architecture>,
}

impl Case {
    /// Whether it is the one for these arguments.
    #[must_use]
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let Some(architecture) = self.architecture else {
            return true;
        };
        self.conditions.iter().all(|condition| condition.holds(arguments, architecture))
    }

    /// What has to hold of the arguments, in words; nothing if it always does.
    #[must_use]
    pub fn conditions(&self) -> String {
        self.conditions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    }
}

/// Why something happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A rule of the profile says so; its place there.
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
        let cases = self.cases(call.architecture, call.number);
        let holds = |case: &&Case| case.holds(&call.arguments);
        cases.iter().find(holds).map_or(self.default(), |case| case.verdict)
    }

    /// What can happen to the calls of a number, depending on their arguments: the first of these that holds. The last one
    /// always does.
    #[must_use]
    pub fn cases(&self, token: u32, number: u32) -> Vec<Case> {
        let Some(architecture) = self.architecture(token, number) else {
            let verdict = Verdict { action: BAD_ARCHITECTURE, reason: Reason::Architecture };
            return vec![Case { verdict, conditions: Vec::new(), architecture: None }];
        };
        let case = |verdict, conditions| Case { verdict, conditions, architecture: Some(architecture) };
        let otherwise = case(self.if_newer(number, architecture).unwrap_or(self.default()), Vec::new());
        let Some(syscall) = architecture.syscall_at(number) else {
            return vec![otherwise];
        };
        let mut cases = Vec::new();
        for (at, rule) in
            self.parsed.rules.iter().enumerate().filter(|(_, rule)| rule.action != self.parsed.default)
        {
            let verdict = Verdict { action: rule.action, reason: Reason::Rule(at) };
            for mut conditions in ways(rule, syscall) {
                conditions.retain(|condition| condition.looks(architecture.is_wide()));
                if conditions.is_empty() {
                    return vec![case(verdict, conditions)];
                }
                cases.push(case(verdict, conditions));
            }
        }
        cases.push(otherwise);
        cases
    }

    /// The names of the calls that nobody knows.
    #[must_use]
    pub fn unknown(&self) -> &[&'a str] {
        &self.parsed.unknown
    }

    /// What happens to a call of which the profile says nothing.
    #[must_use]
    pub fn default(&self) -> Verdict {
        Verdict { action: self.parsed.default, reason: Reason::Default }
    }

    /// The architectures of the profile, the native one first.
    #[must_use]
    pub fn architectures(&self) -> &[Architecture] {
        &self.parsed.architectures
    }

    /// The architecture that a call comes from, if the profile names it.
    fn architecture(&self, token: u32, number: u32) -> Option<Architecture> {
        let is_x32 = token == Architecture::X32.token() && number >= X32_BIT;
        let of_call = |architecture: &Architecture| {
            architecture.token() == token && is_x32 == (*architecture == Architecture::X32)
        };
        let named = self.parsed.architectures.iter().copied().find(of_call);
        // A tracer makes a call that is not to be made one with this number, also where there is no x32.
        let x86_64 = Architecture::X86_64;
        let none = number == u32::MAX && is_x32 && self.parsed.architectures.contains(&x86_64);
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
        let through = through(*call).and_then(|through| architecture.syscall_number(through.through));
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
        let of_many = if is_for_many { through(*call) } else { None };
        if let Some(multiplexed) = of_many.filter(|through| through.through == syscall.name()) {
            ways.extend(rule.alternatives.iter().map(|conditions| multiplexed.conditions(conditions)));
        }
    }
    ways
}
