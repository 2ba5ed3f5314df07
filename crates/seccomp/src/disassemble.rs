//! A program for humans.

use std::fmt::Write;

use sys::seccomp::Instruction;

use crate::action::Action;
use crate::architecture::{Architecture, X32_BIT};
use crate::assemble::{ARCHITECTURE, NUMBER, code};

/// What is known at an instruction, whichever way it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Known {
    loaded: Loaded,
    /// The token that the call's architecture has.
    architecture: Option<u32>,
}

/// What is loaded, as far as it has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Loaded {
    #[default]
    Other,
    Number,
    Architecture,
}

/// A program as text: an instruction a line with its place, targets of jumps by theirs, numbers by what they mean. Where a
/// comparison goes on with the next line, that side is left out.
#[must_use]
pub fn disassemble(program: &[Instruction]) -> String {
    let mut known: Vec<Option<Known>> = vec![None; program.len()];
    if let Some(first) = known.first_mut() {
        *first = Some(Known::default());
    }
    let mut text = String::new();
    for (at, instruction) in program.iter().enumerate() {
        let here = known[at].unwrap_or_default();
        let line = words(instruction, at, here);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{at:>5}  {line}");
        for (next, after) in follow(instruction, at, here) {
            if let Some(there) = known.get_mut(next) {
                *there = Some(there.map_or(after, |before| before.and(after)));
            }
        }
    }
    text
}

impl Known {
    /// What is known both ways.
    fn and(self, other: Self) -> Self {
        Self {
            loaded: if self.loaded == other.loaded { self.loaded } else { Loaded::Other },
            architecture: self.architecture.filter(|token| other.architecture == Some(*token)),
        }
    }
}

/// Where an instruction leads to, and what is known there.
fn follow(instruction: &Instruction, at: usize, here: Known) -> Vec<(usize, Known)> {
    match instruction.code {
        code::RETURN => Vec::new(),
        code::JUMP => vec![(target(at, instruction.operand), here)],
        code::LOAD => {
            let loaded = match instruction.operand {
                NUMBER => Loaded::Number,
                ARCHITECTURE => Loaded::Architecture,
                _ => Loaded::Other,
            };
            vec![(at + 1, Known { loaded, ..here })]
        }
        code::AND => vec![(at + 1, Known { loaded: Loaded::Other, ..here })],
        _ => {
            let is_architecture = instruction.code == code::EQUAL && here.loaded == Loaded::Architecture;
            let yes = if is_architecture { Some(instruction.operand) } else { here.architecture };
            vec![
                (target(at, instruction.jump_true.into()), Known { architecture: yes, ..here }),
                (target(at, instruction.jump_false.into()), here),
            ]
        }
    }
}

fn target(at: usize, skip: u32) -> usize {
    usize::try_from(skip).map_or(usize::MAX, |skip| at.saturating_add(1).saturating_add(skip))
}

fn words(instruction: &Instruction, at: usize, here: Known) -> String {
    let operand = instruction.operand;
    let comparison = match instruction.code {
        code::RETURN => return format!("return {}", Action(operand)),
        code::JUMP => return format!("go to {}", target(at, operand)),
        code::LOAD => return format!("load {}", place(operand, here.architecture)),
        code::AND => return format!("and {operand:#x}"),
        code::EQUAL => "is",
        code::GREATER => "is more than",
        code::GREATER_OR_EQUAL => "is at least",
        other => return format!("unknown instruction {other:#06x} {operand:#x}"),
    };
    let (yes, no) = (target(at, instruction.jump_true.into()), target(at, instruction.jump_false.into()));
    let mut line = format!("if it {comparison} {}", value(operand, here));
    if yes != at + 1 {
        let _ = write!(line, " go to {yes}");
    }
    if no != at + 1 {
        let _ = write!(line, "{}else go to {no}", if yes == at + 1 { " go on, " } else { ", " });
    }
    line
}

/// What is at a place of the kernel's `struct seccomp_data`.
fn place(offset: u32, architecture: Option<u32>) -> String {
    match offset {
        NUMBER => return "the number of the call".to_owned(),
        ARCHITECTURE => return "the architecture".to_owned(),
        16..64 => {}
        _ => return format!("the word at {offset}"),
    }
    let index = (offset - 16) / 8;
    let of_token = |token| Architecture::all().find(|known| known.token() == token);
    let half = architecture.and_then(of_token).map(|architecture| {
        let (low, _) = architecture.halves(u8::try_from(index).unwrap_or_default());
        if offset == low { "the low half of " } else { "the high half of " }
    });
    format!("{}argument {index}", half.unwrap_or("a half of "))
}

/// A value with what it means.
fn value(value: u32, here: Known) -> String {
    let of_token = |token| Architecture::all().filter(move |known| known.token() == token);
    let name = match (here.loaded, here.architecture) {
        (Loaded::Architecture, _) => of_token(value).next().map(Architecture::name),
        (Loaded::Number, Some(token)) => {
            of_token(token).find_map(|architecture| architecture.syscall_name(value))
        }
        _ => None,
    };
    match (here.loaded, name) {
        (Loaded::Architecture, Some(name)) => name.to_owned(),
        (Loaded::Number, Some(name)) if value >= X32_BIT => format!("{value:#x} ({name} of x32)"),
        (Loaded::Number, Some(name)) => format!("{value} ({name})"),
        (Loaded::Number, None) if value < X32_BIT => value.to_string(),
        _ => format!("{value:#x}"),
    }
}
