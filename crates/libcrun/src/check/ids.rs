//! The ids that containers of an ordinary user can have beside its own.

use super::subject::Subject;
use super::{Answer, Question};
use crate::explain::{Concern, PROBES};

pub(super) const QUESTIONS: [Question; 3] = [
    Question {
        name: "subuid",
        look: |subject| look(subject, "subuid", "it has ranges in /etc/subuid and /etc/subgid"),
    },
    Question {
        name: "newuidmap",
        look: |subject| look(subject, "newuidmap", "the programs are there, with privileges"),
    },
    Question {
        name: "no_new_privs",
        look: |subject| look(subject, "no_new_privs", "programs with privileges get them"),
    },
];

/// What a user without ranges has to do without.
const LOST: &str = "a container has this user's own id alone, with which images of several users do not work";
/// What becomes of one with ranges that cannot be mapped.
const FAILS: &str =
    "the ids of /etc/subuid and /etc/subgid cannot be mapped, and a start that takes them fails";

fn look(subject: &Subject<'_>, name: &str, fine: &str) -> Option<Answer> {
    if !subject.needs_user_namespace() {
        return None;
    }
    let has_ranges = look_for(subject, "subuid").is_none();
    Some(match look_for(subject, name) {
        None => Answer::ok(fine),
        // Who has ranges gets them mapped, and that fails without.
        Some(obstacle) => {
            let lost = if has_ranges { FAILS } else { LOST };
            Answer::lacking(has_ranges, format!("{}: {lost}", obstacle.found), obstacle.remedy)
        }
    })
}

fn look_for(subject: &Subject<'_>, name: &str) -> Option<crate::explain::Obstacle> {
    let of_ids = |probe: &&crate::explain::Probe| probe.concern == Concern::Ids && probe.name == name;
    PROBES.iter().find(of_ids)?.look(&subject.machine)
}
