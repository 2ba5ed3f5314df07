//! Limits as properties: what systemd is to write into the files of the unit's cgroup by itself.
//!
//! It is told what the runtime writes too, so that it does not put something else there when it next goes over its units
//! (`systemctl daemon-reload`, a property that somebody sets). What it has no property for, and what is not a value of the
//! file, is left out here: the runtime writes all of them itself, and says what the kernel has against it.
//!
//! Sources: systemd.resource-control(5), org.freedesktop.systemd1(5), and the kernel's cgroup-v2.rst.

use super::properties::Property;
use super::value::{Type, Value};
use crate::resources::{IfMissing, Write};

/// No limit.
const INFINITY: u64 = u64::MAX;

/// The period of the CPU's quota where none is given, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

const SECOND: u64 = 1_000_000;

/// systemd keeps the CPU's quota in hundredths of a CPU.
const HUNDREDTH: u64 = SECOND / 100;

/// The properties for what is written into a unit's cgroup, in order; what comes later has the last word.
pub(super) fn properties(writes: &[Write]) -> Vec<Property> {
    let mut properties: Vec<Property> = Vec::new();
    for write in writes {
        for property in of_file(write, writes) {
            match properties.iter_mut().find(|other| other.name == property.name) {
                Some(other) => merge(&mut other.value, property.value),
                None => properties.push(property),
            }
        }
    }
    properties
}

/// A list for single devices grows, anything else is replaced.
fn merge(present: &mut Value, new: Value) {
    match (present, new) {
        (Value::Array(Type::Tuple(_), present), Value::Array(_, new)) => present.extend(new),
        (present, new) => *present = new,
    }
}

fn of_file(write: &Write, all: &[Write]) -> Vec<Property> {
    let value = write.value.trim();
    let size = |name| amount(value).map(|amount| Property::new(name, Value::Uint64(amount)));
    let set = |name| list_as_mask(value).map(|mask| Property::new(name, Value::bytes(mask)));
    let one = match &*write.file {
        "memory.max" | "memory.limit_in_bytes" => size("MemoryMax"),
        "memory.low" => size("MemoryLow"),
        "memory.min" => size("MemoryMin"),
        "memory.high" => size("MemoryHigh"),
        "memory.swap.max" => size("MemorySwapMax"),
        "memory.zswap.max" => size("MemoryZSwapMax"),
        "pids.max" => size("TasksMax"),
        "cpu.weight" => size("CPUWeight"),
        // Since systemd 252; the file of the weight cannot be written while it is set.
        "cpu.idle" if value == "1" => Some(Property::new("CPUWeight", Value::Uint64(0))),
        "cpuset.cpus" => set("AllowedCPUs"),
        "cpuset.mems" => set("AllowedMemoryNodes"),
        "memory.oom.group" => oom_policy(value),
        "cpu.max" => return bandwidth(value),
        "cpu.cfs_quota_us" => return legacy_bandwidth(value, all),
        "cpu.shares" => return both(value, ["CPUShares", "StartupCPUShares"]),
        "blkio.weight" => size("BlockIOWeight"),
        "io.weight" => io_weight(value),
        "io.bfq.weight" => match &write.if_missing {
            // systemd makes the one of the other by itself.
            IfMissing::Instead(other) => io_weight(&other.value),
            _ => None,
        },
        _ => None,
    };
    one.into_iter().collect()
}

fn amount(value: &str) -> Option<u64> {
    match value {
        "max" => Some(INFINITY),
        // v1 writes it like this.
        "-1" => Some(INFINITY),
        number => number.parse().ok(),
    }
}

