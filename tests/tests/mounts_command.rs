//! `mounts add` and `mounts remove`: what a running container gets and loses, seen from inside and outside.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, signal, wait_for};
use kit::mountinfo::{self, Mount};
use kit::running::{Output, Running};
use kit::{runtime, runtime_on_v2};
use serde_json::{Value, json};

/// A container that does nothing, with a root filesystem it can write to.
fn sleeper() -> Bundle {
    Bundle::new().writable().args(["sleep", "999"])
}

/// The same in a user namespace in which 0 stands for 100000.
fn mapped() -> Bundle {
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let bundle = sleeper()
        .namespace("user", Some(""))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping);
    chown_directories(&bundle.rootfs(), 100_000);
    bundle
}

fn chown_directories(path: &Path, id: u32) {
    chown(path, Some(id), Some(id)).unwrap();
    for entry in fs::read_dir(path).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_dir()) {
        chown_directories(&entry.path(), id);
    }
}

/// A sleeper, one in a user namespace, and one that has not left the host's root by `pivot_root`.
fn each_kind(crun: &Crun) -> [(&'static str, Container); 3] {
    let mut unpivoted = crun.container(&sleeper());
    unpivoted.make("run", ["--detach", "--no-pivot"]);
    [
        ("plain", crun.start(&sleeper())),
        ("in a user namespace", crun.start(&mapped())),
        ("without pivot_root", unpivoted),
    ]
}

/// `mounts ACTION` with this text in the file.
fn change_with(container: &Container, action: &str, text: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    container.cmd(["mounts", action, "ID", file.path().to_str().unwrap()])
}

fn add(container: &Container, mounts: &Value) -> Output {
    change_with(container, "add", &mounts.to_string())
}

fn remove(container: &Container, mounts: &Value) -> Output {
    change_with(container, "remove", &mounts.to_string())
}

fn tmpfs(destination: &str) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"})
}

fn bind(destination: &str, source: &Path, options: Value) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": options})
}

/// The mounts of the container's first process.
fn mounts_of(container: &Container) -> Vec<Mount> {
    mountinfo::parse(&fs::read_to_string(container.proc().join("mountinfo")).unwrap())
}

fn is_mounted(container: &Container, point: &str) -> bool {
    mounts_of(container).iter().any(|mount| mount.point == point)
}

fn exec(container: &Container, script: &str) -> String {
    let output = container.cmd(["exec", "ID", "sh", "-c", script]);
    assert_eq!(output.code, 0, "{output}");
    output.stdout
}

/// All names below a directory.
fn listing(dir: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            names.extend(listing(&entry.path()));
        }
        names.push(entry.path());
    }
    names.sort();
    names
}

/// A directory with a directory and a file, in which everybody may write.
fn source() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("file"), "content\n").unwrap();
    dir
}

#[test]
fn a_tmpfs_comes_with_its_options_and_goes_again() {
    let crun = runtime!();
    for (kind, container) in each_kind(&crun) {
        let mounts = json!([{
            "destination": "/new/deep", "type": "tmpfs", "source": "shm",
            "options": ["size=64k", "mode=1750", "nosuid", "noexec", "ro"],
        }]);
        assert_eq!(add(&container, &mounts).ok(), "", "{kind}");
        let all = mounts_of(&container);
        let mount = mountinfo::at(&all, "/new/deep");
        for option in ["size=64k", "mode=1750", "nosuid", "noexec", "ro"] {
            assert!(mount.has(option), "{kind}: {option}: {mount:?}");
        }
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("tmpfs", "shm"), "{kind}");
        assert_eq!(exec(&container, "stat -c '%a %u:%g' /new /new/deep"), "755 0:0\n1750 0:0\n", "{kind}");
        assert_eq!(remove(&container, &mounts).ok(), "", "{kind}");
        assert!(!is_mounted(&container, "/new/deep"), "{kind}");
    }
}

