//! Every mount option there is: set, and then looked for from inside the container.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::mountinfo::{self, Mount};
use kit::runtime;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

/// What an option does to a mount that has `before`: options it has to have afterwards, and must not have.
struct Row {
    option: &'static str,
    before: &'static [&'static str],
    has: &'static [&'static str],
    lacks: &'static [&'static str],
}

const fn row(
    option: &'static str,
    before: &'static [&'static str],
    has: &'static [&'static str],
    lacks: &'static [&'static str],
) -> Row {
    Row { option, before, has, lacks }
}

/// Options of a mount or a filesystem, on a tmpfs.
const PLAIN: &[Row] = &[
    row("defaults", &[], &["rw"], &["nosuid", "nodev", "noexec"]),
    row("ro", &[], &["ro"], &[]),
    row("rw", &["ro"], &["rw"], &["ro"]),
    row("nosuid", &[], &["nosuid"], &[]),
    row("suid", &["nosuid"], &[], &["nosuid"]),
    row("nodev", &[], &["nodev"], &[]),
    row("dev", &["nodev"], &[], &["nodev"]),
    row("noexec", &[], &["noexec"], &[]),
    row("exec", &["noexec"], &[], &["noexec"]),
    row("nosymfollow", &[], &["nosymfollow"], &[]),
    row("symfollow", &["nosymfollow"], &[], &["nosymfollow"]),
    row("nodiratime", &[], &["nodiratime"], &[]),
    row("diratime", &["nodiratime"], &[], &["nodiratime"]),
    row("noatime", &[], &["noatime"], &["relatime"]),
    row("atime", &["noatime"], &["relatime"], &["noatime"]),
    row("relatime", &["noatime"], &["relatime"], &["noatime"]),
    row("norelatime", &[], &[], &["relatime", "noatime"]),
    row("strictatime", &[], &[], &["relatime", "noatime"]),
    row("nostrictatime", &["strictatime"], &["relatime"], &["noatime"]),
    row("sync", &[], &["sync"], &[]),
    row("async", &[], &[], &["sync"]),
    row("dirsync", &[], &["dirsync"], &[]),
    row("mand", &[], &["mand"], &[]),
    row("nomand", &[], &[], &["mand"]),
    row("lazytime", &[], &["lazytime"], &[]),
    row("nolazytime", &[], &[], &["lazytime"]),
    // Neither of these shows; they are taken, and the mount is there.
    row("iversion", &[], &["rw"], &[]),
    row("noiversion", &[], &["rw"], &[]),
    row("silent", &[], &["rw"], &[]),
    row("loud", &[], &["rw"], &[]),
];

/// Options that reach what is mounted below a recursive bind.
const RECURSIVE: &[Row] = &[
    row("rro", &[], &["ro"], &[]),
    row("rrw", &["rro"], &["rw"], &["ro"]),
    row("rnosuid", &[], &["nosuid"], &[]),
    row("rsuid", &["rnosuid"], &[], &["nosuid"]),
    row("rnodev", &[], &["nodev"], &[]),
    row("rdev", &["rnodev"], &[], &["nodev"]),
    row("rnoexec", &[], &["noexec"], &[]),
    row("rexec", &["rnoexec"], &[], &["noexec"]),
    row("rnosymfollow", &[], &["nosymfollow"], &[]),
    row("rsymfollow", &["rnosymfollow"], &[], &["nosymfollow"]),
    row("rnodiratime", &[], &["nodiratime"], &[]),
    row("rdiratime", &["rnodiratime"], &[], &["nodiratime"]),
    row("rnoatime", &[], &["noatime"], &["relatime"]),
    row("ratime", &["rnoatime"], &["relatime"], &["noatime"]),
    row("rrelatime", &["rnoatime"], &["relatime"], &["noatime"]),
    row("rnorelatime", &[], &[], &["relatime", "noatime"]),
    row("rstrictatime", &[], &[], &["relatime", "noatime"]),
    row("rnostrictatime", &["rstrictatime"], &["relatime"], &["noatime"]),
    // The kernel has these only for whole filesystems, which a bind does not change.
    row("rsync", &[], &[], &["sync"]),
    row("rasync", &[], &[], &["sync"]),
    row("rdirsync", &[], &[], &["dirsync"]),
    row("rmand", &[], &[], &["mand"]),
    row("rnomand", &[], &[], &["mand"]),
];

