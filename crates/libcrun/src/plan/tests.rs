//! Decisions as values: no privileges, no kernel, no files.

use cgroups::Layout;
use cgroups::layout::Hierarchy;
use serde_json::{Value, json};
use sys::clone::Namespaces;
use sys::mount::MountAttr;

use super::*;
use crate::host::users::{IdRange, SubordinateIds};
use crate::spec;

/// The default configuration, changed by `edit`.
fn config(edit: impl FnOnce(&mut Value)) -> String {
    let mut config: Value = serde_json::from_str(&spec::template(false, true)).unwrap();
    config["process"]["terminal"] = json!(false);
    edit(&mut config);
    config.to_string()
}

fn plan_on(host: &Host, manager: CgroupManager, text: &str) -> Result<Plan> {
    let spec = spec::parse(text.as_bytes(), "config.json")?;
    let id = ContainerId::new("web").unwrap();
    let request = Request { cgroup_manager: manager, ..Request::new(&id, Path::new("/bundle")) };
    Plan::new(&spec, &request, host)
}

fn plan(edit: impl FnOnce(&mut Value)) -> Plan {
    plan_on(&Host::with(0, Layout::unified()), CgroupManager::Cgroupfs, &config(edit)).unwrap()
}

fn refusal(edit: impl FnOnce(&mut Value)) -> String {
    let host = Host::with(0, Layout::unified());
    plan_on(&host, CgroupManager::Cgroupfs, &config(edit)).unwrap_err().to_string()
}

fn mount<'p>(plan: &'p Plan, destination: &str) -> &'p MountOperation {
    plan.rootfs.mounts.iter().find(|mount| mount.destination.to_string() == destination).unwrap()
}

#[test]
fn the_default_configuration_becomes_a_plan() {
    let plan = plan(|_| ());
    assert_eq!(plan.namespaces.clone, Namespaces::PID);
    assert_eq!(plan.namespaces.unshare, Namespaces::MOUNT | Namespaces::IPC | Namespaces::UTS);
    assert!(plan.namespaces.network_by_runtime && plan.namespaces.cgroup);
    assert_eq!(plan.rootfs.path, Path::new("/bundle/rootfs"));
    assert_eq!(plan.rootfs.mounts.len(), 7);
    assert_eq!(plan.rootfs.devices.len(), 6);
    assert_eq!(plan.cgroup.as_ref().unwrap().path.to_string(), "/web");
    assert_eq!(plan.hostname.as_deref(), Some("crun"));
    assert_eq!(plan.keyring.as_deref(), Some(c"web"));
}

#[test]
fn with_a_user_namespace_the_process_makes_its_own_network_namespace() {
    let plan = plan(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    });
    assert!(!plan.namespaces.network_by_runtime);
    assert!(plan.namespaces.unshare.contains(Namespaces::NETWORK));
    assert!(plan.namespaces.clone.contains(Namespaces::USER));
    assert_eq!(plan.namespaces.id_maps.unwrap().outside_uid(4_294_967_294), Some(4_294_967_294));
}

#[test]
fn namespaces_are_joined_user_first_and_mount_last() {
    let plan = plan(|config| {
        let join = |kind| json!({"type": kind, "path": "/x"});
        config["linux"]["namespaces"] = json!([join("mount"), join("network"), join("user"), join("uts")]);
        config["mounts"] = json!([]);
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        config["root"]["readonly"] = json!(false);
    });
    let order: Vec<_> = plan.namespaces.join.iter().map(|join| join.kind).collect();
    assert_eq!(order, [Namespaces::USER, Namespaces::UTS, Namespaces::NETWORK, Namespaces::MOUNT]);
}

#[test]
fn a_read_only_mount_with_something_below_becomes_read_only_at_the_end() {
    let plan = plan(|config| {
        let mount =
            |destination, options| json!({"destination": destination, "type": "tmpfs", "options": options});
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.extend([mount("/new", json!(["ro"])), mount("/new/below", json!([]))]);
    });
    let new = mount(&plan, "/new");
    assert_eq!(new.deferred.set, MountAttr::RDONLY);
    let MountSource::Filesystem(Filesystem { attributes, .. }) = &new.source else { panic!("a filesystem") };
    assert!(!attributes.contains(MountAttr::RDONLY));
}

#[test]
fn a_read_only_filesystem_of_the_kernels_is_so_from_the_beginning() {
    let plan = plan(|_| ());
    let sys = mount(&plan, "/sys");
    assert!(sys.deferred.is_empty());
    let MountSource::Filesystem(Filesystem { attributes, .. }) = &sys.source else { panic!("a filesystem") };
    assert!(attributes.contains(MountAttr::RDONLY));
    let cgroup = mount(&plan, "/sys/fs/cgroup");
    let MountSource::Filesystem(Filesystem { kind, attributes, .. }) = &cgroup.source else {
        panic!("a filesystem")
    };
    assert!(attributes.contains(MountAttr::RDONLY) && cgroup.deferred.is_empty());
    assert_eq!(kind.as_c_str(), c"cgroup2");
}

