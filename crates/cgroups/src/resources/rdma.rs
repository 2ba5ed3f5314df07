//! `linux.resources.rdma` (cgroup-v2.rst "RDMA", cgroup-v1/rdma.rst): the same file on both.

use serde::Deserialize;

use super::{Resources, Write, invalid};
use crate::error::Result;

/// What may be used of one RDMA device; without a number, as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RdmaLimit {
    /// Handles of the host channel adapter.
    pub hca_handles: Option<u32>,
    /// Objects of it.
    pub hca_objects: Option<u32>,
}

pub(super) fn writes(resources: &Resources, writes: &mut Vec<Write>) -> Result<()> {
    for (device, RdmaLimit { hca_handles, hca_objects }) in &resources.rdma {
        if device.is_empty() || device.contains(char::is_whitespace) {
            return Err(invalid("rdma", format!("`{device}` is not a device's name")));
        }
        if hca_handles.is_none() && hca_objects.is_none() {
            return Err(invalid("rdma", format!("`{device}` has neither hcaHandles nor hcaObjects")));
        }
        let mut line = device.clone();
        for (key, number) in [("hca_handle", hca_handles), ("hca_object", hca_objects)] {
            if let Some(number) = number {
                // The kernel reads the number as a signed one.
                line.push_str(&format!(" {key}={}", (*number).min(i32::MAX.cast_unsigned())));
            }
        }
        writes.push(Write::new("rdma", "rdma.max", line));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<Vec<String>> {
        let resources = Resources { rdma: serde_json::from_str(text).unwrap(), ..Resources::default() };
        let mut all = Vec::new();
        writes(&resources, &mut all)?;
        Ok(all.into_iter().map(|write| write.value).collect())
    }

    #[test]
    fn a_device_gets_a_line_with_what_is_limited() {
        assert_eq!(written(r#"{"mlx5_0":{"hcaHandles":3}}"#).unwrap(), ["mlx5_0 hca_handle=3"]);
        let both = r#"{"mlx5_0":{"hcaHandles":3,"hcaObjects":4294967295}}"#;
        assert_eq!(written(both).unwrap(), ["mlx5_0 hca_handle=3 hca_object=2147483647"]);
    }

    #[test]
    fn an_entry_without_a_limit_is_refused() {
        let error = written(r#"{"mlx5_0":{}}"#).unwrap_err();
        assert_eq!(error.message, "linux.resources.rdma: `mlx5_0` has neither hcaHandles nor hcaObjects");
    }

    #[test]
    fn a_device_is_one_word() {
        assert!(written(r#"{"a b":{"hcaHandles":3}}"#).unwrap_err().message.contains("`a b`"));
    }
}
