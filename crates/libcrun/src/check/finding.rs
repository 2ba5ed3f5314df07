//! What a check has found.

use std::borrow::Cow;

use serde::Serialize;

use super::Subject;
use crate::error::{Code, Error};

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Containers run, but with something less or slower.
    Limited,
    /// Without it they do not run.
    Missing,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

/// What there is to say about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What it is about: a name that stays the same, or a path in the configuration.
    pub name: Cow<'static, str>,
    /// How good it is.
    pub verdict: Verdict,
    /// What was found, and what is lost by that.
    pub found: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Findings that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Group {
    /// What they are about; stays the same.
    pub name: &'static str,
    /// In a fixed order.
    pub findings: Vec<Finding>,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The worst of all findings.
    pub verdict: Verdict,
    /// The kernel's release.
    pub kernel: String,
    /// The id of the user who asked.
    pub uid: u32,
    /// Whether that user has no power over the host.
    pub rootless: bool,
    /// What was found.
    pub groups: Vec<Group>,
}

impl Report {
    pub(super) fn new(subject: &Subject<'_>, groups: Vec<Group>) -> Self {
        let findings = groups.iter().flat_map(|group| &group.findings);
        Self {
            verdict: findings.map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok),
            kernel: subject.machine.text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            uid: subject.machine.uid,
            rootless: subject.host.is_rootless(),
            groups,
        }
    }
}

/// The answer to a question that has a name already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) found: String,
    pub(super) remedy: Option<String>,
}

impl Answer {
    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, found: found.into(), remedy: None }
    }

    pub(super) fn limited(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Limited, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn missing(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Missing, ..Self::limited(found, remedy) }
    }

    /// Missing where it is needed, else a limit.
    pub(super) fn lacking(is_needed: bool, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        let verdict = if is_needed { Verdict::Missing } else { Verdict::Limited };
        Self { verdict, ..Self::limited(found, remedy) }
    }

    /// A refusal in the runtime's own words.
    pub(super) fn refused(error: &Error) -> Self {
        let remedy = match error.code() {
            Code::Unsupported => "leave it out, or take a version or a host that has it",
            Code::Cgroup => "see the group `cgroups`, or leave out what takes a cgroup",
            Code::Namespace => "see the groups `namespaces` and `ids`",
            _ => "correct the configuration",
        };
        Self::missing(error.to_string(), remedy)
    }

    pub(super) fn about(self, name: impl Into<Cow<'static, str>>) -> Finding {
        let Self { verdict, found, remedy } = self;
        Finding { name: name.into(), verdict, found, remedy }
    }
}
