//! Statistics of the v2 controllers (cgroup-v2.rst).

use super::{Blkio, BlkioEntry, Cpu, CpuUsage, Memory, MemoryUsage, Read, Throttling};
use super::{number, pressure, table};
use crate::error::Result;

const NANOSECONDS: u64 = 1000;

pub(super) fn cpu(read: Read<'_>) -> Result<Cpu> {
    let text = read("cpu.stat")?.unwrap_or_default();
    let stat = table(&text);
    let value = |name| stat.get(name).copied().unwrap_or_default();
    Ok(Cpu {
        usage: CpuUsage {
            total: value("usage_usec") * NANOSECONDS,
            kernel: value("system_usec") * NANOSECONDS,
            user: value("user_usec") * NANOSECONDS,
            ..CpuUsage::default()
        },
        throttling: Throttling {
            periods: value("nr_periods"),
            throttled_periods: value("nr_throttled"),
            throttled_time: value("throttled_usec") * NANOSECONDS,
        },
        psi: read("cpu.pressure")?.as_deref().map(pressure),
    })
}

/// As on v1, swap is reported together with memory.
pub(super) fn memory(read: Read<'_>) -> Result<Memory> {
    let value = |name| Ok(read(name)?.as_deref().map(number));
    let text = read("memory.stat")?.unwrap_or_default();
    let stat = table(&text);
    let usage = MemoryUsage {
        limit: value("memory.max")?.unwrap_or_default(),
        usage: value("memory.current")?.unwrap_or_default(),
        max: value("memory.peak")?.unwrap_or_default(),
        failcnt: 0,
    };
    let swap = match (value("memory.swap.max")?, value("memory.swap.current")?) {
        (Some(limit), Some(current)) => MemoryUsage {
            limit: usage.limit.saturating_add(limit),
            usage: usage.usage.saturating_add(current),
            ..MemoryUsage::default()
        },
        _ => MemoryUsage::default(),
    };
    Ok(Memory {
        cache: stat.get("file").copied().unwrap_or_default(),
        usage,
        swap,
        raw: stat.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        psi: read("memory.pressure")?.as_deref().map(pressure),
        ..Memory::default()
    })
}

/// `io.stat`: a line `MAJOR:MINOR NAME=VALUE...` for each device.
pub(super) fn blkio(read: Read<'_>) -> Result<Blkio> {
    let text = read("io.stat")?.unwrap_or_default();
    let mut blkio = Blkio { psi: read("io.pressure")?.as_deref().map(pressure), ..Blkio::default() };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else { continue };
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match name {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            let (major, minor) = (number(major), number(minor));
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value: number(value) });
        }
    }
    Ok(blkio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::tests::files;

    #[test]
    fn processor_time_is_told_in_nanoseconds() {
        let text =
            "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 4\nthrottled_usec 3\n";
        let cpu = cpu(&files(&[("cpu.stat", text)])).unwrap();
        assert_eq!((cpu.usage.total, cpu.usage.user, cpu.usage.kernel), (30_000, 20_000, 10_000));
        let expected = Throttling { periods: 5, throttled_periods: 4, throttled_time: 3000 };
        assert_eq!(cpu.throttling, expected);
        assert_eq!(cpu.psi, None);
    }

    #[test]
    fn swap_includes_memory() {
        let all = [
            ("memory.current", "100\n"),
            ("memory.max", "1000\n"),
            ("memory.peak", "200\n"),
            ("memory.swap.current", "7\n"),
            ("memory.swap.max", "50\n"),
            ("memory.stat", "anon 1\nfile 64\n"),
        ];
        let memory = memory(&files(&all)).unwrap();
        assert_eq!(memory.usage, MemoryUsage { limit: 1000, usage: 100, max: 200, failcnt: 0 });
        assert_eq!(memory.swap, MemoryUsage { limit: 1050, usage: 107, max: 0, failcnt: 0 });
        assert_eq!((memory.cache, memory.raw["anon"], memory.raw.len()), (64, 1, 2));
    }

    #[test]
    fn no_limit_is_the_highest_number_and_without_swap_accounting_swap_is_zero() {
        let memory = memory(&files(&[("memory.max", "max\n"), ("memory.current", "5\n")])).unwrap();
        assert_eq!((memory.usage.limit, memory.swap), (u64::MAX, MemoryUsage::default()));
        let both =
            files(&[("memory.max", "8\n"), ("memory.swap.max", "max\n"), ("memory.swap.current", "0\n")]);
        assert_eq!(super::memory(&both).unwrap().swap.limit, u64::MAX);
    }

    #[test]
    fn devices_are_told_by_operation() {
        let text = "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 \n";
        let blkio = blkio(&files(&[("io.stat", text)])).unwrap();
        let entry = |op: &str, value| BlkioEntry { major: 254, minor: 0, op: op.to_owned(), value };
        assert_eq!(blkio.io_service_bytes_recursive, [entry("Read", 1), entry("Write", 2)]);
        assert_eq!(blkio.io_serviced_recursive, [entry("Read", 3), entry("Write", 4)]);
    }
}
