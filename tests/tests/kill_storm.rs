//! SIGKILL of the runtime at random moments, 260 times in all: afterwards `delete --force` cleans up everything, and the
//! name can be used again.
//!
//! `CRUN_TEST_SEED` repeats a run.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::Crun;
use kit::runtime;

/// A small generator of numbers (xorshift64*): good enough to choose a moment.
struct Random(u64);

impl Random {
    fn new(test: u64) -> Self {
        let now = || {
            u64::from(
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos(),
            )
        };
        let seed = std::env::var("CRUN_TEST_SEED")
            .ok()
            .map_or_else(now, |text| text.parse().expect("CRUN_TEST_SEED"));
        eprintln!("CRUN_TEST_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (test << 32) ^ 1)
    }

    fn below(&mut self, limit: u128) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        u64::try_from(u128::from(value) % limit).unwrap()
    }
}

/// How often the runtime was killed before it was done, and how often it was done first; and how long it takes.
#[derive(Debug)]
struct Score {
    killed: u32,
    too_late: u32,
    usual: Duration,
}

impl Score {
    fn new(usual: Duration) -> Self {
        Self { killed: 0, too_late: 0, usual }
    }

    /// Kills `crun ARGS` somewhere between its start and a little after its usual end. What is usual changes with what else
    /// the machine does: each shot corrects it, so that most hit.
    fn shoot<const N: usize>(
        &mut self,
        crun: &Crun,
        container: &Container,
        args: [&str; N],
        random: &mut Random,
    ) {
        let moment = Duration::from_nanos(random.below(self.usual.as_nanos() * 12 / 10 + 1));
        let mut running = crun.spawn(crun.command(container.args(args)));
        let start = Instant::now();
        while start.elapsed() < moment {
            std::hint::spin_loop();
        }
        if running.kill() {
            self.killed += 1;
            self.usual = self.usual * 11 / 10;
        } else {
            self.too_late += 1;
            self.usual = self.usual * 6 / 10;
        }
    }
}

/// After a shot: what is left can be deleted, and then nothing is left.
fn clean(container: &Container) {
    assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "");
    container.assert_nothing_left();
}

/// The least time that something takes, out of a few goes: the first is slower than all that follow.
fn time(mut prepare: impl FnMut(), mut run: impl FnMut(), mut after: impl FnMut()) -> Duration {
    let mut go = || {
        prepare();
        let start = Instant::now();
        run();
        let time = start.elapsed();
        after();
        time
    };
    (0..5).map(|_| go()).min().unwrap()
}

/// Shoots at a command that makes a container.
fn storm<const N: usize>(crun: &Crun, seed: u64, shots: u32, args: [&str; N]) {
    let mut random = Random::new(seed);
    let bundle = Bundle::new().sh("sleep 30 & sleep 0.002");
    let container = crun.container(&bundle);
    let mut score =
        Score::new(time(|| (), || assert_eq!(container.cmd(args).ok(), ""), || clean(&container)));
    for _ in 0..shots {
        score.shoot(crun, &container, args, &mut random);
        clean(&container);
    }
    assert!(score.killed >= shots / 4, "too few shots hit: {score:?}");
    // The name is as good as new.
    assert_eq!(container.cmd(args).ok(), "");
}

#[test]
fn run_killed_at_any_moment_can_be_cleaned_up() {
    storm(&runtime!(), 1, 70, ["run", "-b", "BUNDLE", "ID"]);
}

#[test]
fn create_killed_at_any_moment_can_be_cleaned_up() {
    storm(&runtime!(), 2, 60, ["create", "-b", "BUNDLE", "ID"]);
}

#[test]
fn a_half_made_container_that_no_cgroup_leads_to_ends_with_its_maker() {
    storm(&runtime!().with("--cgroup-manager=disabled"), 5, 60, ["create", "-b", "BUNDLE", "ID"]);
}

#[test]
fn start_killed_at_any_moment_can_be_cleaned_up() {
    let crun = runtime!();
    let mut random = Random::new(3);
    let bundle = Bundle::new().sh("sleep 30");
    let container = crun.container(&bundle);
    let create = || assert_eq!(container.cmd(["create", "-b", "BUNDLE", "ID"]).ok(), "");
    let mut score = Score::new(time(create, || container.start(), || clean(&container)));
    // A start is so short that most shots come too late on a busy machine.
    while score.killed < 5 {
        assert!(score.too_late < 200, "too few shots hit: {score:?}");
        create();
        score.shoot(&crun, &container, ["start", "ID"], &mut random);
        clean(&container);
    }
}

#[test]
fn delete_killed_at_any_moment_can_be_repeated() {
    let crun = runtime!();
    let mut random = Random::new(4);
    let bundle = Bundle::new().sh("sleep 30 & sleep 31; true");
    let container = crun.container(&bundle);
    let make = || assert_eq!(container.cmd(["run", "--detach", "-b", "BUNDLE", "ID"]).ok(), "");
    let delete = || assert_eq!(container.cmd(["delete", "--force", "ID"]).ok(), "");
    let mut score = Score::new(time(make, delete, || container.assert_nothing_left()));
    for _ in 0..50 {
        make();
        score.shoot(&crun, &container, ["delete", "--force", "ID"], &mut random);
        clean(&container);
    }
    assert!(score.killed >= 12, "too few shots hit: {score:?}");
}