#[test]
fn on_a_host_with_v1_hierarchies_the_cgroup_mount_shows_them_all() {
    let hierarchy = |directory: &str, unified, controllers: &[&str]| Hierarchy {
        directory: directory.to_owned(),
        unified,
        controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
    };
    let layout = Layout {
        hierarchies: vec![
            hierarchy("unified", true, &[]),
            hierarchy("cpu,cpuacct", false, &["cpu", "cpuacct"]),
            hierarchy("memory", false, &["memory"]),
        ],
    };
    let host = Host::with(0, layout);
    let plan = plan_on(&host, CgroupManager::Cgroupfs, &config(|_| ())).unwrap();
    let MountSource::CgroupTree(tree) = &mount(&plan, "/sys/fs/cgroup").source else { panic!("a tree") };
    let links: Vec<_> = tree.links.iter().map(|(link, _)| link.to_str().unwrap()).collect();
    assert_eq!(links, ["cpu", "cpuacct"]);
}

#[test]
fn a_configured_device_takes_the_place_of_the_default_one() {
    let plan = plan(|config| {
        config["linux"]["devices"] =
            json!([{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 7}]);
    });
    let nulls: Vec<_> =
        plan.rootfs.devices.iter().filter(|device| device.path.to_string() == "/dev/null").collect();
    assert_eq!(nulls.len(), 1);
    assert_eq!((nulls[0].mode, nulls[0].uid), (0o600, 7));
}

#[test]
fn nothing_is_made_in_the_hosts_own_dev() {
    let plan = plan(|config| {
        config["mounts"] = json!([{"destination": "/dev", "type": "bind", "source": "/dev"}]);
    });
    assert!(plan.rootfs.devices.is_empty() && !plan.rootfs.links);
}

#[test]
fn a_relative_bind_source_lies_in_the_bundle() {
    let plan = plan(|config| {
        config["mounts"] =
            json!([{"destination": "/data", "type": "none", "source": "data", "options": ["rbind"]}]);
    });
    let MountSource::Bind(Bind { source, .. }) = &mount(&plan, "/data").source else { panic!("a bind") };
    assert_eq!(source.as_c_str(), c"/bundle/data");
}

#[test]
fn without_options_a_mount_gets_those_of_its_destination() {
    let plan = plan(|config| {
        config["mounts"] = json!([{"destination": "/dev/shm", "type": "tmpfs", "source": "shm"}]);
    });
    let MountSource::Filesystem(Filesystem { attributes, parameters, .. }) = &mount(&plan, "/dev/shm").source
    else {
        panic!("a filesystem")
    };
    assert_eq!(*attributes, MountAttr::NOEXEC | MountAttr::NOSUID | MountAttr::NODEV);
    let size = Parameter::Value(c"size".to_owned(), c"65536k".to_owned());
    assert!(parameters.contains(&size));
}

#[test]
fn contradictions_are_refused_before_anything_is_touched() {
    type Edit = fn(&mut Value);
    let cases: [(Edit, &str); 14] = [
        (|c| c["linux"] = Value::Null, "invalid config file, no `linux` block specified"),
        (|c| c["root"] = Value::Null, "invalid config file, no `root` block specified"),
        (|c| c["process"] = Value::Null, "block `process` not found"),
        (|c| c["linux"]["namespaces"] = json!([{"type": "mount"}]), "hostname requires the UTS namespace"),
        (|c| c["linux"]["namespaces"] = json!([{"type": "x"}]), "invalid namespace type: `x`"),
        (
            |c| c["linux"]["namespaces"] = json!([{"type": "uts"}, {"type": "uts"}]),
            "duplicate namespace type: `uts`",
        ),
        (
            |c| c["linux"]["namespaces"] = json!([{"type": "uts", "path": "proc/1/ns/uts"}]),
            "linux.namespaces: uts: `proc/1/ns/uts` is not an absolute path",
        ),
        (
            |c| c["linux"]["maskedPaths"] = json!(["/proc/acpi", "proc/kcore"]),
            "linux.maskedPaths: `proc/kcore` is not an absolute path",
        ),
        (
            |c| c["linux"]["readonlyPaths"] = json!(["sys"]),
            "linux.readonlyPaths: `sys` is not an absolute path",
        ),
        (|c| c["mounts"][0] = json!({"destination": "/x"}), "invalid mount type for `/x`"),
        (
            |c| c["mounts"][0] = json!({"destination": "/a/proc", "type": "proc"}),
            "invalid target `/a/proc`: it must be mounted at the root",
        ),
        (
            |c| c["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1}}),
            "linux.timeOffsets: needs a new time namespace",
        ),
        (
            |c| c["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 7, "size": 1}]),
            "linux.gidMappings: id mappings need a user namespace",
        ),
        (
            |c| {
                c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
                c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 7, "size": 0}]);
            },
            "linux.uidMappings[0].size: 0, a mapping has at least one id",
        ),
    ];
    for (edit, message) in cases {
        assert_eq!(refusal(edit), message);
    }
}

