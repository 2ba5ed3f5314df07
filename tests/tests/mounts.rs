//! What is mounted, where and in what order: binds of every kind of file, filesystems of the kernel, mounts on each
//! other and on the root, and what a failed start leaves in the root filesystem.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::mountinfo::{self, Mount};
use kit::{runtime, runtime_on_v2};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

fn mounts_of(crun: &Crun, bundle: Bundle) -> Vec<Mount> {
    mountinfo::parse(&crun.run(&bundle.args(["cat", "/proc/self/mountinfo"])).ok())
}

/// All names below a directory, with what kind of file they are.
fn listing(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        names.push(format!("{} {kind:?}", path.display()));
        if kind.is_dir() {
            names.extend(listing(&path));
        }
    }
    names.sort();
    names
}

#[test]
fn a_socket_and_a_fifo_can_be_bound() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(dir.path().join("socket")).unwrap();
    mknodat(CWD, dir.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let bundle = Bundle::new()
        .mount("/run/socket", "bind", &at("socket"), ["bind"])
        .mount("/run/fifo", "bind", &at("fifo"), ["bind"])
        .args(["stat", "-c", "%F", "/run/socket", "/run/fifo"]);
    assert_eq!(crun.run(&bundle).ok(), "socket\nfifo\n");
}

#[test]
fn a_source_that_is_a_link_is_followed() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "content").unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    let link = dir.path().join("link");
    let bundle = Bundle::new().mount("/f", "bind", link.to_str().unwrap(), ["bind"]).args(["cat", "/f"]);
    assert_eq!(crun.run(&bundle).ok(), "content");
}

#[test]
fn a_part_of_the_root_filesystem_can_be_bound_elsewhere_in_it() {
    let crun = runtime!();
    let bundle = Bundle::new();
    let etc = bundle.rootfs().join("etc");
    let bundle =
        bundle.mount("/copy", "bind", etc.to_str().unwrap(), ["bind"]).args(["cat", "/copy/os-release"]);
    assert!(crun.run(&bundle).ok().contains("busybox"));
}

#[test]
fn the_hosts_root_can_be_bound_with_everything_below() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .mount("/host", "bind", "/", ["rbind", "ro"])
        .sh("test -d /host/proc/self && test -d /host/sys/kernel && echo there");
    assert_eq!(crun.run(&bundle).ok(), "there\n");
}

#[test]
fn a_destination_is_made_where_a_dangling_link_leads() {
    let crun = runtime!();
    let bundle =
        Bundle::new().mount("/var/new/data", "tmpfs", "tmpfs", []).args(["ls", "-d", "/run/other/data"]);
    symlink("/run/other", bundle.rootfs().join("var/new")).unwrap();
    assert_eq!(crun.run(&bundle).ok(), "/run/other/data\n");
}

#[test]
fn mounts_below_a_read_only_bind_get_their_mount_points() {
    let crun = runtime!();
    let source = tempfile::tempdir().unwrap();
    let bundle = Bundle::new()
        .mount("/data", "bind", source.path().to_str().unwrap(), ["bind", "ro"])
        .mount("/data/below", "tmpfs", "tmpfs", [])
        .sh("touch /data/below/works && touch /data/fails");
    let output = crun.run(&bundle);
    assert!(output.code == 1 && output.stderr.contains("/data/fails: Read-only"), "{output}");
    assert!(source.path().join("below").is_dir());
}

#[test]
fn a_mount_on_the_root_takes_its_place() {
    let crun = runtime!();
    let other = Bundle::new();
    fs::write(other.rootfs().join("mark"), "other").unwrap();
    let root = json!({"destination": "/", "type": "bind", "source": other.rootfs(), "options": ["rbind"]});
    let bundle = Bundle::new()
        .edit(|config| config["mounts"].as_array_mut().unwrap().insert(0, root))
        .sh("cat /mark; ls /dev/null; touch /new; grep -c ' / / ' /proc/self/mountinfo");
    let output = crun.run(&bundle);
    assert!(output.stdout.starts_with("other/dev/null\n"), "{output}");
    assert!(output.stderr.contains("Read-only file system"), "the root is read-only: {output}");
    let mounts = mounts_of(&crun, bundle);
    assert_eq!(mounts.iter().filter(|mount| mount.point == "/").count(), 1, "{mounts:#?}");
}

