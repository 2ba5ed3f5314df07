//! What is to be told of a plan: where it is not what the configuration says.

use sys::clone::Namespaces;

use super::{Plan, ProcessPlan, Request, namespace_type};
use crate::error::Error;
use crate::spec::{Linux, Spec};
use crate::warning::{self, Warnings};

impl Plan {
    /// What is to be told of it, made of the configuration and the request.
    pub(crate) fn warnings(&self, spec: &Spec<'_>, request: &Request<'_>) -> Warnings {
        let mut warnings = Warnings::new();
        let skipped = self.process.filter.iter().flat_map(|filter| &filter.skipped);
        warnings.extend(skipped.map(|name| warning::unknown_syscall(name)));
        let configures_user = spec.linux.as_ref().is_some_and(configures_user_namespace);
        if self.namespaces.creates(Namespaces::USER) && !configures_user {
            warnings.push(warning::added_user_namespace());
        }
        if self.cgroup.as_ref().is_some_and(|cgroup| !cgroup.layout.is_unified() && cgroup.v1_mount.is_none())
        {
            warnings.push(warning::cgroup_v1());
        }
        warnings.extend(self.unrestricted_devices(spec).map(warning::devices_not_restricted));
        let own = spec.process.as_ref().and_then(|process| process.env.as_deref()).unwrap_or_default();
        let tells_pid = request.listen_fds > 0 && self.namespaces.creates(Namespaces::PID);
        if tells_pid && !own.iter().any(|variable| variable.starts_with("LISTEN_PID=")) {
            warnings.push(warning::listen_pid());
        }
        warnings.extend(self.process.warning());
        warnings
    }

    /// Why the rules about devices are not enforced, if there are some that deny any.
    fn unrestricted_devices(&self, spec: &Spec<'_>) -> Option<&'static str> {
        let resources = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref())?;
        if resources.devices.iter().all(|rule| rule.allow) {
            return None;
        }
        match &self.cgroup {
            None => Some("it has none"),
            Some(_) if self.is_rootless => Some("only root of the host can do that"),
            Some(_) => None,
        }
    }
}

impl ProcessPlan {
    /// What is to be told of the process, whether it is a container's first or one that joins it.
    pub(crate) fn warning(&self) -> Option<Error> {
        (!self.has_home()).then(warning::no_home)
    }

    /// Whether its environment says where it is at home.
    pub(crate) fn has_home(&self) -> bool {
        self.env.iter().any(|variable| variable.starts_with(b"HOME="))
    }
}

fn configures_user_namespace(linux: &Linux<'_>) -> bool {
    let mut kinds = linux.namespaces.iter().flatten().map(|entry| namespace_type(&entry.kind));
    kinds.any(|kind| kind == Some(Namespaces::USER))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cgroups::Layout;
    use cgroups::layout::Hierarchy;
    use serde_json::{Value, json};

    use super::*;
    use crate::host::Host;
    use crate::id::ContainerId;
    use crate::plan::CgroupManager;
    use crate::spec;

    /// What is told of the default configuration with HOME, changed by `edit`.
    fn told(
        host: &Host,
        manager: CgroupManager,
        listen_fds: u32,
        edit: impl FnOnce(&mut Value),
    ) -> Vec<String> {
        let mut config: Value = serde_json::from_str(&spec::template(false, true)).unwrap();
        config["process"]["env"] = json!(["HOME=/", "PATH=/bin"]);
        edit(&mut config);
        let text = config.to_string();
        let spec = spec::parse(text.as_bytes(), "config.json").unwrap();
        let id = ContainerId::new("web").unwrap();
        let request =
            Request { cgroup_manager: manager, listen_fds, ..Request::new(&id, Path::new("/bundle")) };
        let plan = Plan::new(&spec, &request, host).unwrap();
        plan.warnings(&spec, &request).iter().map(ToString::to_string).collect()
    }

    fn root() -> Host {
        Host::with(0, Layout::unified())
    }

    fn told_of(edit: impl FnOnce(&mut Value)) -> Vec<String> {
        told(&root(), CgroupManager::Cgroupfs, 0, edit)
    }

    #[test]
    fn nothing_is_told_of_what_is_as_it_is_configured() {
        assert_eq!(told_of(|_| ()), Vec::<String>::new());
        let own = |config: &mut Value| config["process"]["env"] = json!(["HOME=/", "LISTEN_PID=7"]);
        assert_eq!(told(&root(), CgroupManager::Cgroupfs, 1, own), Vec::<String>::new());
    }

    #[test]
    fn what_is_set_for_the_process_is_told_in_the_words_of_the_c_crun() {
        let without_home = |config: &mut Value| config["process"]["env"] = json!(["PATH=/bin"]);
        assert_eq!(told_of(without_home), ["cannot detect HOME environment variable, setting default"]);
        assert_eq!(
            told(&root(), CgroupManager::Cgroupfs, 1, |_| ()),
            ["setting LISTEN_PID=1 since no previous configuration was found"]
        );
    }

    #[test]
    fn each_system_call_that_nobody_knows_is_told() {
        let told = told_of(|config| {
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
                [{"names": ["frobnicate", "getcwd", "twiddle"], "action": "SCMP_ACT_ERRNO"}]});
        });
        let expected =
            ["frobnicate", "twiddle"].map(|name| format!("unknown seccomp syscall `{name}` ignored"));
        assert_eq!(told, expected);
    }

    #[test]
    fn an_ordinary_users_container_has_a_namespace_more_and_its_devices_are_not_restricted() {
        let user = Host::with(1000, Layout::unified());
        let [namespace, devices] = told(&user, CgroupManager::Cgroupfs, 0, |_| ()).try_into().unwrap();
        assert!(namespace.starts_with("non root user need to have an 'user' namespace"), "{namespace}");
        assert!(devices.ends_with("only root of the host can do that"), "{devices}");
    }

    #[test]
    fn rules_about_devices_are_missed_without_a_cgroup_if_they_deny_something() {
        let [devices] = told(&root(), CgroupManager::Disabled, 0, |_| ()).try_into().unwrap();
        assert!(
            devices.starts_with("linux.resources.devices: ") && devices.ends_with("it has none"),
            "{devices}"
        );
        let allowing = |config: &mut Value| {
            config["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
        };
        assert_eq!(told(&root(), CgroupManager::Disabled, 0, allowing), Vec::<String>::new());
    }

    #[test]
    fn hierarchies_of_version_1_are_told_once() {
        let hierarchy = |controller: &str| Hierarchy {
            directory: controller.to_owned(),
            controllers: vec![controller.to_owned()],
            unified: false,
        };
        let layout = Layout { hierarchies: vec![hierarchy("devices"), hierarchy("memory")] };
        let [told] = told(&Host::with(0, layout), CgroupManager::Cgroupfs, 0, |_| ()).try_into().unwrap();
        assert!(told.starts_with("cgroup v1 is deprecated"), "{told}");
    }
}
