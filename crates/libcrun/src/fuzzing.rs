//! Everything that is read from outside, by one function that takes any bytes: for the fuzz target `config`, and for the
//! test that feeds its inputs (`fuzz/seeds/config`, `fuzz/corpus/config`). What is no configuration makes an error; nothing may panic, and
//! what comes out of it keeps to what later stages rely on.
#![allow(clippy::panic, reason = "who broke a promise is to be found")]

use std::path::Path;

use cgroups::layout::Hierarchy;
use cgroups::{CgroupPath, Layout, systemd};

use crate::host::{Host, SecurityModule};
use crate::id::ContainerId;
use crate::plan::{
    AddedMounts, CgroupManager, InnerPath, Plan, RemovedMounts, Request, Running, process_plan,
};
use crate::spec::{self, Spec};
use crate::state::Status;

const NAME: &str = "fuzzed";

/// Takes `text` for each of the things that the runtime is given.
pub fn load(text: &[u8]) {
    if let Ok(spec) = spec::parse(text, NAME) {
        plan(&spec);
    }
    let _ = spec::parse_annotations(text, NAME);
    process(text);
    limits(text);
    mounts(text);
    if let Ok(status) = serde_json::from_slice::<Status>(text) {
        cgroup_path(&status.cgroup_path);
    }
    if let Ok(text) = std::str::from_utf8(text) {
        words(text);
    }
}

/// The hosts there are: all of v2, v1 beside it, and a caller without privileges.
fn hosts() -> [Host; 3] {
    let v1 = |directory: &str| Hierarchy {
        directory: directory.to_owned(),
        unified: false,
        controllers: directory.split(',').map(str::to_owned).collect(),
    };
    let v2 = Hierarchy { directory: "unified".to_owned(), unified: true, controllers: Vec::new() };
    let controllers =
        ["memory", "cpu,cpuacct", "cpuset", "pids", "blkio", "devices", "hugetlb", "net_cls,net_prio"];
    let hybrid = Layout { hierarchies: std::iter::once(v2).chain(controllers.map(v1)).collect() };
    [
        Host::with(0, Layout::unified()).with_security_module(SecurityModule::Selinux),
        Host::with(0, hybrid).with_security_module(SecurityModule::AppArmor("engine (enforce)".to_owned())),
        Host::with(1000, Layout::unified()),
    ]
}

fn plan(spec: &Spec<'_>) {
    let Ok(id) = ContainerId::new("web") else { return };
    let managers = [CgroupManager::Cgroupfs, CgroupManager::Systemd, CgroupManager::Disabled];
    for host in hosts() {
        for cgroup_manager in managers {
            let request = Request {
                cgroup_manager,
                preserve_fds: u32::MAX,
                listen_fds: 1,
                ..Request::new(&id, Path::new("/bundle"))
            };
            let _ = Plan::new(spec, &request, &host);
        }
    }
    let path = spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
    cgroup_path(path.unwrap_or_default());
    let listed = spec.mounts.as_deref().unwrap_or_default();
    running(spec, listed);
}

fn process(text: &[u8]) {
    if let Ok(process) = spec::parse_process(text, NAME) {
        for host in hosts() {
            let _ = process_plan(&process, 0, &host);
        }
    }
}

fn limits(text: &[u8]) {
    let Ok(resources) = spec::parse_resources(text, NAME) else { return };
    for host in hosts() {
        if let Ok(layout) = host.cgroups() {
            let _ = (resources.writes(layout), resources.changes(layout));
        }
    }
    let _ = cgroups::devices::rules(&resources.devices);
}

fn mounts(text: &[u8]) {
    let Ok(list) = spec::parse_mounts(text, NAME) else { return };
    let container = spec::template(false, false);
    if let Ok(spec) = spec::parse(container.as_bytes(), NAME) {
        running(&spec, &list);
    }
}

fn running(spec: &Spec<'_>, list: &[spec::Mount<'_>]) {
    let container = Running {
        spec,
        bundle: Path::new("/bundle"),
        user_namespace: "/proc/1/ns/user".into(),
        has_cgroup: true,
        is_an_ordinary_users: false,
    };
    for host in hosts() {
        let _ = AddedMounts::new(list, &container, &host);
        let _ = RemovedMounts::new(list, &container, &host);
    }
}

/// What stands in annotations and on the command line.
fn words(text: &str) {
    cgroup_path(text);
    let _ = systemd::text::parse(text);
    let _ = systemd::annotated_properties([("org.systemd.property.Any", text)]);
    let _ = systemd::Unit::new(Some(text), "web", false);
    let _ = crate::signals::parse(text);
    if let Ok(id) = ContainerId::new(text) {
        assert!(!id.as_str().contains(['/', '\0']) && !id.as_str().starts_with('.'), "`{text}` as a name");
    }
    if let Ok(path) = InnerPath::new(text, String::new) {
        let path = path.to_string();
        assert!(!path.split('/').any(|component| component == ".."), "`{text}` as a path became `{path}`");
    }
}

fn cgroup_path(text: &str) {
    let path = CgroupPath::new(Some(text), "web");
    let goes_up = path.below_root().split('/').any(|component| component == "..");
    assert!(!goes_up && !path.below_root().starts_with('/'), "`{text}` as a cgroup became `{path}`");
    if let Ok(path) = CgroupPath::below(text) {
        assert!(!path.is_root(), "`{text}` as a cgroup below became the root");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What was written by hand, and what the fuzzer has kept: each way through the code once.
    fn corpus() -> BTreeMap<String, Vec<u8>> {
        let directories = ["seeds", "corpus"]
            .map(|kind| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join("config"));
        let files = directories.iter().flat_map(|directory| std::fs::read_dir(directory).unwrap());
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        };
        files.map(read).collect()
    }

    #[test]
    fn nothing_of_the_corpus_makes_the_loader_panic() {
        let corpus = corpus();
        assert!(corpus.len() > 100, "the corpus is gone");
        for (name, text) in corpus {
            println!("{name}");
            load(&text);
        }
    }
}
