//! Runs a program as the kernel does: for tests, and to show what a filter says.

use sys::seccomp::Instruction;

use crate::action::Action;
use crate::architecture::LITTLE_ENDIAN;
use crate::assemble::code;

/// What the kernel tells a filter of a call (`struct seccomp_data`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Data {
    /// The number of the call.
    pub number: u32,
    /// The token of the architecture, which also says in which order the halves of the others are.
    pub architecture: u32,
    /// Where the call was made.
    pub instruction_pointer: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// What a program has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What is to happen.
    pub action: Action,
    /// How many instructions it took.
    pub steps: usize,
}

/// Runs a program for a call. `None` if it is none that the kernel would take, or has instructions that neither this
/// crate nor libseccomp write.
#[must_use]
pub fn run(program: &[Instruction], data: &Data) -> Option<Answer> {
    let mut loaded = 0;
    let mut at = 0;
    for steps in 1..=program.len() {
        let instruction = program.get(at)?;
        let operand = instruction.operand;
        let mut skip = 0;
        match instruction.code {
            code::LOAD => loaded = word(data, operand)?,
            code::AND => loaded &= operand,
            code::RETURN => return Some(Answer { action: Action(operand), steps }),
            code::JUMP => skip = operand,
            other => {
                let holds = compare(other, loaded, operand)?;
                skip = u32::from(if holds { instruction.jump_true } else { instruction.jump_false });
            }
        }
        at = at.checked_add(1)?.checked_add(usize::try_from(skip).ok()?)?;
    }
    None
}

/// Whether the kernel takes a program (`bpf_check_classic`, `seccomp_check_filter`): it is not too long, all jumps lead to
/// an instruction, and it ends with an answer. For the instructions that [`run`] knows.
#[must_use]
pub fn is_valid(program: &[Instruction]) -> bool {
    let within = |at: usize, skip: u32| usize::try_from(skip).is_ok_and(|skip| skip < program.len() - at - 1);
    let known = |(at, instruction): (usize, &Instruction)| match instruction.code {
        code::LOAD => word(&Data::default(), instruction.operand).is_some(),
        code::AND | code::RETURN => true,
        code::JUMP => within(at, instruction.operand),
        other => {
            compare(other, 0, 0).is_some()
                && within(at, instruction.jump_true.into())
                && within(at, instruction.jump_false.into())
        }
    };
    program.len() <= crate::MOST_INSTRUCTIONS
        && program.last().is_some_and(|last| last.code == code::RETURN)
        && program.iter().enumerate().all(known)
}

/// The action without its number that an instruction answers, if it does.
pub(crate) fn returns(instruction: &Instruction) -> Option<Action> {
    (instruction.code == code::RETURN).then(|| Action(instruction.operand).kind())
}

fn compare(code: u16, loaded: u32, operand: u32) -> Option<bool> {
    match code {
        code::EQUAL => Some(loaded == operand),
        code::GREATER => Some(loaded > operand),
        code::GREATER_OR_EQUAL => Some(loaded >= operand),
        _ => None,
    }
}

/// A word of what the kernel tells, at an offset as that of a 32-bit load.
fn word(data: &Data, offset: u32) -> Option<u32> {
    let wide = match offset {
        0 => return Some(data.number),
        4 => return Some(data.architecture),
        8 | 12 => data.instruction_pointer,
        16..64 if offset.is_multiple_of(4) => {
            *data.arguments.get(usize::try_from((offset - 16) / 8).ok()?)?
        }
        _ => return None,
    };
    let little_endian = data.architecture & LITTLE_ENDIAN != 0;
    let is_first = offset.is_multiple_of(8);
    let half = if is_first == little_endian { wide & u64::from(u32::MAX) } else { wide >> 32 };
    u32::try_from(half).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(code: u16, jumps: (u8, u8), operand: u32) -> Instruction {
        Instruction { code, jump_true: jumps.0, jump_false: jumps.1, operand }
    }

    #[test]
    fn halves_of_arguments_are_where_the_order_of_bytes_has_them() {
        let load = |offset, architecture| {
            let data = Data { architecture, arguments: [0x1_0000_0002, 0, 0, 0, 0, 0], ..Data::default() };
            word(&data, offset)
        };
        assert_eq!((load(16, 0xc000_003e), load(20, 0xc000_003e)), (Some(2), Some(1)));
        assert_eq!((load(16, 0x8000_0016), load(20, 0x8000_0016)), (Some(1), Some(2)));
        assert_eq!((load(18, 0), load(64, 0)), (None, None));
    }

    #[test]
    fn a_program_that_leaves_itself_is_not_valid() {
        let ret = instruction(code::RETURN, (0, 0), 0);
        assert!(is_valid(&[ret]));
        assert!(!is_valid(&[]));
        assert!(!is_valid(&[instruction(code::EQUAL, (0, 1), 0), ret]));
        assert!(is_valid(&[instruction(code::EQUAL, (0, 1), 0), ret, ret]));
        assert!(!is_valid(&[instruction(code::JUMP, (0, 0), 1), ret]));
        assert!(!is_valid(&[ret, instruction(code::LOAD, (0, 0), 0)]));
        assert!(!is_valid(&[instruction(code::LOAD, (0, 0), 1), ret]));
        assert!(!is_valid(&vec![ret; 4097]));
    }
}
