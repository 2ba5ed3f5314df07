//! From marks to spans: what a process did between the clone and its program, in phases, mounts and steps.

use std::borrow::Cow;

use super::marks::Mark;
use super::objects::Of;
use super::phase::{Phase, is_of_all_mounts, is_of_mount};
use super::{NOTHING, Span, SpanKind, SpanResult};
use crate::channel::{Step, ToInit};
use crate::error::reason;

/// What became of the process.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    /// By then it had become its program, which is called so.
    Executed(u64, &'a str),
    /// Until then it has waited for its start.
    Waits(u64),
    /// It has failed, for this reason, or by then was gone.
    Failed(u64, String),
}

/// What lies between two marks.
#[derive(Debug)]
struct Leaf {
    name: Cow<'static, str>,
    kind: SpanKind,
    begin: u64,
    end: u64,
    phase: Option<Phase>,
    /// The mount it is a step of.
    mount: Option<u16>,
    step: Option<(Step, u16)>,
    result: SpanResult,
}

/// The spans of a process that has left these marks.
pub(super) fn spans(marks: &[(Mark, u64)], outcome: &Outcome<'_>, of: Of<'_>) -> Vec<Span> {
    let mut leaves = leaves(marks, outcome, of);
    settle(&mut leaves);
    if let Outcome::Failed(at, error) = outcome {
        tell_failure(&mut leaves, marks, *at, error);
    }
    let mut spans = Vec::new();
    for phase in leaves.chunk_by(|one, next| one.phase == next.phase) {
        let name = phase.first().and_then(|leaf| leaf.phase).unwrap_or(Phase::Place).name();
        spans.extend(around(phase, name.into(), 0));
        for part in phase.chunk_by(|one, next| one.mount == next.mount) {
            let mount = part.first().and_then(|leaf| leaf.mount);
            if let Some(index) = mount {
                let destination = of(Step::MountAttach, index).unwrap_or_default();
                spans.extend(around(part, format!("mount {destination}").into(), 1));
            }
            let depth = if mount.is_some() { 2 } else { 1 };
            spans.extend(part.iter().map(|leaf| leaf.span(depth)));
        }
    }
    spans
}

/// What begins and ends with these.
fn around(leaves: &[Leaf], name: Cow<'static, str>, depth: usize) -> Option<Span> {
    let ([first, ..], [.., last]) = (leaves, leaves) else { return None };
    let mut span = Span::new(name, SpanKind::Work, (first.begin, last.end), depth);
    if let Some(failed) = leaves.iter().find(|leaf| matches!(leaf.result, SpanResult::Failed(_))) {
        span.result = failed.result.clone();
    }
    Some(span)
}

impl Leaf {
    fn new(name: impl Into<Cow<'static, str>>, begin: u64, end: u64) -> Self {
        let (kind, name, result) = (SpanKind::Work, name.into(), SpanResult::Done);
        Self { name, kind, begin, end, phase: None, mount: None, step: None, result }
    }

    fn of_step(step: Step, index: u16, (begin, end): (u64, u64), of: Of<'_>) -> Self {
        let name = words(step);
        let is_of_mount = is_of_mount(step);
        let name = match of(step, index) {
            _ if is_of_mount => name.trim_start_matches("mount ").to_owned(),
            Some(object) => format!("{name} {object}"),
            None => name,
        };
        let (phase, mount) = (Phase::of(step), is_of_mount.then_some(index));
        Self { phase, mount, step: Some((step, index)), ..Self::new(name, begin, end) }
    }

    fn of_wait(message: ToInit, begin: u64, end: u64) -> Self {
        let (name, phase) = match message {
            ToInit::Placed => ("waits for its cgroup", None),
            ToInit::Pid => ("waits for its pid", None),
            ToInit::Mapped => ("waits for its ids", None),
            ToInit::Network => ("waits for the network namespace", None),
            ToInit::Mounted | ToInit::NotMounted => ("waits for a mount by the runtime", None),
            ToInit::HooksRun => ("waits for hooks", None),
            ToInit::Attended => ("waits for the runtime", None),
            ToInit::Go => ("waits for go", Some(Phase::Start)),
        };
        Self { kind: SpanKind::Wait, phase, ..Self::new(name, begin, end) }
    }

    fn span(&self, depth: usize) -> Span {
        let mut span = Span::new(self.name.clone(), self.kind, (self.begin, self.end), depth);
        span.result = self.result.clone();
        span
    }

