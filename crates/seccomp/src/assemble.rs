//! Writes a program of classic BPF, from its end to its beginning: all jumps go forward, so that where they lead to is
//! known when they are written.

use sys::seccomp::Instruction;

use crate::action::Action;

/// Operation codes (linux/bpf_common.h).
pub(crate) mod code {
    /// Load a word of the kernel's `struct seccomp_data`.
    pub(crate) const LOAD: u16 = 0x20;
    /// And the operand.
    pub(crate) const AND: u16 = 0x54;
    /// Skip as many as the operand says.
    pub(crate) const JUMP: u16 = 0x05;
    /// Skip by whether what is loaded is the operand,
    pub(crate) const EQUAL: u16 = 0x15;
    /// is more,
    pub(crate) const GREATER: u16 = 0x25;
    /// is more or the same.
    pub(crate) const GREATER_OR_EQUAL: u16 = 0x35;
    /// Answer with the operand.
    pub(crate) const RETURN: u16 = 0x06;
}

/// Where the kernel's `struct seccomp_data` has the number of the call, and the architecture.
pub(crate) const NUMBER: u32 = 0;
pub(crate) const ARCHITECTURE: u32 = 4;

/// How far a comparison may jump, less what may come between while its other side is found.
const REACH: usize = 254;

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// There is an answer.
    Return(Action),
    /// At an instruction that is written already.
    At(usize),
}

/// A program, last instruction first.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    reversed: Vec<Instruction>,
    /// The last place of each answer.
    returns: Vec<(Action, usize)>,
}

impl Assembler {
    /// How many instructions there are.
    pub(crate) fn length(&self) -> usize {
        self.reversed.len()
    }

    /// Goes on by whether what is loaded compares with an operand so.
    pub(crate) fn branch(&mut self, code: u16, operand: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let (yes, no) = (self.within_reach(yes), self.within_reach(no));
        let skip = |to: usize| u8::try_from(self.reversed.len() - to - 1).unwrap_or(u8::MAX);
        let (jump_true, jump_false) = (skip(yes), skip(no));
        self.push(Instruction { code, jump_true, jump_false, operand })
    }

    /// Loads a word, and masks it, for the instructions that were written last. Where there is nothing to be compared,
    /// nothing is loaded.
    pub(crate) fn load(&mut self, offset: u32, mask: u32, next: Target) -> Target {
        if next != Target::At(self.reversed.len().wrapping_sub(1)) {
            return next;
        }
        if mask != u32::MAX {
            self.push(Instruction { code: code::AND, jump_true: 0, jump_false: 0, operand: mask });
        }
        self.push(Instruction { code: code::LOAD, jump_true: 0, jump_false: 0, operand: offset })
    }

    /// The program, from where it begins.
    pub(crate) fn finish(mut self, start: Target) -> Vec<Instruction> {
        if start != Target::At(self.reversed.len().wrapping_sub(1)) {
            // Nothing leads to an answer that is further on if this is the whole program.
            self.returns.clear();
            self.within_reach(start);
        }
        self.reversed.reverse();
        self.reversed
    }

    /// An instruction that the next comparison to be written reaches, and that leads to a target.
    fn within_reach(&mut self, target: Target) -> usize {
        let next = self.reversed.len();
        match target {
            Target::Return(action) => {
                let known = self.returns.iter().position(|(known, _)| *known == action);
                match known.map(|known| &mut self.returns[known].1) {
                    Some(at) if next - *at <= REACH => return *at,
                    Some(at) => *at = next,
                    None => self.returns.push((action, next)),
                }
                self.push(Instruction { code: code::RETURN, jump_true: 0, jump_false: 0, operand: action.0 });
                next
            }
            Target::At(at) if next - at <= REACH => at,
            Target::At(at) => {
                let distance = u32::try_from(next - at - 1).unwrap_or(u32::MAX);
                self.push(Instruction { code: code::JUMP, jump_true: 0, jump_false: 0, operand: distance });
                next
            }
        }
    }

    fn push(&mut self, instruction: Instruction) -> Target {
        self.reversed.push(instruction);
        Target::At(self.reversed.len() - 1)
    }
}
