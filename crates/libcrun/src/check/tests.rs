//! Machines that are played: a directory with the files that say what it allows, and a kernel that can do what the test says.

use std::path::PathBuf;

use ::cgroups::Layout;
use ::cgroups::layout::Hierarchy;
use rustix::io::Errno;
use sys::probe::Call;

use super::subject::{Ability, Kernel, Subject};
use super::*;
use crate::error::{Code, Error};
use crate::explain::machine::tests::Play;
use crate::host::SecurityModule;

const OWN: &str = "sys/fs/cgroup/user.slice/session";

/// A machine with everything, and who asks.
struct Stage {
    play: Play,
    host: Host,
    lacks: Vec<Ability>,
    refuses: Option<Error>,
    systemd: Option<&'static str>,
    manager: CgroupManager,
    runtime_directory: Option<PathBuf>,
    root: StateRoot,
}

impl Stage {
    fn new(name: &str, uid: u32, layout: Layout) -> Self {
        let mut play = Play::new(&format!("check-{name}"));
        play.machine.uid = uid;
        for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"] {
            play.write(&format!("proc/self/ns/{kind}"), "");
        }
        let full = "000001ffffffffff";
        let status = format!("NoNewPrivs:\t0\nSeccomp:\t0\nCapBnd:\t{full}\nCapEff:\t{full}\n");
        for (path, text) in [
            ("proc/self/status", status.as_str()),
            ("proc/self/cgroup", "0::/user.slice/session\n"),
            (
                "proc/self/limits",
                "Max open files  1024  524288  files\nMax processes  unlimited  unlimited  processes\n",
            ),
            ("proc/sys/kernel/osrelease", "7.2.0-x\n"),
            ("proc/sys/kernel/cap_last_cap", "40\n"),
            (
                "proc/sys/kernel/seccomp/actions_avail",
                "kill_process kill_thread trap errno user_notif trace log allow\n",
            ),
            ("proc/sys/net/ipv6/x", ""),
            (
                "proc/filesystems",
                "nodev\tproc\nnodev\tsysfs\nnodev\ttmpfs\nnodev\tdevpts\nnodev\tmqueue\nnodev\tcgroup2\n",
            ),
            ("lib/modules/7.2.0-x/modules.dep", "kernel/fs/overlayfs/overlay.ko.xz:\n"),
            ("sys/fs/cgroup/cgroup.procs", ""),
            ("sys/fs/cgroup/cgroup.controllers", "cpu cpuset hugetlb io memory misc pids rdma\n"),
            (&format!("{OWN}/memory.max"), "max\n"),
            (&format!("{OWN}/memory.swap.max"), "max\n"),
            (&format!("{OWN}/pids.max"), "max\n"),
            (&format!("{OWN}/pids.current"), "3\n"),
            ("run/systemd/system/x", ""),
            ("var/lib/systemd/linger/alice", ""),
            ("run/crun/x", ""),
        ] {
            play.write(path, text);
        }
        let host =
            Host::with(uid, layout).with_security_module(SecurityModule::AppArmor("unconfined\n".into()));
        Self {
            play,
            host,
            lacks: Vec::new(),
            refuses: None,
            systemd: Some("258"),
            manager: CgroupManager::Cgroupfs,
            runtime_directory: None,
            root: StateRoot::new("/run/crun".into()),
        }
    }

    fn of_root(name: &str) -> Self {
        Self::new(name, 0, Layout::unified())
    }

    /// With the two programs, if that can be had here.
    fn of_user(name: &str) -> Self {
        let mut stage = Self::new(name, rustix::process::geteuid().as_raw().max(1000), Layout::unified());
        stage.runtime_directory = Some("/run/crun".into());
        stage
    }

    fn groups(&self) -> Vec<Group> {
        let machine = self.play.machine.clone();
        let kernel = Kernel::Played {
            lacks: self.lacks.clone(),
            refuses: self.refuses.clone(),
            systemd: self.systemd,
        };
        let mut subject = Subject::new(machine, kernel, &self.host, &self.root, self.manager);
        subject.runtime_directory.clone_from(&self.runtime_directory);
        look(&subject)
    }

    fn finding(&self, group: &str, name: &str) -> Option<Finding> {
        let groups = self.groups();
        let group = groups.iter().find(|known| known.name == group)?;
        group.findings.iter().find(|finding| finding.name == name).cloned()
    }

    #[track_caller]
    fn expect(&self, group: &str, name: &str, verdict: Verdict, words: &str) {
        let finding = self.finding(group, name).expect("a finding");
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(finding.found.contains(words), "{finding:?}");
        assert_eq!(finding.remedy.is_some(), verdict != Verdict::Ok, "{finding:?}");
    }
}