#[test]
fn without_a_cgroup_nothing_can_be_limited() {
    let host = Host::with(0, Layout::unified());
    let disabled = |edit: fn(&mut Value)| plan_on(&host, CgroupManager::Disabled, &config(edit));
    assert!(disabled(|_| ()).unwrap().cgroup.is_none());
    let error = disabled(|c| c["linux"]["resources"]["pids"] = json!({"limit": 5})).unwrap_err();
    assert_eq!(error.to_string(), "cannot set limits without cgroups");
}

fn plan_of_user(ids: SubordinateIds, edit: impl FnOnce(&mut Value)) -> NamespacePlan {
    let host = Host::with(1000, Layout::unified()).with_subordinate_ids(ids);
    plan_on(&host, CgroupManager::Disabled, &config(edit)).unwrap().namespaces
}

#[test]
fn a_caller_without_privileges_gets_a_user_namespace_with_its_ids() {
    let range = |first| Some(IdRange { first, count: 65_536 });
    let ids = SubordinateIds { uid: range(100_000), gid: range(300_000) };
    let plan = plan_of_user(ids, |config| config["process"]["user"] = json!({"uid": 5, "gid": 0}));
    assert!(plan.clone.contains(Namespaces::USER) && plan.supplements_ids);
    let maps = plan.id_maps.unwrap();
    assert_eq!([0, 5, 6].map(|id| maps.outside_uid(id)), [Some(100_000), Some(1000), Some(100_005)]);
    assert_eq!([0, 1].map(|id| maps.outside_gid(id)), [Some(1000), Some(300_000)]);
}

#[test]
fn a_caller_without_a_range_gets_its_own_id_only() {
    let maps = plan_of_user(SubordinateIds::default(), |_| ()).id_maps.unwrap();
    assert_eq!([0, 1].map(|id| maps.outside_uid(id)), [Some(1000), None]);
    assert_eq!([0, 1].map(|id| maps.outside_gid(id)), [Some(1000), None]);
}

#[test]
fn ids_that_the_container_does_not_have_are_refused_also_in_a_user_namespace_that_is_joined() {
    let mapping = json!([{"containerID": 10, "hostID": 7, "size": 2}]);
    let list = vec![crate::spec::IdMapping { container_id: 10, host_id: 7, size: 2 }];
    let maps = IdMaps::new(list.clone(), list, ["u", "g"]).unwrap();
    let joined = || {
        Host::with(0, Layout::unified())
            .with_user_namespace(UserNamespace { maps: maps.clone(), denies_groups: false })
    };
    let edit = |user: Value, path: &'static str| {
        let mapping = mapping.clone();
        move |config: &mut Value| {
            config["process"]["user"] = user;
            let entry =
                if path.is_empty() { json!({"type": "user"}) } else { json!({"type": "user", "path": path}) };
            config["linux"]["namespaces"].as_array_mut().unwrap().push(entry);
            if path.is_empty() {
                config["linux"]["uidMappings"] = mapping.clone();
                config["linux"]["gidMappings"] = mapping;
            }
        }
    };
    for path in ["", "/x"] {
        let plan = |user| plan_on(&joined(), CgroupManager::Cgroupfs, &config(edit(user, path)));
        let error = plan(json!({"uid": 12, "gid": 10})).unwrap_err();
        let words =
            "process.user.uid: 12 is not mapped in the container's user namespace, whose ids are 10-11";
        assert_eq!(error.to_string(), words);
        let set_up = plan(json!({"uid": 11, "gid": 10})).unwrap().namespaces.set_up;
        assert_eq!((set_up.uid.as_raw(), set_up.gid.as_raw()), (11, 10), "0 is not mapped");
    }
}

#[test]
fn mappings_beside_a_user_namespace_that_is_joined_are_left_alone() {
    // Podman writes down those of the container whose namespace it is.
    let plan = plan(|config| {
        let entry = json!({"type": "user", "path": "/proc/7/ns/user"});
        config["linux"]["namespaces"].as_array_mut().unwrap().push(entry);
        for key in ["uidMappings", "gidMappings"] {
            config["linux"][key] = json!([{"containerID": 0, "hostID": 100_000, "size": 5000}]);
        }
    });
    assert!(plan.namespaces.joins(Namespaces::USER).is_some() && plan.namespaces.id_maps.is_none());
}

