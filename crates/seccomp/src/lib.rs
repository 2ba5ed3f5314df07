//! Seccomp: from the profile of an OCI configuration to a program of classic BPF, which the kernel runs for each system
//! call of the container.
//!
//! ```text
//! Profile ─► parse    names become numbers and actions, what cannot be meant is refused
//!         ─► decide   for each architecture, what happens to each number: an action, or rules on arguments
//!         ─► assemble ranges of numbers with the same outcome as a balanced tree, from the end to the beginning
//! ```
//!
//! For tests and for humans there are an interpreter of such programs ([`run`]), a disassembler ([`disassemble`]), and the
//! meaning of a profile without any program ([`Judge`]).
//!
//! # What a profile means
//! It is what runtimes with libseccomp make of it, to the call and the argument; `tests/libseccomp.rs` compares the two.
//!
//! - Rules that say the same as the default action are left out, as if they were not there.
//! - Of several rules for a call, one without conditions decides, wherever it stands; of several such, the first. Where
//!   all have conditions, the first that holds decides. (libseccomp asks them in an order of its own, and refuses two with
//!   the same conditions and different actions.)
//! - The conditions of a rule have to hold together, but where two are on the same argument each is a rule of its own.
//! - Names that the architecture does not have are left out; those that none has are reported ([`Filter::skipped`]).
//! - On 32-bit architectures, and x32, the low half of an argument is compared with the low half of the value.
//! - Calls from an architecture that is not in the profile, also x32's, end the thread.
//!
//! # Newer calls than the profile
//! A program that finds a call missing (`ENOSYS`) uses an older one; one that is told `EPERM`, or is killed, cannot. So the
//! calls with a number above all that the profile names for their architecture are answered with `ENOSYS`: its author
//! did not know them. Numbers are given in the order of time, and since 2019 are the same for all architectures. It is
//! done where the default action is to refuse (an error, a trap, a kill), and where the profile names any call of the
//! architecture. `runc` does the same.
#![forbid(unsafe_code)]

mod action;
mod architecture;
mod assemble;
mod condition;
mod decide;
mod disassemble;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod judge;
mod parse;
mod run;
mod syscalls;
mod tree;

pub use action::{ACTIONS, Action};
pub use architecture::{ARCHITECTURES, Architecture};
pub use condition::OPERATORS;
pub use disassemble::disassemble;
pub use error::Error;
pub use judge::{Case, Judge, Reason, Verdict};
pub use run::{Answer, Data, is_valid, run};
pub use sys::seccomp::Instruction;

/// The names of the flags that a profile can load its filter with (runtime-spec config-linux.md#seccomp).
pub static FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// How many instructions the kernel takes (`BPF_MAXINSNS`).
pub const MOST_INSTRUCTIONS: usize = 4096;

/// The names of all system calls that any architecture has, sorted.
pub fn syscall_names() -> impl Iterator<Item = &'static str> {
    syscalls::Syscall::all().map(syscalls::Syscall::name)
}

/// A profile, as the configuration has it (runtime-spec config-linux.md#seccomp).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile<'a> {
    /// What happens to calls that no rule is for: one of [`ACTIONS`].
    pub default_action: &'a str,
    /// The error that it gives.
    pub default_errno: Option<u32>,
    /// The architectures besides the native one: some of [`ARCHITECTURES`].
    pub architectures: Vec<&'a str>,
    /// The rules.
    pub rules: Vec<Rule<'a>>,
}

/// A rule of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The calls it is for.
    pub names: Vec<&'a str>,
    /// What happens to them: one of [`ACTIONS`].
    pub action: &'a str,
    /// The error that it gives, or what a tracer is told.
    pub errno: Option<u32>,
    /// What has to hold of the arguments.
    pub arguments: Vec<Argument<'a>>,
}

/// A condition on an argument of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Argument<'a> {
    /// Which argument, from 0.
    pub index: u32,
    /// What it is compared with; the mask of a masked comparison.
    pub value: u64,
    /// What a masked argument is compared with.
    pub value_two: u64,
    /// How: one of [`OPERATORS`].
    pub operator: &'a str,
}

/// What a profile does not say.
#[derive(Debug, Clone)]
pub struct Options {
    /// The architecture that is always meant.
    pub native: Architecture,
    /// Whether the name of a call that nobody knows is an error.
    pub refuse_unknown_names: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { native: Architecture::NATIVE, refuse_unknown_names: false }
    }
}

/// What a profile has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program for the kernel.
    pub program: Vec<Instruction>,
    /// Whether there are calls that somebody outside is asked about, so that a listener is needed.
    pub notifies: bool,
    /// The names of calls that nobody knows, which the program does without.
    pub skipped: Vec<String>,
}

/// Makes a program of a profile.
///
/// # Errors
/// For what a profile cannot say, with its place in the configuration, and for more than the kernel takes.
pub fn compile(profile: &Profile<'_>, options: &Options) -> Result<Filter, Error> {
    let parsed = parse::profile(profile, options)?;
    let program = tree::program(&decide::decide(&parsed)?)?;
    let notifies = program.iter().any(|instruction| run::returns(instruction) == Some(Action::NOTIFY));
    Ok(Filter { program, notifies, skipped: parsed.unknown.into_iter().map(str::to_owned).collect() })
}
