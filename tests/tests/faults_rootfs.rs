//! What the kernel refuses half way through a start, seen from the root filesystem: the error names the object, the step
//! and the reason, and what was made in the root filesystem until then is not there any more.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use kit::bundle::Bundle;
use kit::crun::{Crun, skipped};
use kit::outside::{assert_same, listing};
use kit::running::{Output, Running};
use kit::{runtime, runtime_on_v2};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Much has to be made in the root filesystem: directories, files, links, devices. The root is read-only in the end.
fn much_to_make(bundle: Bundle) -> Bundle {
    let keep = |mount: &Value| matches!(mount["destination"].as_str(), Some("/proc" | "/sys"));
    bundle
        .edit(|config| config["mounts"].as_array_mut().unwrap().retain(keep))
        .mount("/new/deep/dir", "tmpfs", "tmpfs", [])
        .mount("/new/deep/volume", "bind", "/etc", ["rbind", "ro"])
        .mount("/new/file", "bind", "/dev/null", ["bind"])
        .mount("/up", "tmpfs", "tmpfs", ["tmpcopyup"])
        .mount("/up/link/below", "tmpfs", "tmpfs", [])
        .set("/linux/devices", json!([{"path": "/new/node", "type": "c", "major": 1, "minor": 3, "uid": 7}]))
        .set("/process/cwd", json!("/made/cwd"))
        .args(["true"])
}

/// The same over a root filesystem of its own, in which a link of the directory that is copied leads out of the copy.
fn bundle() -> Bundle {
    let bundle = much_to_make(Bundle::new());
    fs::create_dir(bundle.rootfs().join("up")).unwrap();
    std::os::unix::fs::symlink("/linked", bundle.rootfs().join("up/link")).unwrap();
    bundle
}

/// The first and the last rung, which have least in common.
fn outer_rungs(crun: &Crun) -> Vec<(&'static str, Crun)> {
    let mut rungs = crun.mount_rungs();
    rungs.drain(1..rungs.len() - 1);
    rungs
}

/// Starts it with `run` and with `create`: each fails in one line with all these words, and leaves the root filesystem as
/// it was.
fn fails<const N: usize>(crun: &Crun, bundle: &Bundle, words: [&str; N]) {
    let before = listing(&bundle.rootfs());
    let _ = bundle.save();
    for command in ["run", "create"] {
        let container = crun.container(bundle);
        container.cmd([command, "-b", "BUNDLE", "ID"]).error_with(words);
        container.deleted();
        assert_same(&listing(&bundle.rootfs()), &before);
    }
}

/// Raises what is scarce step by step, until there is enough. Until then each start fails in one line, of which `told`
/// says whether it is right, and leaves the root filesystem as it was.
fn step_by_step(
    limits: std::ops::Range<u32>,
    root: &Path,
    run: impl Fn(u32) -> Output,
    told: impl Fn(&str) -> bool,
) {
    let before = listing(root);
    let mut lines = Vec::new();
    for limit in limits {
        let output = run(limit);
        if output.code == 0 {
            assert!(lines.len() > 5, "the limits were not low enough: {lines:#?}");
            return;
        }
        let line = output.error();
        assert!(told(&line), "{limit}: {line}");
        assert_same(&listing(root), &before);
        lines.push(line);
    }
    panic!("the limits were not high enough: {lines:#?}");
}

#[test]
fn without_descriptors() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    for (rung, crun) in outer_rungs(&crun) {
        eprintln!("{rung}");
        let bundle = bundle();
        let run = |limit| crun.clone().after(&format!("ulimit -Sn {limit}")).run(&bundle);
        step_by_step(4..120, &bundle.rootfs(), run, |line| line.ends_with(": Too many open files"));
    }
}

#[test]
fn without_descriptors_in_a_user_namespace() {
    let crun = runtime!().with("--cgroup-manager=disabled");
    let mapping = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    let bundle = bundle().namespace("user", Some("")).set("/linux/uidMappings", mapping.clone());
    let bundle = bundle.set("/linux/gidMappings", mapping);
    let run = |limit| crun.clone().after(&format!("ulimit -Sn {limit}")).run(&bundle);
    step_by_step(4..120, &bundle.rootfs(), run, |line| line.ends_with(": Too many open files"));
}

