//! A program that asks as little as it can: the architecture, then by halves in which range the number of the call is,
//! then what has to hold of its arguments.
//!
//! It keeps to the few instructions that the kernel can follow by itself when a filter is loaded, to see which calls are
//! always allowed: for those it does not run the program any more.

use sys::seccomp::Instruction;

use crate::MOST_INSTRUCTIONS;
use crate::architecture::Architecture;
use crate::assemble::{ARCHITECTURE, Assembler, NUMBER, Target, code};
use crate::condition::{Condition, Operator};
use crate::decide::{BAD_ARCHITECTURE, Decided, Link, Outcome, Range};
use crate::error::Error;

/// How many single calls with outcomes of their own are asked for one after the other.
const MOST_SINGLES: usize = 3;

pub(crate) fn program(decided: &Decided) -> Result<Vec<Instruction>, Error> {
    let mut writer = Writer { decided, to: Assembler::default(), written: Vec::new() };
    let mut next = Target::Return(BAD_ARCHITECTURE);
    for calls in decided.calls.iter().rev() {
        let tree = writer.tree(&calls.ranges);
        let tree = writer.to.load(NUMBER, u32::MAX, tree);
        next = writer.to.branch(code::EQUAL, calls.token, tree, next);
    }
    let start = writer.to.load(ARCHITECTURE, u32::MAX, next);
    let program = writer.to.finish(start);
    if program.len() > MOST_INSTRUCTIONS { Err(too_long()) } else { Ok(program) }
}

/// That the kernel does not take as much.
pub(crate) fn too_long() -> Error {
    Error::new(
        ".syscalls",
        format!(
            "the filter would be longer than the kernel's {MOST_INSTRUCTIONS} instructions: have fewer rules with \
             conditions on arguments, or fewer architectures"
        ),
    )
}

/// Writes what was decided, from the end.
struct Writer<'a> {
    decided: &'a Decided,
    to: Assembler,
    /// The lists of rules that are written already, by the last rule and where the halves of arguments are.
    written: Vec<(usize, Layout, Target)>,
}

/// How an architecture has its arguments.
type Layout = (bool, (u32, u32));