/// Options with tests of their own, here and in `rootfs.rs`.
const ELSEWHERE: &[&str] = &[
    "bind",
    "rbind",
    "remount",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "private",
    "rprivate",
    "unbindable",
    "runbindable",
    "idmap",
    "ridmap",
    "tmpcopyup",
    "copy-symlink",
    "src-nofollow",
    "dest-nofollow",
];

/// The mounts of a container of that bundle.
fn mounts_of(crun: &Crun, bundle: Bundle) -> Vec<Mount> {
    mountinfo::parse(&crun.run(&bundle.args(["cat", "/proc/self/mountinfo"])).ok())
}

fn check(row: &Row, mount: &Mount) {
    for option in row.has {
        assert!(mount.has(option), "{} should make the mount {option}: {mount:?}", row.option);
    }
    for option in row.lacks {
        assert!(!mount.has(option), "{} should not leave the mount {option}: {mount:?}", row.option);
    }
}

/// Adds a mount for each row at `/m/OPTION`.
fn with_rows(kind: &str, source: &str, first: &[&str], rows: &[Row]) -> Bundle {
    Bundle::new().edit(|config| {
        for row in rows {
            let options: Vec<_> = first.iter().chain(row.before).copied().chain([row.option]).collect();
            config["mounts"].as_array_mut().unwrap().push(json!({
                "destination": format!("/m/{}", row.option), "type": kind, "source": source, "options": options,
            }));
        }
    })
}

#[test]
fn every_option_that_is_reported_is_tested() {
    let crun = runtime!();
    let features = crun.cmd(["features"]).json();
    let reported: BTreeSet<_> =
        features["mountOptions"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let rows = PLAIN.iter().chain(RECURSIVE).map(|row| row.option);
    let tested: BTreeSet<_> = rows.chain(ELSEWHERE.iter().copied()).collect();
    assert_eq!(reported, tested);
}

#[test]
fn an_option_of_a_mount_or_filesystem_is_seen_inside() {
    let crun = runtime!();
    let mounts = mounts_of(&crun, with_rows("tmpfs", "tmpfs", &[], PLAIN));
    for row in PLAIN {
        check(row, mountinfo::at(&mounts, &format!("/m/{}", row.option)));
    }
}

#[test]
fn an_option_of_a_mount_is_taken_by_a_bind_and_one_of_a_filesystem_is_no_error() {
    let crun = runtime!();
    let source = tempfile::tempdir().unwrap();
    let mounts = mounts_of(&crun, with_rows("bind", source.path().to_str().unwrap(), &["bind"], PLAIN));
    for row in PLAIN.iter().filter(|row| !["sync", "dirsync", "mand", "lazytime"].contains(&row.option)) {
        // What the source's mount has, the bind keeps; only what is named changes.
        let row = if row.option == "defaults" { &Row { has: &[], lacks: &[], ..*row } } else { row };
        check(row, mountinfo::at(&mounts, &format!("/m/{}", row.option)));
    }
}

#[test]
fn a_recursive_option_reaches_what_is_mounted_below() {
    let crun = runtime!();
    let mounts = mounts_of(&crun, with_rows("bind", "/dev", &["rbind"], RECURSIVE));
    for row in RECURSIVE {
        let point = format!("/m/{}", row.option);
        check(row, mountinfo::at(&mounts, &point));
        check(row, mountinfo::at(&mounts, &format!("{point}/pts")));
    }
}

#[test]
fn a_later_option_wins_over_an_earlier_one() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .mount("/a", "tmpfs", "tmpfs", ["ro", "nosuid", "rw", "suid", "noatime", "strictatime"])
        .mount("/b", "tmpfs", "tmpfs", ["rw", "suid", "ro", "nosuid", "strictatime", "noatime"]);
    let mounts = mounts_of(&crun, bundle);
    let (a, b) = (mountinfo::at(&mounts, "/a"), mountinfo::at(&mounts, "/b"));
    assert!(a.has("rw") && !a.has("nosuid") && !a.has("noatime"), "{a:?}");
    assert!(b.has("ro") && b.has("nosuid") && b.has("noatime"), "{b:?}");
}

