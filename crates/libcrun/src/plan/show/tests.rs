//! Descriptions as they are printed, in files for a reviewer to read: `tests/golden/plan`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cgroups::Layout;
use cgroups::layout::Hierarchy;
use serde_json::{Value, json};

use super::*;
use crate::host::users::{IdRange, SubordinateIds};
use crate::id::ContainerId;
use crate::plan::CgroupManager;
use crate::spec;

/// What is described, and on what host.
struct Case {
    name: &'static str,
    config: Value,
    host: Host,
    manager: CgroupManager,
}

impl Case {
    fn new(name: &'static str, config: Value) -> Self {
        let host = Host::with(0, Layout::unified());
        Self { name, config, host, manager: CgroupManager::Cgroupfs }
    }
}

fn template(is_rootless: bool) -> Value {
    serde_json::from_str(&spec::template(is_rootless, true)).unwrap()
}

/// A bundle as an engine makes it: volumes, limits, hooks, a filter, an ordinary user.
fn engine() -> Value {
    let mut config = template(false);
    config["process"]["terminal"] = json!(false);
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [10, 20]});
    config["process"]["cwd"] = json!("/srv/app");
    config["process"]["args"] = json!(["/usr/bin/app", "--port", "80"]);
    config["process"]["oomScoreAdj"] = json!(100);
    config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 4});
    config["linux"]["resources"] = json!({
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
        "memory": {"limit": 536_870_912, "reservation": 268_435_456, "swap": 536_870_912},
        "cpu": {"shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0-1"},
        "pids": {"limit": 2048},
    });
    config["linux"]["cgroupsPath"] = json!("/machine/web");
    config["linux"]["devices"] =
        json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o660, "gid": 5}]);
    config["linux"]["sysctl"] = json!({"net.ipv4.ping_group_range": "0 0"});
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"}],
    });
    config["linux"]["rootfsPropagation"] = json!("rslave");
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "network");
    let network = json!({"type": "network", "path": "/run/netns/web"});
    config["linux"]["namespaces"].as_array_mut().unwrap().push(network);
    let volumes = [
        json!({"destination": "/etc/hosts", "type": "bind", "source": "/var/lib/engine/web/hosts", "options": ["bind", "rprivate", "ro"]}),
        json!({"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind", "rslave", "nosuid", "nodev"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "tmpcopyup"]}),
    ];
    config["mounts"].as_array_mut().unwrap().extend(volumes);
    config["hooks"] = json!({
        "createRuntime": [{"path": "/usr/bin/network", "args": ["network", "up"], "timeout": 10}],
        "createContainer": [{"path": "/usr/bin/ldconfig", "env": ["A=b"]}],
        "startContainer": [{"path": "/bin/warm-up"}],
        "poststop": [{"path": "/usr/bin/network", "args": ["network", "down"]}],
    });
    config
}

/// A host with a hierarchy for each controller.
fn old_layout() -> Layout {
    let of = |name: &str| Hierarchy {
        directory: name.to_owned(),
        unified: false,
        controllers: name.split(',').filter(|name| *name != "systemd").map(str::to_owned).collect(),
    };
    let names = ["systemd", "devices", "memory", "cpu,cpuacct", "cpuset", "pids", "freezer"];
    Layout { hierarchies: names.map(of).into() }
}

fn cases() -> Vec<Case> {
    let range = |first| Some(IdRange { first, count: 65_536 });
    let user = Host::with(1000, Layout::unified())
        .with_subordinate_ids(SubordinateIds { uid: range(100_000), gid: range(100_000) });
    let in_slice = |mut config: Value| {
        config["linux"]["cgroupsPath"] = json!("machine.slice:engine:web");
        config
    };
    vec![
        Case::new("default", template(false)),
        Case { host: user, ..Case::new("rootless", template(true)) },
        Case::new("engine", engine()),
        Case { manager: CgroupManager::Systemd, ..Case::new("systemd", in_slice(engine())) },
        Case { host: Host::with(0, old_layout()), ..Case::new("cgroup-v1", engine()) },
    ]
}

