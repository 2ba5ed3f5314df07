//! Attacks by what is copied, shown or made for an image: `tmpcopyup`, `copy-symlink`, id maps, device nodes, the state.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::mountinfo;
use kit::outside::{Outside, WORDS, assert_same, listing};
use kit::runtime;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};
use serde_json::json;

/// A bundle with a directory that a tmpfs is to start with a copy of.
fn copied_up() -> (Bundle, std::path::PathBuf) {
    let bundle = Bundle::new().mount("/mine", "tmpfs", "tmpfs", ["tmpcopyup"]);
    let mine = bundle.rootfs().join("mine");
    fs::create_dir(&mine).unwrap();
    (bundle, mine)
}

/// On every rung, what a script says and that the image has not changed.
fn says(bundle: &Bundle, script: &str, check: impl Fn(&str)) {
    let crun = runtime!();
    let before = listing(&bundle.rootfs());
    for (rung, crun) in crun.mount_rungs() {
        eprintln!("{rung}");
        check(&crun.run(&bundle.clone().caps(["CAP_DAC_OVERRIDE"]).sh(script)).ok());
        assert_same(&listing(&bundle.rootfs()), &before);
    }
}

#[test]
fn links_are_copied_as_links_wherever_they_lead() {
    let outside = Outside::new();
    let (bundle, mine) = copied_up();
    for (number, text) in outside.ways().iter().chain(&["/nowhere".into(), "link-4".into()]).enumerate() {
        symlink(text, mine.join(format!("link-{number}"))).unwrap();
    }
    let expected: String = outside
        .ways()
        .iter()
        .map(String::as_str)
        .chain(["/nowhere", "link-4"])
        .map(|way| format!("{way}\n"))
        .collect();
    let script = "cd /mine; for link in *; do readlink $link; done";
    says(&bundle, script, |said| assert_eq!(said, expected));
    outside.assert_untouched();
}

#[test]
fn a_destination_that_leads_to_the_host_is_not_copied_from_there() {
    let outside = Outside::new();
    for way in outside.ways() {
        let bundle = Bundle::new().mount("/mine", "tmpfs", "tmpfs", ["tmpcopyup"]);
        symlink(&way, bundle.rootfs().join("mine")).unwrap();
        let crun = runtime!();
        for (rung, crun) in crun.mount_rungs() {
            let output = crun.run(&bundle.clone().sh("cat /mine/* /mine/*/*"));
            assert!(!output.stdout.contains(WORDS), "{rung}: {way}: {output}");
        }
    }
    outside.assert_untouched();
}

#[test]
fn what_is_no_file_is_copied_without_being_opened() {
    let (bundle, mine) = copied_up();
    let node = |name: &str, kind, number| mknodat(CWD, mine.join(name), kind, Mode::RWXU, number).unwrap();
    node("fifo", FileType::Fifo, 0);
    node("zero", FileType::CharacterDevice, makedev(1, 5));
    node("loop", FileType::BlockDevice, makedev(7, 0));
    let _listener = UnixListener::bind(mine.join("socket")).unwrap();
    says(&bundle, "cd /mine; stat -c '%n %F %t:%T %a' fifo zero loop socket", |said| {
        let expected = "fifo fifo 0:0 700\nzero character special file 1:5 700\n\
                        loop block special file 7:0 700\nsocket socket 0:0 755\n";
        assert_eq!(said, expected);
    });
}

