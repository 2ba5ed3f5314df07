//! `linux.resources.network`: v1 only (cgroup-v1/net_cls.rst, net_prio.rst).

use serde::Deserialize;

use super::{Write, invalid, null_is_default};
use crate::error::{Error, Result};

/// `linux.resources.network`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Network {
    /// The class of the container's packets, by which `tc` sorts them; 0 for none.
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    /// Their priorities, by interface.
    #[serde(deserialize_with = "null_is_default")]
    pub priorities: Vec<InterfacePriority>,
}

/// The priority of packets on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InterfacePriority {
    /// The interface's name, in the network namespace of the runtime.
    pub name: String,
    /// The higher, the earlier.
    pub priority: u32,
}

impl Network {
    /// Packets are told apart otherwise with cgroup v2: by the cgroup's path, in nftables and BPF.
    pub(super) fn unified_writes(&self) -> Result<()> {
        if self.class_id.is_some_and(|class| class != 0) || !self.priorities.is_empty() {
            return Err(Error::plain("linux.resources.network: network limits not supported on cgroup v2"));
        }
        Ok(())
    }

    pub(super) fn legacy_writes(&self, writes: &mut Vec<Write>) -> Result<()> {
        if let Some(class) = self.class_id.filter(|class| *class != 0) {
            writes.push(Write::new("net_cls", "net_cls.classid", class));
        }
        for InterfacePriority { name, priority } in &self.priorities {
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(invalid("network.priorities", format!("`{name}` is not an interface's name")));
            }
            writes.push(Write::new("net_prio", "net_prio.ifpriomap", format!("{name} {priority}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Network {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn class_and_priorities_have_a_file_each_on_v1() {
        let mut writes = Vec::new();
        let network = parsed(r#"{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}"#);
        network.legacy_writes(&mut writes).unwrap();
        let lines: Vec<_> = writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect();
        assert_eq!(lines, ["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"]);
    }

    #[test]
    fn neither_can_be_had_on_v2() {
        for text in [r#"{"classID":1}"#, r#"{"priorities":[{"name":"eth0","priority":5}]}"#] {
            let error = parsed(text).unified_writes().unwrap_err();
            assert!(error.message.ends_with("network limits not supported on cgroup v2"), "{error}");
        }
        for text in ["{}", r#"{"classID":0,"priorities":null}"#] {
            assert!(parsed(text).unified_writes().is_ok(), "{text}");
        }
    }

    #[test]
    fn an_interface_is_one_word() {
        let network = parsed(r#"{"priorities":[{"name":"eth0 9","priority":5}]}"#);
        assert!(network.legacy_writes(&mut Vec::new()).unwrap_err().message.contains("`eth0 9`"));
    }
}