#[test]
fn directories_and_files_of_the_host_are_bound() {
    let crun = runtime!();
    let source = source();
    for (kind, container) in each_kind(&crun) {
        let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = json!([
            bind("/data", source.path(), json!(["bind"])),
            bind("/locked", source.path(), json!(["rbind", "rro", "nodev"])),
            bind("/etc/one-file", &source.path().join("file"), json!(["bind", "ro"])),
            bind("/etc/os-release", &source.path().join("file"), json!(["bind"])),
        ]);
        assert_eq!(add(&container, &mounts).ok(), "", "{kind}");
        let text = exec(&container, "cat /data/file /locked/file /etc/one-file /etc/os-release");
        assert_eq!(text, "content\n".repeat(4), "{kind}");
        let all = mounts_of(&container);
        assert!(mountinfo::at(&all, "/locked").has("ro") && mountinfo::at(&all, "/locked").has("nodev"));
        assert!(mountinfo::at(&all, "/etc/one-file").has("ro"));
        assert!(!mountinfo::at(&all, "/data").has("ro") && !mountinfo::at(&all, "/data").is("shared"));
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before, "{kind}");
        assert_eq!(remove(&container, &mounts).ok(), "", "{kind}");
        assert!(exec(&container, "cat /etc/os-release").contains("busybox"), "{kind}");
        assert_eq!(fs::read_to_string(source.path().join("file")).unwrap(), "content\n");
    }
}

#[test]
fn what_is_mounted_in_the_source_comes_along_only_with_rbind() {
    let crun = runtime_on_v2!();
    let source = source();
    let script = format!("mount -t tmpfs tmpfs {0}/sub; echo inner >{0}/sub/inner", source.path().display());
    assert!(crun.view().unwrap().command("sh").args(["-ec", &script]).status().unwrap().success());
    let container = crun.start(&sleeper());
    let mounts =
        json!(
            [bind("/one", source.path(), json!(["bind"])), bind("/tree", source.path(), json!(["rbind"])),]
        );
    assert_eq!(add(&container, &mounts).ok(), "");
    assert_eq!(exec(&container, "ls /one/sub /tree/sub"), "/one/sub:\n\n/tree/sub:\ninner\n");
    assert_eq!(remove(&container, &mounts).ok(), "");
    assert!(!is_mounted(&container, "/tree/sub"));
}

#[test]
fn filesystems_of_the_kernel_show_the_containers_namespaces() {
    let crun = runtime!();
    for (kind, container) in each_kind(&crun) {
        let filesystem = |name: &str, kind: &str| json!({"destination": name, "type": kind, "source": kind});
        let mounts = json!([
            filesystem("/proc2", "proc"),
            filesystem("/sys2", "sysfs"),
            filesystem("/queues", "mqueue"),
            filesystem("/terminals", "devpts"),
        ]);
        assert_eq!(add(&container, &mounts).ok(), "", "{kind}");
        exec(&container, "touch /dev/mqueue/mine");
        let script = "tr '\\0' ' ' </proc2/1/cmdline; ls /sys2/class/net /queues";
        assert_eq!(exec(&container, script), "sleep 999 /queues:\nmine\n\n/sys2/class/net:\nlo\n", "{kind}");
        assert_eq!(exec(&container, "stat -c %t /terminals/ptmx"), "5\n", "{kind}");
        assert_eq!(remove(&container, &mounts).ok(), "", "{kind}");
    }
}

#[test]
fn a_user_namespace_in_which_there_is_no_proc_gets_one_all_the_same() {
    let crun = runtime!();
    let bundle = mapped().edit(|config| {
        config["mounts"] = json!([]);
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("maskedPaths");
        linux.remove("readonlyPaths");
    });
    let container = crun.start(&bundle);
    let mounts = json!([{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]}]);
    assert_eq!(add(&container, &mounts).ok(), "");
    assert_eq!(exec(&container, "tr '\\0' ' ' </proc/1/cmdline"), "sleep 999 ");
    let all = mounts_of(&container);
    assert!(mountinfo::at(&all, "/proc").has("nosuid"));
    assert_eq!(remove(&container, &mounts).ok(), "");
    // Taken off again as the others are, when something else fails.
    add(&container, &json!([mounts[0], tmpfs("/etc/os-release/x")])).error_with(["mounts[1]"]);
    assert!(!is_mounted(&container, "/proc"));
}

