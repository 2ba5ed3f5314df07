//! Attacks by files: links, `..` and odd names in images and configurations, on every rung. None may reach the host.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::outside::{Outside, WORDS, assert_same, listing};
use kit::runtime;
use serde_json::{Value, json};

/// A bundle whose image has a directory to lead astray to; what stands at `name` is then replaced by links.
fn astray(name: &str) -> Bundle {
    let bundle = Bundle::new().args(["true"]);
    fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
    fs::remove_dir(bundle.rootfs().join(name)).unwrap();
    bundle
}

/// What links in an image lead to: the host by several ways, nothing, another place inside, and themselves.
fn link_texts(outside: &Outside) -> Vec<String> {
    let mut texts = outside.ways().to_vec();
    texts.extend(["elsewhere", "/elsewhere", "../../elsewhere", "/nowhere/at/all", "."].map(str::to_owned));
    texts
}

/// Runs with each link at `name`: every time that is an error with these words, and leaves the image as it was.
fn every_link_is_refused(bundle: &Bundle, name: &str, words: &str) {
    let crun = runtime!();
    let outside = Outside::new();
    let link = bundle.rootfs().join(name);
    for text in link_texts(&outside) {
        symlink(&text, &link).unwrap();
        let before = listing(&bundle.rootfs());
        for (rung, crun) in crun.mount_rungs() {
            let line = crun.run(bundle).error();
            assert!(line.contains(words), "{rung}: {text}: {line}");
            assert_same(&listing(&bundle.rootfs()), &before);
        }
        fs::remove_file(&link).unwrap();
    }
    outside.assert_untouched();
}

#[test]
fn a_link_in_place_of_proc_is_refused() {
    every_link_is_refused(&astray("proc"), "proc", "invalid target `/proc`: it must be mounted at the root");
}

#[test]
fn a_link_in_place_of_sys_is_refused() {
    every_link_is_refused(&astray("sys"), "sys", "invalid target `/sys`: it must be mounted at the root");
}

#[test]
fn a_link_in_place_of_dev_is_refused() {
    every_link_is_refused(&astray("dev"), "dev", "/dev");
}

#[test]
fn a_link_in_place_of_dev_is_refused_when_nothing_is_mounted_there() {
    let bundle = astray("dev").edit(|config| {
        let on_dev = |mount: &Value| mount["destination"].as_str().unwrap().starts_with("/dev");
        config["mounts"].as_array_mut().unwrap().retain(|mount| !on_dev(mount));
    });
    every_link_is_refused(&bundle, "dev", "open `/dev` in the rootfs without following links");
}

/// What is mounted in [`everything_below`].
fn volume() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "volume\n").unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    dir
}

/// Everything a configuration can name, below a path of the container.
fn everything_below(bundle: &Bundle, path: &str, volume: &Path) -> Bundle {
    let at = |name: &str| format!("{path}/{name}");
    let of = |name: &str| volume.join(name).to_str().unwrap().to_owned();
    bundle
        .clone()
        .writable()
        .mount(&at("secret"), "bind", &of("file"), ["bind"])
        .mount(&at("sub"), "bind", &of(""), ["bind"])
        .mount(&at("tmpfs/deep/er"), "tmpfs", "tmpfs", [])
        .mount(&at("copied-up"), "tmpfs", "tmpfs", ["tmpcopyup"])
        .mount(&at("queues"), "mqueue", "mqueue", [])
        .mount(&at("linked"), "bind", &of("link"), ["bind", "copy-symlink"])
        .mount(&at("covered"), "bind", &of("file"), ["bind", "dest-nofollow"])
        .set("/linux/devices", json!([{"path": at("node"), "type": "c", "major": 1, "minor": 3, "uid": 7}]))
        .set("/linux/maskedPaths", json!([at("secret"), at("sub")]))
        .set("/linux/readonlyPaths", json!([at("tmpfs"), at("")]))
        .set("/process/cwd", json!(at("cwd/deep")))
}

#[test]
fn destinations_through_links_stay_in_the_root_whatever_is_mounted_made_masked_or_protected() {
    let crun = runtime!();
    let (outside, volume, bundle) = (Outside::new(), volume(), Bundle::new());
    for (text, name) in outside.ways().iter().zip(["absolute", "relative", "magic"]) {
        symlink(text, bundle.rootfs().join(name)).unwrap();
        for (rung, crun) in crun.mount_rungs() {
            let script = format!("cd /{name}; cat secret linked covered; cat /proc/self/mountinfo");
            let bundle = everything_below(&bundle, &format!("/{name}"), volume.path()).sh(&script);
            let output = crun.run(&bundle);
            // Through procfs there is no way at all; the others lead to that path inside.
            assert_eq!(output.code, i32::from(name == "magic"), "{rung}: {output}");
            assert!(!output.stdout.contains(WORDS), "{rung}: {text}: {output}");
            outside.assert_untouched();
        }
    }
}