impl Writer<'_> {
    /// Finds the range that the number is in.
    fn tree(&mut self, ranges: &[Range]) -> Target {
        if let Some(ground) = ground(ranges) {
            let mut target = self.outcome(ground);
            for single in ranges.iter().skip(1).step_by(2).rev() {
                let outcome = self.outcome(single);
                target = self.to.branch(code::EQUAL, single.start, outcome, target);
            }
            return target;
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let start = high[0].start;
        let (high, low) = (self.tree(high), self.tree(low));
        self.to.branch(code::GREATER_OR_EQUAL, start, high, low)
    }

    fn outcome(&mut self, range: &Range) -> Target {
        match range.outcome {
            Outcome::Always(action) => Target::Return(action),
            Outcome::Depends(last) => self.rules(last, range.architecture),
        }
    }

    /// Asks the rules of a list.
    fn rules(&mut self, last: usize, architecture: Architecture) -> Target {
        let layout = (architecture.is_wide(), architecture.halves(0));
        if let Some((.., at)) = self.written.iter().find(|known| (known.0, known.1) == (last, layout)) {
            return *at;
        }
        let rules = self.decided.rules(last);
        let mut target = Target::Return(self.decided.default);
        let mut rest = &rules[..];
        while !rest.is_empty() && self.to.length() <= MOST_INSTRUCTIONS {
            let (before, run) = rest.split_at(rest.len() - self.values(rest, architecture));
            target = if run.len() > 1 {
                self.one_of(run, target, architecture)
            } else {
                self.rule(&run[0], target, architecture)
            };
            rest = before;
        }
        self.written.push((last, layout, target));
        target
    }

    /// How many rules at the end of a list ask whether one and the same argument is a value, of which the high halves are
    /// the same, so that it is loaded once for all of them. At least one, whatever it asks.
    fn values(&self, rules: &[Link], architecture: Architecture) -> usize {
        let value = |link: &Link| match self.decided.conditions[link.conditions][..] {
            [Condition { index, operator: Operator::Equal, mask: u64::MAX, value }] => {
                Some((index, if architecture.is_wide() { value >> 32 } else { 0 }))
            }
            _ => None,
        };
        let Some(last) = rules.last().and_then(value) else {
            return 1;
        };
        rules.iter().rev().take_while(|link| value(link) == Some(last)).count()
    }

    /// Asks which of many values an argument is.
    fn one_of(&mut self, rules: &[Link], no: Target, architecture: Architecture) -> Target {
        let mut target = no;
        let mut first = None;
        for link in rules.iter().rev() {
            let condition = self.decided.conditions[link.conditions][0];
            target = self.to.branch(code::EQUAL, low(condition.value), Target::Return(link.action), target);
            first = Some(condition);
        }
        let Some(condition) = first else {
            return target;
        };
        let (low_half, high_half) = architecture.halves(condition.index);
        target = self.to.load(low_half, u32::MAX, target);
        if architecture.is_wide() {
            let equal = self.to.branch(code::EQUAL, high(condition.value), target, no);
            target = self.to.load(high_half, u32::MAX, equal);
        }
        target
    }

    /// Asks whether all conditions of a rule hold.
    fn rule(&mut self, link: &Link, no: Target, architecture: Architecture) -> Target {
        let decided = self.decided;
        let conditions = decided.conditions[link.conditions].iter().rev();
        conditions.fold(Target::Return(link.action), |yes, condition| {
            self.condition(condition, yes, no, architecture)
        })
    }

    fn condition(&mut self, it: &Condition, yes: Target, no: Target, architecture: Architecture) -> Target {
        match it.operator {
            Operator::Equal => self.equal(it, yes, no, architecture),
            Operator::NotEqual => self.equal(it, no, yes, architecture),
            Operator::Greater => self.greater(code::GREATER, it, yes, no, architecture),
            Operator::GreaterOrEqual => self.greater(code::GREATER_OR_EQUAL, it, yes, no, architecture),
            Operator::LessOrEqual => self.greater(code::GREATER, it, no, yes, architecture),
            Operator::Less => self.greater(code::GREATER_OR_EQUAL, it, no, yes, architecture),
        }
    }

    /// Whether the masked argument is the value.
    fn equal(&mut self, it: &Condition, yes: Target, no: Target, architecture: Architecture) -> Target {
        let (low_half, high_half) = architecture.halves(it.index);
        let mut half = |offset, mask, value, yes| {
            if mask == 0 {
                return yes;
            }
            let equal = self.to.branch(code::EQUAL, value, yes, no);
            self.to.load(offset, mask, equal)
        };
        let yes = half(low_half, low(it.mask), low(it.value), yes);
        if architecture.is_wide() { half(high_half, high(it.mask), high(it.value), yes) } else { yes }
    }

    /// Whether the argument is more than the value (or the same, by the `code`): the low half decides where the high ones
    /// are the same.
    fn greater(
        &mut self,
        code: u16,
        it: &Condition,
        yes: Target,
        no: Target,
        architecture: Architecture,
    ) -> Target {
        let (low_half, high_half) = architecture.halves(it.index);
        let by_low = self.to.branch(code, low(it.value), yes, no);
        let by_low = self.to.load(low_half, u32::MAX, by_low);
        if !architecture.is_wide() {
            return by_low;
        }
        let same = match high(it.value) {
            // What is not more than 0 is 0.
            0 => by_low,
            value => self.to.branch(code::EQUAL, value, by_low, no),
        };
        let more = self.to.branch(code::GREATER, high(it.value), yes, same);
        self.to.load(high_half, u32::MAX, more)
    }
}

/// The range around single calls, if there is nothing else: `read`, and all but `read`, say.
fn ground(ranges: &[Range]) -> Option<&Range> {
    let ground = ranges.first()?;
    let singles = ranges.len() / 2;
    let around = ranges
        .iter()
        .step_by(2)
        .all(|range| range.outcome == ground.outcome && range.architecture == ground.architecture);
    let single = |pair: &[Range]| pair[1].start - pair[0].start == 1;
    let are_single = ranges.windows(2).skip(1).step_by(2).all(single);
    (ranges.len() % 2 == 1 && singles <= MOST_SINGLES && around && are_single).then_some(ground)
}

fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default()
}

fn high(value: u64) -> u32 {
    low(value >> 32)
}
