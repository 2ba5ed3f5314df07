//! The v1 lines against the plain rule book, on a model of the controller.

use super::*;
use crate::devices::tighten;

/// A cgroup of the controller, as `security/device_cgroup.c` decides: one list of exceptions, and what they are exceptions
/// from. It is below one that allows everything.
#[derive(Clone)]
struct Controller {
    allows_all: bool,
    exceptions: Vec<(char, String, String, u8)>,
}

impl Controller {
    fn new() -> Self {
        Self { allows_all: true, exceptions: Vec::new() }
    }

    fn write(&mut self, file: &str, line: &str) {
        let allow = file == "devices.allow";
        if line == "a" {
            *self = Self { allows_all: allow, exceptions: Vec::new() };
            return;
        }
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap().chars().next().unwrap();
        let (major, minor) = words.next().unwrap().split_once(':').unwrap();
        let access = bits(words.next().unwrap());
        let key = (kind, major.to_owned(), minor.to_owned());
        let like = |entry: &&mut (char, String, String, u8)| {
            (entry.0, &entry.1, &entry.2) == (key.0, &key.1, &key.2)
        };
        let found = self.exceptions.iter_mut().find(like);
        match (found, allow == self.allows_all) {
            (Some(entry), false) => entry.3 |= access,
            (None, false) => self.exceptions.push((key.0, key.1, key.2, access)),
            (Some(entry), true) => entry.3 &= !access,
            (None, true) => {}
        }
        self.exceptions.retain(|entry| entry.3 != 0);
    }

    fn decides(&self, kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
        let letter = if kind == DeviceKind::Block { 'b' } else { 'c' };
        let number = |word: &str, value: u32| word == "*" || word == value.to_string();
        let mut about = self
            .exceptions
            .iter()
            .filter(|(kind, a, b, _)| *kind == letter && number(a, major) && number(b, minor));
        match self.allows_all {
            true => about.all(|entry| entry.3 & access == 0),
            false => about.any(|entry| access & !entry.3 == 0),
        }
    }

