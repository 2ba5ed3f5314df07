//! The configuration that `crun spec` writes: a shell on a read-only root, confined as usual.

/// The text of the default configuration; `rootless` adds a user namespace that maps the given user and group to
/// root, `cgroup_namespace` a cgroup namespace (on hosts with cgroup v2).
#[must_use]
pub fn template(rootless: Option<(u32, u32)>, cgroup_namespace: bool) -> String {
    let cgroup = if cgroup_namespace { "\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}," } else { "" };
    let (user, mappings, terminal_group) = match rootless {
        None => (String::new(), String::new(), ",\n\t\t\t\t\"gid=5\""),
        Some((uid, gid)) => (
            "\n\t\t\t{\n\t\t\t\t\"type\": \"user\"\n\t\t\t},".to_owned(),
            format!("{}{}", mapping("uidMappings", uid), mapping("gidMappings", gid)),
            "",
        ),
    };
    include_str!("template.json")
        .replace("@CGROUP@", cgroup)
        .replace("@USER@", &user)
        .replace("@MAPPINGS@", &mappings)
        .replace("@TERMINAL_GROUP@", terminal_group)
}

fn mapping(name: &str, id: u32) -> String {
    format!(
        "\n\t\t\"{name}\": [\n\t\t\t{{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": {id},\n\t\t\t\t\
         \"size\": 1\n\t\t\t}}\n\t\t],"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::parse;

    fn namespaces(text: &str) -> Vec<String> {
        let spec = parse(text.as_bytes(), "config.json").unwrap();
        spec.linux.unwrap().namespaces.unwrap().iter().map(|entry| entry.kind.to_string()).collect()
    }

    #[test]
    fn the_default_configuration_is_one() {
        let text = template(None, true);
        assert_eq!(namespaces(&text), ["pid", "network", "ipc", "uts", "cgroup", "mount"]);
        assert!(text.contains("\"gid=5\""));
    }

    #[test]
    fn a_host_without_cgroup_v2_gets_no_cgroup_namespace() {
        assert_eq!(namespaces(&template(None, false)), ["pid", "network", "ipc", "uts", "mount"]);
    }

    #[test]
    fn rootless_maps_the_caller_to_root_and_leaves_out_the_tty_group() {
        let text = template(Some((1000, 100)), true);
        let spec = parse(text.as_bytes(), "config.json").unwrap();
        let linux = spec.linux.unwrap();
        assert_eq!(linux.uid_mappings.unwrap()[0].host_id, 1000);
        assert_eq!(linux.gid_mappings.unwrap()[0].host_id, 100);
        assert!(!text.contains("gid=5"));
    }
}