use Verdict::{Limited, Missing, Ok as Fine};

#[test]
fn on_a_machine_with_everything_everything_is_fine_for_root() {
    let findings = Stage::of_root("fine").groups().into_iter().flat_map(|group| group.findings);
    // The directory that plays the machine is no mount, as in a chroot.
    let rest: Vec<_> =
        findings.filter(|finding| finding.verdict != Fine && finding.name != "chroot").collect();
    assert_eq!(rest, []);
}

#[test]
fn without_what_the_kernel_has_a_fallback_for_containers_run_with_limits() {
    let mut stage = Stage::of_root("calls");
    for (ability, name, verdict) in [
        (Ability::Call(Call::Clone3), "clone3", Missing),
        (Ability::Call(Call::Openat2), "openat2", Limited),
        (Ability::Call(Call::MountSetattr), "mount_setattr", Limited),
        (Ability::MountNamespaceOfTree, "mount-namespace-of-tree", Limited),
        (Ability::ExchangeOfExecutable, "exchange-of-executable", Limited),
    ] {
        stage.expect("kernel", name, Fine, "");
        stage.lacks.push(ability);
        stage.expect("kernel", name, verdict, "not there");
    }
    stage.play.write("proc/self/status", "Seccomp:\t2\n");
    let remedy = stage.finding("kernel", "openat2").unwrap().remedy.unwrap();
    assert!(
        remedy.contains("Linux 5.6") && remedy.contains("seccomp filter around this process"),
        "{remedy}"
    );
}

#[test]
fn a_way_that_only_root_can_go_is_no_matter_of_a_users() {
    assert!(Stage::of_user("ways").finding("kernel", "mount-namespace-of-tree").is_none());
}

#[test]
fn a_filesystem_is_built_in_or_a_module_or_nowhere() {
    let stage = Stage::of_root("filesystems");
    stage.expect("filesystems", "proc", Fine, "/proc");
    stage.expect("filesystems", "overlay", Fine, "a module");
    stage.play.write("proc/filesystems", "nodev\tproc\n");
    stage.play.write("lib/modules/7.2.0-x/modules.dep", "");
    stage.expect("filesystems", "overlay", Limited, "no such filesystem");
    stage.expect("filesystems", "mqueue", Missing, "no such filesystem");
}

#[test]
fn a_kind_of_namespace_that_the_kernel_lacks_is_missing_where_containers_have_it() {
    let stage = Stage::of_root("kinds");
    for (file, name, verdict) in [
        ("net", "network", Missing),
        ("time", "time", Limited),
        ("cgroup", "cgroup", Missing),
        ("user", "user", Limited),
    ] {
        stage.expect("namespaces", name, Fine, "");
        stage.play.remove(&format!("proc/self/ns/{file}"));
        stage.expect("namespaces", name, verdict, "this kernel does not have them");
    }
}

#[test]
fn who_gets_no_namespaces_is_told_why() {
    let mut stage = Stage::of_user("refused");
    stage.expect("namespaces", "new-namespaces", Fine, "(user ids: 1, group ids: 1)");
    stage.play.write("proc/sys/user/max_user_namespaces", "0\n");
    stage.expect("namespaces", "user.max_*_namespaces", Limited, "user.max_user_namespaces");
    stage.refuses = Some(Error::os(Code::Namespace, "make a process in new namespaces", Errno::NOSPC));
    stage.expect("namespaces", "new-namespaces", Missing, "No space left on device");
    stage.expect("namespaces", "user.max_*_namespaces", Missing, "user.max_user_namespaces");
    let remedy = stage.finding("namespaces", "new-namespaces").unwrap().remedy.unwrap();
    assert!(remedy.contains("sysctl -w user.max_user_namespaces"), "{remedy}");
}

#[test]
fn a_user_with_ranges_needs_the_programs_that_map_them_and_one_without_has_one_id() {
    let stage = Stage::of_user("ids");
    let uid = stage.play.machine.uid;
    stage.play.write("etc/passwd", &format!("alice:x:{uid}:{uid}::/:/bin/sh\n"));
    stage.expect("ids", "subuid", Fine, "");
    stage.expect("ids", "newuidmap", Missing, "cannot be mapped");
    stage.play.write("etc/subuid", "");
    stage.expect("ids", "subuid", Limited, "/etc/subuid has no range");
    stage.expect("ids", "newuidmap", Limited, "own id alone");
    assert!(Stage::of_root("ids").finding("ids", "subuid").is_none(), "root maps what it likes");
}

