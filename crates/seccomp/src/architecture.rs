//! The architectures that a profile can name, and what the kernel says of a call that comes from one.

use crate::Action;
use crate::syscalls::{ARM_PRIVATE, Syscall};

/// An architecture, in the sense of a way to make system calls: with its numbers and its sizes of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Architecture {
    X86,
    X86_64,
    X32,
    Arm,
    Aarch64,
    LoongArch64,
    M68k,
    Mips,
    Mips64,
    Mips64N32,
    MipsEl,
    MipsEl64,
    MipsEl64N32,
    Ppc,
    Ppc64,
    Ppc64Le,
    Riscv64,
    S390,
    S390x,
    PaRisc,
    PaRisc64,
    Sh,
    ShEb,
}

use Architecture::{
    Aarch64, Arm, LoongArch64, M68k, Mips, Mips64, Mips64N32, MipsEl, MipsEl64, MipsEl64N32, PaRisc,
    PaRisc64, Ppc, Ppc64, Ppc64Le, Riscv64, S390, S390x, Sh, ShEb, X32, X86, X86_64,
};

/// The names of the architectures in a profile (runtime-spec config-linux.md#seccomp, and those that libseccomp knows
/// besides).
pub static ARCHITECTURES: [&str; 23] = [
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

/// What is known of each, in the order of [`ARCHITECTURES`]: the kernel's token (linux/audit.h), and the column of the
/// table of calls that has its numbers.
const FACTS: [(Architecture, u32, u8); 23] = [
    (X86, 0x4000_0003, 1),
    (X86_64, 0xc000_003e, 0),
    (X32, 0xc000_003e, 2),
    (Arm, 0x4000_0028, 4),
    (Aarch64, 0xc000_00b7, 3),
    (LoongArch64, 0xc000_0102, 6),
    (M68k, 0x4, 16),
    (Mips, 0x8, 11),
    (Mips64, 0x8000_0008, 12),
    (Mips64N32, 0xa000_0008, 13),
    (MipsEl, 0x4000_0008, 11),
    (MipsEl64, 0xc000_0008, 12),
    (MipsEl64N32, 0xe000_0008, 13),
    (Ppc, 0x14, 8),
    (Ppc64, 0x8000_0015, 7),
    (Ppc64Le, 0xc000_0015, 7),
    (Riscv64, 0xc000_00f3, 5),
    (S390, 0x16, 10),
    (S390x, 0x8000_0016, 9),
    (PaRisc, 0xf, 14),
    (PaRisc64, 0x8000_000f, 15),
    (Sh, 0x4000_002a, 17),
    (ShEb, 0x2a, 17),
];

/// What tells an x32 call from one of x86_64 (`__X32_SYSCALL_BIT`).
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// In a token: the order of bytes is little endian (`__AUDIT_ARCH_LE`).
pub(crate) const LITTLE_ENDIAN: u32 = 0x4000_0000;

impl Architecture {
    /// That of this program, and so of the kernel: calls from it are always meant by a profile.
    pub const NATIVE: Self = native();

    /// The architecture of a name in a profile.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let at = ARCHITECTURES.iter().position(|known| *known == name)?;
        Some(FACTS[at].0)
    }

    /// Its name in a profile.
    #[must_use]
    pub fn name(self) -> &'static str {
        ARCHITECTURES[self as usize]
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        FACTS.iter().map(|facts| facts.0)
    }

    /// What the kernel tells a filter as the architecture of a call (`seccomp_data.arch`). That of x32 is that of x86_64.
    #[must_use]
    pub fn token(self) -> u32 {
        FACTS[self as usize].1
    }

    /// The number of a call by its name.
    #[must_use]
    pub fn syscall_number(self, name: &str) -> Option<u32> {
        self.number(Syscall::named(name)?)
    }

    /// The name of a call by its number.
    #[must_use]
    pub fn syscall_name(self, number: u32) -> Option<&'static str> {
        self.syscall_at(number).map(Syscall::name)
    }

    /// The number of a call.
    pub(crate) fn number(self, call: Syscall) -> Option<u32> {
        Some(self.base() + call.number(self)?)
    }

    /// The call of a number.
    pub(crate) fn syscall_at(self, number: u32) -> Option<Syscall> {
        let number = number.checked_sub(self.base())?;
        Syscall::all().find(|call| call.number(self) == Some(number))
    }

    /// What is added to all numbers of calls in the table.
    pub(crate) fn base(self) -> u32 {
        match self {
            X32 => X32_BIT,
            Mips | MipsEl => 4000,
            Mips64 | MipsEl64 => 5000,
            Mips64N32 | MipsEl64N32 => 6000,
            _ => 0,
        }
    }

    /// Whether a number is not in a line with those of the calls that came one after the other.
    pub(crate) fn is_private(self, number: u32) -> bool {
        self == Arm && number >= ARM_PRIVATE
    }

    /// The answer that there is no such call: `ENOSYS` as the architecture numbers it.
    pub(crate) fn not_there(self) -> Action {
        Action(
            Action::ERRNO.0
                | match self {
                    Mips | MipsEl | Mips64 | MipsEl64 | Mips64N32 | MipsEl64N32 => 89,
                    PaRisc | PaRisc64 => 251,
                    _ => 38,
                },
        )
    }

    /// Whether a profile's values are compared with all 64 bits of an argument: those of the others have 32 (also x32's
    /// and n32's, for libseccomp).
    pub(crate) fn is_wide(self) -> bool {
        matches!(
            self,
            X86_64 | Aarch64 | LoongArch64 | Mips64 | MipsEl64 | Ppc64 | Ppc64Le | Riscv64 | S390x | PaRisc64
        )
    }

    /// Where the halves of an argument are in the kernel's `struct seccomp_data`: the low one's offset, then the high one's.
    pub(crate) fn halves(self, index: u8) -> (u32, u32) {
        let first = 16 + 8 * u32::from(index);
        if self.token() & LITTLE_ENDIAN == 0 { (first + 4, first) } else { (first, first + 4) }
    }

    /// Its column in the table of calls.
    pub(crate) fn column(self) -> usize {
        usize::from(FACTS[self as usize].2)
    }
}

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "loongarch64",
    target_arch = "s390x",
    target_arch = "powerpc",
    target_arch = "powerpc64"
)))]
compile_error!("no filters of system calls are made for this architecture: add it to `native`");

