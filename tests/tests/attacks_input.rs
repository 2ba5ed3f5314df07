//! Attacks by what is read: input without an end, nested without an end, with a NUL, and what stands in the place of the
//! files of a container's state. Each is an error in one line, soon.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::Crun;
use kit::runtime;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;

/// The runtime with so little memory that an input without an end would be its own.
fn with_little_memory(crun: &Crun) -> Crun {
    crun.clone().after("ulimit -v 100000")
}

#[test]
fn an_input_without_an_end_is_refused() {
    let crun = with_little_memory(&runtime!());
    let container = crun.container(&Bundle::new());
    let words = ["/dev/zero", "larger than 16 MiB"];
    container.cmd(["run", "--bundle", "BUNDLE", "--config", "/dev/zero", "ID"]).error_with(words);
    container.deleted();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    container.cmd(["exec", "--process", "/dev/zero", "ID"]).error_with(words);
    container.cmd(["update", "--resources", "/dev/zero", "ID"]).error_with(words);
    container.cmd(["mounts", "add", "ID", "/dev/zero"]).error_with(words);
    let piped = crun.after("exec </dev/zero");
    piped.cmd(["update", "--resources", "-", container.id()]).error_with(["larger than 16 MiB"]);
}

#[test]
fn a_configuration_of_a_gigabyte_is_refused_before_it_is_read() {
    let crun = with_little_memory(&runtime!());
    let container = crun.container(&Bundle::new());
    let large = tempfile::NamedTempFile::new().unwrap();
    large.as_file().set_len(1 << 30).unwrap();
    let path = large.path().to_str().unwrap();
    container.cmd(["run", "--bundle", "BUNDLE", "--config", path, "ID"]).error_with(["larger than 16 MiB"]);
    container.deleted();
}

#[test]
fn an_input_nested_without_an_end_is_refused() {
    let crun = runtime!();
    let container = crun.container(&Bundle::new());
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (text, name) in [
        ("[".repeat(1 << 20), "an array"),
        (r#"{"linux":"#.repeat(1 << 18), "an object"),
        (format!(r#"{{"ociVersion":"1.0.0","x":{}"#, "[".repeat(1 << 20)), "below a member that is not read"),
    ] {
        fs::write(file.path(), text).unwrap();
        let line = container.cmd(["run", "--bundle", "BUNDLE", "--config", path, "ID"]).error();
        assert!(line.contains(path) && line.contains(" at line 1 column "), "{name}: {line}");
    }
    container.deleted();
}

/// The state directory of a container that runs, with what an attacker who could write there would put into the place of
/// one of its files; afterwards it is as before.
fn with_replaced(container: &Container, name: &str, put: impl Fn(&Path), look: impl FnOnce()) {
    let file = container.crun().state_dir().join(container.id()).join(name);
    let kept = file.with_extension("kept");
    fs::rename(&file, &kept).unwrap();
    put(&file);
    look();
    fs::rename(&kept, &file).unwrap();
}

#[test]
fn a_file_of_the_state_that_is_none_is_neither_waited_for_nor_followed() {
    let crun = with_little_memory(&runtime!());
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let state = crun.state_dir().join(container.id());
    let real = |name: &str| state.join(name).with_extension("kept");
    let node = |kind, device| move |path: &Path| mknodat(CWD, path, kind, Mode::RWXU, device).unwrap();
    // Where the filesystem has no devices (nodev), the kernel does not open one.
    let probe = crun.state_dir().join("probe");
    node(FileType::CharacterDevice, makedev(1, 5))(&probe);
    let of_zero = if fs::File::open(&probe).is_ok() { "File too large" } else { "Permission denied" };
    fs::remove_file(&probe).unwrap();
    for name in ["status", "config.json"] {
        let link = |path: &Path| symlink(real(name), path).unwrap();
        let fifo = node(FileType::Fifo, 0);
        let zero = node(FileType::CharacterDevice, makedev(1, 5));
        let nothing = |path: &Path| drop(fs::File::create(path).unwrap());
        let refused = |put: &dyn Fn(&Path), reason: &str| {
            with_replaced(&container, name, put, || {
                container.cmd(["exec", "ID", "true"]).error_with([name, reason]);
            });
        };
        refused(&link, "Too many levels of symbolic links");
        refused(&fifo, "EOF while parsing");
        refused(&zero, of_zero);
        refused(&nothing, "EOF while parsing");
    }
    assert_eq!(container.cmd(["exec", "ID", "echo", "well"]).ok(), "well\n");
}

#[test]
fn a_container_whose_state_cannot_be_read_is_in_nobody_elses_way() {
    let crun = runtime!();
    let (broken, well) = (crun.start(&Bundle::new().args(["sleep", "99"])), crun.create(&Bundle::new()));
    let fifo = |path: &Path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    with_replaced(&broken, "status", fifo, || {
        let output = crun.cmd(["list"]);
        assert!(output.stdout.contains(well.id()), "{output}");
    });
}

#[test]
fn files_of_the_state_are_not_for_others_to_read() {
    let crun = runtime!();
    for umask in ["0000", "0777"] {
        let container = crun.clone().after(&format!("umask {umask}")).create(&Bundle::new());
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
        let state = crun.state_dir().join(container.id());
        assert_eq!((mode(&crun.state_dir()), mode(&state)), (0o700, 0o700), "umask {umask}");
        for file in ["status", "config.json", "exec.fifo"] {
            assert_eq!(mode(&state.join(file)), 0o600, "umask {umask}: {file}");
        }
    }
}

#[test]
fn the_configuration_is_read_once_and_later_changes_to_it_mean_nothing() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["sleep", "99"]);
    let container = crun.create(&bundle);
    fs::write(bundle.dir().join("config.json"), "{}").unwrap();
    assert_eq!(container.cmd(["start", "ID"]).ok(), "");
    assert_eq!(container.cmd(["exec", "ID", "echo", "well"]).ok(), "well\n");
}

#[test]
fn a_device_in_the_place_of_an_images_users_is_not_even_opened() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["true"]);
    let passwd = bundle.rootfs().join("etc/passwd");
    for (kind, device) in [(FileType::CharacterDevice, makedev(1, 5)), (FileType::Fifo, 0)] {
        drop(fs::remove_file(&passwd));
        mknodat(CWD, &passwd, kind, Mode::RWXU, device).unwrap();
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, &passwd, WatchFlags::OPEN).unwrap();
        for (rung, crun) in [("all calls", crun.clone()), ("no openat2", crun.clone().without(["openat2"]))] {
            assert_eq!(crun.run(&bundle).ok(), "");
            let mut room = [MaybeUninit::uninit(); 512];
            let event = inotify::Reader::new(&watch, &mut room).next().map(drop);
            assert_eq!(event, Err(Errno::AGAIN), "{rung}: it was opened");
        }
    }
}
