//! Statistics of the v1 controllers (the kernel's cgroup-v1/*.rst).

use super::{Blkio, BlkioEntry, Cpu, CpuUsage, Cpuset, Memory, MemoryUsage, Read, Throttling};
use super::{number, table};
use crate::error::Result;

/// What `cpuacct.stat` counts in: the kernel's USER_HZ, which is the same on every architecture that runs containers.
const TICK: u64 = 10_000_000;

/// The controller `cpuacct`.
pub(super) fn cpu(read: Read<'_>) -> Result<Cpu> {
    let text = read("cpuacct.stat")?.unwrap_or_default();
    let stat = table(&text);
    let ticks = |name| stat.get(name).copied().unwrap_or_default() * TICK;
    let percpu = read("cpuacct.usage_percpu")?.unwrap_or_default();
    let all = read("cpuacct.usage_all")?.unwrap_or_default();
    let column = |index| {
        let value = |line: &str| line.split_whitespace().nth(index).map(number);
        all.lines().skip(1).filter_map(value).collect()
    };
    let usage = CpuUsage {
        total: read("cpuacct.usage")?.as_deref().map_or(0, number),
        percpu: percpu.split_whitespace().map(number).collect(),
        percpu_kernel: column(2),
        percpu_user: column(1),
        kernel: ticks("system"),
        user: ticks("user"),
    };
    Ok(Cpu { usage, ..Cpu::default() })
}

/// The controller `cpu`.
pub(super) fn throttling(read: Read<'_>) -> Result<Throttling> {
    let text = read("cpu.stat")?.unwrap_or_default();
    let stat = table(&text);
    let value = |name| stat.get(name).copied().unwrap_or_default();
    Ok(Throttling {
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_time: value("throttled_time"),
    })
}

pub(super) fn cpuset(read: Read<'_>) -> Result<Cpuset> {
    let text = |name: &str| Ok(read(&format!("cpuset.{name}"))?.unwrap_or_default());
    let value = |name| text(name).map(|text| number(&text));
    Ok(Cpuset {
        cpus: list(&text("cpus")?),
        cpu_exclusive: value("cpu_exclusive")?,
        mems: list(&text("mems")?),
        mem_hardwall: value("mem_hardwall")?,
        mem_exclusive: value("mem_exclusive")?,
        memory_migrate: value("memory_migrate")?,
        memory_spread_page: value("memory_spread_page")?,
        memory_spread_slab: value("memory_spread_slab")?,
        memory_pressure: value("memory_pressure")?,
        sched_load_balance: value("sched_load_balance")?,
        sched_relax_domain_level: text("sched_relax_domain_level")?.trim().parse().unwrap_or_default(),
    })
}

/// The numbers of a list like `0-3,7` (cpuset(7), "List format").
fn list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

pub(super) fn memory(read: Read<'_>) -> Result<Memory> {
    let usage = |kind: &str| {
        let value = |file: &str| Ok(read(&format!("memory.{kind}{file}"))?.as_deref().map_or(0, number));
        Ok(MemoryUsage {
            limit: value("limit_in_bytes")?,
            usage: value("usage_in_bytes")?,
            max: value("max_usage_in_bytes")?,
            failcnt: value("failcnt")?,
        })
    };
    let text = read("memory.stat")?.unwrap_or_default();
    let stat = table(&text);
    Ok(Memory {
        cache: stat.get("cache").copied().unwrap_or_default(),
        usage: usage("")?,
        swap: usage("memsw.")?,
        kernel: usage("kmem.")?,
        kernel_tcp: usage("kmem.tcp.")?,
        raw: stat.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        psi: None,
    })
}

