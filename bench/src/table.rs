//! The results as text, for a terminal.

use std::fmt::Write as _;

use crate::results::{Results, Series, Summary};
use crate::runtime::{FLOOR, NATIVE, PEER};

/// One block for each scenario: a line for each runtime with its numbers and how they compare.
pub(crate) fn render(results: &Results) -> String {
    let mut text = format!("{}\n", results.machine);
    for participant in results.participants.iter().filter(|participant| !participant.version.is_empty()) {
        let _ = writeln!(text, "{}: {}", participant.name, participant.version);
    }
    for scenario in results.scenarios() {
        let memory = results.of(scenario).any(|series| series.unit == "KiB");
        let unit = if memory { "MiB" } else { "ms" };
        let _ = writeln!(text, "\n{scenario} [{unit}]");
        let _ = writeln!(
            text,
            "  {:<20}{:>9}{:>9}{:>9}{:>18}{:>18}",
            "", "min", "median", "p90", "to C crun", "to the floor"
        );
        for series in results.of(scenario) {
            let _ = writeln!(text, "  {:<20}{}", series.runtime, line(results, series));
        }
    }
    text
}

fn line(results: &Results, series: &Series) -> String {
    let Some(summary) = series.summarise() else {
        return format!("  failed: {}", series.failure.as_deref().unwrap_or("not measured"));
    };
    let scale = if series.unit == "KiB" { 1024.0 } else { 1000.0 };
    // What was measured at another time is not compared: the machine may have been another one then.
    let together = series.runtime != NATIVE;
    let against = |other: &str| match results.summary(&series.scenario, other).filter(|_| together) {
        Some(other) if series.runtime != FLOOR || other != summary => ratios(summary, other),
        _ => String::new(),
    };
    let numbers = [summary.min, summary.median, summary.p90].map(|number| format!("{:>9.2}", number / scale));
    let compared = format!("{}{:>18}{:>18}", numbers.concat(), against(PEER), against(FLOOR));
    compared.trim_end().to_owned()
}

/// How many times as much: the medians, and in brackets the smallest values.
fn ratios(one: Summary, other: Summary) -> String {
    format!("{:.2} ({:.2})", one.median / other.median, one.min / other.min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_compares_with_the_peer_and_the_floor() {
        let series = |runtime: &str, samples: &[f64]| Series {
            scenario: "run".into(),
            runtime: runtime.into(),
            unit: "us".into(),
            samples: samples.into(),
            ..Series::default()
        };
        let failed = Series { failure: Some("no".into()), ..series("youki", &[]) };
        let all = vec![
            series("this crun", &[2000.0, 4000.0]),
            series(PEER, &[8000.0]),
            series(FLOOR, &[1000.0]),
            failed,
        ];
        let text = render(&Results { series: all, ..Results::default() });
        assert!(text.contains("run [ms]"), "{text}");
        assert!(
            text.contains(
                "this crun                2.00     4.00     4.00       0.50 (0.25)       4.00 (2.00)"
            ),
            "{text}"
        );
        assert!(text.contains("youki                 failed: no"), "{text}");
    }
}
