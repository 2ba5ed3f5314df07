//! Id-mapped mounts: owners of files as a mapping shows them, seen from inside and outside.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use kit::bundle::Bundle;
use kit::runtime;
use serde_json::{Value, json};

/// A directory with a file of user 0 and one of user 1000.
fn source() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, id) in [("root", 0), ("user", 1000)] {
        fs::write(dir.path().join(name), name).unwrap();
        chown(dir.path().join(name), Some(id), Some(id)).unwrap();
    }
    dir
}

fn mapping(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

/// Runs in a user namespace in which 0 stands for 100000.
fn in_user_namespace(bundle: Bundle) -> Bundle {
    chown_tree(&bundle.rootfs(), 100_000);
    bundle
        .namespace("user", Some(""))
        .set("/linux/uidMappings", mapping(0, 100_000, 65_536))
        .set("/linux/gidMappings", mapping(0, 100_000, 65_536))
}

/// Gives the directories of a root filesystem to somebody, so that mount points can be made in them.
fn chown_tree(path: &Path, id: u32) {
    chown(path, Some(id), Some(id)).unwrap();
    for entry in fs::read_dir(path).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            chown_tree(&entry.path(), id);
        }
    }
}

fn with_mount(bundle: Bundle, source: &Path, options: Value, mappings: Value) -> Bundle {
    let mut mount = json!({"destination": "/data", "type": "bind", "source": source, "options": options});
    mount.as_object_mut().unwrap().extend(mappings.as_object().unwrap().clone());
    bundle.edit(|config| config["mounts"].as_array_mut().unwrap().push(mount)).args([
        "stat",
        "-c",
        "%n %u:%g",
        "/data/root",
        "/data/user",
    ])
}

#[test]
fn the_mappings_of_a_mount_show_its_ids_by_them() {
    let crun = runtime!();
    let source = source();
    let mappings = json!({"uidMappings": mapping(0, 5000, 2000), "gidMappings": mapping(0, 6000, 2000)});
    for options in [json!(["bind"]), json!(["bind", "idmap"]), json!(["rbind", "ridmap"])] {
        let bundle = with_mount(Bundle::new(), source.path(), options, mappings.clone());
        assert_eq!(crun.run(&bundle).ok(), "/data/root 5000:6000\n/data/user 6000:7000\n");
    }
}

#[test]
fn a_mapping_can_stand_in_the_option() {
    let crun = runtime!();
    let source = source();
    let options = json!(["bind", "idmap=uids=0-5000-1#1000-7-1;gids=0-6000-2000"]);
    let bundle = with_mount(Bundle::new(), source.path(), options, json!({}));
    assert_eq!(crun.run(&bundle).ok(), "/data/root 5000:6000\n/data/user 7:7000\n");
}

#[test]
fn without_mappings_of_its_own_a_mount_is_shown_by_those_of_the_container() {
    let crun = runtime!();
    let source = source();
    let plain = in_user_namespace(with_mount(Bundle::new(), source.path(), json!(["bind"]), json!({})));
    assert_eq!(crun.run(&plain).ok(), "/data/root 65534:65534\n/data/user 65534:65534\n");
    let mapped = with_mount(Bundle::new(), source.path(), json!(["bind", "idmap"]), json!({}));
    assert_eq!(crun.run(&in_user_namespace(mapped)).ok(), "/data/root 0:0\n/data/user 1000:1000\n");
}

#[test]
fn a_relative_mapping_is_one_of_ids_inside() {
    let crun = runtime!();
    let source = source();
    let options = json!(["bind", "idmap=uids=@0-10-2000;gids=@0-20-2000"]);
    let bundle = in_user_namespace(with_mount(Bundle::new(), source.path(), options, json!({})));
    assert_eq!(crun.run(&bundle).ok(), "/data/root 10:20\n/data/user 1010:1020\n");
}

#[test]
fn what_is_written_through_an_id_mapped_mount_belongs_to_the_mapped_id_outside() {
    let crun = runtime!();
    let source = source();
    let bundle =
        in_user_namespace(with_mount(Bundle::new(), source.path(), json!(["bind", "idmap"]), json!({})));
    assert_eq!(crun.run(&bundle.sh("echo new >/data/new")).ok(), "");
    let meta = fs::metadata(source.path().join("new")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (0, 0));
}

#[test]
fn the_root_filesystem_itself_can_be_shown_by_a_mapping() {
    let crun = runtime!();
    // The files belong to user 0 outside; the container's user 0 is another, and yet they are its own.
    let bundle = Bundle::new()
        .namespace("user", Some(""))
        .set("/linux/uidMappings", mapping(0, 100_000, 65_536))
        .set("/linux/gidMappings", mapping(0, 100_000, 65_536))
        .writable();
    let rootfs = bundle.rootfs();
    let root = json!({"destination": "/", "type": "bind", "source": rootfs, "options": ["rbind", "ridmap"]});
    let bundle = bundle
        .edit(|config| config["mounts"].as_array_mut().unwrap().insert(0, root))
        .sh("stat -c %u:%g / /etc/os-release; echo x >/etc/mine");
    assert_eq!(crun.run(&bundle).ok(), "0:0\n0:0\n");
    assert_eq!(fs::metadata(rootfs.join("etc/mine")).unwrap().uid(), 0);
}

#[test]
fn a_new_filesystem_can_be_id_mapped() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .mount("/data", "tmpfs", "tmpfs", ["mode=755", "idmap=uids=0-7-1;gids=0-8-1"])
        .args(["stat", "-c", "%u:%g", "/data"]);
    assert_eq!(crun.run(&bundle).ok(), "7:8\n");
}

#[test]
fn a_filesystem_that_cannot_be_id_mapped_is_named_with_its_mount() {
    let crun = runtime!();
    let options = json!(["bind", "idmap=uids=0-7-1;gids=0-8-1"]);
    let bundle = with_mount(Bundle::new(), Path::new("/proc/sys"), options, json!({}));
    crun.run(&bundle)
        .error_with(["mounts[7]: /data: id-map the mount of the proc filesystem", "Invalid argument"]);
}

#[test]
fn an_id_mapped_mount_needs_a_mapping_of_both_kinds() {
    let crun = runtime!();
    let source = source();
    for (options, mappings, words) in [
        (json!(["bind", "idmap"]), json!({}), "a user namespace"),
        (json!(["bind"]), json!({"uidMappings": mapping(0, 1, 1)}), "go together"),
        (json!(["bind", "idmap=uids=0-1-1"]), json!({}), "go together"),
        (json!(["bind", "idmap=uids=0-1"]), json!({}), "`0-1`"),
    ] {
        let bundle = with_mount(Bundle::new(), source.path(), options, mappings);
        crun.run(&bundle).error_with(["mounts[7]: /data", words]);
    }
}
