//! What has to be written into a file to have its former value back, found out from what it said before.

/// What brings back what `file` said before (`text`), as far as `written` has changed it; `None` where nothing does,
/// because the file keeps no value.
pub(crate) fn former(file: &str, written: &str, text: &str) -> Option<String> {
    let text = text.trim_end_matches('\n');
    if file == "memory.oom_control" {
        return value_of(text, "oom_kill_disable").map(str::to_owned);
    }
    // Files with a line for each device or resource; what is written speaks of one of them.
    let Some(unset) = keyed(file) else {
        // A cpuset can be empty, and it takes at least one byte to write that.
        return Some(if text.is_empty() { "\n".to_owned() } else { text.to_owned() });
    };
    match written.split_once(char::is_whitespace) {
        Some((key, _)) => match text.lines().find(|line| first_word(line) == key) {
            Some(line) => Some(line.to_owned()),
            None => unset.map(|unset| format!("{key} {unset}")),
        },
        // A weight for all devices: `default 100`, or the number alone.
        None => value_of(text, "default").or(text.lines().next()).map(str::to_owned),
    }
}

/// Whether the file has a line for each of many things; if so, what is written for one that has none (if that says
/// anything at all).
fn keyed(file: &str) -> Option<Option<&'static str>> {
    let unset = match file {
        "io.max" => Some("rbps=max wbps=max riops=max wiops=max"),
        "io.weight" | "io.bfq.weight" | "blkio.bfq.weight_device" => Some("default"),
        "io.latency" => Some("target=0"),
        "rdma.max" => Some("hca_handle=max hca_object=max"),
        "blkio.weight_device" | "blkio.leaf_weight_device" => Some("0"),
        _ if file.starts_with("blkio.throttle.") => Some("0"),
        "net_prio.ifpriomap" | "misc.max" | "io.cost.qos" | "io.cost.model" => None,
        _ => return None,
    };
    Some(unset)
}

fn first_word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

fn value_of<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_one_value_gets_its_text_back() {
        assert_eq!(former("memory.max", "5", "max\n").as_deref(), Some("max"));
        assert_eq!(former("cpu.max", "5 10", "max 100000\n").as_deref(), Some("max 100000"));
        assert_eq!(former("cpuset.cpus", "0", "\n").as_deref(), Some("\n"));
        assert_eq!(former("cpuset.cpus", "0", "0-3\n").as_deref(), Some("0-3"));
    }

    #[test]
    fn a_device_gets_its_line_back_and_one_without_any_is_set_free() {
        let text = "8:0 rbps=5 wbps=max riops=max wiops=max\n8:16 rbps=max wbps=max riops=9 wiops=max\n";
        let back = |written| former("io.max", written, text);
        assert_eq!(back("8:0 rbps=7").as_deref(), Some("8:0 rbps=5 wbps=max riops=max wiops=max"));
        assert_eq!(back("8:1 rbps=7").as_deref(), Some("8:1 rbps=max wbps=max riops=max wiops=max"));
        let file = "blkio.throttle.read_bps_device";
        assert_eq!(former(file, "8:0 7", "8:0 5\n").as_deref(), Some("8:0 5"));
        assert_eq!(former(file, "8:1 7", "8:0 5\n").as_deref(), Some("8:1 0"));
    }

    #[test]
    fn a_weight_for_all_devices_is_not_taken_for_that_of_one() {
        let text = "default 100\n8:0 200\n";
        assert_eq!(former("io.bfq.weight", "500", text).as_deref(), Some("100"));
        assert_eq!(former("io.bfq.weight", "8:0 500", text).as_deref(), Some("8:0 200"));
        assert_eq!(former("io.bfq.weight", "8:1 500", text).as_deref(), Some("8:1 default"));
        assert_eq!(former("blkio.bfq.weight", "500", "100\n").as_deref(), Some("100"));
        assert_eq!(former("blkio.bfq.weight_device", "8:1 500", "").as_deref(), Some("8:1 default"));
    }

    #[test]
    fn files_by_name_get_the_line_of_that_name() {
        assert_eq!(former("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 3\n").as_deref(), Some("eth0 3"));
        assert_eq!(former("net_prio.ifpriomap", "gone 5", "lo 0\n"), None);
        let rdma = former("rdma.max", "m hca_handle=1", "");
        assert_eq!(rdma.as_deref(), Some("m hca_handle=max hca_object=max"));
    }

    #[test]
    fn the_oom_killer_is_a_flag_among_others() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n";
        assert_eq!(former("memory.oom_control", "1", text).as_deref(), Some("0"));
    }
}