#[test]
fn several_mounts_on_the_root_and_a_remount_of_it_leave_one_root() {
    let crun = runtime!();
    let other = Bundle::new();
    let root = |options: &[&str]| json!({"destination": "/", "type": "bind", "source": other.rootfs(), "options": options});
    let bundle = Bundle::new().edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        for options in [&["bind", "remount", "nodev"][..], &["rbind"], &["bind"]] {
            mounts.insert(0, root(options));
        }
    });
    let mounts = mounts_of(&crun, bundle);
    assert_eq!(mounts.iter().filter(|mount| mount.point == "/").count(), 1, "{mounts:#?}");
    assert!(mountinfo::at(&mounts, "/").has("nodev"));
}

#[test]
fn a_remount_reaches_the_filesystem() {
    let crun = runtime!();
    let bundle = Bundle::new().mount("/data", "tmpfs", "tmpfs", ["size=64k", "nosuid"]).mount(
        "/data",
        "tmpfs",
        "tmpfs",
        ["remount", "size=128k", "noexec"],
    );
    let mounts = mounts_of(&crun, bundle);
    let data = mountinfo::at(&mounts, "/data");
    assert!(data.has("size=128k") && data.has("noexec") && data.has("nosuid"), "{data:?}");
}

#[test]
fn a_remount_of_nothing_is_an_error_that_names_it() {
    let crun = runtime!();
    crun.run(&Bundle::new().mount("/nowhere", "tmpfs", "tmpfs", ["remount", "ro"]))
        .error_with(["mounts[7]: /nowhere", "No such file or directory"]);
}

#[test]
fn proc_takes_its_options() {
    let crun = runtime!();
    let bundle = Bundle::new().set(
        "/mounts/0",
        json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["hidepid=2", "subset=pid"]}),
    );
    let mounts = mounts_of(&crun, bundle.set("/linux/readonlyPaths", json!([])));
    let proc = mountinfo::at(&mounts, "/proc");
    assert!(proc.has("hidepid=invisible") && proc.has("subset=pid"), "{proc:?}");
}

#[test]
fn an_overlay_shows_its_layers_and_writes_to_the_upper_one() {
    let crun = runtime!();
    // An overlay of overlays is refused by the kernel; a tmpfs has what an upper layer needs.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    for name in ["lower1", "lower2", "upper", "work"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("lower1/a"), "one").unwrap();
    fs::write(dir.path().join("lower2/b"), "two").unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let lower = format!("lowerdir={}:{}", at("lower1"), at("lower2"));
    let (upper, work) = (format!("upperdir={}", at("upper")), format!("workdir={}", at("work")));
    let bundle = Bundle::new()
        .mount("/data", "overlay", "overlay", [lower.as_str(), &upper, &work])
        .sh("cat /data/a /data/b; echo new >/data/c");
    assert_eq!(crun.run(&bundle).ok(), "onetwo");
    assert_eq!(fs::read_to_string(dir.path().join("upper/c")).unwrap(), "new\n");
    let bundle = Bundle::new().mount("/data", "overlay", "overlay", [lower.as_str(), &upper, &work, "ro"]);
    let mounts = mounts_of(&crun, bundle);
    assert!(mountinfo::at(&mounts, "/data").has("ro"));
}

