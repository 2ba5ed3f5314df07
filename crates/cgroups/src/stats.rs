//! What a cgroup has used: typed values, whatever the layout they come from.
//!
//! Serialised they have the shape in which runc reports them by `events`, which containerd and monitoring tools decode:
//! its names, and most values left out that are zero. What is not measured on a host (no such controller, no pressure
//! accounting) is zero or absent.

mod legacy;
mod unified;

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use rustix::fs::Dir;
use rustix::io::Errno;
use serde::{Serialize, Serializer};

use crate::cgroup::{Cgroup, Member};
use crate::error::{Error, Result};
use crate::files::read_small;

/// All there is to know about a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Processor time.
    pub cpu: Cpu,
    /// Processors and memory nodes; of v1 only.
    pub cpuset: Cpuset,
    /// Memory and swap.
    pub memory: Memory,
    /// Processes.
    pub pids: Pids,
    /// Input and output of block devices.
    pub blkio: Blkio,
    /// Huge pages by their size, as the kernel names it (`2MB`).
    pub hugetlb: BTreeMap<String, Hugetlb>,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// What was used.
    pub usage: CpuUsage,
    /// What was withheld.
    pub throttling: Throttling,
    /// What was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Processor time that was used, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// By processor; of v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// That in the kernel, by processor; of v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// That in user space, by processor; of v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// That in the kernel.
    pub kernel: u64,
    /// That in user space.
    pub user: u64,
}

/// How a quota was felt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods that have passed.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Those in which processes had to wait.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// How long they did, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// The files of the v1 controller `cpuset` (cgroup-v1/cpusets.rst).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "named after the kernel's files, which its documentation explains")]
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u32>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u32>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Memory {
    /// The page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryUsage,
    /// Memory and swap together.
    pub swap: MemoryUsage,
    /// Memory of the kernel; of v1 only.
    pub kernel: MemoryUsage,
    /// Buffers of TCP; of v1 only.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryUsage,
    /// The kernel's own statistics (`memory.stat`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// What was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One kind of memory. No limit is the highest number there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MemoryUsage {
    /// What may be used.
    pub limit: u64,
    /// What is used.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that was used.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit; of v1 only.
    pub failcnt: u64,
}

/// Processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// How many there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// How many there may be; 0 without a limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Input and output of block devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "named after the kernel's files, which its documentation explains")]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_queue_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One number about one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// The device's major number.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// The device's minor number.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// The operation, `Read` for example.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The number.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hugetlb {
    /// What is used.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that was used; of v1 only.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// How long processes had to wait for a resource (the kernel's accounting/psi.rst).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Some of them.
    pub some: Stall,
    /// All of them at the same time.
    pub full: Stall,
}

/// Shares of the last seconds, in percent, and all of it in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the kernel's names, with the number of seconds in them")]
pub struct Stall {
    #[serde(serialize_with = "percentage")]
    pub avg10: f64,
    #[serde(serialize_with = "percentage")]
    pub avg60: f64,
    #[serde(serialize_with = "percentage")]
    pub avg300: f64,
    pub total: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Without `.0` behind a whole number, as Go prints it.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn percentage<S: Serializer>(value: &f64, serializer: S) -> core::result::Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && (0.0..=100.0).contains(value) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
        return serializer.serialize_u8(*value as u8);
    }
    serializer.serialize_f64(*value)
}

/// Reads a file of a controller; `None` where there is none.
type Read<'a> = &'a dyn Fn(&str) -> Result<Option<String>>;