    /// Whether it is not worth a span: that a word was heard or said is a step, too, and one that takes no time.
    fn is_nothing(&self) -> bool {
        let took = self.end - self.begin;
        let is_word = self.step.is_some_and(|(step, _)| step == Step::Runtime);
        took == 0 || is_word && took < NOTHING && self.result == SpanResult::Done
    }
}

fn leaves(marks: &[(Mark, u64)], outcome: &Outcome<'_>, of: Of<'_>) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut waits = None;
    let mut before = marks.first().map_or(0, |(_, born)| *born);
    for (mark, now) in marks.iter().copied() {
        let leaf = match mark {
            Mark::Done(step, index) => Some(Leaf::of_step(step, index, (before, now), of)),
            Mark::Refused(step, index, errno) => {
                let result = SpanResult::Refused(reason(errno));
                Some(Leaf { result, ..Leaf::of_step(step, index, (before, now), of) })
            }
            Mark::Heard => waits.take().map(|message| Leaf::of_wait(message, before, now)),
            Mark::Failed(..) => Some(Leaf::new("takes back what it has made", before, now)),
            Mark::Waits(message) => {
                waits = Some(message);
                None
            }
            Mark::Born | Mark::WaitsForStart | Mark::Filtered => None,
        };
        before = now;
        match (leaf.filter(|leaf| !leaf.is_nothing()), leaves.last_mut()) {
            // Another part of the same.
            (Some(leaf), Some(last)) if leaf.continues(last) => last.end = leaf.end,
            (leaf, _) => leaves.extend(leaf),
        }
    }
    leaves.extend(match outcome {
        Outcome::Executed(at, program) => {
            let phase = Some(Phase::Start);
            Some(Leaf { phase, ..Leaf::new(format!("exec {program}"), before, (*at).max(before)) })
        }
        Outcome::Waits(until) => {
            let (kind, phase) = (SpanKind::Wait, Some(Phase::Start));
            Some(Leaf { kind, phase, ..Leaf::new("waits for start", before, (*until).max(before)) })
        }
        Outcome::Failed(..) => None,
    });
    leaves
}

impl Leaf {
    fn continues(&self, last: &Self) -> bool {
        let is_same = self.step.is_some() && self.step == last.step && self.begin == last.end;
        is_same && last.result == SpanResult::Done && self.result == SpanResult::Done
    }
}

/// Finds out for each in which phase it was, and for what comes before a step of a mount (a wait, say) that it is for that.
fn settle(leaves: &mut [Leaf]) {
    let mut present = Phase::Place;
    for leaf in &mut *leaves {
        present = match (leaf.phase, leaf.kind, present) {
            (Some(phase), ..) => phase.max(present),
            // Who has nothing left to do waits for the sake of what comes next.
            (None, SpanKind::Wait, Phase::Root) => Phase::Names,
            (None, SpanKind::Wait, Phase::Program) => Phase::Start,
            (None, ..) => present,
        };
        leaf.phase = Some(present);
        if present != Phase::Mounts {
            leaf.mount = None;
        }
    }
    let mut next = None;
    for leaf in leaves.iter_mut().rev() {
        match leaf.mount {
            _ if leaf.phase != Some(Phase::Mounts) => next = None,
            Some(mount) => next = Some(mount),
            // What makes the place that all mounts are made in is for no one of them.
            None if leaf.step.is_some_and(|(step, _)| is_of_all_mounts(step)) => {}
            None => leaf.mount = next,
        }
    }
}

/// Says where it failed, and that what was refused elsewhere was not the end of it.
fn tell_failure(leaves: &mut Vec<Leaf>, marks: &[(Mark, u64)], at: u64, error: &str) {
    let told = marks.iter().rev().find_map(|(mark, _)| match mark {
        Mark::Failed(step, index) => Some((*step, *index)),
        _ => None,
    });
    let error = SpanResult::Failed(error.to_owned());
    let is_it = |leaf: &&mut Leaf| leaf.step == told && leaf.result != SpanResult::Done;
    if let Some(leaf) = leaves.iter_mut().rev().find(is_it) {
        leaf.result = error;
        return;
    }
    let before = marks.last().map_or(0, |(_, last)| *last);
    let phase = leaves.last().and_then(|leaf| leaf.phase);
    let name = told.map_or_else(|| "ends".to_owned(), |(step, _)| words(step));
    leaves.push(Leaf { phase, result: error, ..Leaf::new(name, before, at.max(before)) });
}