#[test]
fn the_cgroup_filesystem_shows_the_containers_cgroup_alone() {
    for crun in [Crun::new(), Crun::on_v2()] {
        let crun = match crun {
            Ok(crun) => crun,
            Err(reason) => return kit::crun::skipped(reason),
        };
        for (kind, container) in each_kind(&crun) {
            let mount =
                json!({"destination": "/cgroups", "type": "cgroup", "source": "cgroup", "options": ["ro"]});
            assert_eq!(add(&container, &json!([mount])).ok(), "", "{kind}");
            let script =
                "find /cgroups/ -name cgroup.procs -exec cat {} + | sort -un; find /cgroups/ -type d | wc -l";
            let shown = exec(&container, script);
            // The processes of other cgroups would be those of other pid namespaces, which are shown as 0.
            assert!(shown.starts_with("1\n"), "{kind}: {shown}");
            assert_eq!(remove(&container, &json!([mount])).ok(), "", "{kind}");
        }
    }
}

#[test]
fn the_cgroup_filesystem_is_mounted_over_itself_and_taken_off_again() {
    let crun = runtime_on_v2!();
    let container = crun.start(&sleeper());
    let before = mounts_of(&container);
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"});
    assert_eq!(add(&container, &json!([mount])).ok(), "");
    exec(&container, "mkdir /sys/fs/cgroup/below && rmdir /sys/fs/cgroup/below");
    assert_eq!(remove(&container, &json!([mount])).ok(), "");
    assert_eq!(mounts_of(&container), before);
}

#[test]
fn destinations_lead_through_links_inside() {
    let crun = runtime!();
    for (kind, container) in each_kind(&crun) {
        let root = container.proc().join("root");
        fs::create_dir(root.join("real")).unwrap();
        chown(root.join("real"), Some(100_000), Some(100_000)).unwrap();
        symlink("/real", root.join("link")).unwrap();
        symlink("../../../../real", root.join("up")).unwrap();
        symlink("/made/by/this", root.join("dangling")).unwrap();
        for (destination, point) in [
            ("/link", "/real"),
            ("/link/sub", "/real/sub"),
            ("/up/other", "/real/other"),
            ("/dangling", "/made/by/this"),
            ("/dangling/below", "/made/by/this/below"),
            ("/etc/../../../up", "/real"),
            ("relative", "/relative"),
        ] {
            assert_eq!(add(&container, &json!([tmpfs(destination)])).ok(), "", "{kind}: {destination}");
            assert!(is_mounted(&container, point), "{kind}: {destination}: {:#?}", mounts_of(&container));
            assert!(!Path::new(point).exists(), "{kind}: {point} was made on the host");
            assert_eq!(remove(&container, &json!([tmpfs(destination)])).ok(), "", "{kind}: {destination}");
            assert!(!is_mounted(&container, point), "{kind}: {destination}");
        }
    }
}

#[test]
fn a_link_to_a_path_of_the_host_leads_to_nothing_outside() {
    let crun = runtime!();
    let outside = source();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for (kind, container) in each_kind(&crun) {
        let root = container.proc().join("root");
        symlink(outside.path(), root.join("out")).unwrap();
        symlink("/proc/1/root", root.join("magic")).unwrap();
        assert_eq!(add(&container, &json!([tmpfs("/out/sub")])).ok(), "", "{kind}");
        let inside = outside.path().join("sub");
        assert!(is_mounted(&container, inside.to_str().unwrap()), "{kind}");
        remove(&container, &json!([tmpfs("/out")])).error_with(["mounts[0]: /out", "nothing is mounted"]);
        assert_eq!(remove(&container, &json!([tmpfs("/out/sub")])).ok(), "", "{kind}");
        add(&container, &json!([tmpfs("/magic/etc")]))
            .error_with(["mounts[0]: /magic/etc", "symbolic links"]);
        remove(&container, &json!([tmpfs("/magic/proc")])).error_with(["mounts[0]: /magic/proc"]);
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before, "{kind}");
        assert_eq!(listing(outside.path()).len(), 2, "{kind}");
    }
}

/// A process of the container's changes what the destination is, all the time: a directory, a link out of the root, a
/// link to another place inside. It takes off what is mounted there, which would keep it from going on.
const FLICKER: &str = "cd /race; mkdir -p a b; echo up; while :; do umount -l a/t; \
    mv a/t b/d; ln -s ../../../../../..$OUT a/t; mv a/t b/l; ln -s /etc a/t; mv a/t b/e; mv b/d a/t; rm -rf b/l b/e; \
    done 2>/dev/null";