    /// `devices.list`, which hides the exceptions of a cgroup that allows all.
    fn list(&self) -> String {
        if self.allows_all {
            return "a *:* rwm\n".to_owned();
        }
        let letters = |access: u8| -> String {
            [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
                .iter()
                .filter(|(bit, _)| access & bit != 0)
                .map(|(_, letter)| *letter)
                .collect()
        };
        let line = |(kind, a, b, access): &(char, String, String, u8)| {
            format!("{kind} {a}:{b} {}\n", letters(*access))
        };
        self.exceptions.iter().map(line).collect()
    }
}

fn bits(letters: &str) -> u8 {
    [('r', READ), ('w', WRITE), ('m', MKNOD)]
        .iter()
        .filter(|(letter, _)| letters.contains(*letter))
        .map(|(_, bit)| *bit)
        .sum()
}

/// The requests there are: a node is never made and opened in one.
fn real_requests() -> impl Iterator<Item = (DeviceKind, u32, u32, u8)> {
    requests().filter(|(.., access)| *access == MKNOD || access & MKNOD == 0)
}

fn controller(rules: &[Rule]) -> Option<Controller> {
    let mut controller = Controller::new();
    for (file, line) in legacy_writes(rules).ok()? {
        controller.write(file, &line);
    }
    Some(controller)
}

#[test]
fn the_controller_decides_as_the_rule_book_wherever_it_has_words_for_it() {
    let mut random = Random(4);
    let mut expressed = 0;
    for _ in 0..800 {
        let configured = random.rules();
        let rules = rules(&configured).unwrap();
        let Some(controller) = controller(&rules) else { continue };
        expressed += 1;
        for (kind, major, minor, access) in real_requests() {
            assert_eq!(
                controller.decides(kind, major, minor, access),
                decide(&rules, kind, major, minor, access),
                "{configured:?} for {kind:?} {major}:{minor} access {access}: {}",
                controller.list()
            );
        }
    }
    assert!(expressed > 50, "{expressed}");
}

/// What a container may do afterwards is what it could before and what the rules allow; in between it is one of the two
/// for each request.
fn check_tightening(before: &Controller, rules: &[Rule]) -> bool {
    let Ok(writes) = tighten::legacy_writes(&before.list(), rules) else { return false };
    let mut controller = before.clone();
    let wanted = |(kind, major, minor, access)| {
        before.decides(kind, major, minor, access) && decide(rules, kind, major, minor, access)
    };
    let decides = |controller: &Controller, (kind, major, minor, access)| {
        controller.decides(kind, major, minor, access)
    };
    for (file, line) in &writes {
        controller.write(file, line);
        for request in real_requests() {
            let now = decides(&controller, request);
            assert!(!now || decides(before, request), "{writes:?} at {line} opens {request:?}");
            assert!(now || !wanted(request), "{writes:?} at {line} takes {request:?}");
        }
    }
    for request in real_requests() {
        let now = decides(&controller, request);
        assert_eq!(now, wanted(request), "{}: {writes:?}: {request:?}", before.list());
    }
    let again = tighten::legacy_writes(&controller.list(), rules).unwrap();
    assert!(controller.allows_all || again.is_empty(), "{again:?} after {writes:?}");
    true
}

#[test]
fn tightening_takes_away_exactly_what_is_not_allowed_any_more_in_every_single_write() {
    let mut random = Random(5);
    let mut expressed = 0;
    for _ in 0..400 {
        let Some(before) = controller(&rules(&random.rules()).unwrap()) else { continue };
        expressed += u32::from(check_tightening(&before, &rules(&random.rules()).unwrap()));
    }
    assert!(expressed > 50, "{expressed}");
}

#[test]
fn tightening_holds_for_any_list_that_another_runtime_has_left() {
    let mut random = Random(6);
    let mut expressed = 0;
    for _ in 0..400 {
        let mut before = Controller::new();
        before.write("devices.deny", "a");
        for rule in random.rules() {
            let number = |value: Option<i64>| value.map_or("*".to_owned(), |value| value.to_string());
            let kind = if rule.kind == DeviceKind::Block { 'b' } else { 'c' };
            let line = format!(
                "{kind} {}:{} {}",
                number(rule.major),
                number(rule.minor),
                rule.access.unwrap_or_default()
            );
            before.write("devices.allow", &line);
        }
        expressed += u32::from(check_tightening(&before, &rules(&random.rules()).unwrap()));
    }
    assert!(expressed > 50, "{expressed}");
}

#[test]
fn the_usual_rules_are_one_denial_and_a_list() {
    let rules = rules(&[
        rule(false, DeviceKind::All, None, None, "rwm"),
        rule(true, DeviceKind::Block, Some(8), None, "r"),
        rule(true, DeviceKind::All, Some(10), Some(229), "rw"),
    ])
    .unwrap();
    let writes = legacy_writes(&rules).unwrap();
    assert_eq!(writes[0], ("devices.deny", "a".to_owned()));
    let lines: Vec<_> = writes[1..].iter().map(|(file, line)| (*file, line.as_str())).collect();
    for line in ["b *:* m", "b 8:* r", "b 10:229 rw", "c *:* m", "c 10:229 rw", "c 1:3 rw", "c 136:* rw"] {
        assert!(lines.contains(&("devices.allow", line)), "{line}: {lines:?}");
    }
}

#[test]
fn all_but_some_devices_is_one_permission_and_a_list() {
    let rules = rules(&[
        rule(true, DeviceKind::All, None, None, "rwm"),
        rule(false, DeviceKind::Char, Some(1), Some(11), "rwm"),
    ])
    .unwrap();
    let writes = legacy_writes(&rules).unwrap();
    assert_eq!(writes, [("devices.allow", "a".to_owned()), ("devices.deny", "c 1:11 rw".to_owned())]);
}

#[test]
fn what_the_controller_has_no_words_for_is_an_error() {
    let excepted = [
        rule(false, DeviceKind::All, None, None, "rwm"),
        rule(true, DeviceKind::Char, Some(7), None, "rwm"),
        rule(false, DeviceKind::Char, Some(7), Some(3), "rwm"),
    ];
    let error = legacy_writes(&rules(&excepted).unwrap()).unwrap_err();
    assert!(error.message.starts_with("linux.resources.devices: cgroup v1 cannot"), "{error}");
}