fn both(value: &str, names: [&'static str; 2]) -> Vec<Property> {
    let value = amount(value);
    names.into_iter().filter_map(|name| Some(Property::new(name, Value::Uint64(value?)))).collect()
}

/// `QUOTA PERIOD` of `cpu.max`.
fn bandwidth(value: &str) -> Vec<Property> {
    let mut words = value.split_whitespace();
    let quota = words.next().and_then(amount);
    let period = words.next().map(|word| word.parse().ok().filter(|period| *period != 0));
    match (quota, period) {
        (Some(quota), None) => vec![quota_in_a_second(quota, DEFAULT_PERIOD)],
        (Some(quota), Some(Some(period))) => {
            vec![quota_in_a_second(quota, period), Property::new("CPUQuotaPeriodUSec", Value::Uint64(period))]
        }
        _ => Vec::new(),
    }
}

/// v1 has a file for the period.
fn legacy_bandwidth(quota: &str, all: &[Write]) -> Vec<Property> {
    let period = all.iter().find(|write| write.file == "cpu.cfs_period_us").map(|write| write.value.as_str());
    let quota = if amount(quota) == Some(INFINITY) { "max" } else { quota };
    bandwidth(&[quota, period.unwrap_or_default()].join(" "))
}

/// Rounded up, because systemd would cut it off otherwise.
fn quota_in_a_second(quota: u64, period: u64) -> Property {
    let in_a_second = match quota {
        INFINITY => INFINITY,
        quota => {
            let exact = u128::from(quota) * u128::from(SECOND) / u128::from(period);
            u64::try_from(exact)
                .ok()
                .and_then(|exact| exact.checked_next_multiple_of(HUNDREDTH))
                .unwrap_or(INFINITY)
        }
    };
    Property::new("CPUQuotaPerSecUSec", Value::Uint64(in_a_second))
}

/// `WEIGHT`, `default WEIGHT` or `MAJOR:MINOR WEIGHT`.
fn io_weight(value: &str) -> Option<Property> {
    let (device, weight) = value.split_once(' ').unwrap_or(("default", value));
    let weight = weight.trim().parse().ok()?;
    if device == "default" {
        return Some(Property::new("IOWeight", Value::Uint64(weight)));
    }
    let device = Value::Text(format!("/dev/block/{device}"));
    let list = Value::Array(
        Type::Tuple(vec![Type::Text, Type::Uint64]),
        vec![Value::Tuple(vec![device, Value::Uint64(weight)])],
    );
    Some(Property::new("IODeviceWeight", list))
}

/// What becomes of the unit when the kernel kills one of its processes for want of memory.
fn oom_policy(group: &str) -> Option<Property> {
    let policy = match group {
        "0" => "continue",
        "1" => "kill",
        _ => return None,
    };
    Some(Property::new("OOMPolicy", Value::Text(policy.to_owned())))
}

/// The highest number of a CPU or a memory node that is passed on.
const HIGHEST: usize = 8191;

/// `0-3,7` (cpuset(7), "List format") as bits, those of the lowest numbers in the first byte.
fn list_as_mask(list: &str) -> Option<Vec<u8>> {
    let mut mask = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last > HIGHEST {
            return None;
        }
        mask.resize(mask.len().max(last / 8 + 1), 0_u8);
        for number in first..=last {
            mask[number / 8] |= 1 << (number % 8);
        }
    }
    Some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Hierarchy, Layout};
    use crate::resources::Resources;

    fn shown(properties: &[Property]) -> Vec<String> {
        properties
            .iter()
            .map(|property| match &property.value {
                Value::Uint64(u64::MAX) => format!("{}=infinity", property.name),
                Value::Uint64(number) => format!("{}={number}", property.name),
                Value::Text(text) => format!("{}={text}", property.name),
                Value::Array(Type::Byte, bytes) => format!("{}={bytes:?}", property.name).replace("Byte", ""),
                other => format!("{}={other:?}", property.name),
            })
            .collect()
    }

    fn unified(resources: &str) -> Vec<String> {
        let resources: Resources = serde_json::from_str(resources).unwrap();
        shown(&properties(&resources.writes(&Layout::unified()).unwrap()))
    }

    fn legacy(resources: &str) -> Vec<String> {
        let resources: Resources = serde_json::from_str(resources).unwrap();
        let memory =
            Hierarchy { directory: "memory".into(), unified: false, controllers: vec!["memory".into()] };
        shown(&properties(&resources.writes(&Layout { hierarchies: vec![memory] }).unwrap()))
    }

    #[test]
    fn memory_and_swap_are_counted_apart() {
        let resources = r#"{"memory":{"limit":268435456,"swap":536870912,"reservation":134217728}}"#;
        let expected = ["MemoryMax=268435456", "MemorySwapMax=268435456", "MemoryLow=134217728"];
        assert_eq!(unified(resources), expected);
    }

    #[test]
    fn no_limit_is_infinity() {
        let resources = r#"{"memory":{"limit":-1,"swap":-1},"pids":{"limit":-1}}"#;
        assert_eq!(unified(resources), ["MemoryMax=infinity", "MemorySwapMax=infinity", "TasksMax=infinity"]);
        assert_eq!(unified(r#"{"pids":{"limit":0}}"#), [""; 0]);
    }

    #[test]
    fn the_quota_is_for_a_second_and_rounded_up() {
        let quota = |quota: i64, period: u64| {
            unified(&format!(r#"{{"cpu":{{"quota":{quota},"period":{period}}}}}"#)).remove(0)
        };
        assert_eq!(quota(50_000, 100_000), "CPUQuotaPerSecUSec=500000");
        assert_eq!(quota(1_001, 100_000), "CPUQuotaPerSecUSec=20000");
        assert_eq!(quota(-1, 100_000), "CPUQuotaPerSecUSec=infinity");
        assert_eq!(unified(r#"{"cpu":{"quota":20000}}"#), ["CPUQuotaPerSecUSec=200000"]);
        let period = unified(r#"{"cpu":{"period":20000}}"#);
        assert_eq!(period, ["CPUQuotaPerSecUSec=infinity", "CPUQuotaPeriodUSec=20000"]);
    }

    #[test]
    fn shares_are_a_weight_and_idle_is_none() {
        assert_eq!(unified(r#"{"cpu":{"shares":512}}"#), ["CPUWeight=59"]);
        assert_eq!(unified(r#"{"cpu":{"idle":1}}"#), ["CPUWeight=0"]);
        assert_eq!(unified(r#"{"cpu":{"idle":0}}"#), [""; 0]);
    }

    #[test]
    fn sets_are_bits() {
        let expected = ["AllowedCPUs=[(143), (1)]", "AllowedMemoryNodes=[(1)]"];
        assert_eq!(unified(r#"{"cpu":{"cpus":"0-3,7-8","mems":"0"}}"#), expected);
        for list in ["x", "3-1", "1-", "99999999999", "-1"] {
            assert_eq!(list_as_mask(list), None, "{list}");
        }
        assert_eq!(list_as_mask(""), Some(vec![]));
    }

    #[test]
    fn files_given_by_name_have_the_last_word() {
        let resources = r#"{"memory":{"limit":100},"unified":{"memory.max":"200","memory.high":"max",
            "memory.min":"5","memory.zswap.max":"7","memory.oom.group":"1","cpu.max":"max 1000","pids.max":"9",
            "cpu.weight":"50","cpuset.cpus":"1","io.weight":"default 300","hugetlb.2MB.max":"0"}}"#;
        let mut properties = unified(resources);
        properties.sort();
        let expected = [
            "AllowedCPUs=[(2)]",
            "CPUQuotaPerSecUSec=infinity",
            "CPUQuotaPeriodUSec=1000",
            "CPUWeight=50",
            "IOWeight=300",
            "MemoryHigh=infinity",
            "MemoryMax=200",
            "MemoryMin=5",
            "MemoryZSwapMax=7",
            "OOMPolicy=kill",
            "TasksMax=9",
        ];
        assert_eq!(properties, expected);
    }

    #[test]
    fn devices_have_weights_of_their_own() {
        let resources = r#"{"blockIO":{"weight":1000,"weightDevice":[
            {"major":8,"minor":0,"weight":10},{"major":8,"minor":16,"weight":1000}]}}"#;
        let properties = unified(resources);
        assert_eq!(properties[0], "IOWeight=10000");
        assert_eq!(properties.len(), 2);
        for part in ["IODeviceWeight", "/dev/block/8:0", "Uint64(1)", "/dev/block/8:16", "Uint64(10000)"] {
            assert!(properties[1].contains(part), "{part}: {}", properties[1]);
        }
    }

    #[test]
    fn v1_has_other_names() {
        let resources = r#"{"memory":{"limit":100},"cpu":{"shares":512,"quota":1000,"period":10000,"cpus":"0"},
            "blockIO":{"weight":500},"pids":{"limit":3}}"#;
        let expected = [
            "MemoryMax=100",
            "CPUShares=512",
            "StartupCPUShares=512",
            "CPUQuotaPerSecUSec=100000",
            "CPUQuotaPeriodUSec=10000",
            "AllowedCPUs=[(1)]",
            "TasksMax=3",
            "BlockIOWeight=500",
        ];
        assert_eq!(legacy(resources), expected);
    }

    #[test]
    fn what_is_no_value_of_the_file_is_left_to_the_kernel_to_refuse() {
        let resources =
            r#"{"unified":{"memory.max":"lots","cpu.max":"x y","cpuset.cpus":"none","io.weight":"8:0"}}"#;
        assert_eq!(unified(resources), [""; 0]);
    }
}
