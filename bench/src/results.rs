//! What was measured, and the three numbers each series is told by.

use serde::{Deserialize, Serialize};

/// A runtime that took part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Participant {
    /// Its short name, unique in the run.
    pub(crate) name: String,
    /// The first line of `--version`.
    pub(crate) version: String,
}

/// The samples of one runtime in one scenario: microseconds, or KiB where the scenario is about memory.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Series {
    /// The scenario's name.
    pub(crate) scenario: String,
    /// The runtime's name.
    pub(crate) runtime: String,
    /// `us` or `KiB`.
    pub(crate) unit: String,
    /// Why there are no samples, if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
    /// In the order taken.
    pub(crate) samples: Vec<f64>,
    /// Filled in for the JSON file; computed from the samples where needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<Summary>,
}

/// The smallest, the middle, and the one that nine of ten do not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) p90: f64,
}

/// Everything measured in one run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// When, in seconds since the epoch.
    pub(crate) time: u64,
    /// Where: kernel, processors.
    pub(crate) machine: String,
    pub(crate) participants: Vec<Participant>,
    pub(crate) series: Vec<Series>,
}

impl Series {
    /// `None` without samples.
    pub(crate) fn summarise(&self) -> Option<Summary> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        // Nearest rank: a value that was really measured, never one in between.
        let at = |percent: usize| sorted[(last * percent).div_ceil(100)];
        Some(Summary { min: sorted[0], median: at(50), p90: at(90) })
    }
}

impl Results {
    /// The scenarios in the order they were measured.
    pub(crate) fn scenarios(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for series in &self.series {
            if !names.contains(&series.scenario.as_str()) {
                names.push(&series.scenario);
            }
        }
        names
    }

    /// The series of a scenario, in the order of the participants.
    pub(crate) fn of<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |series| series.scenario == scenario)
    }

    /// One runtime's numbers in one scenario.
    pub(crate) fn summary(&self, scenario: &str, runtime: &str) -> Option<Summary> {
        self.of(scenario).find(|series| series.runtime == runtime)?.summarise()
    }

    /// Adds what another process measured.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.machine.is_empty() {
            (self.time, self.machine) = (other.time, other.machine);
        }
        self.participants.extend(other.participants);
        self.series.extend(other.series);
    }

    /// The same with the summaries written out, for readers of the JSON file.
    pub(crate) fn summarised(&self) -> Self {
        let mut results = self.clone();
        for series in &mut results.series {
            series.summary = series.summarise();
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_told_by_values_that_were_measured() {
        let series = Series { samples: vec![5.0, 1.0, 4.0, 2.0, 3.0], ..Series::default() };
        assert_eq!(series.summarise(), Some(Summary { min: 1.0, median: 3.0, p90: 5.0 }));
        assert_eq!(Series { samples: vec![7.0], ..Series::default() }.summarise().unwrap().p90, 7.0);
        assert_eq!(Series::default().summarise(), None);
    }

    #[test]
    fn merging_keeps_the_order_of_scenarios() {
        let one = |scenario: &str| Series { scenario: scenario.into(), ..Series::default() };
        let mut results = Results { series: vec![one("b"), one("a")], ..Results::default() };
        results.merge(Results { series: vec![one("a"), one("c")], ..Results::default() });
        assert_eq!(results.scenarios(), ["b", "a", "c"]);
    }
}