/// What the scheduler bfq counts where it is used, or else what is counted before any scheduler.
pub(super) fn blkio(read: Read<'_>) -> Result<Blkio> {
    let entries =
        |file: &str| Ok(read(&format!("blkio.{file}_recursive"))?.as_deref().map_or(Vec::new(), devices));
    let bytes = entries("bfq.io_service_bytes")?;
    if bytes.is_empty() {
        return Ok(Blkio {
            io_service_bytes_recursive: entries("throttle.io_service_bytes")?,
            io_serviced_recursive: entries("throttle.io_serviced")?,
            ..Blkio::default()
        });
    }
    Ok(Blkio {
        io_service_bytes_recursive: bytes,
        io_serviced_recursive: entries("bfq.io_serviced")?,
        io_queue_recursive: entries("bfq.io_queued")?,
        io_service_time_recursive: entries("bfq.io_service_time")?,
        io_wait_time_recursive: entries("bfq.io_wait_time")?,
        io_merged_recursive: entries("bfq.io_merged")?,
        io_time_recursive: entries("bfq.time")?,
        sectors_recursive: entries("bfq.sectors")?,
        psi: None,
    })
}

/// Lines `MAJOR:MINOR [OPERATION] VALUE`; their sum, `Total VALUE`, is left out.
fn devices(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (device, op, value) = match words.as_slice() {
            [device, op, value] => (device, (*op).to_owned(), value),
            [device, value] => (device, String::new(), value),
            _ => return None,
        };
        let (major, minor) = device.split_once(':')?;
        Some(BlkioEntry { major: number(major), minor: number(minor), op, value: number(value) })
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::tests::files;

    #[test]
    fn processor_time_is_told_by_processor_and_in_nanoseconds() {
        let cpu = cpu(&files(&[
            ("cpuacct.usage", "29502068\n"),
            ("cpuacct.usage_percpu", "29502068 0 \n"),
            ("cpuacct.usage_all", "cpu user system\n0 7 20000000\n1 0 0\n"),
            ("cpuacct.stat", "user 1\nsystem 2\n"),
        ]))
        .unwrap();
        let expected = CpuUsage {
            total: 29_502_068,
            percpu: vec![29_502_068, 0],
            percpu_kernel: vec![20_000_000, 0],
            percpu_user: vec![7, 0],
            kernel: 20_000_000,
            user: 10_000_000,
        };
        assert_eq!(cpu.usage, expected);
    }

    #[test]
    fn lists_of_processors_are_written_out() {
        assert_eq!(list("0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(list("\n"), [0_u32; 0]);
        let cpuset =
            cpuset(&files(&[("cpuset.cpus", "1\n"), ("cpuset.sched_relax_domain_level", "-1\n")])).unwrap();
        assert_eq!((cpuset.cpus, cpuset.sched_relax_domain_level), (vec![1], -1));
    }

    #[test]
    fn each_kind_of_memory_has_its_files() {
        let memory = memory(&files(&[
            ("memory.limit_in_bytes", "10\n"),
            ("memory.failcnt", "3\n"),
            ("memory.memsw.usage_in_bytes", "4\n"),
            ("memory.kmem.max_usage_in_bytes", "5\n"),
            ("memory.kmem.tcp.limit_in_bytes", "6\n"),
            ("memory.stat", "cache 9\nrss 8\n"),
        ]))
        .unwrap();
        assert_eq!((memory.usage.limit, memory.usage.failcnt, memory.cache), (10, 3, 9));
        assert_eq!((memory.swap.usage, memory.kernel.max, memory.kernel_tcp.limit), (4, 5, 6));
        assert_eq!(memory.raw.len(), 2);
    }

    #[test]
    fn what_bfq_counts_comes_first_and_sums_are_left_out() {
        let throttle = [
            ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
            ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 5\n8:0 Total 5\nTotal 5\n"),
        ];
        let entry = |op: &str, value| BlkioEntry { major: 8, minor: 0, op: op.to_owned(), value };
        let bytes = blkio(&files(&throttle)).unwrap().io_service_bytes_recursive;
        assert_eq!(bytes, [entry("Read", 5), entry("Total", 5)]);
        let bfq = [
            ("blkio.bfq.io_service_bytes_recursive", "8:0 Read 1\n"),
            ("blkio.bfq.time_recursive", "8:0 77\n"),
            throttle[1],
        ];
        let blkio = blkio(&files(&bfq)).unwrap();
        assert_eq!(blkio.io_service_bytes_recursive, [entry("Read", 1)]);
        assert_eq!(blkio.io_time_recursive, [entry("", 77)]);
    }
}