impl Cgroup {
    /// What the cgroup has used up to now.
    ///
    /// # Errors
    /// Names the file that cannot be read, `ENODEV` being the reason when the cgroup has been removed meanwhile. That a
    /// controller is missing is no error.
    pub fn statistics(&self) -> Result<Statistics> {
        let of = |controller| self.member_with(controller);
        let mut statistics = Statistics::default();
        if let Some(member) = of("cpuacct") {
            let read = |name: &str| self.read_file(member, name);
            statistics.cpu =
                if member.hierarchy.unified { unified::cpu(&read)? } else { legacy::cpu(&read)? };
        }
        if let Some(member) = of("cpu").filter(|member| !member.hierarchy.unified) {
            statistics.cpu.throttling = legacy::throttling(&|name| self.read_file(member, name))?;
        }
        if let Some(member) = of("cpuset").filter(|member| !member.hierarchy.unified) {
            statistics.cpuset = legacy::cpuset(&|name| self.read_file(member, name))?;
        }
        if let Some(member) = of("memory") {
            let read = |name: &str| self.read_file(member, name);
            statistics.memory =
                if member.hierarchy.unified { unified::memory(&read)? } else { legacy::memory(&read)? };
        }
        if let Some(member) = of("pids") {
            statistics.pids = pids(&|name| self.read_file(member, name))?;
        }
        if statistics.pids.current == 0 {
            statistics.pids.current = self.processes()?.len() as u64;
        }
        if let Some(member) = of("blkio") {
            let read = |name: &str| self.read_file(member, name);
            statistics.blkio =
                if member.hierarchy.unified { unified::blkio(&read)? } else { legacy::blkio(&read)? };
        }
        if let Some(member) = of("hugetlb") {
            let names = names(member).map_err(|errno| self.unreadable(member, "", errno))?;
            statistics.hugetlb = hugetlb(&names, &|name| self.read_file(member, name))?;
        }
        Ok(statistics)
    }

    /// The hierarchy of v1 that has the controller, or else the v2 tree, which may have it.
    fn member_with(&self, controller: &str) -> Option<&Member> {
        let has = |member: &&Member| member.hierarchy.controllers.iter().any(|name| name == controller);
        self.members.iter().find(has).or(self.unified())
    }

    fn read_file(&self, member: &Member, name: &str) -> Result<Option<String>> {
        match read_small(member.directory.as_fd(), name) {
            Ok(text) => Ok(Some(text)),
            // The controller is not there, or what it counts has been switched off (psi=0).
            Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(self.unreadable(member, name, errno)),
        }
    }

    fn unreadable(&self, member: &Member, name: &str, errno: Errno) -> Error {
        Error::at("read", member.file(&self.path, name), errno)
    }
}