#[test]
fn a_destination_that_changes_all_the_time_never_leads_outside() {
    let crun = runtime!();
    let outside = source();
    let out = outside.path().to_str().unwrap().to_owned();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for bundle in [sleeper(), mapped()] {
        fs::create_dir_all(bundle.rootfs().join("race/a/t")).unwrap();
        let owner = fs::metadata(bundle.rootfs()).unwrap().uid();
        chown_directories(&bundle.rootfs(), owner);
        let bundle = bundle.caps(["CAP_SYS_ADMIN"]).env(&format!("OUT={out}")).sh(FLICKER);
        let container = crun.start(&bundle);
        container.wait_output("up");
        let file = bind("/race/a/t/file", &outside.path().join("file"), json!(["bind"]));
        let mounts = json!([tmpfs("/race/a/t/new"), file, tmpfs("/race/a/t")]);
        let outputs: Vec<_> = (0..80).map(|_| add(&container, &mounts)).collect();
        for output in &outputs {
            let expected = output.code == 0 || output.code == 1 && output.stderr.starts_with("mounts[");
            assert!(expected, "{output}");
        }
        assert!(outputs.iter().any(|output| output.code == 0), "no attempt came through");
        assert_eq!(listing(outside.path()).len(), 2);
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
        let _ = remove(&container, &mounts);
    }
}

#[test]
fn mounts_in_each_other_come_and_go_by_the_same_file() {
    let crun = runtime!();
    let source = source();
    let container = crun.start(&sleeper());
    let before = mounts_of(&container);
    let mut read_only = tmpfs("/outer");
    read_only["options"] = json!(["ro"]);
    let mounts = json!([
        read_only,
        tmpfs("/outer/below"),
        bind("/data", source.path(), json!(["bind", "ro"])),
        tmpfs("/data/fresh"),
    ]);
    assert_eq!(add(&container, &mounts).ok(), "");
    let script =
        "for dir in /outer /outer/below /data /data/fresh; do touch $dir/x 2>/dev/null && echo $dir; done";
    assert_eq!(exec(&container, &format!("{script}; true")), "/outer/below\n/data/fresh\n");
    assert_eq!(remove(&container, &mounts).ok(), "");
    assert_eq!(mounts_of(&container), before);
}

#[test]
fn when_one_cannot_be_made_none_is_left() {
    let crun = runtime!();
    let source = source();
    for (kind, container) in each_kind(&crun) {
        let root = container.proc().join("root");
        fs::create_dir(root.join("there")).unwrap();
        chown(root.join("there"), Some(100_000), Some(100_000)).unwrap();
        symlink("/through/a/link", root.join("dangling")).unwrap();
        let host = [tmpfs("/etc/os-release/x"), bind("/never", Path::new("/nonexistent"), json!(["bind"]))];
        let inside = [json!({"destination": "/never", "type": "tmpfs", "options": ["size=nonsense"]})];
        let (before, files) = (mounts_of(&container), listing(&root.join("etc")));
        for wrong in host.iter().chain(&inside) {
            let mut mounts = vec![
                tmpfs("/made/deep"),
                tmpfs("/there"),
                tmpfs("/there/below"),
                bind("/etc/os-release", &source.path().join("file"), json!(["bind"])),
                bind("/new-file", &source.path().join("file"), json!(["bind"])),
                bind("/over-data", source.path(), json!(["bind"])),
                tmpfs("/over-data/made"),
                bind("/link", Path::new("/proc/self"), json!(["bind", "copy-symlink"])),
                tmpfs("/dangling"),
                {
                    let mut frozen = tmpfs("/frozen");
                    frozen["options"] = json!(["ro"]);
                    frozen
                },
                tmpfs("/frozen/sub"),
            ];
            let position = mounts.len();
            mounts.push(wrong.clone());
            let destination = wrong["destination"].as_str().unwrap();
            let named = format!("mounts[{position}]: {destination}");
            add(&container, &Value::from(mounts)).error_with([named.as_str()]);
            assert_eq!(mounts_of(&container), before, "{kind}: {wrong}");
            assert_eq!(listing(&root.join("etc")), files, "{kind}: {wrong}");
            for name in ["made", "new-file", "over-data", "link", "through", "frozen"] {
                assert!(fs::symlink_metadata(root.join(name)).is_err(), "{kind}: {wrong}: /{name} is left");
            }
            assert_eq!(listing(source.path()).len(), 2, "{kind}: {wrong}");
        }
    }
}

