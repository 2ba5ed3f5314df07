//! What tests did: read from the events of the test binaries, told to the developer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It passed.
    Passed,
    /// It passed, because it found that it cannot be run there, for this reason.
    Skipped(String),
    /// It failed, and said this.
    Failed(String),
}

/// The events of one run of one test binary, as far as they have come.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// The tests that are done.
    pub(crate) verdicts: BTreeMap<String, Verdict>,
    /// Those that have begun and are not done.
    pub(crate) running: BTreeSet<String>,
    /// What was written beside the events.
    pub(crate) noise: Vec<String>,
}

impl Events {
    /// Takes a line: an event in libtest's JSON, or something that somebody else wrote.
    pub(crate) fn line(&mut self, line: &str) {
        let Some(event) = serde_json::from_str::<Value>(line).ok().filter(Value::is_object) else {
            self.noise.push(line.to_owned());
            return;
        };
        let (Some("test"), Some(name)) = (event["type"].as_str(), event["name"].as_str()) else { return };
        let said = event["stdout"].as_str().unwrap_or_default();
        let verdict = match event["event"].as_str() {
            Some("started") => {
                self.running.insert(name.to_owned());
                return;
            }
            Some("ok" | "ignored") => passed(said),
            Some("failed") => Verdict::Failed(said.to_owned()),
            _ => return, // "timeout": it takes long
        };
        self.running.remove(name);
        self.verdicts.insert(name.to_owned(), verdict);
    }
}

/// A test that skips itself says so, see `kit::crun::skipped`.
fn passed(said: &str) -> Verdict {
    let reason = said.lines().find_map(|line| line.strip_prefix("skipped: ")?.split_once(": "));
    reason.map_or(Verdict::Passed, |(_, reason)| Verdict::Skipped(reason.to_owned()))
}

/// Everything that was run in a lane by one user.
#[derive(Debug, Default)]
pub(crate) struct Report {
    verdicts: BTreeMap<String, Verdict>,
    flaky: BTreeMap<String, String>,
    left_out: Vec<(String, String)>,
}

impl Report {
    /// Notes a verdict.
    pub(crate) fn add(&mut self, test: String, verdict: Verdict) {
        self.verdicts.insert(test, verdict);
    }

    /// Notes that a test that failed passed when it was run again by itself.
    pub(crate) fn passed_again(&mut self, test: &str) {
        if let Some(Verdict::Failed(said)) = self.verdicts.insert(test.to_owned(), Verdict::Passed) {
            self.flaky.insert(test.to_owned(), said);
        }
    }

    /// Notes that tests are not run in this lane, and why.
    pub(crate) fn leave_out(&mut self, what: &str, reason: &str) {
        self.left_out.push((what.to_owned(), reason.to_owned()));
    }

    /// The tests that failed.
    pub(crate) fn failed(&self) -> Vec<String> {
        let failed = |(name, verdict): (&String, &Verdict)| {
            matches!(verdict, Verdict::Failed(_)).then(|| name.clone())
        };
        self.verdicts.iter().filter_map(failed).collect()
    }

    /// One line of numbers.
    pub(crate) fn numbers(&self) -> String {
        let count = |is: fn(&Verdict) -> bool| self.verdicts.values().filter(|verdict| is(verdict)).count();
        let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
        let passed = count(|verdict| matches!(verdict, Verdict::Passed));
        let mut line = format!("{} tests run: {passed} passed", self.verdicts.len());
        if !self.flaky.is_empty() {
            line += &format!(" ({} flaky)", self.flaky.len());
        }
        line + &format!(", {} failed, {skipped} skipped", self.failed().len())
    }

    /// What deserves more than a number: skipped tests by reason, flaky ones, and failures with what they said.
    pub(crate) fn details(&self) -> String {
        let mut text = String::new();
        for (what, reason) in &self.left_out {
            text += &format!("  NOT RUN here: {what}: {reason}\n");
        }
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, verdict) in &self.verdicts {
            if let Verdict::Skipped(reason) = verdict {
                reasons.entry(reason).or_default().push(name);
            }
        }
        for (reason, tests) in reasons {
            text += &format!("  skipped {} ({reason}): {}\n", tests.len(), tests.join(", "));
        }
        for (name, said) in &self.flaky {
            text +=
                &format!("\n  FLAKY {name}: failed, and passed when run again by itself\n{}", indented(said));
        }
        for (name, verdict) in &self.verdicts {
            if let Verdict::Failed(said) = verdict {
                text += &format!("\n  FAIL {name}\n{}", indented(said));
            }
        }
        text
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(lines: &[&str]) -> Events {
        let mut events = Events::default();
        lines.iter().for_each(|line| events.line(line));
        events
    }

    #[test]
    fn a_test_is_running_until_there_is_a_verdict() {
        let started = r#"{ "type": "test", "event": "started", "name": "a" }"#;
        assert_eq!(events(&[started]).running.len(), 1);
        let done = events(&[started, r#"{ "type": "test", "name": "a", "event": "ok" }"#]);
        assert!(done.running.is_empty());
        assert_eq!(done.verdicts["a"], Verdict::Passed);
    }

    #[test]
    fn what_is_no_event_is_kept_beside() {
        let lines = ["cannot execute", "7", r#"{ "type": "suite", "event": "ok" }"#];
        let events = events(&lines);
        assert_eq!(events.noise, lines[..2]);
        assert!(events.verdicts.is_empty());
    }

    #[test]
    fn a_test_that_says_that_it_is_skipped_counts_as_skipped() {
        let line = r#"{ "type": "test", "name": "a", "event": "ok", "stdout": "x\nskipped: a: no freezer: here\n" }"#;
        assert_eq!(events(&[line]).verdicts["a"], Verdict::Skipped("no freezer: here".into()));
    }

    #[test]
    fn a_failure_is_shown_with_what_it_said_unless_it_passes_again() {
        let mut report = Report::default();
        report.add("b::one".into(), Verdict::Failed("left != right".into()));
        assert_eq!(report.numbers(), "1 tests run: 0 passed, 1 failed, 0 skipped");
        assert!(report.details().contains("FAIL b::one\n    left != right"), "{}", report.details());
        report.passed_again("b::one");
        assert_eq!(report.numbers(), "1 tests run: 1 passed (1 flaky), 0 failed, 0 skipped");
        assert!(report.details().contains("FLAKY b::one"), "{}", report.details());
        assert!(report.failed().is_empty());
    }
}
