//! What went through the network interfaces of a container.

use serde::Serialize;

/// One interface, serialised as runc does it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the columns of /proc/net/dev, see proc_pid_net(5)")]
pub struct NetworkInterface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// The interfaces of a process' network namespace but the loopback device; none when the process has ended.
pub(crate) fn network_interfaces(pid: i32) -> Vec<NetworkInterface> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
}

/// Two lines of headings, then `NAME: BYTES PACKETS ERRORS DROPPED ...`, eight numbers of what was received and eight of what
/// was sent.
fn parse(text: &str) -> Vec<NetworkInterface> {
    let interface = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, rest @ ..] = numbers.as_slice() else {
            return None;
        };
        let [tx_bytes, tx_packets, tx_errors, tx_dropped, ..] = rest else { return None };
        Some(NetworkInterface {
            name: name.trim().to_owned(),
            rx_bytes: *rx_bytes,
            rx_packets: *rx_packets,
            rx_errors: *rx_errors,
            rx_dropped: *rx_dropped,
            tx_bytes: *tx_bytes,
            tx_packets: *tx_packets,
            tx_errors: *tx_errors,
            tx_dropped: *tx_dropped,
        })
    };
    text.lines().skip(2).filter_map(interface).filter(|interface| interface.name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_but_the_loopback_device_is_told() {
        let text = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       9       9    0    0    0     0          0         0        9       9    0    0    0     0       0          0
  eth0:       1       2    3    4    5     6          7         8        9      10   11   12   13    14      15         16
";
        let interfaces = parse(text);
        assert_eq!(
            serde_json::to_string(&interfaces).unwrap(),
            r#"[{"Name":"eth0","RxBytes":1,"RxPackets":2,"RxErrors":3,"RxDropped":4,"TxBytes":9,"TxPackets":10,"TxErrors":11,"TxDropped":12}]"#
        );
        assert_eq!(parse(""), []);
    }
}