#[test]
fn no_options_and_no_key_at_all_mean_different_things() {
    let crun = runtime!();
    let bundle = Bundle::new().mount("/dev/shm", "tmpfs", "empty", []).edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/dev/mqueue" && mount["source"] != "shm");
        mounts.push(json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}));
    });
    let mounts = mounts_of(&crun, bundle);
    assert!(mountinfo::at(&mounts, "/dev/mqueue").has("noexec"));
    assert!(!mountinfo::at(&mounts, "/dev/shm").has("noexec"));
}

#[test]
fn an_option_the_filesystem_does_not_know_is_named() {
    let crun = runtime!();
    crun.run(&Bundle::new().mount("/data", "tmpfs", "tmpfs", ["size=1m", "colour=blue"])).error_with([
        "mounts[7]: /data: the tmpfs filesystem refuses the option `colour=blue`",
        "Invalid argument",
    ]);
}

#[test]
fn a_bind_mount_refuses_options_of_a_filesystem() {
    let crun = runtime!();
    crun.run(&Bundle::new().mount("/data", "bind", "/tmp", ["bind", "size=1m"]))
        .error_with(["mounts[7]: /data", "`size=1m`"]);
}

/// A directory with an owner and permissions that are not the usual ones.
fn unusual_directory(bundle: &Bundle, name: &str) -> std::path::PathBuf {
    let directory = bundle.rootfs().join(name);
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(12), Some(34)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o1753)).unwrap();
    directory
}

#[test]
fn a_tmpfs_takes_permissions_and_owner_of_the_directory_it_covers() {
    let crun = runtime!();
    let stat = |options: &[&str]| {
        let bundle = Bundle::new()
            .edit(|config| {
                config["mounts"].as_array_mut().unwrap().push(
                    json!({"destination": "/mine", "type": "tmpfs", "source": "tmpfs", "options": options}),
                );
            })
            .args(["stat", "-c", "%a %u:%g", "/mine"]);
        unusual_directory(&bundle, "mine");
        crun.run(&bundle).ok()
    };
    assert_eq!(stat(&[]), "1753 12:34\n");
    assert_eq!(stat(&["mode=700"]), "700 12:34\n");
    assert_eq!(stat(&["uid=5"]), "1753 5:0\n");
}

#[test]
fn a_tmpfs_over_nothing_has_the_kernels_permissions() {
    let crun = runtime!();
    let bundle = Bundle::new().mount("/fresh", "tmpfs", "tmpfs", []).args(["stat", "-c", "%a", "/fresh"]);
    assert_eq!(crun.run(&bundle).ok(), "1777\n");
}

