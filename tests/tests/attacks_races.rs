//! Races: somebody else changes the image while containers start from it in a loop (CVE-2021-30465, CVE-2024-45310,
//! CVE-2019-19921, CVE-2025-31133). Nothing may reach the host, at no moment and on no rung.
//!
//! The attacker is a thread that exchanges names as fast as the kernel does it. Each attack is made on a runtime that
//! looks first and acts by path afterwards, too, and has to succeed there: the controls of these tests.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kit::bundle::Bundle;
use kit::crun::{Crun, PATIENCE, new_id};
use kit::lane::patience;
use kit::outside::{Outside, WORDS};
use kit::{leftovers, runtime};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

/// How long a loop goes on at least, how often something is done in it at least, and how long it goes on at most until
/// that has worked once.
const ROUND: Duration = Duration::from_millis(500);
const FEWEST: u32 = 8;
const LIMIT: Duration = Duration::from_secs(20);

/// Keeps calling `exchange` while `work` goes on: in bursts, or nobody else would get at the directory.
fn while_exchanging<T>(exchange: impl Fn() + Sync, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..32 {
                    exchange();
                }
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
    })
}

/// Exchanges the first of these names with each of the others in turn.
fn exchange(names: &[PathBuf]) {
    for other in &names[1..] {
        renameat_with(CWD, &names[0], CWD, other, RenameFlags::EXCHANGE).unwrap();
    }
}

/// Does something with a number for a while; it says whether that worked. Returns how often it did and did not.
fn count(mut each: impl FnMut(u32) -> bool) -> (u32, u32) {
    let (start, mut worked, mut failed) = (Instant::now(), 0, 0);
    while start.elapsed() < ROUND || (worked + failed < FEWEST || worked == 0) && start.elapsed() < LIMIT {
        *if each(worked + failed) { &mut worked } else { &mut failed } += 1;
    }
    (worked, failed)
}

/// Whether something happens that is tried with one number after the other, until it has or nobody believes in it any more.
fn ever(happens: impl FnMut(u32) -> bool) -> bool {
    let start = Instant::now();
    (0..).take_while(|_| start.elapsed() < patience(PATIENCE)).any(happens)
}

/// An image in which the names `vol` (a directory) and `way` (a link to the host) can be exchanged.
struct Trap {
    outside: Outside,
    bundle: Bundle,
}

impl Trap {
    fn new() -> Self {
        let (outside, bundle) = (Outside::new(), Bundle::new().args(["true"]));
        fs::create_dir(bundle.rootfs().join("vol")).unwrap();
        symlink(outside.path(), bundle.rootfs().join("way")).unwrap();
        Self { outside, bundle }
    }

    fn names(&self) -> [PathBuf; 2] {
        ["vol", "way"].map(|name| self.bundle.rootfs().join(name))
    }

    /// Whether somebody who follows names by their path has been led to the host.
    fn has_caught_somebody(&self) -> bool {
        fs::read_dir(self.outside.path()).unwrap().count() > 2
    }
}

/// Starts the containers of a loop, one after the other.
struct Starter<'a> {
    crun: &'a Crun,
    id: String,
}

impl<'a> Starter<'a> {
    fn new(crun: &'a Crun) -> Self {
        Self { crun, id: new_id() }
    }

    /// Whether the container has started; otherwise it has been refused in one line.
    fn start(&self, number: u32, bundle: &Bundle) -> bool {
        let id = format!("{}-{number}", self.id);
        let output = self.crun.cmd(["run", "-b", bundle.save().to_str().unwrap(), &id]);
        let lines = output.stderr.lines().count();
        assert!(output.code == 0 && lines == 0 || output.code == 1 && lines == 1, "{output}");
        assert!(!output.stdout.contains(WORDS), "{output}");
        output.code == 0
    }

    fn assert_nothing_left(&self, bundle: &Bundle) {
        let left = leftovers::find(&self.id, bundle.dir(), &self.crun.state_dir(), None);
        assert!(left.is_empty(), "{left:#?}");
    }
}

/// The rungs on which what is mounted over is found again by its name.
fn finds_by_name(rung: &str) -> bool {
    matches!(rung, "no mount_setattr" | "no open_tree and the like")
}

/// Starts containers from bundles that `arm` makes while `names` are exchanged. Returns how many started and were
/// refused.
fn spring(trap: &Trap, crun: &Crun, names: &[PathBuf], arm: impl Fn(u32) -> Bundle) -> (u32, u32) {
    let starter = Starter::new(crun);
    let score = while_exchanging(|| exchange(names), || count(|number| starter.start(number, &arm(number))));
    eprintln!("{score:?} started and refused");
    assert!(score.0 > 0, "nothing has started");
    trap.outside.assert_untouched();
    starter.assert_nothing_left(&trap.bundle);
    score
}

