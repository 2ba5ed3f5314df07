//! Device rules in terms of the v1 controller (cgroup-v1/devices.rst).
//!
//! The controller knows no order and no last match: a cgroup either denies all devices but a list, or allows all but a
//! list. So the rules are taken for what they mean, and that is put into one of the two forms where it can be.
//!
//! Where all is denied, a request to read and write passes only if one entry allows both, so an entry says all that is
//! allowed where it applies. Making a node is never asked together with anything else.

use std::collections::{BTreeMap, BTreeSet};

use super::DeviceKind;
use super::rules::{EVERY_ACCESS, Line, MKNOD, READ, Rule, WRITE, allowed};
use crate::error::{Error, Result};

/// A write to the controller: the file and the line.
pub(super) type LegacyWrite = (&'static str, String);

pub(super) const ALLOW: &str = "devices.allow";
pub(super) const DENY: &str = "devices.deny";
pub(super) const EITHER_KIND: [DeviceKind; 2] = [DeviceKind::Block, DeviceKind::Char];

/// One entry of a list: the kind of device, its numbers (all of them, where there is none) and the access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: DeviceKind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: u8,
}

impl Entry {
    fn is_everything(&self) -> bool {
        self.major.is_none() && self.minor.is_none() && self.access == EVERY_ACCESS
    }

    pub(super) fn is_about(&self, kind: DeviceKind, major: u32, minor: u32) -> bool {
        self.contains(kind, Some(major), Some(minor))
    }

    /// Whether it is about all that an entry with these numbers is about.
    pub(super) fn contains(&self, kind: DeviceKind, major: Option<u32>, minor: Option<u32>) -> bool {
        self.kind == kind
            && (self.major.is_none() || self.major == major)
            && (self.minor.is_none() || self.minor == minor)
    }

    /// Whether the two are about the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, major, minor, access } = *self;
        Line { kind, major, minor, access }.fmt(f)
    }
}

/// The writes that make a cgroup enforce `rules`, in order.
///
/// # Errors
/// When the rules except some devices from what they allow, and others from what they deny, in a way that the
/// controller has no words for.
pub fn legacy_writes(rules: &[Rule]) -> Result<Vec<(&'static str, String)>> {
    let points = Points::new(rules.iter().map(|rule| (rule.major, rule.minor)));
    let expressed = |value: &dyn Fn(u8) -> u8| {
        let of_kind = |kind: &DeviceKind| {
            cover(*kind, &points, |major, minor| value(allowed(rules, *kind, major, minor)))
        };
        EITHER_KIND.iter().map(of_kind).collect::<Option<Vec<_>>>().map(|lists| lists.concat())
    };
    let all_but = |first, file, entries: Vec<Entry>| {
        let lines = entries.into_iter().map(move |entry| (file, entry.to_string()));
        std::iter::once((first, "a".to_owned())).chain(lines).collect()
    };
    let given = expressed(&|allowed| allowed);
    // Without exceptions both forms say the same, but only one of them leaves the controller nothing to look up.
    let allows_all = |given: &Vec<Entry>| given.iter().filter(|entry| entry.is_everything()).count() == 2;
    match given.filter(|given| !allows_all(given)) {
        Some(given) => Ok(all_but(DENY, ALLOW, given)),
        None => {
            let taken = expressed(&|allowed| EVERY_ACCESS & !allowed);
            Ok(all_but(ALLOW, DENY, taken.ok_or_else(|| inexpressible("linux.resources.devices"))?))
        }
    }
}

pub(super) fn inexpressible(what: &str) -> Error {
    Error::plain(format!(
        "{what}: cgroup v1 cannot take devices away from what is allowed and at the same time give some of what is \
         denied"
    ))
}

/// The numbers that rules distinguish: those they name, and one that stands for all others.
#[derive(Debug)]
pub(super) struct Points {
    majors: BTreeSet<u32>,
    minors: BTreeSet<u32>,
    pairs: BTreeSet<(u32, u32)>,
    other: (u32, u32),
}

impl Points {
    pub(super) fn new(named: impl Iterator<Item = (Option<u32>, Option<u32>)> + Clone) -> Self {
        let majors: BTreeSet<u32> = named.clone().filter_map(|(major, _)| major).collect();
        // A minor number alone makes a difference for every major number.
        let of_any = named.clone().filter(|(major, _)| major.is_none()).filter_map(|(_, minor)| minor);
        let minors: BTreeSet<u32> = of_any.collect();
        let exact = named.filter_map(|(major, minor)| Some((major?, minor?)));
        let crossed = majors.iter().flat_map(|major| minors.iter().map(|minor| (*major, *minor)));
        let pairs: BTreeSet<(u32, u32)> = exact.chain(crossed).collect();
        let unnamed = |names: &mut dyn FnMut(u32) -> bool| (0..).find(|number| !names(*number)).unwrap_or(0);
        let other = (
            unnamed(&mut |number| majors.contains(&number)),
            unnamed(&mut |number| {
                minors.contains(&number) || pairs.iter().any(|(_, minor)| *minor == number)
            }),
        );
        Self { majors, minors, pairs, other }
    }

    /// One device for each case.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        let of_major = self.majors.iter().map(|major| (*major, self.other.1));
        let of_minor = self.minors.iter().map(|minor| (self.other.0, *minor));
        std::iter::once(self.other).chain(of_major).chain(of_minor).chain(self.pairs.iter().copied())
    }
}

/// The entries that together say exactly `value`, which gives the access for a device; `None` where only a list with
/// exceptions could.
pub(super) fn cover(kind: DeviceKind, points: &Points, value: impl Fn(u32, u32) -> u8) -> Option<Vec<Entry>> {
    let all = value(points.other.0, points.other.1);
    let mut entries = BTreeMap::from([((None, None), all)]);
    let mut row = |key, access: u8, wider: &[u8]| {
        entries.insert(key, beyond(access, wider));
        wider.iter().all(|wider| wider & !access == 0)
    };
    let of_major = |major| value(major, points.other.1);
    let of_minor = |minor| value(points.other.0, minor);
    let fits = points.majors.iter().all(|major| row((Some(*major), None), of_major(*major), &[all]))
        && points.minors.iter().all(|minor| row((None, Some(*minor)), of_minor(*minor), &[all]))
        && points.pairs.iter().all(|(major, minor)| {
            let of_any = if points.minors.contains(minor) { of_minor(*minor) } else { all };
            row((Some(*major), Some(*minor)), value(*major, *minor), &[of_major(*major), of_any])
        });
    let entry = |((major, minor), access)| Entry { kind, major, minor, access };
    fits.then(|| entries.into_iter().map(entry).filter(|entry| entry.access != 0).collect())
}

/// What an entry has to say where `wider` ones apply too.
fn beyond(access: u8, wider: &[u8]) -> u8 {
    const OPEN: u8 = READ | WRITE;
    let is_said = |bits: u8| wider.iter().any(|wider| access & bits & !wider == 0);
    let part = |bits: u8| if is_said(bits) { 0 } else { access & bits };
    part(OPEN) | part(MKNOD)
}