#[test]
fn each_error_says_what_could_not_be_done_and_why() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    for (mount, words) in [
        (
            bind("/d", Path::new("/nonexistent"), json!(["bind"])),
            "/d: open the source `/nonexistent`: No such file",
        ),
        (tmpfs("/etc/os-release/x"), "/etc/os-release/x: create the mount point: Not a directory"),
        (
            json!({"destination": "/d", "type": "tmpfs", "options": ["size=many"]}),
            "/d: the tmpfs filesystem refuses the option `size=many`: Invalid argument",
        ),
        (
            json!({"destination": "/d", "type": "nosuchfs"}),
            "/d: mount the nosuchfs filesystem: No such device",
        ),
        (json!({"destination": "/d"}), "invalid mount type for `/d`"),
        (
            json!({"destination": "/a/b", "type": "proc"}),
            "invalid target `/a/b`: it must be mounted at the root",
        ),
        (
            json!({"destination": "/etc", "type": "none", "options": ["remount", "ro"]}),
            "/etc: the option `remount` changes a mount",
        ),
        (tmpfs("/"), "/: the root of a running container cannot be covered"),
    ] {
        let line = add(&container, &json!([tmpfs("/first"), mount])).error();
        let words = if words.starts_with('/') { format!("mounts[1]: {words}") } else { words.to_owned() };
        assert!(line.contains(&words), "`{words}` is not in `{line}`");
        assert!(!is_mounted(&container, "/first"));
    }
}

#[test]
fn the_root_is_neither_covered_nor_taken_off_by_way_of_a_link() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    symlink("/", container.proc().join("root/link")).unwrap();
    add(&container, &json!([tmpfs("/link")])).error_with(["mounts[0]: /link", "busy"]);
    remove(&container, &json!([tmpfs("/link")])).error_with(["mounts[0]: /link", "busy"]);
    for destination in ["/", "", "/etc/.."] {
        remove(&container, &json!([tmpfs(destination)])).error_with(["mounts[0]", "needs its root"]);
    }
    assert!(exec(&container, "cat /etc/os-release").contains("busybox"));
}

#[test]
fn what_is_not_mounted_is_named_and_nothing_else_is_taken_off() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    assert_eq!(add(&container, &json!([tmpfs("/there"), tmpfs("/later")])).ok(), "");
    exec(&container, "mkdir /there/directory");
    let before = mounts_of(&container);
    for (destination, words) in [
        ("/etc", "unmount (nothing is mounted exactly there): Invalid argument"),
        ("/there/directory", "unmount (nothing is mounted exactly there): Invalid argument"),
        ("/nowhere", "find the mount point: No such file or directory"),
    ] {
        let mounts = json!([tmpfs("/there"), tmpfs(destination), tmpfs("/later")]);
        remove(&container, &mounts).error_with([&format!("mounts[1]: {destination}: {words}")]);
        assert_eq!(mounts_of(&container), before);
    }
}

#[test]
fn of_several_mounts_at_one_place_the_last_one_goes_first() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    let of_size = |size: &str| json!([{"destination": "/d", "type": "tmpfs", "options": [size]}]);
    for size in ["size=4k", "size=8k"] {
        assert_eq!(add(&container, &of_size(size)).ok(), "");
    }
    assert_eq!(remove(&container, &of_size("")).ok(), "");
    let mounts = mounts_of(&container);
    assert!(mountinfo::at(&mounts, "/d").has("size=4k"));
    assert_eq!(add(&container, &of_size("size=16k")).ok(), "");
    let both = json!([tmpfs("/d"), tmpfs("/d")]);
    assert_eq!(remove(&container, &both).ok(), "");
    remove(&container, &both).error_with(["mounts[0]: /d", "nothing is mounted"]);
}

