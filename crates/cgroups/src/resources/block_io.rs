//! `linux.resources.blockIO`: shares and rates of block devices (cgroup-v2.rst "IO", cgroup-v1/blkio-controller.rst,
//! block/bfq-iosched.rst).

use serde::Deserialize;

use super::{Write, invalid, null_is_default};
use crate::error::Result;

/// `linux.resources.blockIO`. A weight of 0 is taken for "not set".
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BlockIo {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// v1: the weight of the cgroup's own processes against the cgroups below it.
    pub leaf_weight: Option<u16>,
    /// Weights for single devices.
    #[serde(deserialize_with = "null_is_default")]
    pub weight_device: Vec<WeightDevice>,
    /// The most bytes read in a second.
    #[serde(deserialize_with = "null_is_default")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// The most bytes written in a second.
    #[serde(deserialize_with = "null_is_default")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// The most reads in a second.
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "null_is_default")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// The most writes in a second.
    #[serde(rename = "throttleWriteIOPSDevice", deserialize_with = "null_is_default")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// The weight for one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightDevice {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// As [`BlockIo::weight`].
    #[serde(default)]
    pub weight: Option<u16>,
    /// As [`BlockIo::leaf_weight`].
    #[serde(default)]
    pub leaf_weight: Option<u16>,
}

/// The highest rate for one device; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ThrottleDevice {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Bytes or operations in a second.
    #[serde(default)]
    pub rate: u64,
}

/// A weight that is set, if it is one.
fn weight(path: &str, value: Option<u16>) -> Result<Option<u16>> {
    match value {
        None | Some(0) => Ok(None),
        Some(10..=1000) => Ok(value),
        Some(value) => Err(invalid(&format!("blockIO.{path}"), format!("{value} is not within 10 and 1000"))),
    }
}

/// Weights of 10 to 1000 (by default 500) as those of `io.weight`: 1 to 10 000 (by default 100), the ends on the ends.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.clamp(10, 1000) - 10) * 9_999 / 990
}

impl BlockIo {
    /// The four kinds of rates; each with its file on v1, its key on v2 and the highest number the kernel takes.
    fn rates(&self) -> [(&[ThrottleDevice], &'static str, &'static str, u64); 4] {
        // The kernel keeps operations in 32 bits, and on v1 cuts off what is above.
        const OPERATIONS: u64 = u32::MAX as u64;
        [
            (&self.throttle_read_bps_device, "blkio.throttle.read_bps_device", "rbps", u64::MAX),
            (&self.throttle_write_bps_device, "blkio.throttle.write_bps_device", "wbps", u64::MAX),
            (&self.throttle_read_iops_device, "blkio.throttle.read_iops_device", "riops", OPERATIONS),
            (&self.throttle_write_iops_device, "blkio.throttle.write_iops_device", "wiops", OPERATIONS),
        ]
    }

    /// runtime-spec config-linux.md#block-io: an entry has at least one of the two.
    fn refuse_devices_without_weight(&self) -> Result<()> {
        let has_none = |device: &&WeightDevice| device.weight.is_none() && device.leaf_weight.is_none();
        match self.weight_device.iter().find(has_none) {
            None => Ok(()),
            Some(WeightDevice { major, minor, .. }) => {
                let what = format!("{major}:{minor} has neither weight nor leafWeight");
                Err(invalid("blockIO.weightDevice", what))
            }
        }
    }

    pub(super) fn unified_writes(&self, writes: &mut Vec<Write>) -> Result<()> {
        let no_leaves = |path| invalid(path, "cannot be set with cgroup v2");
        if weight("leafWeight", self.leaf_weight)?.is_some() {
            return Err(no_leaves("blockIO.leafWeight"));
        }
        // The file of the BFQ scheduler is there where the kernel has that, the other where it has the cost model.
        if let Some(weight) = weight("weight", self.weight)? {
            let other = Write::new("io", "io.weight", io_weight(weight));
            writes.push(Write::new("io", "io.bfq.weight", weight).or_else(other));
        }
        self.refuse_devices_without_weight()?;
        for WeightDevice { major, minor, weight: value, leaf_weight } in &self.weight_device {
            if weight("weightDevice.leafWeight", *leaf_weight)?.is_some() {
                return Err(no_leaves("blockIO.weightDevice.leafWeight"));
            }
            if let Some(weight) = weight("weightDevice.weight", *value)? {
                let other = Write::new("io", "io.weight", format!("{major}:{minor} {}", io_weight(weight)));
                let value = format!("{major}:{minor} {weight}");
                writes.push(Write::new("io", "io.bfq.weight", value).or_else(other));
            }
        }
        for (devices, _, key, most) in self.rates() {
            for ThrottleDevice { major, minor, rate } in devices {
                let rate = if *rate == 0 { "max".to_owned() } else { rate.min(&most).to_string() };
                writes.push(Write::new("io", "io.max", format!("{major}:{minor} {key}={rate}")));
            }
        }
        Ok(())
    }

