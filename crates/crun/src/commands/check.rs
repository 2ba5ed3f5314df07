//! `check`: whether this host can run containers for whoever asks, and what of a bundle it could not honour.

use std::fmt::Write;
use std::path::PathBuf;

use libcrun::Result;
use libcrun::check::{CheckOptions, Finding, Report, Verdict};

use super::{Context, print, seccomp_receiver};
use crate::output;

/// The exit status where something that is needed is missing.
const MISSING: i32 = 1;

pub(super) fn check(context: &Context<'_>) -> Result<i32> {
    let wants_json = context.wants_json("text")?;
    let config = context.value("config");
    let options = CheckOptions {
        bundle: context.positional(0).or(config.map(|_| ".")).map(PathBuf::from),
        config: config.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.into())),
        cgroup_manager: context.cgroup_manager()?,
        seccomp_receiver: seccomp_receiver(),
    };
    let report = libcrun::check::check(&context.root(), &options);
    print(&if wants_json { output::json(&report) } else { text(&report) })?;
    Ok(if report.verdict == Verdict::Missing { MISSING } else { 0 })
}

/// The report for a person.
fn text(report: &Report) -> String {
    let who = match (report.uid, report.rootless) {
        (0, false) => "root".to_owned(),
        (0, true) => "root of a user namespace".to_owned(),
        (uid, _) => format!("user {uid}"),
    };
    let mut text = format!("Linux {}, for {who}\n", report.kernel);
    for group in &report.groups {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}", group.name);
        let width = group.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0).min(36);
        for finding in &group.findings {
            append(&mut text, finding, width);
        }
    }
    let count = |verdict| {
        report
            .groups
            .iter()
            .flat_map(|group| &group.findings)
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    let (missing, limited) = (count(Verdict::Missing), count(Verdict::Limited));
    let _ = match report.verdict {
        Verdict::Ok => writeln!(text, "\nok"),
        Verdict::Limited => writeln!(text, "\nok, with limits: {limited}"),
        Verdict::Missing => writeln!(text, "\nmissing: {missing}; limited: {limited}"),
    };
    text
}

fn append(text: &mut String, finding: &Finding, width: usize) {
    let Finding { name, verdict, found, remedy, .. } = finding;
    let _ = writeln!(text, "  {:<7}  {name:<width$}  {found}", verdict.as_str());
    if let Some(remedy) = remedy {
        let _ = writeln!(text, "           {:width$}  remedy: {remedy}", "");
    }
}