#[test]
fn mounts_of_the_start_can_be_taken_off_too() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    assert_eq!(remove(&container, &json!([{"destination": "/dev/shm"}])).ok(), "");
    assert!(!is_mounted(&container, "/dev/shm"));
}

#[test]
fn a_link_that_is_covered_is_uncovered_again() {
    let crun = runtime!();
    let source = source();
    let container = crun.start(&sleeper());
    symlink("/etc", container.proc().join("root/link")).unwrap();
    let mounts = json!([bind("/link", &source.path().join("file"), json!(["bind", "dest-nofollow"]))]);
    assert_eq!(add(&container, &mounts).ok(), "");
    assert_eq!(exec(&container, "cat /link"), "content\n");
    assert_eq!(remove(&container, &mounts).ok(), "");
    assert_eq!(exec(&container, "readlink /link"), "/etc\n");
}

#[test]
fn ids_are_shown_by_a_mapping() {
    let crun = runtime!();
    let source = source();
    chown(source.path().join("file"), Some(7), Some(8)).unwrap();
    let list = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 65_536}]);
    let mut given = bind("/given", source.path(), json!(["bind", "idmap"]));
    (given["uidMappings"], given["gidMappings"]) = (list(100_000), list(100_000));
    let own = bind("/own", source.path(), json!(["bind", "idmap"]));
    let plain = crun.start(&sleeper());
    assert_eq!(add(&plain, &json!([given])).ok(), "");
    assert_eq!(exec(&plain, "stat -c %u:%g /given/file"), "100007:100008\n");
    add(&plain, &json!([own])).error_with(["mounts[0]: /own", "id mappings of its own or a user namespace"]);
    let container = crun.start(&mapped());
    assert_eq!(add(&container, &json!([given, own])).ok(), "");
    let script = "touch /own/new; stat -c %u:%g /given/file /own/file /own/new";
    assert_eq!(exec(&container, script), "7:8\n7:8\n0:0\n");
    assert_eq!(fs::metadata(source.path().join("new")).unwrap().uid(), 0);
}

#[test]
fn ids_are_shown_as_in_a_user_namespace_that_was_joined() {
    let crun = runtime!();
    let source = source();
    let first = crun.start(&mapped());
    let path = first.proc().join("ns/user");
    let bundle = mapped().namespace("user", path.to_str()).edit(|config| {
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    });
    let second = crun.start(&bundle);
    // Its configuration names the user namespace by a process that is gone.
    first.delete();
    assert_eq!(add(&second, &json!([bind("/own", source.path(), json!(["bind", "idmap"]))])).ok(), "");
    assert_eq!(exec(&second, "stat -c %u:%g /own/file"), "0:0\n");
}

