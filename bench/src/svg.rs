//! The results as a bar chart: one panel for each scenario, one bar for each runtime.
//!
//! Each panel has its own scale, from zero to its longest bar: what is compared is runtimes, not scenarios. A bar is as
//! long as the median; the line in it marks the smallest value.

use std::fmt::Write as _;

use crate::results::{Results, Series};
use crate::runtime::{FLOOR, NATIVE, PEER, THIS};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 16.0;
const STEP: f64 = 20.0;
const TITLE: f64 = 26.0;
const GAP: f64 = 14.0;

/// What is shown; the table has everything.
const SHOWN: &[&str] = &[
    "run",
    "run, engine-like bundle",
    "create+start+delete",
    "exec",
    "state",
    "--version",
    "50 at once",
    "run, 5000 mounts more",
    "peak memory of run",
    "memory while running (PSS)",
];

/// Draws the chart.
pub(crate) fn render(results: &Results) -> String {
    let mut body = String::new();
    let mut y = 30.0;
    for scenario in SHOWN {
        let bars: Vec<(&Series, f64, f64)> = results
            .of(scenario)
            .filter_map(|series| series.summarise().map(|summary| (series, summary.median, summary.min)))
            .collect();
        if bars.is_empty() {
            continue;
        }
        panel(&mut body, scenario, &bars, &mut y);
    }
    let machine = escape(&results.machine);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y:.0}\" viewBox=\"0 0 {WIDTH} {y:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"18\" fill=\"#555555\">Median (line: smallest); shorter is better. {machine}</text>\n\
         {body}</svg>\n"
    )
}

fn panel(body: &mut String, scenario: &str, bars: &[(&Series, f64, f64)], y: &mut f64) {
    let longest = bars.iter().fold(0.0_f64, |longest, bar| longest.max(bar.1));
    let _ = writeln!(
        body,
        "<text x=\"10\" y=\"{:.1}\" font-weight=\"bold\" fill=\"#222222\">{}</text>",
        *y + 16.0,
        escape(scenario)
    );
    *y += TITLE;
    for (series, median, min) in bars {
        let scale = (WIDTH - LEFT - RIGHT) / longest;
        let text = *y + 12.0;
        let (length, mark) = (median * scale, LEFT + min * scale);
        let _ = writeln!(
            body,
            "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\" fill=\"#222222\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{}\"/>\
             <path d=\"M{mark:.1} {:.1}v{BAR}\" stroke=\"#ffffff\" stroke-width=\"1.5\"/>\
             <text x=\"{:.1}\" y=\"{text:.1}\" fill=\"#222222\">{}</text>",
            LEFT - 6.0,
            escape(&series.runtime),
            *y,
            colour(&series.runtime),
            *y,
            LEFT + length + 6.0,
            amount(series, *median)
        );
        *y += STEP;
    }
    *y += GAP;
}

fn amount(series: &Series, value: f64) -> String {
    if series.unit == "KiB" {
        format!("{:.1} MiB", value / 1024.0)
    } else {
        format!("{:.2} ms", value / 1000.0)
    }
}

fn colour(runtime: &str) -> &'static str {
    match runtime {
        THIS => "#d1495b",
        NATIVE => "#e79aa4",
        PEER => "#30638e",
        FLOOR => "#9a9a9a",
        _ => "#7fa6c4",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_bar_for_each_runtime_and_the_longest_fills_the_panel() {
        let series = |runtime: &str, sample: f64| Series {
            scenario: "run".into(),
            runtime: runtime.into(),
            unit: "us".into(),
            samples: vec![sample],
            ..Series::default()
        };
        let all = vec![series(THIS, 4000.0), series("a<b", 8000.0)];
        let chart = render(&Results { series: all, ..Results::default() });
        assert!(chart.contains("width=\"260.0\"") && chart.contains("width=\"520.0\""), "{chart}");
        assert!(chart.contains("a&lt;b") && chart.contains("8.00 ms"), "{chart}");
    }
}