/// The same on every rung, for a trap that is set up as it is made.
fn spring_on_every_rung(trap: &Trap, arm: impl Fn(u32) -> Bundle) {
    let crun = runtime!();
    for (rung, crun) in crun.mount_rungs() {
        eprint!("{rung}: ");
        spring(trap, &crun, &trap.names(), &arm);
    }
}

/// A runtime that makes sure that a path does not lead out of the root, and then uses the path.
const NAIVE: &str = r#"root=$1 number=$2
case $(realpath -m "$root/vol/$number") in "$root"/*) ;; *) exit 1;; esac
mkdir -p "$root/vol/$number/deep" && mount -t tmpfs tmpfs "$root/vol/$number/deep"
mknod "$root/vol/node-$number" c 1 3"#;

fn naive(script: &str, root: &Path, number: u32) -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "naive"]);
    let output = command.arg(root).arg(number.to_string()).output().unwrap();
    output.status.success()
}

#[test]
fn the_attack_of_these_tests_does_catch_a_runtime_that_looks_first_and_then_uses_the_path() {
    let _ = runtime!();
    let trap = Trap::new();
    let root = trap.bundle.rootfs();
    let caught = while_exchanging(
        || exchange(&trap.names()),
        || {
            ever(|number| {
                naive(NAIVE, &root, number);
                trap.has_caught_somebody()
            })
        },
    );
    assert!(caught, "the attack never succeeds");
}

#[test]
fn a_destination_that_is_exchanged_with_a_link_to_the_host_stays_inside() {
    let trap = Trap::new();
    let volume = tempfile::tempdir().unwrap();
    fs::write(volume.path().join("file"), "volume").unwrap();
    let (directory, file) = (volume.path().to_str().unwrap(), volume.path().join("file"));
    spring_on_every_rung(&trap, |number| {
        let at = |name: &str| format!("/vol/{number}/{name}");
        trap.bundle
            .clone()
            .mount("/vol", "tmpfs", "tmpfs", ["mode=755"])
            .mount("/vol", "bind", directory, ["bind"])
            .mount(&at("directory"), "bind", directory, ["bind", "ro"])
            .mount(&at("file"), "bind", file.to_str().unwrap(), ["bind"])
            .mount(&at("tmpfs"), "tmpfs", "tmpfs", ["tmpcopyup"])
    });
}

#[test]
fn mount_points_below_a_name_that_is_exchanged_are_made_inside() {
    let trap = Trap::new();
    let volume = tempfile::tempdir().unwrap();
    let directory = volume.path().to_str().unwrap();
    spring_on_every_rung(&trap, |number| {
        let at = |name: &str| format!("/vol/{number}/{name}");
        trap.bundle
            .clone()
            .mount(&at("bind/deep/er"), "bind", directory, ["bind"])
            .mount(&at("tmpfs/deep/er"), "tmpfs", "tmpfs", ["mode=755"])
            .mount(&at("tmpfs/deep"), "mqueue", "mqueue", [])
    });
}

#[test]
fn a_link_with_dots_through_a_directory_that_moves_up_and_down_ends_inside() {
    let crun = runtime!();
    let trap = Trap::new();
    let names = ["deep/er/still/moving", "moving"].map(|name| trap.bundle.rootfs().join(name));
    names.iter().for_each(|name| fs::create_dir_all(name).unwrap());
    let up = "../".repeat(4);
    symlink(format!("deep/er/still/moving/{up}{}", trap.outside.ways()[1]), trap.bundle.rootfs().join("up"))
        .unwrap();
    for (rung, crun) in crun.mount_rungs() {
        eprint!("{rung}: ");
        spring(&trap, &crun, &names, |number| {
            let at = |name: &str| format!("/up/{number}/{name}");
            let bundle = trap.bundle.clone().mount(&at("bind"), "bind", "/etc", ["bind", "ro"]);
            bundle.mount(&at("tmpfs/deep"), "tmpfs", "tmpfs", []).set("/process/cwd", json!(at("cwd")))
        });
    }
}

#[test]
fn devices_below_a_name_that_is_exchanged_are_made_inside() {
    let trap = Trap::new();
    spring_on_every_rung(&trap, |number| {
        let device = |name: &str| json!({"path": format!("/vol/{name}{number}"), "type": "c", "major": 1, "minor": 3, "uid": 7});
        trap.bundle.clone().set("/linux/devices", json!([device("node-"), device("deep/er/node-")]))
    });
}

#[test]
fn devices_of_a_user_namespace_below_a_name_that_is_exchanged_are_made_inside() {
    let trap = Trap::new();
    let mapping = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    let crun = runtime!();
    // The older calls only show nodes that the host has at the same path.
    for (rung, crun) in crun.mount_rungs().into_iter().filter(|(rung, _)| !finds_by_name(rung)) {
        eprint!("{rung}: ");
        spring(&trap, &crun, &trap.names(), |number| {
            let device =
                json!([{"path": format!("/vol/node-{number}"), "type": "c", "major": 1, "minor": 3}]);
            let bundle = trap.bundle.clone().namespace("user", Some("")).set("/linux/devices", device);
            bundle.set("/linux/uidMappings", mapping.clone()).set("/linux/gidMappings", mapping.clone())
        });
    }
}

/// How often a file has kept its owner that was exchanged with a device node, and how often not.
fn kept_owners(trap: &Trap, crun: &Crun) -> (u32, u32) {
    let [node, victim] = ["vol/node", "vol/victim"].map(|name| trap.bundle.rootfs().join(name));
    let device = json!([{"path": "/vol/node", "type": "c", "major": 1, "minor": 3, "uid": 7}]);
    let bundle = trap.bundle.clone().set("/linux/devices", device);
    let starter = Starter::new(crun);
    // There is nothing to be exchanged until the node is made.
    let exchange = || {
        let _ = renameat_with(CWD, &node, CWD, &victim, RenameFlags::EXCHANGE);
    };
    while_exchanging(exchange, || {
        count(|number| {
            let file = fs::File::create(&victim).unwrap();
            starter.start(number, &bundle);
            for name in [&node, &victim] {
                let _ = fs::remove_file(name);
            }
            file.metadata().unwrap().uid() == 0
        })
    })
}

#[test]
fn a_file_that_is_exchanged_with_a_device_node_does_not_get_its_owner() {
    let crun = runtime!();
    let trap = Trap::new();
    for (rung, crun) in crun.mount_rungs() {
        let score = kept_owners(&trap, &crun);
        // A runtime that goes by the name a second time gives it away in about one start of twenty.
        assert_eq!(score.1, 0, "{rung}: {score:?}");
    }
}

#[test]
fn a_working_directory_below_a_name_that_is_exchanged_is_made_inside() {
    let trap = Trap::new();
    let secret = trap.outside.at("secret");
    spring_on_every_rung(&trap, |number| {
        let script = format!("cat secret ../secret ../../{secret} 2>/dev/null; true");
        trap.bundle.clone().sh(&script).set("/process/cwd", json!(format!("/vol/cwd-{number}")))
    });
}

#[test]
fn a_dev_that_is_exchanged_with_a_link_to_the_host_takes_no_devices_there() {
    let trap = Trap::new();
    let names = ["dev", "way"].map(|name| trap.bundle.rootfs().join(name));
    let crun = runtime!();
    let bundle = trap.bundle.clone().edit(|config| {
        let on_dev = |mount: &Value| mount["destination"].as_str().unwrap().starts_with("/dev");
        config["mounts"].as_array_mut().unwrap().retain(|mount| !on_dev(mount));
    });
    for (rung, crun) in crun.mount_rungs() {
        eprint!("{rung}: ");
        spring(&trap, &crun, &names, |_| bundle.clone());
    }
}

/// A trap in which a name is a directory, a file and a link to the host by turns.
fn shifting() -> (Trap, [PathBuf; 3]) {
    let trap = Trap::new();
    let names = ["shifty", "as-file", "as-link"].map(|name| trap.bundle.rootfs().join(name));
    fs::create_dir(&names[0]).unwrap();
    fs::write(&names[1], "hidden").unwrap();
    symlink(trap.outside.at("secret"), &names[2]).unwrap();
    (trap, names)
}

/// Masks by path what it has looked at before; fails when the mask does not fit, or when it lies on the host.
const NAIVE_MASK: &str = r#"root=$1
if [ -d "$root/shifty" ]; then mount -t tmpfs tmpfs "$root/shifty"; else mount --bind /dev/null "$root/shifty"; fi
! grep -q /outside- /proc/self/mountinfo"#;

#[test]
fn the_attack_on_masks_does_catch_a_runtime_that_masks_by_path() {
    let _ = runtime!();
    let (trap, names) = shifting();
    let root = trap.bundle.rootfs();
    let caught = while_exchanging(|| exchange(&names), || ever(|number| !naive(NAIVE_MASK, &root, number)));
    assert!(caught, "the attack never succeeds");
}

#[test]
fn a_masked_or_protected_path_that_shifts_covers_nothing_of_the_host_and_keeps_no_container_from_starting() {
    let crun = runtime!();
    let (trap, names) = shifting();
    for (rung, crun) in crun.mount_rungs() {
        eprint!("{rung}: ");
        let (_, refused) = spring(&trap, &crun, &names, |number| {
            let list = if number % 2 == 0 { "/linux/maskedPaths" } else { "/linux/readonlyPaths" };
            trap.bundle.clone().set(list, json!(["/shifty"]))
        });
        // A mask that is not found again is a container that does not start, rather than one without the mask.
        assert!(refused == 0 || finds_by_name(rung), "{rung}");
    }
}