/// Runs a script in the mount namespace of the view, which is not the machine's.
fn in_view(crun: &Crun, script: &str) -> String {
    let output = crun.view().unwrap().command("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A filesystem in the view, on which the number of files can be limited.
struct Tiny<'a> {
    crun: &'a Crun,
    dir: tempfile::TempDir,
}

impl<'a> Tiny<'a> {
    fn new(crun: &'a Crun, fill: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        in_view(crun, &format!("mount -t tmpfs tmpfs {0}; cd {0}; {fill}", dir.path().display()));
        Self { crun, dir }
    }

    /// Room for so many more files.
    fn leave(&self, room: u32) {
        let path = self.dir.path().display();
        let script = format!(
            "used=$(df --output=iused {path} | tail -1); mount -o remount,nr_inodes=$((used + {room})) {path}"
        );
        in_view(self.crun, &script);
    }

    /// The way there from the machine's namespace.
    fn outside(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.crun.view().unwrap().init());
        PathBuf::from(format!("{root}{}", self.dir.path().display()))
    }
}

/// A root filesystem with the little that a container needs.
fn tiny_image(crun: &Crun) -> Tiny<'_> {
    let busybox = kit::rootfs::busybox_rootfs().unwrap().join("bin/busybox");
    let script = format!(
        "mkdir bin proc sys up; cp {} bin; ln -s busybox bin/true; ln -s /linked up/link",
        busybox.display()
    );
    Tiny::new(crun, &script)
}

#[test]
fn without_room_in_the_root_filesystem() {
    let crun = runtime_on_v2!();
    for (rung, crun) in outer_rungs(&crun) {
        eprintln!("{rung}");
        let image = tiny_image(&crun);
        let bundle = much_to_make(Bundle::over(image.dir.path()));
        let run = |room| {
            image.leave(room);
            crun.run(&bundle)
        };
        let objects = ["mounts[", "create the device `", "create the working directory `", "`/dev`"];
        step_by_step(0..60, &image.outside(), run, |line| {
            line.ends_with(": No space left on device") && objects.iter().any(|object| line.contains(object))
        });
    }
}

#[test]
fn without_room_in_the_copy_of_a_directory() {
    let crun = runtime!();
    let bundle = bundle().set("/mounts/5/options", json!(["tmpcopyup", "size=8k"]));
    fs::write(bundle.rootfs().join("up/large"), [7; 30_000]).unwrap();
    for (_, crun) in crun.mount_rungs() {
        fails(&crun, &bundle, ["mounts[5]: /up: copy what the tmpfs covers", "No space left on device"]);
    }
}

#[test]
fn without_room_for_the_state() {
    let crun = runtime_on_v2!();
    for command in ["run", "create"] {
        let (state, image) = (Tiny::new(&crun, "true"), tiny_image(&crun));
        let bundle = much_to_make(Bundle::over(image.dir.path()));
        let _ = bundle.save();
        let path = state.dir.path().to_str().unwrap().to_owned();
        let before = listing(&image.outside());
        let failed = (0..20).take_while(|room| {
            state.leave(*room);
            let container = crun.container(&bundle);
            let output =
                crun.cmd(["--root", &path, command, "-b", bundle.dir().to_str().unwrap(), container.id()]);
            let delete = || crun.cmd(["--root", &path, "delete", "--force", container.id()]).ok();
            if output.code == 0 {
                assert_eq!(delete(), "");
                return false;
            }
            output.error_with([&path, "No space left on device"]);
            let left: Vec<_> = listing(&state.outside());
            assert!(left.iter().all(|line| line.contains("/.empty-directory ")), "{left:#?}");
            assert_same(&listing(&image.outside()), &before);
            container.deleted();
            true
        });
        assert!(failed.count() >= 4, "{command}");
    }
}