#[test]
fn tmpcopyup_fills_a_tmpfs_with_what_it_covers() {
    let crun = runtime!();
    let bundle = Bundle::new()
        .caps(["CAP_DAC_OVERRIDE"])
        .mount("/mine", "tmpfs", "tmpfs", ["tmpcopyup"])
        .sh("cd /mine; stat -c '%n %F %a %u:%g %Y' . file below below/deep link pipe node; cat file; readlink link; \
             echo more >below/new && ls below");
    let directory = unusual_directory(&bundle, "mine");
    fs::write(directory.join("file"), "content\n").unwrap();
    fs::set_permissions(directory.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
    chown(directory.join("file"), Some(7), Some(8)).unwrap();
    fs::create_dir_all(directory.join("below/deep")).unwrap();
    symlink("../elsewhere", directory.join("link")).unwrap();
    mknodat(CWD, directory.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    mknodat(CWD, directory.join("node"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)).unwrap();
    let expected = ["mine/below/deep", "mine/below", "mine/file", "mine"].map(|path| {
        let path = bundle.rootfs().join(path);
        // Long before the copy is made.
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
        let meta = fs::metadata(path).unwrap();
        (format!("{:o}", meta.mode() & 0o7777), meta.uid(), meta.gid(), meta.mtime())
    });
    let text = crun.run(&bundle).ok();
    let lines: Vec<_> = text.lines().collect();
    for (line, (mode, uid, gid, time)) in lines.iter().zip(expected.iter().rev()) {
        assert!(line.ends_with(&format!(" {mode} {uid}:{gid} {time}")), "{line}: {expected:?}");
    }
    assert!(lines[4].starts_with("link symbolic link"), "{text}");
    assert!(lines[5].starts_with("pipe fifo") && lines[6].starts_with("node character special"), "{text}");
    assert_eq!(lines[7..], ["content", "../elsewhere", "deep", "new"], "{text}");
    assert!(!directory.join("below/new").exists(), "the directory itself must not change");
}

#[test]
fn tmpcopyup_is_only_for_a_tmpfs_that_covers_something() {
    let crun = runtime!();
    for (destination, kind) in [("/", "tmpfs"), ("/x", "mqueue")] {
        crun.run(&Bundle::new().mount(destination, kind, "x", ["tmpcopyup"])).error_with(["tmpcopyup"]);
    }
    crun.run(&Bundle::new().mount("/x", "bind", "/tmp", ["bind", "tmpcopyup"])).error_with(["tmpcopyup"]);
    let new = Bundle::new().mount("/new", "tmpfs", "x", ["tmpcopyup"]).args(["ls", "-A", "/new"]);
    assert_eq!(crun.run(&new).ok(), "");
}

#[test]
fn copy_symlink_makes_the_same_link_and_mounts_nothing() {
    let crun = runtime!();
    let source = tempfile::tempdir().unwrap();
    symlink("/somewhere/else", source.path().join("link")).unwrap();
    let link = source.path().join("link");
    let link = link.to_str().unwrap();
    let bundle = || Bundle::new().mount("/etc/new/link", "bind", link, ["bind", "copy-symlink"]);
    let shown = bundle().args(["readlink", "/etc/new/link"]);
    assert_eq!(crun.run(&shown).ok(), "/somewhere/else\n");
    // Once more, with the link in place.
    assert_eq!(crun.run(&shown).ok(), "/somewhere/else\n");
    let other = bundle().args(["true"]);
    fs::create_dir_all(other.rootfs().join("etc/new")).unwrap();
    symlink("/different", other.rootfs().join("etc/new/link")).unwrap();
    crun.run(&other).error_with(["symlink `/etc/new/link` already exists with a different content"]);
}

#[test]
fn copy_symlink_of_something_else_mounts_it() {
    let crun = runtime!();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("file"), "content").unwrap();
    let bundle = Bundle::new()
        .mount("/data", "bind", source.path().to_str().unwrap(), ["rbind", "copy-symlink"])
        .args(["cat", "/data/file"]);
    assert_eq!(crun.run(&bundle).ok(), "content");
}

#[test]
fn copy_symlink_excludes_the_options_that_do_not_follow() {
    let crun = runtime!();
    for other in ["src-nofollow", "dest-nofollow"] {
        crun.run(&Bundle::new().mount("/x", "bind", "/tmp", ["bind", "copy-symlink", other]))
            .error_with(["mounts[7]: /x", "copy-symlink"]);
    }
}

#[test]
fn src_nofollow_mounts_the_link_itself() {
    let crun = runtime!();
    let source = tempfile::tempdir().unwrap();
    symlink("/etc/os-release", source.path().join("link")).unwrap();
    let bundle = Bundle::new()
        .mount("/link", "bind", source.path().join("link").to_str().unwrap(), ["bind", "src-nofollow"])
        .args(["readlink", "/link"]);
    assert_eq!(crun.run(&bundle).ok(), "/etc/os-release\n");
}

#[test]
fn dest_nofollow_covers_the_link_and_not_what_it_leads_to() {
    let crun = runtime!();
    let source = tempfile::NamedTempFile::new().unwrap();
    fs::write(&source, "mounted").unwrap();
    let bundle = |option: &str| {
        let bundle = Bundle::new()
            .mount("/link", "bind", source.path().to_str().unwrap(), ["bind", option])
            .args(["cat", "/target"]);
        fs::write(bundle.rootfs().join("target"), "covered").unwrap();
        symlink("/target", bundle.rootfs().join("link")).unwrap();
        bundle
    };
    assert_eq!(crun.run(&bundle("rw")).ok(), "mounted");
    assert_eq!(crun.run(&bundle("dest-nofollow")).ok(), "covered");
    assert_eq!(crun.run(&bundle("dest-nofollow").args(["cat", "/link"])).ok(), "mounted");
}

#[test]
fn dest_nofollow_is_refused_on_filesystems_of_the_kernel() {
    let crun = runtime!();
    for destination in ["/proc/self", "/sys/class", "/dev/pts/ptmx"] {
        crun.run(&Bundle::new().mount(destination, "bind", "/dev/null", ["bind", "dest-nofollow"]))
            .error_with([&format!("override of the mount destination `{destination}` is not allowed")]);
    }
}