#[test]
fn permissions_and_capabilities_of_programs_are_copied() {
    // capabilities(7), "File capability extended attribute versioning": version 2, effective, CAP_NET_RAW.
    const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (bundle, mine) = copied_up();
    for (name, mode, owner) in [("setuid", 0o4755, 0), ("setgid", 0o2711, 7), ("plain", 0o640, 8)] {
        fs::write(mine.join(name), name).unwrap();
        chown(mine.join(name), Some(owner), Some(owner)).unwrap();
        fs::set_permissions(mine.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::copy(bundle.rootfs().join("bin/busybox"), mine.join("busybox")).unwrap();
    chown(mine.join("busybox"), Some(9), Some(9)).unwrap();
    setxattr(mine.join("busybox"), c"security.capability", &CAPABILITY, XattrFlags::empty()).unwrap();
    fs::create_dir(mine.join("sticky")).unwrap();
    fs::set_permissions(mine.join("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    // Only somebody who is not root gains a capability by executing it.
    let bundle = bundle
        .set("/process/noNewPrivileges", json!(false))
        .edit(|config| config["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
    let script = "cd /mine; stat -c '%n %a %u:%g' setuid setgid plain sticky; \
                  ./busybox grep CapPrm /proc/self/status";
    let crun = runtime!();
    for (rung, crun) in crun.mount_rungs() {
        let caps = json!({"bounding": ["CAP_NET_RAW"]});
        let output = crun.run(&bundle.clone().set("/process/capabilities", caps).sh(script));
        let expected = "setuid 4755 0:0\nsetgid 2711 7:7\nplain 640 8:8\nsticky 1777 0:0\n\
                        CapPrm:\t0000000000002000\n";
        assert_eq!(output.stdout, expected, "{rung}: {output}");
    }
}

#[test]
fn a_hard_link_is_copied_and_writing_to_the_copy_does_not_reach_the_image() {
    let (bundle, mine) = copied_up();
    fs::write(bundle.rootfs().join("etc/shared"), "shared\n").unwrap();
    fs::hard_link(bundle.rootfs().join("etc/shared"), mine.join("one")).unwrap();
    fs::hard_link(bundle.rootfs().join("etc/shared"), mine.join("two")).unwrap();
    says(&bundle, "cat /mine/one /mine/two; echo more >>/mine/one; cat /etc/shared", |said| {
        assert_eq!(said, "shared\nshared\nshared\n");
    });
}

/// Makes directories in each other.
fn nest(directory: &Path, depth: usize) {
    fs::create_dir_all(directory.join("d/".repeat(depth))).unwrap();
    fs::write(directory.join("d/".repeat(depth)).join("file"), "deep").unwrap();
}

#[test]
fn directories_may_lie_deep_in_each_other() {
    let (bundle, mine) = copied_up();
    nest(&mine, 200);
    says(&bundle, &format!("cat /mine/{}file", "d/".repeat(200)), |said| assert_eq!(said, "deep"));
}

#[test]
fn directories_that_lie_too_deep_in_each_other_are_refused_in_words() {
    let (bundle, mine) = copied_up();
    nest(&mine, 300);
    let crun = runtime!();
    let before = listing(&bundle.rootfs());
    for (_, crun) in crun.mount_rungs() {
        crun.run(&bundle)
            .error_with(["mounts[7]: /mine: copy what the tmpfs covers: directories lie more than"]);
        assert_same(&listing(&bundle.rootfs()), &before);
    }
}

/// Mounts a link of the host as a link, and then something through the copy.
fn linked(link: &Path) -> Bundle {
    let link = link.to_str().unwrap();
    Bundle::new()
        .mount("/etc/copy", "bind", link, ["bind", "copy-symlink"])
        .mount("/etc/copy/below/made", "tmpfs", "tmpfs", [])
        .sh("readlink /etc/copy; cat /etc/copy/secret; grep -c /below/made /proc/self/mountinfo")
}

#[test]
fn a_copied_link_to_the_host_leads_to_the_same_path_inside() {
    let (outside, links) = (Outside::new(), tempfile::tempdir().unwrap());
    let crun = runtime!();
    let link = links.path().join("link");
    symlink(outside.path(), &link).unwrap();
    let bundle = linked(&link);
    for (rung, crun) in crun.mount_rungs() {
        let output = crun.run(&bundle);
        assert_eq!(output.stdout, format!("{}\n1\n", outside.path().display()), "{rung}: {output}");
    }
    outside.assert_untouched();
}

#[test]
fn a_link_with_the_longest_text_is_copied() {
    let links = tempfile::tempdir().unwrap();
    let crun = runtime!();
    let text = format!("/{}x", "some-long-name/".repeat(272));
    let link = links.path().join("link");
    symlink(&text, &link).unwrap();
    let bundle = Bundle::new().mount("/etc/copy", "bind", link.to_str().unwrap(), ["bind", "copy-symlink"]);
    let bundle = bundle.args(["readlink", "/etc/copy"]);
    for (rung, crun) in crun.mount_rungs() {
        for _ in 0..2 {
            assert_eq!(crun.run(&bundle).stdout.trim_end(), text, "{rung}");
        }
    }
}

#[test]
fn a_copied_link_takes_the_place_of_nothing_that_is_there() {
    let (outside, links) = (Outside::new(), tempfile::tempdir().unwrap());
    let crun = runtime!();
    let link = links.path().join("link");
    symlink(outside.path(), &link).unwrap();
    for destination in ["/", "/etc", "/etc/os-release", "/other-link"] {
        let bundle =
            Bundle::new().mount(destination, "bind", link.to_str().unwrap(), ["bind", "copy-symlink"]);
        symlink("/etc", bundle.rootfs().join("other-link")).unwrap();
        let before = listing(&bundle.rootfs());
        for (_, crun) in crun.mount_rungs() {
            let line = crun.run(&bundle).error();
            assert!(line.contains(&format!("mounts[7]: {destination}: ")), "{line}");
            assert_same(&listing(&bundle.rootfs()), &before);
        }
    }
}

#[test]
fn an_id_map_for_the_hosts_root_changes_nothing_outside() {
    let crun = runtime!();
    let outside = Outside::new();
    let secret = outside.at("secret");
    for (option, idmap) in [("bind", "idmap"), ("rbind", "ridmap")] {
        let bundle = Bundle::new()
            .mount("/host", "bind", "/", [option, &format!("{idmap}=uids=0-5000-1;gids=0-5000-1")])
            // The directory for temporary files may be a mount of its own, which a plain bind does not bring.
            .sh(&format!("test -e /host{secret} || exec echo 5000; stat -c %u /host{secret}"));
        let output = crun.run(&bundle);
        // With all that is mounted below there is always something whose ids cannot be mapped.
        let refused = output.stderr.contains("mounts[7]: /host: id-map the mount");
        assert!(output.stdout == "5000\n" || refused, "{option}: {output}");
    }
    outside.assert_untouched();
    let mounts = mountinfo::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap());
    assert!(mounts.iter().all(|mount| !mount.has("idmapped")), "{mounts:#?}");
}

#[test]
fn a_device_on_a_mount_without_devices_is_made_and_cannot_be_opened() {
    let crun = runtime!();
    let options = json!(["nosuid", "nodev", "mode=755"]);
    let bundle = Bundle::new()
        .set("/mounts/1/options", options)
        .sh("stat -c %F /dev/null; head -c1 /dev/zero; echo x >/dev/null");
    for (rung, crun) in crun.mount_rungs() {
        let output = crun.run(&bundle);
        let denied = output.stderr.matches("Permission denied").count();
        assert_eq!((output.stdout.as_str(), denied), ("character special file\n", 2), "{rung}: {output}");
    }
}

#[test]
fn a_node_of_the_host_is_shown_only_if_it_is_the_device_that_is_asked_for() {
    let crun = runtime!();
    let (outside, mapping) = (Outside::new(), json!([{"containerID": 0, "hostID": 0, "size": 65_536}]));
    let bundle = Bundle::new().namespace("user", Some("")).set("/linux/uidMappings", mapping.clone());
    let bundle = bundle.set("/linux/gidMappings", mapping);
    for path in ["/dev/zero", &outside.at("secret")] {
        let device = json!([{"path": path, "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]);
        let script = format!("stat -c %t:%T {path}; head -c 30 {path}");
        let bundle = bundle.clone().set("/linux/devices", device).sh(&script);
        for (rung, crun) in crun.mount_rungs() {
            let output = crun.run(&bundle);
            // The older calls can only show what the host has.
            let refused = output.stderr == format!("create the device `{path}`: No such device\n");
            assert!(output.stdout == "1:3\n" || refused, "{rung}: {output}");
            let _ = fs::remove_file(bundle.rootfs().join(&path[1..]));
        }
    }
}

/// A state directory that another user has made, with `name` in it.
fn state_of_another_user(crun: &Crun, put: impl Fn(&Path)) {
    let state = crun.state_dir();
    fs::create_dir_all(&state).unwrap();
    put(&state);
    for entry in fs::read_dir(&state).unwrap().flatten() {
        lchown(entry.path(), Some(1000), Some(1000)).unwrap();
    }
    lchown(&state, Some(1000), Some(1000)).unwrap();
}

#[test]
fn a_masked_directory_shows_nothing_that_another_user_has_put_into_the_state() {
    let (outside, bundle) = (Outside::new(), Bundle::new().set("/linux/maskedPaths", json!(["/var"])));
    let bundle = bundle.args(["ls", "-A", "/var"]);
    let put: [&dyn Fn(&Path); 3] = [
        &|state| fs::create_dir_all(state.join(".empty-directory/false")).unwrap(),
        &|state| symlink(outside.path(), state.join(".empty-directory")).unwrap(),
        &|_| {},
    ];
    for (number, put) in put.iter().enumerate() {
        let crun = runtime!();
        state_of_another_user(&crun, put);
        for (rung, crun) in crun.mount_rungs() {
            let output = crun.run(&bundle);
            let refused = output.code == 1 && output.stderr.contains("/.empty-directory`");
            assert!(output.stdout.is_empty() && refused == (number < 2), "{rung}: {output}");
        }
    }
    outside.assert_untouched();
}

#[test]
fn a_link_in_place_of_a_containers_state_is_neither_written_to_nor_removed_through() {
    let crun = runtime!();
    let (outside, bundle) = (Outside::new(), Bundle::new().args(["true"]));
    let container = crun.container(&bundle);
    state_of_another_user(&crun, |state| symlink(outside.path(), state.join(container.id())).unwrap());
    container.cmd(["run", "-b", "BUNDLE", "ID"]).error_with(["already exists"]);
    container.cmd(["state", "ID"]).error_with(["does not exist"]);
    let _ = container.cmd(["delete", "--force", "ID"]);
    outside.assert_untouched();
    fs::remove_file(crun.state_dir().join(container.id())).unwrap();
}
