//! What this machine's files say about a user: its name, and the ids beyond its own that it may map in a user namespace
//! (`passwd(5)`, `subuid(5)`, `subgid(5)`).

use std::fs::read_to_string;

/// Ids that a user may map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdRange {
    /// The first of them.
    pub(crate) first: u32,
    /// How many they are.
    pub(crate) count: u32,
}

/// The first range of each kind that is a user's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SubordinateIds {
    /// Users.
    pub(crate) uid: Option<IdRange>,
    /// Groups.
    pub(crate) gid: Option<IdRange>,
}

/// The files that say which ids are whose.
pub(crate) const SUBORDINATE: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

impl SubordinateIds {
    /// Those of a user. A file that is not there gives nothing.
    pub(super) fn of(uid: u32) -> Self {
        let texts = SUBORDINATE.map(|file| read_to_string(file).unwrap_or_default());
        if texts.iter().all(String::is_empty) {
            return Self::default();
        }
        let name = name(uid);
        let [uid, gid] = texts.map(|text| ranges(&text, uid, name.as_deref()).first().copied());
        Self { uid, gid }
    }
}

/// All ranges of a user in one of these files.
pub(crate) fn subordinate_ranges(file: &str, uid: u32) -> Vec<IdRange> {
    ranges(&read_to_string(file).unwrap_or_default(), uid, name(uid).as_deref())
}

/// The name of a user; the environment has that of one who is known to a directory service only.
fn name(uid: u32) -> Option<String> {
    name_of(uid).or_else(|| std::env::var("USER").ok())
}

/// The lines `OWNER:FIRST:COUNT` of a user, who is named by name or number.
pub(crate) fn ranges(text: &str, uid: u32, name: Option<&str>) -> Vec<IdRange> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if Some(owner) != name && owner.parse() != Ok(uid) {
            return None;
        }
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (count > 0).then_some(IdRange { first, count })
    };
    text.lines().filter_map(range).collect()
}

/// The name of a user, where `/etc/passwd` has one.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    name_in(&read_to_string("/etc/passwd").ok()?, uid)
}

/// The name of a user in a password file.
pub(crate) fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_ranges_are_found_by_name_and_by_number_in_the_order_of_the_file() {
        let text = "bob:1:2\n# alice:3:4\nalice:100000:65536\n1000:7:8\nalicee:9:9\n";
        let range = |first, count| IdRange { first, count };
        assert_eq!(ranges(text, 1000, Some("alice")), [range(100_000, 65_536), range(7, 8)]);
        assert_eq!(ranges(text, 1000, None), [range(7, 8)]);
        assert_eq!(ranges(text, 5, Some("eve")), []);
    }

    #[test]
    fn a_line_that_is_no_range_gives_nothing() {
        for line in ["alice", "alice:1", "alice:x:1", "alice:1:0", "alice:1:99999999999", ""] {
            assert_eq!(ranges(line, 1, Some("alice")), [], "{line}");
        }
    }

    #[test]
    fn a_user_is_named_by_the_password_file() {
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(name_of(4_294_967_290), None);
    }
}
