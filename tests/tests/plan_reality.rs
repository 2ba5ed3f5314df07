//! `crun plan`: what it tells is what `crun run` does.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kit::bundle::Bundle;
use kit::crun::{Crun, skipped};
use kit::mountinfo::{self, Mount};
use kit::planned::{about, list, plan, text, with};
use kit::{runtime, runtime_of_user};
use serde_json::{Value, json};

/// A bundle as an engine makes it: volumes, an ordinary user, limits.
fn engine() -> Bundle {
    let all = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]);
    Bundle::new()
        .mount("/etc/group", "bind", "/etc/group", ["bind", "ro", "rprivate"])
        .mount("/mnt", "bind", "/usr/share", ["rbind", "nosuid", "nodev", "noatime"])
        .mount("/tmp", "tmpfs", "scratch", ["nosuid", "noexec", "size=64k"])
        .set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [10, 20], "umask": 0o27}))
        .set("/process/capabilities", json!({"bounding": all, "effective": all, "permitted": all, "inheritable": all, "ambient": all}))
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024}, {"type": "RLIMIT_CORE", "soft": 0, "hard": u64::MAX}]))
        .set("/process/oomScoreAdj", json!(77))
        .set("/process/cwd", json!("/mnt"))
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"}))
        .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}))
        .set("/hostname", json!("planned"))
}

fn cat(bundle: Bundle, file: &str) -> Bundle {
    bundle.args(["cat", file])
}

/// The mounts a container really has, without its root, what stands for devices and what hides or protects a path.
fn real_mounts(crun: &Crun, bundle: &Bundle) -> Vec<Mount> {
    let mounts = mountinfo::parse(&crun.run(&cat(bundle.clone(), "/proc/self/mountinfo")).ok());
    let config = bundle.config();
    let paths =
        ["maskedPaths", "readonlyPaths"].map(|list| config["linux"][list].as_array().unwrap().clone());
    let is_planned = |mount: &Mount| {
        let covers = paths.iter().flatten().any(|path| *path == mount.point.as_str());
        let below_cgroup = mount.point.starts_with("/sys/fs/cgroup/");
        let is_node = mount.point.starts_with("/dev/") && mount.root != "/";
        mount.point != "/" && !covers && !below_cgroup && !is_node
    };
    mounts.into_iter().filter(is_planned).collect()
}

/// The planned mounts in the order in which the kernel comes to know them: what is cloned before the process is comes
/// first.
fn planned_mounts(plan: &[Value]) -> Vec<&Value> {
    let (made, acquired): (Vec<_>, Vec<_>) =
        about(plan, "mount").into_iter().partition(|action| !action["details"]["destination"].is_null());
    let rank = |mount: &Value| {
        let index = &mount["details"]["index"];
        acquired.iter().position(|clone| clone["details"]["index"] == *index).unwrap_or(usize::MAX)
    };
    let mut mounts = made;
    mounts.sort_by_key(|mount| rank(mount));
    mounts
}

fn mounts_are_as_planned(crun: &Crun, bundle: &Bundle) {
    let plan = plan(crun, bundle);
    let (planned, real) = (planned_mounts(&plan), real_mounts(crun, bundle));
    let points = |mounts: &[Mount]| mounts.iter().map(|mount| mount.point.clone()).collect::<Vec<_>>();
    let mut expected: Vec<_> = planned.iter().map(|mount| text(mount, "destination").to_owned()).collect();
    let mut found = points(&real);
    // Before that the list is in no such order.
    if kit::crun::kernel_is_at_least((6, 8)) {
        assert_eq!(found, expected);
    } else {
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }
    for mount in planned {
        let real = mountinfo::at(&real, text(mount, "destination"));
        let kind = text(mount, "type");
        assert!(real.kind == kind || kind.ends_with("bind") || kind == "cgroup", "{mount}\n{real:?}");
        for option in list(mount, "options").iter().filter(|option| !option.ends_with("private")) {
            // The kernel does not show it where it is usual.
            assert!(
                real.has(option) || option == "relatime" || option == "strictatime",
                "{option}: {real:?}"
            );
        }
        assert!(
            kind.ends_with("bind") || kind == "cgroup" || real.source == text(mount, "source"),
            "{real:?}"
        );
    }
    for read_only in about(&plan, "readonly") {
        if let Some(mount) = real.iter().find(|mount| mount.point == text(read_only, "path")) {
            assert!(mount.has("ro"), "{mount:?}");
        }
    }
}

