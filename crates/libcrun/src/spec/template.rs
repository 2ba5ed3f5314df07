//! The configuration that `crun spec` writes: a shell on a read-only root, confined as usual.

/// The text of the default configuration; `rootless` adds a user namespace, whose ids are left to whoever makes the
/// container, `cgroup_namespace` a cgroup namespace (on hosts with cgroup v2).
#[must_use]
pub fn template(rootless: bool, cgroup_namespace: bool) -> String {
    let namespace = |wanted, name: &str| match wanted {
        true => format!("\n\t\t\t{{\n\t\t\t\t\"type\": \"{name}\"\n\t\t\t}},"),
        false => String::new(),
    };
    // The group of terminals is none that an ordinary user could be sure to have.
    let terminal_group = if rootless { "" } else { ",\n\t\t\t\t\"gid=5\"" };
    include_str!("template.json")
        .replace("@CGROUP@", &namespace(cgroup_namespace, "cgroup"))
        .replace("@USER@", &namespace(rootless, "user"))
        .replace("@TERMINAL_GROUP@", terminal_group)
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
        let text = template(false, true);
        assert_eq!(namespaces(&text), ["pid", "network", "ipc", "uts", "cgroup", "mount"]);
        assert!(text.contains("\"gid=5\""));
    }

    #[test]
    fn a_host_without_cgroup_v2_gets_no_cgroup_namespace() {
        assert_eq!(namespaces(&template(false, false)), ["pid", "network", "ipc", "uts", "mount"]);
    }

    #[test]
    fn rootless_adds_a_user_namespace_and_leaves_out_the_group_of_terminals() {
        let text = template(true, true);
        assert_eq!(namespaces(&text), ["pid", "network", "ipc", "uts", "user", "cgroup", "mount"]);
        assert!(!text.contains("gid=5") && !text.contains("Mappings"));
    }
}
