//! Resource limits by name (`getrlimit(2)`).

use rustix::process::{Resource, Rlimit};

use crate::error::{Code, Error, Result};
use crate::spec;

const NAMES: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_STACK", Resource::Stack),
];

/// The limits of `process.rlimits` in the kernel's terms; a limit named twice is an error (runtime-spec
/// config.md#posix-process).
pub(crate) fn parse(limits: &[spec::Rlimit<'_>]) -> Result<Vec<(Resource, Rlimit)>> {
    let mut parsed: Vec<(Resource, Rlimit)> = Vec::with_capacity(limits.len());
    for limit in limits {
        let invalid = || Error::new(Code::InvalidConfig, format!("invalid rlimit `{}`", limit.kind));
        let resource = NAMES
            .iter()
            .find(|(name, _)| *name == &*limit.kind)
            .map(|(_, resource)| *resource)
            .ok_or_else(invalid)?;
        if parsed.iter().any(|(known, _)| *known == resource) {
            let message = format!("process.rlimits: `{}` is given twice", limit.kind);
            return Err(Error::new(Code::InvalidConfig, message));
        }
        if limit.soft > limit.hard {
            let message = format!(
                "process.rlimits: `{}`: the soft limit {} is above the hard limit {}",
                limit.kind, limit.soft, limit.hard
            );
            return Err(Error::new(Code::InvalidConfig, message));
        }
        let value = |number: u64| (number != u64::MAX).then_some(number);
        parsed.push((resource, Rlimit { current: value(limit.soft), maximum: value(limit.hard) }));
    }
    Ok(parsed)
}

/// The name of a limit, for messages.
pub(crate) fn name(resource: Resource) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == resource).map_or("rlimit", |(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(kind: &str) -> spec::Rlimit<'_> {
        spec::Rlimit { kind: kind.into(), soft: 5, hard: u64::MAX }
    }

    #[test]
    fn the_largest_number_is_no_limit() {
        let parsed = parse(&[limit("RLIMIT_CORE")]).unwrap();
        assert_eq!(parsed, [(Resource::Core, Rlimit { current: Some(5), maximum: None })]);
    }

    #[test]
    fn unknown_and_repeated_limits_are_refused() {
        assert_eq!(parse(&[limit("RLIMIT_X")]).unwrap_err().to_string(), "invalid rlimit `RLIMIT_X`");
        let repeated = parse(&[limit("RLIMIT_AS"), limit("RLIMIT_AS")]).unwrap_err();
        assert_eq!(repeated.to_string(), "process.rlimits: `RLIMIT_AS` is given twice");
    }

    #[test]
    fn a_soft_limit_above_the_hard_one_is_refused() {
        let limit = spec::Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 100, hard: 50 };
        let error = parse(&[limit]).unwrap_err().to_string();
        assert_eq!(error, "process.rlimits: `RLIMIT_NOFILE`: the soft limit 100 is above the hard limit 50");
    }
}