#[test]
fn the_mounts_are_those_that_a_container_has_in_that_order() {
    let crun = runtime!();
    mounts_are_as_planned(&crun, &Bundle::new());
    mounts_are_as_planned(&crun, &engine());
    mounts_are_as_planned(&crun, &Bundle::new().in_user_namespace());
}

#[test]
fn the_mounts_are_those_that_a_users_container_has() {
    let crun = runtime_of_user!();
    let bundle = Bundle::new().of_user();
    let plan = plan(&crun, &bundle);
    let mut expected: Vec<_> =
        planned_mounts(&plan).iter().map(|mount| text(mount, "destination").to_owned()).collect();
    let mut found: Vec<_> = real_mounts(&crun, &bundle).into_iter().map(|mount| mount.point).collect();
    expected.sort();
    // What may be shown instead is a part of the host's tree, with what is mounted in it.
    found.sort();
    found.retain(|point| !point.starts_with("/sys/") || expected.contains(point));
    assert_eq!(found, expected);
}

/// The lines `NAME:\tVALUE` of `/proc/self/status`.
fn status(crun: &Crun, bundle: &Bundle) -> BTreeMap<String, String> {
    let text = crun.run(&cat(bundle.clone(), "/proc/self/status")).ok();
    let line =
        |line: &str| line.split_once(":\t").map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    text.lines().filter_map(line).collect()
}

/// A set as the kernel shows it; the number of a capability is its place among those that `features` lists.
fn mask(crun: &Crun, names: &[String]) -> String {
    let features = crun.cmd(["features"]).json();
    let all = features["linux"]["capabilities"].as_array().unwrap();
    let number = |name: &String| all.iter().position(|known| known == name.as_str()).unwrap();
    format!("{:016x}", names.iter().map(|name| 1_u64 << number(name)).sum::<u64>())
}

#[test]
fn who_the_process_is_and_what_it_may_do_is_as_planned() {
    let crun = runtime!();
    let bundle = engine();
    let (plan, status) = (plan(&crun, &bundle), status(&crun, &bundle));
    let bounding = with(&plan, "capabilities", "bounding");
    assert_eq!(status["CapBnd"], mask(&crun, &list(bounding, "bounding")));
    let sets = with(&plan, "capabilities", "effective");
    for (name, field) in
        [("effective", "CapEff"), ("permitted", "CapPrm"), ("inheritable", "CapInh"), ("ambient", "CapAmb")]
    {
        assert_eq!(status[field], mask(&crun, &list(sets, name)), "{name}");
    }
    let ids = with(&plan, "ids", "uid");
    for (field, name) in [("Uid", "uid"), ("Gid", "gid")] {
        let id = ids["details"][name].to_string();
        assert_eq!(status[field], [id.as_str(); 4].join("\t"));
    }
    assert_eq!(status["Groups"], list(with(&plan, "ids", "groups"), "groups").join(" "));
    assert_eq!(status["Umask"], text(about(&plan, "umask")[0], "umask"));
    assert_eq!((status["NoNewPrivs"].as_str(), about(&plan, "privileges").len()), ("1", 1));
    assert_eq!((status["Seccomp"].as_str(), about(&plan, "seccomp").len()), ("2", 1));
}

#[test]
fn what_is_set_for_the_process_is_as_planned() {
    let crun = runtime!();
    let bundle = engine();
    let plan = plan(&crun, &bundle);
    let read = |file: &str| crun.run(&cat(bundle.clone(), file)).ok().trim().replace('\t', " ");
    for sysctl in about(&plan, "sysctl") {
        assert_eq!(read(text(sysctl, "file")), text(sysctl, "value"), "{sysctl}");
    }
    assert_eq!(read("/proc/self/oom_score_adj"), about(&plan, "oom")[0]["details"]["value"].to_string());
    assert_eq!(read("/proc/sys/kernel/hostname"), text(about(&plan, "hostname")[0], "name"));
    let limits = read("/proc/self/limits");
    for (limit, title) in about(&plan, "rlimit").into_iter().zip(["Max open files", "Max core file size"]) {
        let line = limits.lines().find(|line| line.starts_with(title)).unwrap();
        let fields: Vec<_> = line[title.len()..].split_whitespace().collect();
        assert_eq!(fields[..2], [text(limit, "soft"), text(limit, "hard")], "{limit}");
    }
    assert_eq!(crun.run(&bundle.clone().args(["pwd"])).ok().trim(), text(about(&plan, "cwd")[0], "path"));
    let mut planned = list(with(&plan, "program", "env"), "env");
    let env = crun.run(&bundle.args(["env"])).ok();
    planned.sort();
    let mut real: Vec<_> = env.lines().filter(|line| !line.starts_with("HOME=")).collect();
    real.sort_unstable();
    assert_eq!(real, planned);
}

