//! What holds for the conversions whatever the configuration says, tried with random ones.

use super::block_io::io_weight;
use super::*;

const TRIES: usize = 20_000;

fn layouts() -> [Layout; 2] {
    [Layout::unified(), Layout { hierarchies: Vec::new() }]
}

/// Numbers as they come, and more often those at which something changes.
fn number(random: &mut fastrand::Rng) -> i64 {
    const SPECIAL: [i64; 16] = [
        i64::MIN,
        i64::MIN + 1,
        -2,
        -1,
        0,
        1,
        2,
        10,
        1000,
        1024,
        262_143,
        262_144,
        4_194_304,
        4_194_305,
        i64::MAX - 1,
        i64::MAX,
    ];
    match random.u8(0..3) {
        0 => SPECIAL[random.usize(0..SPECIAL.len())],
        1 => random.i64(-5..5_000_000),
        _ => random.i64(..),
    }
}

fn some<T>(random: &mut fastrand::Rng, make: impl FnOnce(&mut fastrand::Rng) -> T) -> Option<T> {
    random.bool().then(|| make(random))
}

fn unsigned(random: &mut fastrand::Rng) -> u64 {
    number(random).cast_unsigned()
}

fn memory(random: &mut fastrand::Rng) -> Memory {
    Memory {
        limit: some(random, number),
        reservation: some(random, number),
        swap: some(random, number),
        kernel_tcp: random.u8(0..8).eq(&0).then(|| number(random)),
        kernel: random.u8(0..8).eq(&0).then(|| number(random)),
        swappiness: random.u8(0..8).eq(&0).then(|| unsigned(random)),
        disable_oom_killer: some(random, |random| random.u8(0..8) == 0),
        use_hierarchy: random.u8(0..8).eq(&0).then(|| random.bool()),
        check_before_update: some(random, fastrand::Rng::bool),
    }
}

fn cpu(random: &mut fastrand::Rng) -> Cpu {
    Cpu {
        shares: some(random, unsigned),
        quota: some(random, number),
        burst: some(random, unsigned),
        period: some(random, unsigned),
        realtime_runtime: random.u8(0..8).eq(&0).then(|| number(random)),
        realtime_period: random.u8(0..8).eq(&0).then(|| unsigned(random)),
        cpus: some(random, |_| "0".to_owned()),
        mems: some(random, |_| String::new()),
        idle: random.u8(0..8).eq(&0).then(|| random.i64(-1..3)),
    }
}

fn throttles(random: &mut fastrand::Rng) -> Vec<ThrottleDevice> {
    let one = |random: &mut fastrand::Rng| ThrottleDevice {
        major: random.u32(..),
        minor: random.u32(..),
        rate: unsigned(random),
    };
    (0..random.usize(0..3)).map(|_| one(random)).collect()
}

fn block_io(random: &mut fastrand::Rng) -> BlockIo {
    let weight = |random: &mut fastrand::Rng| random.u16(0..1100);
    BlockIo {
        weight: some(random, weight),
        leaf_weight: random.u8(0..8).eq(&0).then(|| weight(random)),
        weight_device: Vec::new(),
        throttle_read_bps_device: throttles(random),
        throttle_write_bps_device: throttles(random),
        throttle_read_iops_device: throttles(random),
        throttle_write_iops_device: throttles(random),
    }
}

fn resources(random: &mut fastrand::Rng) -> Resources {
    Resources {
        memory: some(random, memory),
        cpu: some(random, cpu),
        pids: some(random, |random| Pids { limit: number(random) }),
        block_io: some(random, block_io),
        ..Resources::default()
    }
}

/// Each write with those that take its place.
fn all(write: &Write) -> Vec<&Write> {
    match &write.if_missing {
        IfMissing::Instead(other) => std::iter::once(write).chain(all(other)).collect(),
        _ => vec![write],
    }
}