#[test]
fn the_layout_of_cgroups_and_missing_controllers_are_told() {
    let memory = Hierarchy { directory: "memory".into(), unified: false, controllers: vec!["memory".into()] };
    let stage = Stage::new("layout", 0, Layout { hierarchies: vec![memory] });
    stage.expect("cgroups", "layout", Limited, "version 1");
    stage.expect("cgroups", "controllers", Limited, "pids (linux.resources.pids)");
    let stage = Stage::of_root("layout");
    stage.expect("cgroups", "layout", Fine, "version 2");
    stage.expect("cgroups", "controllers", Fine, "memory");
    stage.play.write("sys/fs/cgroup/cgroup.controllers", "memory pids\n");
    stage.expect("cgroups", "controllers", Limited, "cpu (linux.resources.cpu)");
}

#[test]
fn where_no_cgroup_can_be_made_root_runs_nothing_and_a_user_has_no_limits() {
    let stage = Stage::of_root("place");
    stage.expect("cgroups", "place", Fine, "below /sys/fs/cgroup");
    stage.play.remove("sys/fs/cgroup/cgroup.procs");
    stage.expect("cgroups", "place", Missing, "can make none in /sys/fs/cgroup");
    let stage = Stage::of_user("place");
    stage.play.remove("sys/fs/cgroup/cgroup.procs");
    stage.expect("cgroups", "place", Limited, "no limits");
    stage.play.write("sys/fs/cgroup/user.slice/cgroup.procs", "");
    stage.expect("cgroups", "place", Fine, "below /sys/fs/cgroup/user.slice");
}

#[test]
fn controllers_that_a_user_was_not_given_are_named() {
    let stage = Stage::of_user("given");
    stage.play.remove("sys/fs/cgroup/cgroup.procs");
    stage.play.write("sys/fs/cgroup/user.slice/cgroup.procs", "");
    stage.play.write("sys/fs/cgroup/user.slice/cgroup.controllers", "memory pids\n");
    stage.play.write("sys/fs/cgroup/user.slice/cgroup.subtree_control", "memory\n");
    stage.expect("cgroups", "delegated-controllers", Limited, "not given to this user: cpu cpuset");
    stage.expect("cgroups", "delegated-controllers", Limited, "(handed on so far: memory)");
    let all = "cpu cpuset hugetlb io memory misc pids rdma\n";
    stage.play.write("sys/fs/cgroup/user.slice/cgroup.controllers", all);
    stage.expect("cgroups", "delegated-controllers", Fine, "memory");
}

#[test]
fn whether_swap_is_counted_shows_in_a_cgroup() {
    let stage = Stage::of_root("swap");
    stage.expect("cgroups", "swap", Fine, "");
    stage.play.remove(&format!("{OWN}/memory.swap.max"));
    stage.expect("cgroups", "swap", Limited, "swap is not counted");
    stage.play.remove(&format!("{OWN}/memory.max"));
    assert!(stage.finding("cgroups", "swap").is_none(), "that is the root, which does not tell");
}

#[test]
fn rules_about_devices_take_a_program_of_roots() {
    let mut stage = Stage::of_root("devices");
    stage.expect("cgroups", "devices", Fine, "");
    stage.lacks.push(Ability::DevicePrograms);
    stage.expect("cgroups", "devices", Missing, "takes no device program");
    let mut stage = Stage::of_user("devices");
    stage.lacks.push(Ability::DevicePrograms);
    stage.expect("cgroups", "devices", Fine, "this user may open");
}

#[test]
fn systemd_is_needed_by_who_asks_for_it() {
    let mut stage = Stage::of_root("systemd");
    stage.expect("systemd", "manager", Fine, "258");
    stage.systemd = None;
    stage.expect("systemd", "manager", Limited, "`--systemd-cgroup` fails");
    stage.manager = CgroupManager::Systemd;
    stage.expect("systemd", "manager", Missing, "cannot connect to systemd");
    stage.manager = CgroupManager::Disabled;
    stage.expect("cgroups", "place", Limited, "as asked for");
}

