//! `without CALL... -- PROGRAM ARGS...`: runs a program on a kernel that does not know some system calls, as far as that
//! program can tell (they fail with ENOSYS), or not the flag OPEN_TREE_NAMESPACE (EINVAL). How fallbacks for older
//! kernels are tested.

#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a tool of the tests")]

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use sys::seccomp::{Instruction, filter};

/// The calls that can be taken away. Calls this new have one number on every architecture.
const CALLS: [(&str, u32); 10] = [
    ("open_tree", 428),
    ("move_mount", 429),
    ("fsopen", 430),
    ("fsconfig", 431),
    ("fsmount", 432),
    ("fspick", 433),
    ("clone3", 435),
    ("close_range", 436),
    ("openat2", 437),
    ("mount_setattr", 442),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut parts = arguments.splitn(2, |argument| argument == "--");
    let (calls, program) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Some((program, arguments)) = program.split_first() else {
        eprintln!("usage: without CALL... -- PROGRAM ARGS...");
        return ExitCode::FAILURE;
    };
    let (mut numbers, mut without_flag) = (Vec::new(), false);
    for call in calls {
        match CALLS.iter().find(|(name, _)| name == call) {
            Some((_, number)) => numbers.push(*number),
            None if call == "OPEN_TREE_NAMESPACE" => without_flag = true,
            None => {
                eprintln!("without: unknown call {call}");
                return ExitCode::FAILURE;
            }
        }
    }
    if let Err(errno) = filter(&deny(&numbers, without_flag)) {
        eprintln!("without: cannot install the filter: {errno}");
        return ExitCode::FAILURE;
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("without: cannot run {program}: {error}");
    ExitCode::FAILURE
}

/// A filter that lets everything pass but these calls, and `open_tree` with its flag 2 if that is not to be known.
fn deny(numbers: &[u32], without_flag: bool) -> Vec<Instruction> {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO_ENOSYS: u32 = 0x0005_0000 | 38;
    const ERRNO_EINVAL: u32 = 0x0005_0000 | 22;
    // Where struct seccomp_data has the lower half of the third argument.
    const THIRD_ARGUMENT: u32 = 32 + if cfg!(target_endian = "big") { 4 } else { 0 };
    let instruction =
        |code, operand, jump_true, jump_false| Instruction { code, jump_true, jump_false, operand };
    let mut program = vec![instruction(LOAD_WORD, 0, 0, 0)];
    for number in numbers {
        program.push(instruction(JUMP_EQUAL, *number, 0, 1));
        program.push(instruction(RETURN, ERRNO_ENOSYS, 0, 0));
    }
    if without_flag {
        program.push(instruction(JUMP_EQUAL, CALLS[0].1, 0, 3));
        program.push(instruction(LOAD_WORD, THIRD_ARGUMENT, 0, 0));
        program.push(instruction(JUMP_IF_SET, 2, 0, 1));
        program.push(instruction(RETURN, ERRNO_EINVAL, 0, 0));
    }
    program.push(instruction(RETURN, ALLOW, 0, 0));
    program
}