#[test]
fn paths_with_dots_stay_in_the_root_whatever_is_mounted_made_masked_or_protected() {
    let crun = runtime!();
    let (outside, volume, bundle) = (Outside::new(), volume(), Bundle::new());
    let path = outside.path().to_str().unwrap();
    for up in ["/../../../../..", "/etc/../../..", "/proc/../../.."] {
        for (rung, crun) in crun.mount_rungs() {
            let script =
                format!("cd {path}; cat secret linked covered; readlink linked; stat -c %t:%T:%u node");
            let bundle = everything_below(&bundle, &format!("{up}{path}"), volume.path()).sh(&script);
            let output = crun.run(&bundle);
            // The first is masked, and the second is a link to a file that is not there.
            assert_eq!(output.stdout, "volume\nfile\n1:3:7\n", "{rung}: {output}");
            outside.assert_untouched();
        }
    }
}

/// Working directories that are, or lie above, a directory that somebody may have left open.
fn directories_of_descriptors() -> impl Iterator<Item = String> {
    let plain = (3..48).map(|fd| format!("/proc/self/fd/{fd}"));
    let above = (3..48).step_by(5).map(|fd| format!("/proc/self/fd/{fd}/../../../.."));
    let others =
        ["/proc/self/cwd", "/proc/self/root", "/proc/1/root", "/proc/1/cwd", "/proc/thread-self/fd/9"];
    plain.chain(above).chain(others.map(str::to_owned))
}

/// Prints the host's secret if the working directory is the host's root, or a place of the host below it.
fn look_around(outside: &Outside) -> String {
    let secret = outside.at("secret");
    format!("for up in . .. ../.. ../../.. ../../../../../../../../..; do cat $up{secret}; done")
}

#[test]
fn a_working_directory_that_is_an_open_descriptor_does_not_lead_outside() {
    let crun = runtime!();
    let (outside, bundle) = (Outside::new(), Bundle::new());
    for directory in directories_of_descriptors() {
        let bundle = bundle.clone().sh(&look_around(&outside)).set("/process/cwd", json!(directory));
        let output = crun.run(&bundle);
        assert!(!output.stdout.contains(WORDS), "{directory}: {output}");
    }
}

#[test]
fn a_working_directory_of_exec_that_is_an_open_descriptor_does_not_lead_outside() {
    let crun = runtime!();
    let outside = Outside::new();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    for cwd in directories_of_descriptors() {
        let output = container.cmd(["exec", "--cwd", &cwd, "ID", "sh", "-c", &look_around(&outside)]);
        assert!(!output.stdout.contains(WORDS), "{cwd}: {output}");
    }
}

#[test]
fn a_created_container_holds_no_directory_open() {
    let crun = runtime!();
    let container = crun.create(&Bundle::new());
    for entry in fs::read_dir(container.proc().join("fd")).unwrap().flatten() {
        let target = fs::read_link(entry.path()).unwrap();
        let is_directory = fs::metadata(entry.path()).is_ok_and(|meta| meta.is_dir());
        assert!(!is_directory, "{} -> {}", entry.path().display(), target.display());
    }
}

#[test]
fn a_rootfs_that_is_a_link_is_what_the_link_leads_to() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["cat", "/etc/os-release"]).set("/root/path", json!("link"));
    symlink("rootfs", bundle.dir().join("link")).unwrap();
    for (rung, crun) in crun.mount_rungs() {
        let output = crun.run(&bundle);
        assert!(output.stdout.contains("busybox"), "{rung}: {output}");
    }
}

#[test]
fn a_mount_whose_destination_leads_to_the_root_itself_is_refused() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["true"]);
    symlink("/", bundle.rootfs().join("absolute")).unwrap();
    symlink("../../..", bundle.rootfs().join("etc/up")).unwrap();
    const WORDS: &str = "a link in the rootfs leads to the root directory itself";
    let path = "/etc/up/absolute";
    for (rung, crun) in crun.mount_rungs() {
        eprintln!("{rung}");
        for (kind, options) in [
            ("bind", &["rbind"][..]),
            ("tmpfs", &[]),
            ("tmpfs", &["tmpcopyup"]),
            ("tmpfs", &["mode=700"]),
            ("tmpfs", &["remount", "suid"]),
        ] {
            let mount = json!({"destination": path, "type": kind, "source": "/etc", "options": options});
            let add = |config: &mut Value| config["mounts"].as_array_mut().unwrap().push(mount);
            refused(&crun, &bundle.clone().edit(add), [&format!("mounts[7]: {path}: {WORDS}")]);
        }
        for list in ["maskedPaths", "readonlyPaths"] {
            let bundle = bundle.clone().set(&format!("/linux/{list}"), json!([path]));
            refused(&crun, &bundle, [path, "busy"]);
        }
        // To work in the root, or to mount below it, by such a way is no harm.
        let bundle = bundle.clone().mount(&format!("{path}/var"), "tmpfs", "tmpfs", []);
        assert_eq!(crun.run(&bundle.set("/process/cwd", json!(path))).ok(), "");
    }
}