    pub(super) fn legacy_writes(&self, writes: &mut Vec<Write>) -> Result<()> {
        // The files without `bfq` are those of the CFQ scheduler, which the kernel had until 5.0.
        let weights = |writes: &mut Vec<Write>, suffix: &str, value: String| {
            let other = Write::new("blkio", format!("blkio.bfq.weight{suffix}"), &value);
            writes.push(Write::new("blkio", format!("blkio.weight{suffix}"), value).or_else(other));
        };
        if let Some(weight) = weight("weight", self.weight)? {
            weights(writes, "", weight.to_string());
        }
        if let Some(weight) = weight("leafWeight", self.leaf_weight)? {
            writes.push(Write::new("blkio", "blkio.leaf_weight", weight));
        }
        self.refuse_devices_without_weight()?;
        for WeightDevice { major, minor, weight: value, leaf_weight } in &self.weight_device {
            if let Some(weight) = weight("weightDevice.weight", *value)? {
                weights(writes, "_device", format!("{major}:{minor} {weight}"));
            }
            if let Some(weight) = weight("weightDevice.leafWeight", *leaf_weight)? {
                let value = format!("{major}:{minor} {weight}");
                writes.push(Write::new("blkio", "blkio.leaf_weight_device", value));
            }
        }
        for (devices, file, _, most) in self.rates() {
            for ThrottleDevice { major, minor, rate } in devices {
                writes.push(Write::new("blkio", file, format!("{major}:{minor} {}", rate.min(&most))));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::IfMissing;

    fn parsed(text: &str) -> BlockIo {
        serde_json::from_str(text).unwrap()
    }

    fn lines(write: impl Fn(&BlockIo, &mut Vec<Write>) -> Result<()>, text: &str) -> Vec<String> {
        let mut writes = Vec::new();
        write(&parsed(text), &mut writes).unwrap();
        writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect()
    }

    const ALL: &str = r#"{"weight":500,
        "weightDevice":[{"major":8,"minor":0,"weight":10}],
        "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
        "throttleWriteBpsDevice":[{"major":8,"minor":16,"rate":0}],
        "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":18446744073709551615}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":7}]}"#;

    #[test]
    fn everything_has_its_file_on_v2() {
        assert_eq!(
            lines(BlockIo::unified_writes, ALL),
            [
                "io.bfq.weight=500",
                "io.bfq.weight=8:0 10",
                "io.max=8:0 rbps=600",
                "io.max=8:16 wbps=max",
                "io.max=8:0 riops=4294967295",
                "io.max=8:0 wiops=7",
            ]
        );
    }

    #[test]
    fn everything_has_its_file_on_v1() {
        assert_eq!(
            lines(BlockIo::legacy_writes, ALL),
            [
                "blkio.weight=500",
                "blkio.weight_device=8:0 10",
                "blkio.throttle.read_bps_device=8:0 600",
                "blkio.throttle.write_bps_device=8:16 0",
                "blkio.throttle.read_iops_device=8:0 4294967295",
                "blkio.throttle.write_iops_device=8:0 7",
            ]
        );
    }

    #[test]
    fn a_weight_goes_to_the_other_file_where_there_is_no_bfq() {
        let mut writes = Vec::new();
        parsed(r#"{"weight":1000}"#).unified_writes(&mut writes).unwrap();
        let expected = Write::new("io", "io.weight", 10_000);
        assert_eq!(writes[0].if_missing, IfMissing::Instead(Box::new(expected)));
    }

    #[test]
    fn leaf_weights_are_for_v1() {
        for text in [r#"{"leafWeight":10}"#, r#"{"weightDevice":[{"major":8,"minor":0,"leafWeight":10}]}"#] {
            let error = parsed(text).unified_writes(&mut Vec::new()).unwrap_err();
            assert!(error.message.ends_with("eafWeight: cannot be set with cgroup v2"), "{error}");
            assert_eq!(lines(BlockIo::legacy_writes, text).len(), 1);
        }
    }

    #[test]
    fn a_device_without_a_weight_is_refused() {
        let io = parsed(r#"{"weightDevice":[{"major":8,"minor":0}]}"#);
        let error = io.unified_writes(&mut Vec::new()).unwrap_err();
        let expected = "linux.resources.blockIO.weightDevice: 8:0 has neither weight nor leafWeight";
        assert_eq!(error.message, expected);
        assert_eq!(io.legacy_writes(&mut Vec::new()).unwrap_err(), error);
    }

    #[test]
    fn a_weight_out_of_range_is_named() {
        for value in [1, 9, 1001, u16::MAX] {
            let io = BlockIo { weight: Some(value), ..BlockIo::default() };
            let error = io.unified_writes(&mut Vec::new()).unwrap_err();
            let expected = format!("linux.resources.blockIO.weight: {value} is not within 10 and 1000");
            assert_eq!(error.message, expected);
            assert_eq!(io.legacy_writes(&mut Vec::new()).unwrap_err(), error);
        }
    }

    #[test]
    fn lists_may_be_null() {
        assert_eq!(parsed(r#"{"weightDevice":null,"throttleReadBpsDevice":null}"#), BlockIo::default());
    }
}