/// Whether the kernel's parser of the file takes the value, as far as that does not depend on the host.
fn is_taken(file: &str, value: &str) -> bool {
    let within = |value: &str, least: u64, most: u64| {
        value.parse::<u64>().is_ok_and(|number| (least..=most).contains(&number))
    };
    let bytes = |value: &str| value == "max" || within(value, 0, u64::MAX);
    let last = value.rsplit([' ', '=']).next().unwrap_or_default();
    match file {
        "pids.max" => value == "max" || within(value, 1, 4_194_304),
        "memory.max" | "memory.low" | "memory.swap.max" => bytes(value),
        "memory.swappiness" => within(value, 0, u64::MAX),
        "memory.oom_control" | "memory.use_hierarchy" | "cpu.idle" => within(value, 0, 1),
        _ if file.starts_with("memory.") => value == "-1" || within(value, 1, u64::MAX),
        "cpu.weight" | "io.weight" => within(last, 1, 10_000),
        "cpu.shares" => within(value, 2, 262_144),
        "cpu.max" => {
            value.split(' ').next().is_some_and(|quota| quota == "max" || within(quota, 1, u64::MAX))
        }
        "cpu.cfs_quota_us" | "cpu.rt_runtime_us" => value == "-1" || within(value, 1, u64::MAX),
        _ if file.starts_with("cpu.") => within(value, 0, u64::MAX),
        "io.bfq.weight" | "blkio.bfq.weight" | "blkio.weight" | "blkio.leaf_weight" => within(last, 10, 1000),
        "io.max" if value.contains("iops") => last == "max" || within(last, 1, u32::MAX.into()),
        "io.max" => last == "max" || within(last, 1, u64::MAX),
        _ if file.ends_with("iops_device") => within(last, 0, u32::MAX.into()),
        _ if file.ends_with("bps_device") => within(last, 0, u64::MAX),
        "cpuset.cpus" => value == "0",
        _ => false,
    }
}

#[test]
fn no_value_is_written_that_the_kernel_does_not_know() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut written = 0;
    for _ in 0..TRIES {
        let resources = resources(&mut random);
        for layout in layouts() {
            for writes in [resources.writes(&layout), resources.changes(&layout)].into_iter().flatten() {
                for write in writes.iter().flat_map(all) {
                    assert!(is_taken(&write.file, &write.value), "{write:?} of {resources:?}");
                    written += 1;
                }
            }
        }
    }
    assert!(written > TRIES, "nearly everything was refused");
}

#[test]
fn every_limit_that_is_set_is_written_or_refused() {
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..TRIES {
        let resources = resources(&mut random);
        for layout in layouts() {
            let Ok(writes) = resources.writes(&layout) else { continue };
            let has = |names: [&str; 2]| writes.iter().any(|write| names.contains(&&*write.file));
            let memory = resources.memory.clone().unwrap_or_default();
            let cpu = resources.cpu.clone().unwrap_or_default();
            let is_set = |value: Option<i64>| value.is_some_and(|value| value != 0);
            assert_eq!(is_set(memory.limit), has(["memory.max", "memory.limit_in_bytes"]));
            assert_eq!(is_set(memory.swap), has(["memory.swap.max", "memory.memsw.limit_in_bytes"]));
            assert_eq!(is_set(memory.reservation), has(["memory.low", "memory.soft_limit_in_bytes"]));
            assert_eq!(is_set(cpu.shares.map(u64::cast_signed)), has(["cpu.weight", "cpu.shares"]));
            assert_eq!(cpu.burst.is_some(), has(["cpu.max.burst", "cpu.cfs_burst_us"]));
            assert_eq!(resources.pids.is_some_and(|pids| pids.limit != 0), has(["pids.max", ""]));
            assert!(writes.is_empty() || resources.has_limits(), "{resources:?}");
        }
    }
}

#[test]
fn an_update_writes_all_that_a_start_writes() {
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..TRIES {
        let resources = resources(&mut random);
        for layout in layouts() {
            match (resources.writes(&layout), resources.changes(&layout)) {
                (Ok(start), Ok(update)) => {
                    assert!(start.iter().all(|write| update.contains(write)), "{resources:?}");
                }
                (start, update) => assert_eq!(start.unwrap_err(), update.unwrap_err()),
            }
        }
    }
}

#[test]
fn weights_never_fall_and_their_ends_are_the_ends() {
    let weight = |shares| unified::weight(shares);
    assert_eq!(
        (weight(0), weight(2), weight(1024), weight(262_144), weight(u64::MAX)),
        (1, 1, 100, 10_000, 10_000)
    );
    let weights: Vec<_> = (0..=262_145).map(weight).collect();
    assert!(weights.is_sorted() && weights.iter().all(|weight| (1..=10_000).contains(weight)));
    assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
    let weights: Vec<_> = (0..=u16::MAX).map(io_weight).collect();
    assert!(weights.is_sorted() && weights.iter().all(|weight| (1..=10_000).contains(weight)));
}
