//! Taking devices away from a v1 cgroup that has processes in it: by no write is anything allowed that was denied, or
//! denied for a moment that stays allowed.

use super::DeviceKind;
use super::legacy::{ALLOW, DENY, EITHER_KIND, Entry, LegacyWrite, Points, cover, inexpressible};
use super::rules::{EVERY_ACCESS, MKNOD, READ, Rule, WRITE, allowed};
use crate::error::Result;

/// The writes after which a cgroup with this `devices.list` allows only what `rules` allow too.
///
/// # Errors
/// When the controller has no words for that. Of a cgroup that allows all devices but some, it does not tell which
/// those are, so it cannot be made one that denies all but some.
pub(super) fn legacy_writes(list: &str, rules: &[Rule]) -> Result<Vec<LegacyWrite>> {
    let refused = || inexpressible("the device rules of the update");
    let present: Vec<Entry> = list.lines().filter_map(parse).collect();
    let named = rules.iter().map(|rule| (rule.major, rule.minor));
    let points = Points::new(named.chain(present.iter().map(|entry| (entry.major, entry.minor))));
    let expressed = |value: &dyn Fn(DeviceKind, u32, u32) -> u8| {
        let of_kind = |kind: &DeviceKind| cover(*kind, &points, |major, minor| value(*kind, major, minor));
        EITHER_KIND.iter().map(of_kind).collect::<Option<Vec<_>>>().map(|lists| lists.concat())
    };
    if list.lines().any(|line| line.starts_with('a')) {
        let denied = expressed(&|kind, major, minor| EVERY_ACCESS & !allowed(rules, kind, major, minor));
        return Ok(denied.ok_or_else(refused)?.iter().map(|entry| (DENY, entry.to_string())).collect());
    }
    let stays = expressed(&|kind, major, minor| {
        granted(&present, kind, major, minor) & allowed(rules, kind, major, minor)
    });
    let stays = stays.filter(|_| grants_are_whole(&present, &points)).ok_or_else(refused)?;
    Ok(exchange(&present, &stays, |entry| allowed_throughout(entry, rules, &points)))
}

/// The writes that leave of the entries `present` what is in `stays`: first this is said in narrower entries, then the
/// wider ones go. `harmless` is the access of an entry that need not go.
fn exchange(present: &[Entry], stays: &[Entry], harmless: impl Fn(&Entry) -> u8) -> Vec<LegacyWrite> {
    let remaining = |entry: &Entry| Entry { access: entry.access & harmless(entry), ..*entry };
    let is_said = |wanted: &Entry| {
        present.iter().map(remaining).any(|entry| {
            entry.contains(wanted.kind, wanted.major, wanted.minor) && wanted.access & !entry.access == 0
        })
    };
    let said = stays.iter().filter(|entry| !is_said(entry)).map(|entry| (ALLOW, entry.to_string()));
    let taken = present.iter().filter_map(|entry| {
        // The kernel adds what is said about the same numbers to the entry that is there.
        let stay = stays.iter().find(|stay| stay.is_like(entry)).map_or(0, |stay| stay.access);
        let access = entry.access & !remaining(entry).access & !stay;
        (access != 0).then(|| (DENY, Entry { access, ..*entry }.to_string()))
    });
    said.chain(taken).collect()
}

/// What `rules` allow of an entry for all devices it is about.
fn allowed_throughout(entry: &Entry, rules: &[Rule], points: &Points) -> u8 {
    let of_entry = points.iter().filter(|(major, minor)| entry.is_about(entry.kind, *major, *minor));
    of_entry.fold(EVERY_ACCESS, |access, (major, minor)| access & allowed(rules, entry.kind, major, minor))
}

/// The access that a list of entries gives.
fn granted(list: &[Entry], kind: DeviceKind, major: u32, minor: u32) -> u8 {
    let about = list.iter().filter(|entry| entry.is_about(kind, major, minor));
    about.fold(0, |access, entry| access | entry.access)
}

/// Whether what may be read and written by a list may also be opened for both at a time, which takes one entry that says
/// so: only then entries may be put together.
fn grants_are_whole(list: &[Entry], points: &Points) -> bool {
    const OPEN: u8 = READ | WRITE;
    let kinds = EITHER_KIND.into_iter();
    kinds.flat_map(|kind| points.iter().map(move |point| (kind, point))).all(|(kind, (major, minor))| {
        let whole = granted(list, kind, major, minor) & OPEN;
        let mut about = list.iter().filter(|entry| entry.is_about(kind, major, minor));
        whole == 0 || about.any(|entry| entry.access & OPEN == whole)
    })
}

/// One line of `devices.list`.
fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace();
    let kind = match words.next()? {
        "b" => DeviceKind::Block,
        "c" => DeviceKind::Char,
        _ => return None,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let letters = words.next()?;
    let bit = |(letter, bit): &(char, u8)| if letters.contains(*letter) { *bit } else { 0 };
    let access = [('r', READ), ('w', WRITE), ('m', MKNOD)].iter().map(bit).sum();
    Some(Entry { kind, major: major.parse().ok(), minor: minor.parse().ok(), access })
}