const fn native() -> Architecture {
    match () {
        () if cfg!(all(target_arch = "x86_64", target_pointer_width = "32")) => X32,
        () if cfg!(target_arch = "x86") => X86,
        () if cfg!(target_arch = "aarch64") => Aarch64,
        () if cfg!(target_arch = "arm") => Arm,
        () if cfg!(target_arch = "riscv64") => Riscv64,
        () if cfg!(target_arch = "loongarch64") => LoongArch64,
        () if cfg!(target_arch = "s390x") => S390x,
        () if cfg!(target_arch = "powerpc") => Ppc,
        () if cfg!(all(target_arch = "powerpc64", target_endian = "little")) => Ppc64Le,
        () if cfg!(target_arch = "powerpc64") => Ppc64,
        () => X86_64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_in_the_order_of_the_names() {
        for (at, (architecture, ..)) in FACTS.iter().enumerate() {
            assert_eq!(*architecture as usize, at);
            assert_eq!(Architecture::named(architecture.name()), Some(*architecture));
        }
        assert_eq!(Architecture::named("SCMP_ARCH_VAX"), None);
    }

    #[test]
    fn numbers_have_what_the_architecture_adds_to_them() {
        assert_eq!(X32.syscall_number("read"), Some(X32_BIT));
        assert_eq!(Mips64.syscall_number("read"), Some(5000));
        assert_eq!(X32.syscall_name(X32_BIT + 520), Some("execve"));
        assert_eq!(Mips.syscall_name(3), None);
    }
}
