//! What has to hold of an argument.

use std::fmt;

use crate::Architecture;

/// The operators a profile may compare arguments with (runtime-spec config-linux.md#seccomp).
pub static OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// A condition: that an argument, as far as the mask reaches, is as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Which argument.
    pub(crate) index: u8,
    /// How it is compared.
    pub(crate) operator: Operator,
    /// Which of its bits are; all but in a masked comparison.
    pub(crate) mask: u64,
    /// With what; no bit is set that is not in the mask.
    pub(crate) value: u64,
}

impl Condition {
    /// That of an operator's name; none if there is no such name.
    pub(crate) fn named(index: u8, operator: &str, value: u64, value_two: u64) -> Option<Self> {
        let operator = match operator {
            "SCMP_CMP_NE" => Operator::NotEqual,
            "SCMP_CMP_LT" => Operator::Less,
            "SCMP_CMP_LE" => Operator::LessOrEqual,
            "SCMP_CMP_EQ" => Operator::Equal,
            "SCMP_CMP_GE" => Operator::GreaterOrEqual,
            "SCMP_CMP_GT" => Operator::Greater,
            "SCMP_CMP_MASKED_EQ" => {
                return Some(Self {
                    index,
                    operator: Operator::Equal,
                    mask: value,
                    value: value_two & value,
                });
            }
            _ => return None,
        };
        Some(Self { index, operator, mask: u64::MAX, value })
    }

    /// Whether it looks at any bit of arguments as wide as an architecture's. What does not holds always, and is as if it
    /// were not there.
    pub(crate) fn looks(&self, is_wide: bool) -> bool {
        self.mask & seen(is_wide) != 0
    }

    /// Whether it holds of the arguments of a call from an architecture.
    pub(crate) fn holds(&self, arguments: &[u64; 6], architecture: Architecture) -> bool {
        let seen = seen(architecture.is_wide());
        let argument = arguments[usize::from(self.index)] & self.mask & seen;
        let value = self.value & seen;
        match self.operator {
            Operator::NotEqual => argument != value,
            Operator::Less => argument < value,
            Operator::LessOrEqual => argument <= value,
            Operator::Equal => argument == value,
            Operator::GreaterOrEqual => argument >= value,
            Operator::Greater => argument > value,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Equal => "==",
            Operator::GreaterOrEqual => ">=",
            Operator::Greater => ">",
        };
        let number = |number: u64| if number < 1024 { number.to_string() } else { format!("{number:#x}") };
        write!(f, "argument {}", self.index)?;
        if self.mask != u64::MAX {
            write!(f, " & {}", number(self.mask))?;
        }
        write!(f, " {operator} {}", number(self.value))
    }
}

/// The bits of arguments that are looked at.
fn seen(is_wide: bool) -> u64 {
    if is_wide { u64::MAX } else { u64::from(u32::MAX) }
}