#[test]
fn an_overlay_without_its_layers_is_an_error_in_the_kernels_words() {
    let crun = runtime!();
    crun.run(&Bundle::new().mount("/data", "overlay", "overlay", ["lowerdir=/nonexistent/layer"]))
        .error_with(["mounts[7]: /data", "overlay", "No such file or directory"]);
    crun.run(&Bundle::new().mount("/data", "overlay", "overlay", []))
        .error_with(["mounts[7]: /data", "overlay"]);
}

#[test]
fn a_filesystem_the_kernel_does_not_know_is_named() {
    let crun = runtime!();
    crun.run(&Bundle::new().mount("/data", "nosuchfs", "x", []))
        .error_with(["mounts[7]: /data: mount the nosuchfs filesystem", "No such device"]);
}

#[test]
fn a_missing_source_is_named_with_its_mount() {
    let crun = runtime!();
    crun.run(&Bundle::new().mount("/data", "bind", "/nonexistent/source", ["bind"]))
        .error_with(["mounts[7]: /data: open the source `/nonexistent/source`", "No such file or directory"]);
    crun.run(&Bundle::new().mount("/data", "bind", "", ["bind"])).error_with(["mounts[7]: /data", "source"]);
}

#[test]
fn a_destination_through_a_file_or_a_circle_of_links_is_named() {
    let crun = runtime!();
    let bundle = |destination: &str| {
        let bundle = Bundle::new().mount(destination, "tmpfs", "tmpfs", []);
        symlink("b", bundle.rootfs().join("a")).unwrap();
        symlink("a", bundle.rootfs().join("b")).unwrap();
        bundle
    };
    for (destination, reason) in [
        ("/etc/os-release/x", "Not a directory"),
        ("/a/x", "Too many levels of symbolic links"),
        ("/a", "Too many levels of symbolic links"),
    ] {
        crun.run(&bundle(destination)).error_with([&format!("mounts[7]: {destination}"), reason]);
    }
}

#[test]
fn a_file_is_not_mounted_on_a_directory_nor_a_directory_on_a_file() {
    let crun = runtime!();
    for (destination, kind, source) in [
        ("/etc", "bind", "/proc/version"),
        ("/etc/os-release", "bind", "/proc/sys"),
        ("/etc/os-release", "tmpfs", "tmpfs"),
    ] {
        let bundle = Bundle::new().mount(destination, kind, source, []);
        crun.run(&bundle).error_with([&format!("mounts[7]: {destination}"), "Not a directory"]);
    }
}

#[test]
fn a_failed_start_leaves_the_root_filesystem_as_it_was() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .writable()
        .edit(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] == "/proc");
        })
        .mount("/new/deep/dir", "tmpfs", "tmpfs", [])
        .mount("/new/deep/dir/below", "tmpfs", "tmpfs", [])
        .mount("/new/file", "bind", "/dev/null", ["bind"])
        .mount("/etc/os-release/wrong", "tmpfs", "tmpfs", []);
    let before = listing(&bundle.rootfs());
    crun.run(&bundle).error_with(["mounts[4]: /etc/os-release/wrong"]);
    assert_eq!(listing(&bundle.rootfs()), before);
    // The same when it is a later step that fails: the devices are made in the root filesystem here.
    let bundle = bundle.edit(|config| {
        config["mounts"].as_array_mut().unwrap().pop();
        config["linux"]["devices"] =
            json!([{"path": "/etc/os-release/x", "type": "c", "major": 1, "minor": 3}]);
    });
    crun.run(&bundle).error_with(["create the device `/etc/os-release/x`"]);
    assert_eq!(listing(&bundle.rootfs()), before);
}

