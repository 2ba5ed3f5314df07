//! Device rules against the running kernel: what a process may really open and make, compared with the plain rule book,
//! for random rules, for the program of version 2 and for the controller of version 1.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use cgroups::devices::{DeviceKind, DeviceRule, MKNOD, READ, Rule, WRITE, decide, rules};
use cgroups::{Cgroup, CgroupPath, Layout, Leftovers};
use kit::bystander::Bystander;
use kit::crun::{helper, new_id, skipped};
use rustix::process::Pid;

/// Numbers that the kernel leaves to experiments (devices.txt): nothing happens when they are opened.
const MAJORS: [u32; 4] = [60, 61, 62, 63];
const MINORS: [u32; 4] = [0, 1, 2, 3];
/// How long a test goes on with new rules, and with how many at least and at most.
const EFFORT: Duration = Duration::from_secs(8);
const COUNTS: std::ops::Range<u32> = 25..3000;

type Request = (DeviceKind, u32, u32, u8);

fn requests() -> Vec<Request> {
    let kinds = [DeviceKind::Block, DeviceKind::Char];
    let pairs = kinds.into_iter().flat_map(|kind| MAJORS.map(|major| (kind, major)));
    let devices = pairs.flat_map(|(kind, major)| MINORS.map(|minor| (kind, major, minor)));
    devices
        .flat_map(|(kind, a, b)| [READ, WRITE, READ | WRITE, MKNOD].map(|access| (kind, a, b, access)))
        .collect()
}

fn letter(kind: DeviceKind) -> char {
    if kind == DeviceKind::Block { 'b' } else { 'c' }
}

/// A process that opens and makes what it is told to.
struct Opener {
    process: Bystander,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    _directory: tempfile::TempDir,
}

impl Opener {
    /// In a filesystem of its own, because that for temporary files may have no devices.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = r#"mount -t tmpfs -o dev tmpfs "$2" && exec "$@""#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(helper("opens")).arg(directory.path());
        let devices = requests().into_iter().filter(|(.., access)| *access == MKNOD);
        command.args(devices.map(|(kind, major, minor, _)| format!("{}:{major}:{minor}", letter(kind))));
        let mut process = Bystander::new(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let (ask, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut opener = Self { process, ask, answers: BufReader::new(answers), _directory: directory };
        assert_eq!(opener.answer(), "ready");
        opener
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Which of the requests the kernel permits.
    fn permitted(&mut self, requests: &[Request]) -> Vec<bool> {
        let mut text = String::new();
        for (kind, major, minor, access) in requests {
            let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
            let access: String =
                letters.iter().filter(|(bit, _)| access & bit != 0).map(|(_, letter)| letter).collect();
            text += &format!("{} {major} {minor} {access}\n", letter(*kind));
        }
        self.ask.write_all(text.as_bytes()).unwrap();
        requests.iter().map(|_| self.answer() == "yes").collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed()).unwrap()
    }
}

/// Cgroups in one hierarchy of this machine.
struct Place(Layout);

impl Place {
    fn version_2() -> Result<Self, String> {
        Self::new("no cgroup v2 here", |hierarchy| hierarchy.unified)
    }

    fn version_1() -> Result<Self, String> {
        Self::new("no devices controller of cgroup v1 here", |hierarchy| {
            hierarchy.controllers.iter().any(|name| name == "devices")
        })
    }

    fn new(missing: &str, wanted: impl Fn(&cgroups::layout::Hierarchy) -> bool) -> Result<Self, String> {
        if !kit::rootfs::is_root() {
            return Err("only root can restrict devices".to_owned());
        }
        let mut layout = Layout::detect().map_err(|error| error.to_string())?;
        layout.hierarchies.retain(wanted);
        if layout.hierarchies.is_empty() { Err(missing.to_owned()) } else { Ok(Self(layout)) }
    }

    fn cgroup(&self) -> Cgroup {
        Cgroup::create(&self.0, &CgroupPath::new(None, &new_id())).unwrap()
    }

    /// Goes on with new rules for a while.
    fn try_rules(&self, test: impl Fn(&mut Opener, &Cgroup, &mut Random)) {
        let (mut opener, home, mut random) = (Opener::new(), self.cgroup(), Random(7));
        let (start, mut count) = (Instant::now(), 0);
        while count < COUNTS.start || count < COUNTS.end && start.elapsed() < EFFORT {
            let cgroup = self.cgroup();
            cgroup.add_process(opener.pid(), false).unwrap();
            test(&mut opener, &cgroup, &mut random);
            home.add_process(opener.pid(), false).unwrap();
            cgroup.remove(&|| Leftovers::Leave).unwrap();
            count += 1;
        }
        drop(opener);
        home.remove(&|| Leftovers::Leave).unwrap();
    }
}

/// A small generator, so that the test needs nothing and repeats itself exactly.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit).unwrap()
    }

    fn rules(&mut self) -> Vec<Rule> {
        let one = |random: &mut Self| {
            let mut number = |numbers: [u32; 4]| match random.below(5) {
                3 | 4 => None,
                index => Some(i64::from(numbers[index])),
            };
            let (major, minor) = (number(MAJORS), number(MINORS));
            let kind = [DeviceKind::All, DeviceKind::Block, DeviceKind::Char][random.below(3)];
            let access = ["r", "w", "m", "rw", "rm", "wm", "rwm"][random.below(7)].to_owned();
            DeviceRule { allow: random.below(2) == 0, kind, major, minor, access: Some(access) }
        };
        let count = 1 + self.below(8);
        rules(&(0..count).map(|_| one(self)).collect::<Vec<_>>()).unwrap()
    }
}

