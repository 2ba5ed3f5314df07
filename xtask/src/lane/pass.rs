//! One pass over the suite in a lane that is up: as root, or as the lane's user.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::booted::{Booted, Ended};
use super::report::{Events, Report, Verdict};
use super::suite::Binary;
use super::{Lane, image};

/// If more tests than this fail, it is not because they had to wait.
const MAY_BE_FLAKY: usize = 15;

/// As whom tests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// root, in a service with a delegated cgroup.
    Root,
    /// The lane's user, in a scope of its session.
    User,
}

impl Who {
    /// For headings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "a user with a session",
        }
    }
}

/// What a pass is made of.
pub(crate) struct Pass<'p> {
    pub(crate) lane: &'p Lane,
    pub(crate) booted: &'p mut Booted,
    pub(crate) who: Who,
    pub(crate) report: Report,
}

impl Pass<'_> {
    /// Runs the binaries, and what failed once more by itself.
    pub(crate) fn run(&mut self, binaries: &[Binary]) -> Result<()> {
        let begin = Instant::now();
        for binary in binaries {
            let start = Instant::now();
            let mut binary = binary.clone();
            self.leave_out(&mut binary);
            if binary.tests.is_empty() {
                continue;
            }
            if begin.elapsed() > self.lane.budget {
                let said = format!("not run: the others took more than {} s", self.lane.budget.as_secs());
                self.report.add(format!("{}::*", binary.name), Verdict::Failed(said));
                continue;
            }
            let mut part = Report::default();
            self.run_binary(&binary, &mut part)?;
            println!("  {:<24} {:>6.1} s  {}", binary.name, start.elapsed().as_secs_f64(), part.numbers());
        }
        self.run_failed_again(binaries)
    }

    /// Takes the tests that are not for this lane out.
    fn leave_out(&mut self, binary: &mut Binary) {
        for (what, reason) in self.lane.left_out {
            let before = binary.tests.len();
            binary.tests.retain(|test| !format!("{}::{test}", binary.name).starts_with(what));
            if binary.tests.len() < before {
                self.report.leave_out(what, reason);
            }
        }
    }

    /// A test that hangs is ended with its binary. The others of that are then run without it.
    fn run_binary(&mut self, binary: &Binary, part: &mut Report) -> Result<()> {
        let mut left = binary.tests.clone();
        while !left.is_empty() {
            let (events, ended) = self.run_tests(binary, &left)?;
            let mut verdicts = events.verdicts;
            let unfinished: Vec<_> = match events.running.is_empty() && verdicts.is_empty() {
                true => left.clone(), // not one was begun
                false => events.running.into_iter().collect(),
            };
            for test in unfinished {
                let said = format!("no result: {ended}\n{}", events.noise.join("\n"));
                verdicts.insert(test, Verdict::Failed(said));
            }
            left.retain(|test| !verdicts.contains_key(test));
            for (test, verdict) in verdicts {
                part.add(format!("{}::{test}", binary.name), verdict.clone());
                self.report.add(format!("{}::{test}", binary.name), verdict);
            }
        }
        Ok(())
    }

    /// A test that passes by itself failed because of others: it waited too briefly in a machine that was busy with them, or
    /// they are threads of one process here and have a process each elsewhere.
    fn run_failed_again(&mut self, binaries: &[Binary]) -> Result<()> {
        let failed = self.report.failed();
        if failed.len() > MAY_BE_FLAKY {
            println!("  {} tests failed: too many for an accident, none is run again", failed.len());
            return Ok(());
        }
        for full in failed {
            let Some((name, test)) = full.split_once("::") else { continue };
            let is_its = |binary: &&Binary| binary.name == name && binary.tests.iter().any(|its| its == test);
            let Some(binary) = binaries.iter().find(is_its) else { continue };
            println!("  once more, by itself: {full}");
            let (events, _) = self.run_tests(binary, &[test.to_owned()])?;
            if matches!(events.verdicts.get(test), Some(Verdict::Passed | Verdict::Skipped(_))) {
                self.report.passed_again(&full);
            }
        }
        Ok(())
    }

    /// Runs tests of a binary in one process, and returns their events and how the process ended.
    fn run_tests(&mut self, binary: &Binary, tests: &[String]) -> Result<(Events, String)> {
        let mut events = Events::default();
        let limit = self.lane.limit;
        let script = self.script(&binary.name, tests);
        // The lane ends the binary in time; where it does not, it hangs itself.
        let ended =
            self.booted.run(&script, limit + Duration::from_secs(60), &mut |line| events.line(line))?;
        match ended {
            Ended::Exit(124 | 137) => Ok((events, format!("not done after {} s", limit.as_secs()))),
            Ended::Exit(status) => Ok((events, format!("its test binary ended with exit status {status}"))),
            Ended::Died | Ended::Lost => {
                let running: Vec<_> = events.running.into_iter().collect();
                bail!(
                    "the lane {} during {}, while these tests were running: {}{}",
                    if ended == Ended::Died { "ended" } else { "did not answer any more" },
                    binary.name,
                    running.join(", "),
                    self.booted.end_of_console()
                );
            }
        }
    }

    /// The script that runs the tests. libtest writes events as JSON for nightly compilers only, or who says to be one.
    fn script(&self, binary: &str, tests: &[String]) -> String {
        let Lane { name, bin, threads, slowness, limit, .. } = self.lane;
        let mut script = format!(
            "cd /tmp\nexport RUSTC_BOOTSTRAP=1 RUST_BACKTRACE=0 XDG_CACHE_HOME={} CRUN_BIN={bin}/crun CRUN_LANE={name} \
             CRUN_SLOWNESS={slowness}\n",
            image::CACHE
        );
        // What a developer steers tests by.
        for (name, value) in
            std::env::vars().filter(|(name, _)| name.starts_with("CRUN_TEST_") || name == "CRUN_WITHOUT")
        {
            script += &format!("export {name}='{}'\n", value.replace('\'', r"'\''"));
        }
        let session = match self.who {
            Who::Root => String::new(),
            Who::User => kit::lane::in_session().join(" "),
        };
        script
            + &format!(
                "exec {session} timeout --kill-after=10 {} {bin}/{binary} -Z unstable-options --format json --show-output \
             --test-threads {threads} --exact {}\n",
                limit.as_secs(),
                tests.join(" ")
            )
    }
}