/// The names of the files in a cgroup.
fn names(member: &Member) -> core::result::Result<Vec<String>, Errno> {
    Dir::read_from(&member.directory)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// v1 and v2 have the same files.
fn pids(read: Read<'_>) -> Result<Pids> {
    let number = |name| Ok(read(name)?.as_deref().map_or(0, number));
    let limit = number("pids.max")?;
    Ok(Pids { current: number("pids.current")?, limit: if limit == u64::MAX { 0 } else { limit } })
}

/// A file of v1 or v2 for each size.
fn hugetlb(names: &[String], read: Read<'_>) -> Result<BTreeMap<String, Hugetlb>> {
    let value = |name: String| Ok(read(&name)?.as_deref().map_or(0, number));
    let mut sizes = BTreeMap::new();
    for name in names {
        let Some(rest) = name.strip_prefix("hugetlb.") else { continue };
        let pages = if let Some(size) = rest.strip_suffix(".usage_in_bytes").filter(|size| is_size(size)) {
            Hugetlb {
                usage: value(name.clone())?,
                max: value(format!("hugetlb.{size}.max_usage_in_bytes"))?,
                failcnt: value(format!("hugetlb.{size}.failcnt"))?,
            }
        } else if let Some(size) = rest.strip_suffix(".current").filter(|size| is_size(size)) {
            let events = read(&format!("hugetlb.{size}.events"))?.unwrap_or_default();
            let failcnt = table(&events).get("max").copied().unwrap_or_default();
            Hugetlb { usage: value(name.clone())?, max: 0, failcnt }
        } else {
            continue;
        };
        let size = rest.split('.').next().unwrap_or_default();
        sizes.insert(size.to_owned(), pages);
    }
    Ok(sizes)
}

/// Reservations (`2MB.rsvd`) are counted apart.
fn is_size(text: &str) -> bool {
    !text.contains('.')
}

/// A file that holds one number, or the word for no limit.
fn number(text: &str) -> u64 {
    match text.trim() {
        "max" => u64::MAX,
        digits => digits.parse().unwrap_or_default(),
    }
}

/// A file of lines with a name and a number.
fn table(text: &str) -> BTreeMap<&str, u64> {
    text.lines().filter_map(|line| line.split_once(' ')).map(|(name, value)| (name, number(value))).collect()
}

/// The text of a `*.pressure` file.
fn pressure(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let stall = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            match name {
                "avg10" => stall.avg10 = value.parse().unwrap_or_default(),
                "avg60" => stall.avg60 = value.parse().unwrap_or_default(),
                "avg300" => stall.avg300 = value.parse().unwrap_or_default(),
                "total" => stall.total = number(value),
                _ => {}
            }
        }
    }
    pressure
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Files that stand in for those of a cgroup.
    pub(crate) fn files(files: &[(&str, &str)]) -> impl Fn(&str) -> Result<Option<String>> {
        move |name| {
            let found = files.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(_, text)| (*text).to_owned()))
        }
    }

    #[test]
    fn pressure_is_read_and_printed_as_go_does() {
        let text = "some avg10=0.54 avg60=0.00 avg300=100.00 total=76912\nfull avg10=12.30 avg60=7.00 avg300=0.01 total=1\n";
        let json = serde_json::to_string(&pressure(text)).unwrap();
        assert_eq!(
            json,
            r#"{"some":{"avg10":0.54,"avg60":0,"avg300":100,"total":76912},"full":{"avg10":12.3,"avg60":7,"avg300":0.01,"total":1}}"#
        );
    }

    #[test]
    fn no_limit_on_processes_is_no_number() {
        let limited = files(&[("pids.current", "2\n"), ("pids.max", "10\n")]);
        assert_eq!(pids(&limited).unwrap(), Pids { current: 2, limit: 10 });
        let unlimited = files(&[("pids.current", "2\n"), ("pids.max", "max\n")]);
        assert_eq!(pids(&unlimited).unwrap(), Pids { current: 2, limit: 0 });
    }

    #[test]
    fn huge_pages_are_counted_by_size_and_reservations_not() {
        let names: Vec<_> =
            ["hugetlb.2MB.current", "hugetlb.2MB.rsvd.current", "hugetlb.2MB.max", "cpu.stat"]
                .map(str::to_owned)
                .into();
        let read = files(&[("hugetlb.2MB.current", "4194304\n"), ("hugetlb.2MB.events", "max 3\n")]);
        let expected = Hugetlb { usage: 4_194_304, max: 0, failcnt: 3 };
        assert_eq!(hugetlb(&names, &read).unwrap(), BTreeMap::from([("2MB".to_owned(), expected)]));
        let names = ["hugetlb.1GB.usage_in_bytes".to_owned()];
        let read = files(&[
            ("hugetlb.1GB.usage_in_bytes", "1\n"),
            ("hugetlb.1GB.max_usage_in_bytes", "2\n"),
            ("hugetlb.1GB.failcnt", "3\n"),
        ]);
        let expected = Hugetlb { usage: 1, max: 2, failcnt: 3 };
        assert_eq!(hugetlb(&names, &read).unwrap(), BTreeMap::from([("1GB".to_owned(), expected)]));
    }

    #[test]
    fn nothing_measured_has_the_shape_runc_gives_it() {
        let json = serde_json::to_string(&Statistics::default()).unwrap();
        assert_eq!(
            json,
            r#"{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"memory":{"usage":{"limit":0,"failcnt":0},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}},"pids":{},"blkio":{},"hugetlb":{}}"#
        );
    }
}