fn decisions(lists: &[&[Rule]], requests: &[Request]) -> Vec<bool> {
    let all = |(kind, major, minor, access): &Request| {
        lists.iter().all(|rules| decide(rules, *kind, *major, *minor, *access))
    };
    requests.iter().map(all).collect()
}

/// Whether the controller has no words for the rules.
fn refused(result: cgroups::Result<()>) -> bool {
    let error = result.err().map(|error| error.to_string());
    assert!(error.as_ref().is_none_or(|error| error.contains("cgroup v1 cannot")), "{error:?}");
    error.is_some()
}

fn model(place: Result<Place, String>) {
    let place = match place {
        Ok(place) => place,
        Err(reason) => return skipped(reason),
    };
    let requests = requests();
    place.try_rules(|opener, cgroup, random| {
        let (first, second, third) = (random.rules(), random.rules(), random.rules());
        if refused(cgroup.restrict_devices(&first)) {
            return;
        }
        assert_eq!(opener.permitted(&requests), decisions(&[&first], &requests), "{first:?}");
        let mut in_force: Vec<&[Rule]> = vec![&first];
        for update in [&second, &third, &second] {
            if !refused(cgroup.tighten_devices(update)) {
                in_force.push(update);
            }
            assert_eq!(opener.permitted(&requests), decisions(&in_force, &requests), "{in_force:?}");
        }
    });
}

#[test]
fn the_kernel_decides_as_the_rule_book_before_and_after_updates_on_version_2() {
    model(Place::version_2());
}

#[test]
fn the_kernel_decides_as_the_rule_book_before_and_after_updates_on_version_1() {
    model(Place::version_1());
}

fn device(allow: bool, kind: DeviceKind, major: i64, minor: i64) -> DeviceRule {
    DeviceRule { allow, kind, major: Some(major), minor: Some(minor), access: None }
}

#[test]
fn a_thousand_rules_that_share_nothing_are_not_too_many() {
    let place = match Place::version_2() {
        Ok(place) => place,
        Err(reason) => return skipped(reason),
    };
    let kinds = [DeviceKind::Char, DeviceKind::Block, DeviceKind::All];
    let scattered: Vec<_> = (0..1000)
        .map(|index| device(index % 2 == 0, kinds[usize::try_from(index % 3).unwrap()], 200 + index, index))
        .collect();
    let same_kind: Vec<_> =
        (0..1000).map(|index| device(index % 2 == 0, DeviceKind::Char, 200 + index % 7, index)).collect();
    for list in [scattered, same_kind] {
        let cgroup = place.cgroup();
        cgroup.restrict_devices(&rules(&list).unwrap()).unwrap();
        cgroup.tighten_devices(&rules(&list).unwrap()).unwrap();
        cgroup.tighten_devices(&rules(&list[1..]).unwrap()).unwrap();
        cgroup.remove(&|| Leftovers::Leave).unwrap();
    }
}

#[test]
fn any_number_of_updates_is_two_programs() {
    let place = match Place::version_2() {
        Ok(place) => place,
        Err(reason) => return skipped(reason),
    };
    let cgroup = place.cgroup();
    let rules_without = |minor| {
        let all = DeviceRule { major: None, minor: None, ..device(true, DeviceKind::All, 0, 0) };
        rules(&[all, device(false, DeviceKind::Char, 60, minor)]).unwrap()
    };
    cgroup.restrict_devices(&rules_without(0)).unwrap();
    // More than the kernel lets be attached.
    for minor in 1..70 {
        cgroup.tighten_devices(&rules_without(minor)).unwrap();
    }
    let attached = sys::bpf::attached_cgroup_devices(cgroup.unified_directory().unwrap()).unwrap();
    let names: Vec<_> =
        attached.iter().map(|program| sys::bpf::program_name(program.as_fd()).unwrap()).collect();
    assert_eq!(names, [b"crun_devices".to_vec(), b"crun_update".to_vec()]);
    cgroup.remove(&|| Leftovers::Leave).unwrap();
}

#[test]
fn the_device_that_stays_allowed_can_be_opened_all_the_time() {
    for place in [Place::version_1(), Place::version_2()] {
        let Ok(place) = place else { continue };
        let (mut opener, cgroup) = (Opener::new(), place.cgroup());
        let list: Vec<_> = (0..4).map(|minor| device(true, DeviceKind::Char, 60, minor)).collect();
        let deny = DeviceRule { major: None, minor: None, ..device(false, DeviceKind::All, 0, 0) };
        let all = |rest: &[DeviceRule]| rules(&[std::slice::from_ref(&deny), rest].concat()).unwrap();
        cgroup.restrict_devices(&all(&list)).unwrap();
        cgroup.add_process(opener.pid(), false).unwrap();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for last in (1..4).rev() {
                    cgroup.tighten_devices(&all(&list[..last])).unwrap();
                    std::thread::sleep(Duration::from_millis(20));
                }
                drop(done);
            });
            let request = [(DeviceKind::Char, 60, 0, READ | WRITE)];
            while is_done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                assert_eq!(opener.permitted(&request), [true]);
            }
        });
        let request = [(DeviceKind::Char, 60, 1, READ)];
        assert_eq!(opener.permitted(&request), [false]);
        drop(opener);
        cgroup.remove(&|| Leftovers::Leave).unwrap();
    }
}