#[test]
fn devices_and_links_are_as_planned() {
    let crun = runtime!();
    let node = json!([{"path": "/dev/sub/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 3, "gid": 4}]);
    let bundle = Bundle::new().set("/linux/devices", node);
    let plan = plan(&crun, &bundle);
    for device in about(&plan, "device") {
        let details = &device["details"];
        let format = "%t %T %a %u %g";
        let shown = crun.run(&bundle.clone().args(["stat", "-c", format, text(device, "path")])).ok();
        let hex = |name: &str| format!("{:x}", details[name].as_u64().unwrap());
        let mode = text(device, "mode").trim_start_matches('0');
        let expected =
            [&hex("major"), &hex("minor"), mode, &details["uid"].to_string(), &details["gid"].to_string()];
        assert_eq!(shown.trim(), expected.join(" "), "{device}");
    }
    for link in about(&plan, "link") {
        let shown = crun.run(&bundle.clone().args(["readlink", text(link, "path")])).ok();
        assert_eq!(shown.trim(), text(link, "target"));
    }
}

/// Each type of namespace with its file in procfs.
const NAMESPACES: [(&str, &str); 7] = [
    ("user", "user"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("network", "net"),
    ("pid", "pid"),
    ("cgroup", "cgroup"),
    ("mount", "mnt"),
];

#[test]
fn the_namespaces_that_are_not_the_runtimes_are_those_that_are_planned() {
    let crun = runtime!();
    for bundle in [
        Bundle::new(),
        Bundle::new().in_user_namespace(),
        Bundle::new().namespace("network", None).namespace("ipc", Some("/proc/self/ns/ipc")),
    ] {
        let bundle = bundle.sh("echo up; sleep 99");
        let plan = plan(&crun, &bundle);
        let mut planned: Vec<String> = plan.iter().flat_map(|action| list(action, "namespaces")).collect();
        planned.sort();
        let container = crun.start(&bundle);
        let link = |file: &str, of: &Path| fs::read_link(of.join("ns").join(file)).unwrap();
        let is_new = |file: &str| link(file, &container.proc()) != link(file, Path::new("/proc/self"));
        let mut real: Vec<_> =
            NAMESPACES.into_iter().filter(|(_, file)| is_new(file)).map(|(name, _)| name).collect();
        real.sort_unstable();
        assert_eq!(real, planned);
        let joined = about(&plan, "namespace").into_iter().filter(|action| action["stage"] == "inside");
        for action in joined.filter(|action| !action["details"]["path"].is_null()) {
            assert_eq!(text(action, "path"), "/proc/self/ns/ipc");
        }
    }
}

#[test]
fn the_ids_of_a_user_namespace_are_mapped_as_planned() {
    let maps = |crun: &Crun, bundle: &Bundle| {
        let plan = plan(crun, bundle);
        for map in about(&plan, "ids").into_iter().filter(|action| !action["details"]["mappings"].is_null()) {
            let text = crun.run(&cat(bundle.clone(), &format!("/proc/self/{}", text(map, "file")))).ok();
            let shown: Vec<String> =
                text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            assert_eq!(shown, list(map, "mappings"));
        }
        about(&plan, "ids").into_iter().map(|map| map["details"]["by"].clone()).collect::<Vec<_>>()
    };
    let crun = runtime!();
    let by = maps(&crun, &Bundle::new().in_user_namespace());
    assert_eq!(by[..2], [json!("runtime"), json!("runtime")]);
    let crun = runtime_of_user!();
    let by = maps(&crun, &Bundle::new().of_user());
    assert_eq!(by[..2], [json!("newgidmap"), json!("newuidmap")]);
}

/// Limits that any layout can have here: with version 2 there need be no controllers.
fn limits(layout: &str) -> Value {
    let devices = json!([{"allow": false, "access": "rwm"}]);
    let is_unified = match layout {
        "native" => Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        layout => layout == "version 2",
    };
    match is_unified {
        true => {
            json!({"unified": {"cgroup.max.depth": "5", "cgroup.max.descendants": "77"}, "devices": devices})
        }
        false => json!({"pids": {"limit": 77}, "cpu": {"shares": 2048}, "devices": devices}),
    }
}

/// Those that are a value for a file.
fn writes<'v>(plan: &'v [Value], subject: &str) -> Vec<&'v Value> {
    let all = about(plan, subject).into_iter();
    all.filter(|action| !action["details"]["value"].is_null()).collect()
}

#[test]
fn what_is_planned_to_be_written_into_the_cgroup_is_there() {
    for (layout, crun) in Crun::on_every_layout() {
        let bundle = Bundle::new().set("/linux/resources", limits(layout)).sh("echo up; sleep 99");
        let container = crun.start(&bundle);
        let plan = plan(&crun, &bundle.set("/linux/cgroupsPath", json!(container.id())));
        let read = |file: &str| {
            let output = crun.beside("cat").arg(file).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let limits = writes(&plan, "cgroup");
        assert_eq!(limits.len(), 2, "{layout}: {limits:#?}");
        for write in limits {
            assert_eq!(read(text(write, "file")).trim(), text(write, "value"), "{layout}: {write}");
        }
        for directory in list(with(&plan, "cgroup", "directories"), "directories") {
            assert!(read(&format!("{directory}/cgroup.procs")).lines().count() > 0, "{layout}: {directory}");
        }
        if let Some((first, allowed)) = writes(&plan, "devices").split_first() {
            let listed = text(first, "file").replace("devices.deny", "devices.list");
            let expected: Vec<_> = allowed.iter().map(|action| text(action, "value")).collect();
            assert_eq!(read(&listed).lines().collect::<Vec<_>>(), expected, "{layout}");
        }
    }
}

/// What the container's process calls for an action, as strace shows it.
fn call_of(action: &Value) -> Option<String> {
    let details = &action["details"];
    Some(match action["subject"].as_str()? {
        "session" => "setsid(".to_owned(),
        "keyring" => "keyctl(".to_owned(),
        "namespace" if action["action"].as_str()?.starts_with("make new") => "unshare(".to_owned(),
        "sysctl" => format!("\"{}\"", text(action, "file").strip_prefix("/proc/")?),
        "mount" if !details["destination"].is_null() && details["by"] == "init" => {
            format!("fsopen(\"{}\"", text(action, "type"))
        }
        "device" => "mknodat(".to_owned(),
        "link" => format!("symlinkat(\"{}\"", text(action, "target")),
        "hostname" => format!("sethostname(\"{}\"", text(action, "name")),
        // Before the change of root, whichever call that is.
        "root" if !details["call"].is_null() => "fchdir(".to_owned(),
        "cpus" => "sched_setaffinity(".to_owned(),
        "descriptors" => "close_range(".to_owned(),
        "rlimit" => format!("prlimit64(0, {}", text(action, "type")),
        "umask" => format!("umask({}", text(action, "umask").strip_prefix('0')?),
        "capabilities" if !details["bounding"].is_null() => "prctl(PR_CAPBSET_DROP".to_owned(),
        "capabilities" => "capset(".to_owned(),
        "ids" if !details["groups"].is_null() => "setgroups(".to_owned(),
        "ids" if !details["uid"].is_null() => format!("setresuid({}", details["uid"]),
        "privileges" => "prctl(PR_SET_NO_NEW_PRIVS".to_owned(),
        "seccomp" => "seccomp(SECCOMP_SET_MODE_FILTER".to_owned(),
        "program" if action["stage"] == "start" => "execve(".to_owned(),
        _ => return None,
    })
}

#[test]
fn the_order_is_that_of_the_calls_that_the_process_makes() {
    let crun = runtime!();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let (path, program) = (trace.path().display(), kit::crun::binary());
    let traced = crun.after(&format!("exec strace -f -A -o {path} {} \"$@\"", program.display()));
    let bundle = engine().args(["true"]);
    let plan = plan(&Crun::new().unwrap(), &bundle);
    let output = traced.run(&bundle);
    if output.stderr.contains("strace") {
        return skipped(output.stderr);
    }
    assert_eq!(output.ok(), "");
    let text = fs::read_to_string(&trace).unwrap();

    let session = text.lines().find(|line| line.contains("setsid(")).expect("a process that leads a session");
    let pid = session.split(' ').next().unwrap().to_owned() + " ";
    let mut calls = text.lines().filter(|line| line.starts_with(&pid));
    let mut told = 0;
    for action in plan.iter().filter(|action| action["stage"] == "inside" || action["stage"] == "start") {
        let Some(call) = call_of(action) else { continue };
        let found = calls.by_ref().any(|line| line.contains(&call));
        assert!(found, "`{call}` does not come in its turn, for {action}");
        told += 1;
    }
    assert!(told > 30, "{told} actions");
}