#[test]
fn a_user_has_a_session_that_lasts_and_a_directory_for_its_state() {
    let mut stage = Stage::of_user("session");
    let uid = stage.play.machine.uid;
    stage.play.write("etc/passwd", &format!("alice:x:{uid}:{uid}::/:/bin/sh\n"));
    stage.expect("systemd", "linger", Fine, "");
    stage.play.remove("var/lib/systemd/linger/alice");
    stage.expect("systemd", "linger", Limited, "end with its last session");
    stage.runtime_directory = Some("/none".into());
    stage.expect("systemd", "runtime-directory", Limited, "which is not there");
    stage.runtime_directory = None;
    stage.expect("systemd", "runtime-directory", Limited, "not set");
}

#[test]
fn what_confines_is_told() {
    let stage = Stage::of_root("confines");
    stage.expect("confinement", "security-module", Fine, "AppArmor, which has this process as `unconfined`");
    stage.play.write("proc/sys/kernel/seccomp/actions_avail", "kill_thread trap errno trace allow\n");
    stage.expect("confinement", "seccomp-actions", Limited, "kill_process user_notif log");
    stage.play.write("proc/self/status", "CapBnd:\t000001ffffdfffff\n");
    stage.expect("confinement", "capabilities", Limited, "CAP_SYS_ADMIN");
    let mut stage = Stage::of_root("confines");
    stage.host = Host::with(0, Layout::unified()).with_security_module(SecurityModule::Selinux);
    stage.play.write("sys/fs/selinux/enforce", "1");
    stage.expect("confinement", "security-module", Fine, "SELinux, enforcing");
    stage.host = Host::with(0, Layout::unified());
    stage.expect("confinement", "security-module", Limited, "neither");
}

#[test]
fn limits_that_a_start_may_reach_are_told() {
    let mut stage = Stage::of_root("limits");
    stage.expect("limits", "open-files", Fine, "1024 (at most 524288)");
    stage.expect("limits", "pids", Fine, "do not limit");
    stage.play.write("proc/self/limits", "Max open files  40  50  files\nMax processes  8  8  processes\n");
    stage.expect("limits", "open-files", Limited, "40 (at most 50)");
    stage.expect("limits", "processes", Limited, "8 (at most 8)");
    stage.play.write(&format!("{OWN}/pids.max"), "10\n");
    stage.expect("limits", "pids", Limited, "7 more are allowed in /sys/fs/cgroup/user.slice/session");
    stage.play.remove("proc/sys/net/ipv6/x");
    std::fs::remove_dir(stage.play.machine.file("proc/sys/net/ipv6")).unwrap();
    stage.expect("limits", "ipv6", Limited, "net.ipv6");
    stage.expect("limits", "state-directory", Fine, "/run/crun");
    stage.root = StateRoot::new("/run/crun/x/y".into());
    if !rustix::process::geteuid().is_root() {
        stage.expect("limits", "state-directory", Missing, "cannot be kept");
    }
}

#[test]
fn the_verdict_of_a_report_is_the_worst_finding() {
    let stage = Stage::of_root("verdict");
    let subject =
        |kernel| Subject::new(stage.play.machine.clone(), kernel, &stage.host, &stage.root, stage.manager);
    let kernel = || Kernel::Played { lacks: Vec::new(), refuses: None, systemd: None };
    let subject = subject(kernel());
    let group = |verdict| Group {
        name: "x",
        findings: vec![
            Answer::ok("fine").about("a"),
            Answer { verdict, ..Answer::limited("b", "c") }.about("b"),
        ],
    };
    for verdict in [Fine, Limited, Missing] {
        let report = Report::new(&subject, vec![group(verdict)]);
        assert_eq!((report.verdict, report.kernel.as_str(), report.uid), (verdict, "7.2.0-x", 0));
    }
    let json = serde_json::to_string(&group(Missing)).unwrap();
    let fine = r#"{"name":"a","verdict":"ok","found":"fine"}"#;
    let missing = r#"{"name":"b","verdict":"missing","found":"b","remedy":"c"}"#;
    assert_eq!(json, format!(r#"{{"name":"x","findings":[{fine},{missing}]}}"#));
}

#[test]
fn every_name_stands_in_the_documentation() {
    let text = include_str!("../../../../docs/check.md");
    let stage = Stage::of_user("documented");
    stage.play.write("proc/sys/user/max_user_namespaces", "0\n");
    for group in [Stage::of_root("documented").groups(), stage.groups()].concat() {
        for name in group.findings.iter().map(|finding| &*finding.name).chain([group.name]) {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}
