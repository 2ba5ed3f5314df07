//! Asks libseccomp, by a program that is built for it.

use std::collections::BTreeSet;
use std::fmt::Write;

use seccomp::{Action, Architecture, Argument, Instruction, OPERATORS, Profile, Rule};

use crate::kit::program::Program;

/// Two rules for the same, with different actions.
const EEXIST: i64 = 17;

/// libseccomp.
pub(crate) struct Oracle {
    program: Program,
    /// The names that it knows, each for one call.
    names: Vec<&'static str>,
    /// Numbers of calls that only one of the two knows.
    differing: BTreeSet<(u32, u32)>,
}

impl Oracle {
    /// Starts the program, or says why that cannot be done.
    pub(crate) fn start() -> Result<Self, String> {
        let program = Program::start("libseccomp/oracle.c", &["-lseccomp"])?;
        let mut oracle = Self { program, names: Vec::new(), differing: BTreeSet::new() };
        eprintln!("comparing with libseccomp {}", oracle.program.ask("version"));
        let native = crate::kit::names().into_iter();
        let native: Vec<(&str, i64)> =
            native.map(|name| (name, oracle.resolve(Architecture::X86_64, name))).collect();
        // Two names that it gives one number (sys_debug_setcontext, switch_endian) it takes for one call.
        let is_one =
            |(_, number): &&(&str, i64)| native.iter().filter(|other| other.1 == *number).count() == 1;
        oracle.names = native.iter().filter(is_one).map(|(name, _)| *name).collect();
        oracle.find_differing();
        Ok(oracle)
    }

    /// The names it knows.
    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    pub(crate) fn knows(&mut self, architecture: Architecture) -> bool {
        self.resolve(architecture, "read") != -1
    }

    /// Whether a number is of a call that only one of the two knows on an architecture.
    pub(crate) fn differs(&self, architecture: Architecture, number: u32) -> bool {
        self.differing.contains(&(architecture.token(), number))
    }

    /// The number of a call.
    pub(crate) fn resolve(&mut self, architecture: Architecture, name: &str) -> i64 {
        self.program.ask(&format!("resolve {} {name}", token(architecture))).parse().unwrap()
    }

    fn find_differing(&mut self) {
        for architecture in Architecture::all() {
            for name in crate::kit::names() {
                let theirs = self.resolve(architecture, name);
                let number = match architecture.syscall_number(name) {
                    // Those from -100 to -300 are calls made through others, which it knows.
                    Some(number) if theirs == -1 || theirs < -1000 => number,
                    None if theirs >= 0 => u32::try_from(theirs).unwrap(),
                    _ => continue,
                };
                self.differing.insert((architecture.token(), number));
            }
        }
    }

    /// What it makes of a profile for architectures, and the profile without the rules that it refuses because others say
    /// something else of the same.
    pub(crate) fn program(
        &mut self,
        profile: &Profile<'static>,
        architectures: &[Architecture],
    ) -> (Profile<'static>, Vec<Instruction>) {
        let mut profile = profile.clone();
        loop {
            let (text, rules) = said(&profile, architectures);
            let answer = self.program.ask(&text);
            let words: Vec<i64> = answer.split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
            if answer.starts_with("program") {
                let count = usize::try_from(words[0]).unwrap();
                let swap = architectures[0].token() & 0x4000_0000 == 0;
                return (profile, (0..count).map(|_| instruction(&self.program.line(), swap)).collect());
            }
            assert_eq!(words[1], EEXIST, "{answer}: {profile:#?}\n{text}");
            let line = usize::try_from(words[0]).unwrap();
            profile.rules.remove(rules[line - 1 - architectures.len()]);
        }
    }
}

/// A profile in the words of the program, and which rule each of its lines after the architectures is of.
fn said(profile: &Profile<'_>, architectures: &[Architecture]) -> (String, Vec<usize>) {
    let default = action(profile.default_action, profile.default_errno);
    let mut text = format!("profile {}\n", default.0);
    for architecture in architectures {
        writeln!(text, "arch {}", token(*architecture)).unwrap();
    }
    let mut lines = Vec::new();
    for (at, rule) in profile.rules.iter().enumerate() {
        let action = action(rule.action, rule.errno);
        if action == default {
            continue;
        }
        for name in &rule.names {
            for arguments in alternatives(rule) {
                lines.push(at);
                write!(text, "rule {} {name}", action.0).unwrap();
                for it in arguments {
                    // libseccomp numbers the operators from 1 (seccomp.h).
                    let operator = OPERATORS.iter().position(|known| *known == it.operator).unwrap() + 1;
                    write!(text, " {} {operator} {} {}", it.index, it.value, it.value_two).unwrap();
                }
                text.push('\n');
            }
        }
    }
    (text + "end", lines)
}

/// A rule with two conditions on one argument is as many rules as it has conditions.
pub(crate) fn alternatives<'a, 'b>(rule: &'a Rule<'b>) -> Vec<&'a [Argument<'b>]> {
    let indexes: BTreeSet<u32> = rule.arguments.iter().map(|argument| argument.index).collect();
    if indexes.len() < rule.arguments.len() {
        rule.arguments.chunks(1).collect()
    } else {
        vec![&rule.arguments]
    }
}

/// An action as seccomp.h has it.
fn action(name: &str, errno: Option<u32>) -> Action {
    let errno = errno.unwrap_or(1);
    Action(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | errno,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        _ => 0x7fff_0000,
    })
}

/// The number that seccomp.h has for an architecture: that of the kernel, but for x32.
fn token(architecture: Architecture) -> u32 {
    if architecture == Architecture::X32 { 0x4000_003e } else { architecture.token() }
}

/// An instruction as the program writes it: in the order of bytes of the architecture it is for. libseccomp forgets to turn
/// the answers that it repeats for the sake of short jumps.
fn instruction(line: &str, swap: bool) -> Instruction {
    let words: Vec<u32> = line.split(' ').map(|word| word.parse().unwrap()).collect();
    let code = u16::try_from(words[0]).unwrap();
    let code = if swap { code.swap_bytes() } else { code };
    let is_forgotten = code == 0x06 && is_action(words[3]) && !is_action(words[3].swap_bytes());
    Instruction {
        code,
        jump_true: u8::try_from(words[1]).unwrap(),
        jump_false: u8::try_from(words[2]).unwrap(),
        operand: if swap && !is_forgotten { words[3].swap_bytes() } else { words[3] },
    }
}

/// Whether a number is one of an action.
fn is_action(number: u32) -> bool {
    let action = Action(number);
    let takes_one = [Action::ERRNO, Action::TRACE].contains(&action.kind());
    let kinds = [0, 0x8000_0000, 0x0003_0000, 0x7fc0_0000, 0x7ffc_0000, 0x7fff_0000];
    takes_one || kinds.contains(&number)
}
