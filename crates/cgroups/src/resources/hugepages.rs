//! `linux.resources.hugepageLimits` (cgroup-v2.rst "HugeTLB", cgroup-v1/hugetlb.rst).

use serde::Deserialize;

use super::{IfMissing, Write, invalid};
use crate::error::Result;

/// How much of huge pages of one size may be used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HugepageLimit {
    /// The size as the kernel writes it: `64KB`, `2MB`, `1GB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

impl HugepageLimit {
    /// The limit of what is used, and, where the kernel has it (5.7), the same of what is reserved: over that a `mmap`
    /// fails, while over the former alone the process is killed when it touches the page.
    pub(super) fn writes(&self, suffix: &str, writes: &mut Vec<Write>) -> Result<()> {
        let size = &self.page_size;
        if !is_size(size) {
            return Err(invalid(
                "hugepageLimits.pageSize",
                format!("`{size}` is not a size as in `64KB`, `2MB`, `1GB`"),
            ));
        }
        let write = |kind: &str| Write::new("hugetlb", format!("hugetlb.{size}{kind}.{suffix}"), self.limit);
        writes.push(write(""));
        writes.push(write(".rsvd").if_missing(IfMissing::Ignore));
        Ok(())
    }
}

fn is_size(text: &str) -> bool {
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
    number.is_some_and(|number| {
        !number.is_empty() && !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_and_reservation_are_limited() {
        let mut writes = Vec::new();
        HugepageLimit { page_size: "2MB".into(), limit: 7 }.writes("max", &mut writes).unwrap();
        let lines: Vec<_> = writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect();
        assert_eq!(lines, ["hugetlb.2MB.max=7", "hugetlb.2MB.rsvd.max=7"]);
        assert_eq!(writes[1].if_missing, IfMissing::Ignore);
    }

    #[test]
    fn a_page_size_is_a_number_with_a_unit() {
        for size in ["2MB", "1GB", "64KB", "512MB"] {
            assert!(is_size(size), "{size}");
        }
        for size in ["", "MB", "2", "2mb", "02MB", "../2MB", "2 MB", "-2MB", "2MB/x"] {
            assert!(!is_size(size), "{size}");
        }
    }
}
