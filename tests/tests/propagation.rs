//! How mounts travel between a container and its host: for the root and for volumes, looked at from both sides
//! (mount_namespaces(7); runtime-spec config-linux.md#rootfs-mount-propagation).

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::mountinfo;
use kit::runtime_on_v2;
use serde_json::json;

/// Runs a script in the mount namespace of the view, which stands for the host here.
fn outside(crun: &Crun, script: &str) -> String {
    let output = crun.view().unwrap().command("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A directory that is the root of a shared mount, outside.
fn shared_mount(crun: &Crun, dir: &std::path::Path) {
    outside(crun, &format!("mount --bind {0} {0}; mount --make-shared {0}", dir.display()));
}

/// Each propagation, and the field of mountinfo that tells it where the host's side is shared.
const PROPAGATIONS: [(&str, Option<&str>); 8] = [
    ("private", None),
    ("rprivate", None),
    ("slave", Some("master")),
    ("rslave", Some("master")),
    ("shared", Some("shared")),
    ("rshared", Some("shared")),
    ("unbindable", Some("unbindable")),
    ("runbindable", Some("unbindable")),
];

/// A bundle whose root filesystem lies on a shared mount.
fn over_shared_root(crun: &Crun, tree: &Bundle, propagation: &str) -> Bundle {
    shared_mount(crun, &tree.rootfs());
    std::fs::create_dir_all(tree.rootfs().join("late")).unwrap();
    Bundle::over(&tree.rootfs()).set("/linux/rootfsPropagation", json!(propagation))
}

#[test]
fn the_root_has_the_propagation_that_is_asked_for() {
    for (propagation, tag) in [("", None)].into_iter().chain(PROPAGATIONS) {
        let crun = runtime_on_v2!();
        let tree = Bundle::new();
        let bundle = over_shared_root(&crun, &tree, propagation).args(["cat", "/proc/self/mountinfo"]);
        let mounts = mountinfo::parse(&crun.run(&bundle).ok());
        let root = mountinfo::at(&mounts, "/");
        let tags: Vec<_> = root.tags.iter().map(|tag| tag.split(':').next().unwrap()).collect();
        assert_eq!(tags, tag.into_iter().collect::<Vec<_>>(), "{propagation}: {root:?}");
    }
}

#[test]
fn an_unknown_propagation_is_named() {
    let crun = runtime_on_v2!();
    crun.run(&Bundle::new().set("/linux/rootfsPropagation", json!("public")))
        .error_with(["linux.rootfsPropagation", "`public`"]);
}

#[test]
fn what_is_mounted_in_the_root_filesystem_later_is_seen_only_by_a_slave() {
    for (propagation, seen) in [("private", false), ("rslave", true), ("slave", true), ("shared", false)] {
        let crun = runtime_on_v2!();
        let tree = Bundle::new();
        let bundle = over_shared_root(&crun, &tree, propagation).args(["sleep", "99"]);
        let container = crun.start(&bundle);
        let late = tree.rootfs().join("late");
        outside(&crun, &format!("mount -t tmpfs tmpfs {0}; touch {0}/mark", late.display()));
        let mark = container.cmd(["exec", "ID", "ls", "/late"]).ok();
        outside(&crun, &format!("umount {}", late.display()));
        assert_eq!(mark == "mark\n", seen, "{propagation}");
    }
}

#[test]
fn what_is_mounted_inside_never_reaches_the_hosts_root_filesystem() {
    for propagation in ["private", "rslave", "shared", "rshared", "unbindable"] {
        let crun = runtime_on_v2!();
        let tree = Bundle::new();
        let bundle = over_shared_root(&crun, &tree, propagation)
            .caps(["CAP_SYS_ADMIN"])
            .sh("mount -t tmpfs inner /late && touch /late/mark && echo done; sleep 99");
        let container = crun.start(&bundle);
        container.wait_output("done");
        let found = outside(&crun, &format!("ls {}", tree.rootfs().join("late").display()));
        assert_eq!(found, "", "{propagation}");
    }
}

/// Whether a mount made outside is seen inside a volume with that option, and one made inside is seen outside.
fn travels(crun: &Crun, option: &str) -> (bool, bool) {
    let volume = tempfile::tempdir().unwrap();
    for name in ["from-outside", "from-inside"] {
        std::fs::create_dir(volume.path().join(name)).unwrap();
    }
    shared_mount(crun, volume.path());
    let bundle = Bundle::new()
        .caps(["CAP_SYS_ADMIN"])
        .mount("/volume", "bind", volume.path().to_str().unwrap(), ["rbind", option])
        .sh("mount -t tmpfs inner /volume/from-inside && touch /volume/from-inside/mark && echo done; sleep 99");
    let container = crun.start(&bundle);
    container.wait_output("done");
    let path = volume.path().display();
    outside(crun, &format!("mount -t tmpfs tmpfs {path}/from-outside; touch {path}/from-outside/mark"));
    let inside = container.cmd(["exec", "ID", "ls", "/volume/from-outside"]).ok() == "mark\n";
    let out = outside(crun, &format!("ls {path}/from-inside")) == "mark\n";
    drop(container);
    outside(crun, &format!("umount -R {path}"));
    (inside, out)
}

#[test]
fn volumes_pass_mounts_on_as_their_option_says() {
    let crun = runtime_on_v2!();
    for (option, from_outside, from_inside) in [
        ("rprivate", false, false),
        ("private", false, false),
        ("rslave", true, false),
        ("slave", true, false),
        ("rshared", true, true),
        ("shared", true, true),
        ("unbindable", false, false),
        ("rw", false, false),
    ] {
        assert_eq!(travels(&crun, option), (from_outside, from_inside), "{option}");
    }
}

#[test]
fn without_open_tree_a_volume_can_be_a_slave_but_not_shared() {
    let crun = runtime_on_v2!().without(["open_tree"]);
    assert_eq!(travels(&crun, "rslave"), (true, false));
    assert_eq!(travels(&crun, "rprivate"), (false, false));
    crun.run(&Bundle::new().mount("/volume", "bind", "/tmp", ["rbind", "rshared"])).error_with([
        "mounts[7]: /volume",
        "shared",
        "open_tree(2)",
    ]);
}

#[test]
fn the_propagation_of_a_volume_is_seen_inside() {
    let crun = runtime_on_v2!();
    let volume = tempfile::tempdir().unwrap();
    shared_mount(&crun, volume.path());
    let bundle = PROPAGATIONS.iter().fold(Bundle::new(), |bundle, (option, _)| {
        bundle.mount(&format!("/{option}"), "bind", volume.path().to_str().unwrap(), ["rbind", option])
    });
    let mounts = mountinfo::parse(&crun.run(&bundle.args(["cat", "/proc/self/mountinfo"])).ok());
    for (option, tag) in PROPAGATIONS {
        let mount = mountinfo::at(&mounts, &format!("/{option}"));
        assert!(tag.map_or(mount.tags.is_empty(), |tag| mount.is(tag)), "{option}: {mount:?}");
    }
}