#[test]
fn the_root_as_a_read_only_path_is_read_only_and_cannot_be_masked() {
    let crun = runtime!();
    let bundle = Bundle::new().writable();
    for (rung, crun) in crun.mount_rungs() {
        for path in ["/", "/etc/.."] {
            let protected = bundle.clone().set("/linux/readonlyPaths", json!([path])).sh("touch /etc/new");
            let output = crun.run(&protected);
            assert!(output.stderr.contains("Read-only file system"), "{rung}: {output}");
            let masked = bundle.clone().set("/linux/maskedPaths", json!([path]));
            refused(&crun, &masked, ["linux.maskedPaths", "root directory"]);
        }
    }
}

/// The bundle must be refused in one line with all these words, and the image stay as it was.
fn refused<const N: usize>(crun: &Crun, bundle: &Bundle, words: [&str; N]) {
    let before = listing(&bundle.rootfs());
    crun.run(bundle).error_with(words);
    assert_same(&listing(&bundle.rootfs()), &before);
}

#[test]
fn a_name_that_is_too_long_is_refused_and_the_longest_is_not() {
    const REASON: &str = "File name too long";
    let crun = runtime!();
    let (longest, longer) = ("n".repeat(255), "n".repeat(256));
    let bundle = Bundle::new().args(["true"]);
    for (rung, crun) in crun.mount_rungs() {
        eprintln!("{rung}");
        let good = bundle.clone().mount(&format!("/{longest}/{longest}"), "tmpfs", "tmpfs", []);
        assert_eq!(crun.run(&good.set("/process/cwd", json!(format!("/{longest}")))).ok(), "");
        for path in [format!("/{longer}/x"), format!("/{}", "d/".repeat(2100))] {
            let device = json!([{"path": path, "type": "c", "major": 1, "minor": 3}]);
            let with = |pointer: &str, value: Value| bundle.clone().set(pointer, value);
            refused(&crun, &bundle.clone().mount(&path, "tmpfs", "x", []), ["mounts[7]: /", REASON]);
            refused(&crun, &with("/linux/devices", device), ["device", REASON]);
            refused(&crun, &with("/linux/maskedPaths", json!([path])), ["mask the path", REASON]);
            refused(&crun, &with("/linux/readonlyPaths", json!([path])), ["read-only", REASON]);
            refused(&crun, &with("/process/cwd", json!(path)), ["working directory", REASON]);
        }
    }
}

#[test]
fn a_name_with_control_characters_makes_no_second_line_and_is_no_command_to_a_terminal() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["pwd"]);
    for name in ["/a\nb", "/a\r\nlevel=error", "/a\x1b[2Jb", "/a\x07\x7f\u{9b}b"] {
        let line = crun.run(&bundle.clone().mount(name, "nosuchfs", "x", [])).error();
        assert!(line.contains("mounts[7]: /a") && !line.contains(char::is_control), "{line:?}");
        // As a name it is as good as any other.
        let good = bundle.clone().mount(name, "tmpfs", "x", []).set("/process/cwd", json!(name));
        assert_eq!(crun.run(&good).ok(), format!("{name}\n"));
    }
}

#[test]
fn a_name_with_a_nul_is_refused_wherever_it_stands() {
    let crun = runtime!();
    let bundle = Bundle::new();
    let nul = "/a\0b";
    let device = json!([{"path": nul, "type": "c", "major": 1, "minor": 3}]);
    for (pointer, value, name) in [
        ("/root/path", json!("root\0fs"), "root.path"),
        ("/linux/devices", device, "linux.devices[0]"),
        ("/linux/maskedPaths", json!([nul]), "linux.maskedPaths"),
        ("/linux/readonlyPaths", json!([nul]), "linux.readonlyPaths"),
        ("/process/cwd", json!(nul), "process.cwd"),
        ("/mounts/1/destination", json!(nul), "mounts[1]"),
        ("/mounts/1/source", json!(nul), "mounts[1]"),
        ("/mounts/1/type", json!("tmp\0fs"), "mounts[1]"),
        ("/mounts/1/options", json!(["size=1\0"]), "mounts[1]"),
        ("/linux/namespaces/0/path", json!("/proc/1/ns/pid\0"), "/proc/1/ns/pid"),
    ] {
        refused(&crun, &bundle.clone().set(pointer, value), [name]);
    }
}