/// Runs a script in the mount namespace of the view, which is not the machine's.
fn in_view(crun: &Crun, script: &str) -> String {
    let output = crun.view().unwrap().command("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_read_only_root_filesystem_of_the_host_gets_no_mount_points() {
    let crun = runtime_on_v2!();
    let tree = Bundle::new();
    let rootfs = tree.rootfs();
    in_view(&crun, &format!("mount --bind {0} {0}; mount -o remount,bind,ro {0}", rootfs.display()));
    let bundle = Bundle::over(&rootfs).args(["true"]);
    assert_eq!(crun.run(&bundle).ok(), "");
    crun.run(&bundle.mount("/missing", "tmpfs", "tmpfs", []))
        .error_with(["mounts[7]: /missing", "Read-only file system"]);
}

#[test]
fn a_bundle_over_an_overlay_runs_and_its_writes_go_to_the_upper_layer() {
    let crun = runtime_on_v2!();
    let (tree, layers) = (Bundle::new(), tempfile::tempdir().unwrap());
    let (lower, layers) = (tree.rootfs(), layers.path());
    let script = format!(
        "mount -t tmpfs tmpfs {1}; cd {1}; mkdir up work merged; \
         mount -t overlay overlay -o lowerdir={0},upperdir={1}/up,workdir={1}/work {1}/merged",
        lower.display(),
        layers.display(),
    );
    in_view(&crun, &script);
    let bundle = Bundle::over(&layers.join("merged")).writable().sh("echo x >/written; cat /etc/os-release");
    assert!(crun.run(&bundle).ok().contains("busybox"));
    assert_eq!(in_view(&crun, &format!("cat {}/up/written", layers.display())), "x\n");
    assert!(!lower.join("written").exists());
}

#[test]
fn without_pivot_root_nothing_of_the_hosts_proc_and_sys_is_left_below() {
    let crun = runtime!();
    // A user namespace may mount proc only where all of one is visible: there is none below that is not masked.
    let bundle = Bundle::new()
        .caps(["CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP"])
        .sh("cat /etc/os-release; unshare -Ur -m -p -f sh -c 'mount -t proc proc /proc && echo unmasked'");
    let output = crun.run_with(&bundle, ["--no-pivot"]);
    assert!(output.stdout.contains("busybox") && !output.stdout.contains("unmasked"), "{output}");
    let mounts = Bundle::new().args(["cat", "/proc/self/mountinfo"]);
    let mounts = mountinfo::parse(&crun.run_with(&mounts, ["--no-pivot"]).ok());
    assert_eq!(mounts.iter().filter(|mount| mount.point == "/").count(), 1, "{mounts:#?}");
}

#[test]
fn a_runtime_in_a_chroot_on_a_shared_mount_shows_none_of_its_mounts_outside() {
    let crun = runtime_on_v2!();
    let dir = tempfile::tempdir().unwrap();
    let tree = Bundle::new().args(["sleep", "99"]);
    let script = format!(
        "cd {dir}; mkdir root peer; mount -t tmpfs tmpfs root; mount --make-shared root; mount --bind root peer
         mkdir root/sub; cd root/sub; mkdir proc sys dev run tmp bundle; mount --rbind /proc proc; mount --rbind /sys sys
         mount --rbind /dev dev; mount --bind {bundle} bundle; cp {program} crun
         before=$(wc -l </proc/self/mountinfo)
         chroot . /crun --root /run/crun run --detach --bundle /bundle inside >/dev/null 2>said || {{ cat said >&2; exit 1; }}
         after=$(wc -l </proc/self/mountinfo)
         chroot . /crun --root /run/crun delete --force inside
         echo $((after - before)) more",
        dir = dir.path().display(),
        bundle = tree.save().display(),
        program = kit::crun::binary().display(),
    );
    assert_eq!(in_view(&crun, &script), "0 more\n");
}

#[test]
fn a_file_with_any_permissions_can_be_a_mount_point() {
    let crun = runtime!();
    let bundle =
        Bundle::new().mount("/locked", "bind", "/dev/null", ["bind"]).args(["stat", "-c", "%F", "/locked"]);
    fs::write(bundle.rootfs().join("locked"), "").unwrap();
    fs::set_permissions(bundle.rootfs().join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(crun.run(&bundle).ok(), "character special file\n");
}