#[test]
fn an_empty_name_of_a_host_or_domain_is_none() {
    let plan = plan(|config| {
        config["linux"]["namespaces"] = json!([{"type": "mount"}]);
        for key in ["hostname", "domainname"] {
            config[key] = json!("");
        }
    });
    assert_eq!((plan.hostname, plan.domainname), (None, None));
}

#[test]
fn who_joins_a_user_namespace_depends_on_who_may_join_that_of_pids() {
    let plan = |uid, namespaces: Value| {
        let host = Host::with(uid, Layout::unified());
        let text = config(|config| {
            config["linux"]["namespaces"] = namespaces;
            for key in ["hostname", "domainname"] {
                config.as_object_mut().unwrap().remove(key);
            }
        });
        plan_on(&host, CgroupManager::Disabled, &text).unwrap().namespaces.user_by_relay
    };
    let user = json!({"type": "user", "path": "/x"});
    let new_pids = json!([user, {"type": "pid"}, {"type": "mount"}]);
    let joined_pids = json!([user, {"type": "pid", "path": "/y"}, {"type": "mount"}]);
    assert!(plan(0, new_pids.clone()) && plan(1000, new_pids));
    assert!(!plan(0, joined_pids.clone()) && plan(1000, joined_pids));
    assert!(!plan(0, json!([user, {"type": "mount"}])));
}

#[test]
fn what_the_configuration_says_about_ids_holds_for_every_caller() {
    let mapping = json!([{"containerID": 0, "hostID": 7, "size": 1}]);
    let plan = plan_of_user(SubordinateIds::default(), |config| {
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping.clone();
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    });
    let maps = plan.id_maps.unwrap();
    assert_eq!((maps.outside_uid(0), maps.outside_gid(0), plan.supplements_ids), (Some(7), Some(7), false));
}

#[test]
fn a_device_belongs_to_somebody() {
    for owner in [json!({"uid": u32::MAX}), json!({"gid": u32::MAX})] {
        let message = refusal(|config| {
            let mut device = json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3});
            device.as_object_mut().unwrap().extend(owner.as_object().unwrap().clone());
            config["linux"]["devices"] = json!([device]);
        });
        assert_eq!(message, "linux.devices[0]: /dev/x: 4294967295 is nobody's id (it stands for none)");
    }
}

/// The terminal of the default configuration, changed by `edit`.
fn terminal(edit: impl FnOnce(&mut Value)) -> TerminalPlan {
    let plan = plan(|config| {
        config["process"]["terminal"] = json!(true);
        edit(config);
    });
    plan.process.terminal.unwrap()
}

fn mount_at(destination: &str, kind: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": "/x", "options": options})
}

#[test]
fn a_terminal_is_the_hosts_only_if_nothing_is_mounted_where_terminals_are() {
    assert!(plan(|_| ()).process.terminal.is_none());
    assert!(!terminal(|_| ()).may_be_hosts);
    let at = |destination: &'static str| {
        terminal(move |config| config["mounts"] = json!([mount_at(destination, "devpts", &[])])).may_be_hosts
    };
    assert!(!at("/dev/pts") && !at("dev/./pts/"));
    assert!(at("/dev/shm"));
}

#[test]
fn the_console_is_the_terminal_unless_the_configuration_or_the_host_has_one() {
    let console = |mounts: &[Value]| {
        let mounts = json!(mounts);
        terminal(move |config| config["mounts"] = mounts).console
    };
    assert_eq!(terminal(|_| ()).console, Console::Made);
    assert_eq!(console(&[]), Console::Made);
    assert_eq!(console(&[mount_at("/dev/console", "bind", &["bind"])]), Console::Untouched);
    assert_eq!(console(&[mount_at("/dev", "bind", &["rbind"])]), Console::Covered);
    assert_eq!(console(&[mount_at("/dev", "bind", &["rbind", "rshared"])]), Console::Untouched);
    let own_again = [mount_at("/dev", "bind", &["rbind", "rshared"]), mount_at("/dev", "tmpfs", &[])];
    assert_eq!(console(&own_again), Console::Made);
}

#[test]
fn a_size_without_extent_is_none() {
    let size = |height: u32, width: u32| {
        let size = json!({"height": height, "width": width});
        terminal(move |config| config["process"]["consoleSize"] = size)
            .size
            .map(|size| (size.ws_row, size.ws_col))
    };
    assert_eq!((size(24, 80), size(0, 0), size(0, 1)), (Some((24, 80)), None, Some((0, 1))));
}