#[test]
fn on_a_read_only_volume() {
    let crun = runtime_on_v2!();
    let (volume, tree) = (tempfile::tempdir().unwrap(), bundle());
    in_view(&crun, &format!("mount --bind {0} {0}; mount -o remount,bind,ro {0}", volume.path().display()));
    let bundle = tree.mount("/volume", "bind", volume.path().to_str().unwrap(), ["bind"]).mount(
        "/volume/below",
        "tmpfs",
        "tmpfs",
        [],
    );
    for (_, crun) in crun.mount_rungs() {
        fails(&crun, &bundle, ["mounts[8]: /volume/below: create the mount point", "Read-only file system"]);
    }
}

#[test]
fn when_a_name_is_refused_at_the_very_end() {
    let crun = runtime!();
    for key in ["hostname", "domainname"] {
        let bundle = bundle().set(&format!("/{key}"), json!("n".repeat(65)));
        for (_, crun) in crun.mount_rungs() {
            fails(&crun, &bundle, ["name `nnnn", "Invalid argument"]);
        }
    }
}

#[test]
fn when_the_oom_score_is_refused_outside() {
    let bundle = bundle().set("/process/oomScoreAdj", json!(2000));
    for crun in [runtime!(), runtime_on_v2!()] {
        for (_, crun) in crun.mount_rungs() {
            fails(&crun, &bundle, ["write `2000` to `/proc/", "/oom_score_adj`: Invalid argument"]);
        }
    }
}

#[test]
fn when_a_cgroup_refuses_the_process() {
    // The cpu hierarchy of version 1 takes no realtime process without a budget for it (sched-rt-group.rst).
    let crun = runtime!().after("chrt --rr --pid 1 $$");
    let bundle = bundle();
    if crun.run(&Bundle::new().args(["true"])).code == 0 {
        return skipped("this machine's cgroups take realtime processes");
    }
    for (_, crun) in crun.mount_rungs() {
        fails(&crun, &bundle, ["cgroup", "/cpu", "Invalid argument"]);
    }
}

#[test]
fn when_the_pid_file_cannot_be_written() {
    let crun = runtime!();
    let bundle = bundle();
    let before = listing(&bundle.rootfs());
    for (path, reason) in [
        ("/nonexistent/pid", "No such file or directory"),
        ("/proc/version/pid", "Not a directory"),
        ("/proc/sys/pid", "denied"),
        ("/", "Is a directory"),
    ] {
        for command in ["run", "create"] {
            let container = crun.container(&bundle);
            let option = format!("--pid-file={path}");
            let words = [&format!("write the pid file `{path}`"), reason];
            container.cmd([command, &option, "-b", "BUNDLE", "ID"]).error_with(words);
            container.deleted();
            assert_same(&listing(&bundle.rootfs()), &before);
        }
    }
}

/// Stops and continues the runtime and what it has made, over and over until it has ended. Returns how often.
fn interrupt(running: &Running) -> u32 {
    let (runtime, mut interruptions) = (running.pid(), 0);
    while let Ok(children) = fs::read_to_string(format!("/proc/{runtime}/task/{runtime}/children")) {
        let made = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        for pid in made.chain([runtime]).filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            for signal in [Signal::STOP, Signal::CONT] {
                let _ = kill_process(pid, signal);
            }
            interruptions += 1;
        }
        let status = fs::read_to_string(format!("/proc/{runtime}/stat")).unwrap_or_default();
        if status.contains(") Z ") {
            break;
        }
    }
    interruptions
}

#[test]
fn nothing_is_wrong_with_being_interrupted_all_the_time() {
    let crun = runtime!();
    let bundle = bundle();
    let _ = bundle.save();
    let (mut rounds, mut interruptions) = (0, 0);
    while rounds < 10 || interruptions < 200 {
        rounds += 1;
        for (rung, crun) in outer_rungs(&crun) {
            let container = crun.container(&bundle);
            let running = crun.spawn(crun.command(container.args(["run", "-b", "BUNDLE", "ID"])));
            interruptions += interrupt(&running);
            let output = running.wait();
            assert!(output.code == 0 && output.stderr.is_empty(), "{rung}: {output}");
            container.deleted();
        }
    }
}