fn describe_case(case: &Case) -> Description {
    let text = case.config.to_string();
    let spec = spec::parse(text.as_bytes(), "config.json").unwrap();
    let id = ContainerId::new("web").unwrap();
    let request = Request { cgroup_manager: case.manager, ..Request::new(&id, Path::new("/bundle")) };
    let plan = Plan::new(&spec, &request, &case.host).unwrap();
    describe(&View {
        plan: &plan,
        spec: &spec,
        request: &request,
        host: &case.host,
        state: Path::new("/run/crun/web"),
        console_socket: None,
        pidfd_sockets: Vec::new(),
        self_protection: true,
    })
}

/// Compares a text with the file that has it, or with `CRUN_GOLDEN=accept`, writes that.
fn compare(name: &str, text: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/plan").join(name);
    if std::env::var_os("CRUN_GOLDEN").is_some_and(|what| what == "accept") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    let line = golden.lines().zip(text.lines()).position(|(old, new)| old != new);
    assert!(
        golden == text,
        "tests/golden/plan/{name} says something else, first in line {}. If the change is meant:\n  \
         CRUN_GOLDEN=accept cargo test -p libcrun plan::show\nand read what `git diff` shows. Now it is:\n{text}",
        line.unwrap_or_else(|| golden.lines().count().min(text.lines().count())) + 1,
    );
}

#[test]
fn descriptions_are_those_in_the_golden_files() {
    // The size of a filter is the architecture's.
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    for case in cases() {
        let description = describe_case(&case);
        compare(&format!("{}.txt", case.name), &description.to_string());
        let json = serde_json::to_string_pretty(&description).unwrap() + "\n";
        compare(&format!("{}.json", case.name), &json);
    }
}

#[test]
fn no_part_of_an_action_stands_twice() {
    for case in cases() {
        for action in describe_case(&case).actions {
            let names: BTreeSet<_> = action.details.iter().map(|detail| detail.name).collect();
            assert_eq!(names.len(), action.details.len(), "{action:?}");
        }
    }
}

/// Where an action with this text is in a list.
fn at(description: &Description, text: &str) -> usize {
    let found = description.actions.iter().position(|action| action.text.starts_with(text));
    found.unwrap_or_else(|| panic!("no `{text}` in\n{description}"))
}

#[test]
fn parameters_come_after_the_hooks_that_bring_their_devices() {
    let mut config = engine();
    let told = |config: Value| describe_case(&Case::new("", config));
    let description = told(config.clone());
    assert!(at(&description, "wait for the prestart") < at(&description, "/proc/sys/net"));
    config.as_object_mut().unwrap().remove("hooks");
    let description = told(config);
    assert!(at(&description, "/proc/sys/net") < at(&description, "make a mount namespace"));
}

#[test]
fn a_filter_comes_last_if_the_process_still_may_then() {
    let mut config = engine();
    let stage = |config: &Value| {
        let description = describe_case(&Case::new("", config.clone()));
        description.actions[at(&description, "load the filter")].stage
    };
    assert_eq!(stage(&config), Stage::Start);
    config["process"]["noNewPrivileges"] = json!(false);
    assert_eq!(stage(&config), Stage::Inside);
}

#[test]
fn limits_of_a_process_in_a_user_namespace_are_set_from_outside() {
    let stage = |edit: &dyn Fn(&mut Value)| {
        let mut config = template(false);
        edit(&mut config);
        let description = describe_case(&Case::new("", config));
        description.actions[at(&description, "RLIMIT_NOFILE")].stage
    };
    assert_eq!(stage(&|_| ()), Stage::Inside);
    let user = |config: &mut Value| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    };
    assert_eq!(stage(&user), Stage::Start);
}
