//! Whether this machine lets this user run containers, and what of a bundle it could not honour: known beforehand instead
//! of by a start that fails.
//!
//! A `Question` is about one thing, reads a file or two, and knows what is lost without that and what helps. Where only
//! trying tells (`Kernel`), it is something that leaves no trace: a call that the kernel has to refuse, a process in new
//! namespaces that does nothing and ends. What is needed is what the container of `crun spec` needs; for a bundle, what its
//! plan says (`bundle`).

mod bundle;
mod cgroups;
mod confinement;
mod finding;
mod ids;
mod kernel;
mod limits;
mod namespaces;
mod subject;
mod systemd;

use std::path::PathBuf;

pub use finding::{Finding, Group, Report, Verdict};

use crate::explain::Machine;
use crate::host::Host;
use crate::plan::CgroupManager;
use crate::state::StateRoot;
use finding::Answer;
use subject::{Kernel, Subject};

/// What is to be checked beside the machine.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// A bundle that is to be run here.
    pub bundle: Option<PathBuf>,
    /// Its configuration; `config.json` of the bundle unless another is given.
    pub config: Option<PathBuf>,
    /// Who is to manage the cgroups of containers.
    pub cgroup_manager: CgroupManager,
    /// Who answers for system calls, where a configuration does not say.
    pub seccomp_receiver: Option<PathBuf>,
}

/// One question.
struct Question {
    /// What it is about; stable across versions, for programs.
    name: &'static str,
    /// Finds out; nothing where the question does not arise.
    look: fn(&Subject<'_>) -> Option<Answer>,
}

/// Questions that belong together.
struct Topic {
    name: &'static str,
    /// What they find out, in order.
    look: fn(&Subject<'_>) -> Vec<Finding>,
}

/// All topics, in the order of a report.
const TOPICS: [Topic; 8] = [
    Topic { name: "kernel", look: kernel::look },
    Topic { name: "filesystems", look: kernel::look_at_filesystems },
    Topic { name: "namespaces", look: namespaces::look },
    Topic { name: "ids", look: |subject| ask(&ids::QUESTIONS, subject) },
    Topic { name: "cgroups", look: |subject| ask(&cgroups::QUESTIONS, subject) },
    Topic { name: "systemd", look: |subject| ask(&systemd::QUESTIONS, subject) },
    Topic { name: "confinement", look: |subject| ask(&confinement::QUESTIONS, subject) },
    Topic { name: "limits", look: |subject| ask(&limits::QUESTIONS, subject) },
];

/// Looks at this machine, as the user of this process, and at a bundle if there is one. Nothing is created or changed.
#[must_use]
pub fn check(root: &StateRoot, options: &CheckOptions) -> Report {
    let host = Host::new();
    let subject = Subject::new(Machine::this(), Kernel::This, &host, root, options.cgroup_manager);
    let mut groups = look(&subject);
    if let Some(path) = &options.bundle {
        let findings = bundle::look(&subject, path, options);
        groups.push(Group { name: "bundle", findings });
    }
    Report::new(&subject, groups)
}

fn look(subject: &Subject<'_>) -> Vec<Group> {
    let groups = TOPICS.iter().map(|topic| Group { name: topic.name, findings: (topic.look)(subject) });
    groups.filter(|group| !group.findings.is_empty()).collect()
}

fn ask(questions: &[Question], subject: &Subject<'_>) -> Vec<Finding> {
    let ask = |question: &Question| (question.look)(subject).map(|answer| answer.about(question.name));
    questions.iter().filter_map(ask).collect()
}

#[cfg(test)]
mod tests;