#[test]
fn a_tmpfs_starts_with_what_it_covers() {
    for crun in [Crun::new(), Crun::on_v2()] {
        let crun = match crun {
            Ok(crun) => crun,
            Err(reason) => return kit::crun::skipped(reason),
        };
        for (kind, container) in each_kind(&crun) {
            let mounts = json!([{"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}]);
            assert_eq!(add(&container, &mounts).ok(), "", "{kind}");
            let script = "echo more >/etc/more; cat /etc/os-release /etc/more";
            assert_eq!(exec(&container, script), "NAME=busybox\nID=busybox\nmore\n", "{kind}");
            assert_eq!(remove(&container, &mounts).ok(), "", "{kind}");
            let script = "test ! -e /etc/more && cat /etc/os-release";
            assert_eq!(exec(&container, script), "NAME=busybox\nID=busybox\n", "{kind}");
        }
    }
}

#[test]
fn a_copy_is_charged_to_the_container_which_outlives_it() {
    let crun = runtime!();
    if crun.start(&sleeper()).cgroup("memory").is_none() {
        return kit::crun::skipped("there is no memory controller here");
    }
    let memory = json!({"memory": {"limit": 33_554_432}});
    let container = crun.start(&sleeper().set("/linux/resources", memory));
    exec(&container, "mkdir /data; truncate -s 200M /data/sparse");
    let mounts =
        json!([{"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}]);
    add(&container, &mounts).error_with(["OOM: ", "killed by signal 9, perhaps after some of the changes"]);
    assert!(!is_mounted(&container, "/data"));
    assert_eq!(container.status(), "running");
}

/// Starts to add mounts of which one takes its time, because much has to be copied for it, and stops the process that
/// does so inside the container. Returns the runtime and the pid of that process.
fn stopped_in_the_middle(crun: &Crun, container: &Container) -> (Running, u32) {
    exec(container, "mkdir /data; truncate -s 256M /data/sparse");
    let mounts = json!([
        tmpfs("/first"),
        {"destination": "/proc2", "type": "proc"},
        {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]},
    ]);
    let file = container.proc().join("root/list");
    fs::write(&file, mounts.to_string()).unwrap();
    let runtime = crun.spawn(crun.command(["mounts", "add", container.id(), file.to_str().unwrap()]));
    let own = fs::read_link(container.proc().join("ns/mnt")).unwrap();
    let pid = wait_for("the process in the container", || {
        let pids = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_it = |pid: &u32| {
            fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|namespace| namespace == own)
                && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "crun\n")
        };
        pids.filter(is_it).find(|_| is_mounted(container, "/first"))
    });
    signal(pid, 19);
    (runtime, pid)
}

#[test]
fn the_process_inside_has_nothing_of_the_hosts_that_could_be_taken_from_it() {
    let crun = runtime!();
    for (kind, container) in each_kind(&crun) {
        let (runtime, pid) = stopped_in_the_middle(&crun, &container);
        let hosts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let hosts: Vec<_> = hosts.lines().map(|line| line.split(' ').next().unwrap()).collect();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten() {
            let info = fs::read_to_string(entry.path()).unwrap();
            let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap().trim();
            let link = fs::read_link(format!("/proc/{pid}/fd/{}", entry.file_name().display())).unwrap();
            assert!(!hosts.contains(&mount), "{kind}: {}", link.display());
        }
        for name in ["root", "cwd"] {
            assert_eq!(fs::read_link(format!("/proc/{pid}/{name}")).unwrap(), Path::new("/"), "{kind}");
        }
        // Whoever may not be traced belongs to root (proc(5)).
        assert_eq!(fs::metadata(format!("/proc/{pid}/fd")).unwrap().uid(), 0, "{kind}");
        signal(pid, 18);
        assert_eq!(runtime.wait().ok(), "", "{kind}");
    }
}

#[test]
fn when_the_runtime_is_killed_the_mounts_made_so_far_are_taken_off() {
    let crun = runtime!();
    for (kind, container) in each_kind(&crun) {
        let before = mounts_of(&container);
        let (mut runtime, pid) = stopped_in_the_middle(&crun, &container);
        assert!(runtime.kill(), "{kind}: the runtime had ended already");
        signal(pid, 18);
        wait_for("the mounts to be taken off", || {
            let made = container.proc().join("root/first");
            (mounts_of(&container) == before && !made.exists()).then_some(())
        });
    }
}

#[test]
fn a_container_that_waits_for_its_start_gets_mounts() {
    let crun = runtime!();
    let source = source();
    let container = crun.create(&sleeper().sh("cat /data/file"));
    assert_eq!(add(&container, &json!([bind("/data", source.path(), json!(["bind"]))])).ok(), "");
    container.start();
    container.wait_output("content\n");
}

#[test]
fn a_container_that_does_not_exist_or_run_is_named() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    fs::write(file, json!([tmpfs("/d")]).to_string()).unwrap();
    for action in ["add", "remove"] {
        crun.cmd(["mounts", action, "nobody", file]).error_with(["container `nobody` does not exist"]);
        crun.cmd(["mounts", action, "no/body", file]).error_with(["invalid character `/`"]);
    }
    container.kill("KILL");
    container.wait();
    for action in ["add", "remove"] {
        let line = container.cmd(["mounts", action, "ID", file]).error();
        assert_eq!(line, format!("the container `{}` is not running", container.id()));
    }
}

#[test]
fn a_paused_container_is_left_alone() {
    let crun = runtime_on_v2!();
    let container = crun.start(&sleeper());
    let (_, cgroup) = container.cgroups().into_iter().find(|(_, dir)| dir.ends_with(container.id())).unwrap();
    fs::write(cgroup.join("cgroup.freeze"), "1").unwrap();
    wait_for("the container to freeze", || (container.status() == "paused").then_some(()));
    let before = mounts_of(&container);
    for output in [add(&container, &json!([tmpfs("/d")])), remove(&container, &json!([tmpfs("/dev/shm")]))] {
        assert_eq!(output.error(), format!("the container `{}` is paused", container.id()));
    }
    assert_eq!(mounts_of(&container), before);
    fs::write(cgroup.join("cgroup.freeze"), "0").unwrap();
    wait_for("the container to thaw", || (container.status() == "running").then_some(()));
}

#[test]
fn without_a_mount_namespace_of_its_own_a_container_keeps_the_hosts_mounts() {
    let crun = runtime!();
    let bundle = sleeper().namespace("mount", None).edit(|config| {
        config["mounts"] = json!([]);
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("maskedPaths");
        linux.remove("readonlyPaths");
    });
    let container = crun.start(&bundle);
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    add(&container, &json!([tmpfs("/d")])).error_with(["no mount namespace of its own"]);
    remove(&container, &json!([tmpfs("/proc")])).error_with(["no mount namespace of its own"]);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}

#[test]
fn a_file_that_is_no_list_of_mounts_is_refused() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    for action in ["add", "remove"] {
        for text in ["{}", "null", "7", r#""/d""#, r#"{"destination": "/d"}"#] {
            assert_eq!(change_with(&container, action, text).error(), "mounts must be an array");
        }
        for (text, words) in [
            ("", "EOF while parsing"),
            ("[", "EOF while parsing"),
            ("[7]", "[0]: invalid type: integer `7`"),
            (
                r#"[{"destination": "/a", "type": "tmpfs"}, {"type": "tmpfs"}]"#,
                "[1]: missing field `destination`",
            ),
            (r#"[{"destination": "/a", "options": "ro"}]"#, "[0].options: invalid type: string \"ro\""),
            (r#"[{"destination": "/a\u0000b", "type": "tmpfs"}]"#, "NUL byte"),
        ] {
            change_with(&container, action, text).error_with([words]);
        }
        assert_eq!(change_with(&container, action, " []\n").ok(), "");
        container
            .cmd(["mounts", action, "ID", "/no/such/file"])
            .error_with(["open `/no/such/file`: No such file"]);
    }
    assert!(!is_mounted(&container, "/a"));
}

#[test]
fn the_list_can_come_from_the_standard_input() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    for (action, expected) in [("add", true), ("remove", false)] {
        let mut command = crun.command(["mounts", action, container.id(), "-"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(json!([tmpfs("/d")]).to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(is_mounted(&container, "/d"), expected);
    }
}

#[test]
fn the_command_line_is_checked() {
    let crun = runtime!();
    for args in [vec!["mounts"], vec!["mounts", "add"], vec!["mounts", "add", "x"]] {
        crun.cmd(args).error_with(["`mounts` requires a minimum of 3 arguments"]);
    }
    crun.cmd(["mounts", "add", "x", "y", "z"]).error_with(["`mounts` requires a maximum of 3 arguments"]);
    crun.cmd(["mounts", "change", "x", "y"]).error_with(["unknown command change"]);
}

#[test]
fn nothing_is_written_down() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    let dir = crun.state_dir().join(container.id());
    let content = |dir: &Path| listing(dir).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let before = content(&dir);
    assert_eq!(add(&container, &json!([tmpfs("/d")])).ok(), "");
    assert_eq!(content(&dir), before);
}

#[test]
fn a_kernel_without_the_calls_for_detached_mounts_is_told_apart() {
    let crun = runtime!();
    let container = crun.start(&sleeper());
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    fs::write(file, json!([tmpfs("/d")]).to_string()).unwrap();
    for call in ["open_tree", "mount_setattr"] {
        let old = crun.clone().without([call]);
        old.cmd(["mounts", "add", container.id(), file]).error_with(["open_tree(2)", "mount_setattr(2)"]);
    }
    // Without these it is the same.
    let old = crun.clone().without(["openat2", "close_range"]);
    assert_eq!(old.cmd(["mounts", "add", container.id(), file]).ok(), "");
    assert_eq!(old.without(["open_tree"]).cmd(["mounts", "remove", container.id(), file]).ok(), "");
    assert!(!is_mounted(&container, "/d"));
}