/// The name of a step in words.
fn words(step: Step) -> String {
    if step == Step::Runtime {
        return "set-up".to_owned();
    }
    let mut words = String::new();
    for letter in format!("{step:?}").chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn of(step: Step, index: u16) -> Option<String> {
        match (step, index) {
            (Step::MountAttach, 0) => Some("/proc".to_owned()),
            (Step::MountAttach, 1) => Some("/sys".to_owned()),
            (Step::MaskedPath, 0) => Some("/proc/keys".to_owned()),
            _ => None,
        }
    }

    /// What spans there are, with begin and end in microseconds.
    fn told(marks: &[(Mark, u64)], outcome: &Outcome<'_>) -> Vec<String> {
        let marks: Vec<_> = marks.iter().map(|(mark, time)| (*mark, time * 1000)).collect();
        let tell = |span: &Span| {
            let came_of_it = match &span.result {
                SpanResult::Done => String::new(),
                SpanResult::Refused(reason) => format!(" ({reason})"),
                SpanResult::Failed(error) => format!(": {error}"),
            };
            let indent = "  ".repeat(span.depth);
            format!("{indent}{}-{} {}{came_of_it}", span.begin / 1000, span.end / 1000, span.name)
        };
        spans(&marks, outcome, &of).iter().map(tell).collect()
    }

    #[test]
    fn steps_lie_in_mounts_and_mounts_in_phases_without_gaps_or_overlap() {
        let marks = [
            (Mark::Born, 10),
            (Mark::Done(Step::NewNamespaces, 0), 20),
            (Mark::Done(Step::AttachRoot, 0), 25),
            (Mark::Done(Step::MountCreate, 0), 30),
            (Mark::Done(Step::MountAttach, 0), 40),
            (Mark::Waits(ToInit::Network), 40),
            (Mark::Heard, 50),
            (Mark::Done(Step::NewNamespaces, 0), 55),
            (Mark::Done(Step::MountAttach, 1), 60),
            (Mark::Done(Step::MaskedPath, 0), 70),
            (Mark::Waits(ToInit::Go), 71),
            (Mark::Heard, 80),
        ];
        let expected = [
            "10-20 namespaces",
            "  10-20 new namespaces",
            "20-60 mounts",
            "  20-25 attach root",
            "  25-40 mount /proc",
            "    25-30 create",
            "    30-40 attach",
            "  40-60 mount /sys",
            "    40-50 waits for the network namespace",
            "    50-55 new namespaces",
            "    55-60 attach",
            "60-70 masked and read-only paths",
            "  60-70 masked path /proc/keys",
            "71-90 start",
            "  71-80 waits for go",
            "  80-90 exec /bin/true",
        ];
        assert_eq!(told(&marks, &Outcome::Executed(90_000, "/bin/true")), expected);
    }

    #[test]
    fn the_step_that_failed_has_the_error_and_one_that_was_only_refused_the_reason() {
        let marks = [
            (Mark::Born, 10),
            (Mark::Refused(Step::MountCreate, 0, Errno::PERM), 20),
            (Mark::Done(Step::MountAttach, 0), 30),
            (Mark::Refused(Step::MountAttach, 1, Errno::NOENT), 40),
            (Mark::Failed(Step::MountAttach, 1), 60),
        ];
        let expected = [
            "10-60 mounts: no such thing",
            "  10-30 mount /proc",
            "    10-20 create (Operation not permitted)",
            "    20-30 attach",
            "  30-40 mount /sys: no such thing",
            "    30-40 attach: no such thing",
            "  40-60 takes back what it has made",
        ];
        assert_eq!(told(&marks, &Outcome::Failed(70_000, "no such thing".to_owned())), expected);
    }

    #[test]
    fn one_that_ends_without_a_word_does_so_after_its_last_step() {
        let marks = [(Mark::Born, 10), (Mark::Done(Step::NewNamespaces, 0), 20)];
        let expected = ["10-30 namespaces: gone", "  10-20 new namespaces", "  20-30 ends: gone"];
        assert_eq!(told(&marks, &Outcome::Failed(30_000, "gone".to_owned())), expected);
    }

    #[test]
    fn a_created_process_waits_for_its_start() {
        let marks =
            [(Mark::Born, 10), (Mark::Waits(ToInit::Go), 20), (Mark::Heard, 30), (Mark::WaitsForStart, 31)];
        let expected = ["20-50 start", "  20-30 waits for go", "  31-50 waits for start"];
        assert_eq!(told(&marks, &Outcome::Waits(50_000)), expected);
    }

    #[test]
    fn every_step_has_words() {
        assert_eq!(words(Step::NoNewPrivileges), "no new privileges");
        assert_eq!(words(Step::Exec), "exec");
    }
}
