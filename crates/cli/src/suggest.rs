//! What somebody may have meant by a word that nobody knows.

/// The candidate that is close enough to the word to be what was meant: one slip of the finger in three letters, or the
/// word is its beginning.
pub(crate) fn closest<'c>(word: &str, candidates: impl Iterator<Item = &'c str> + Clone) -> Option<&'c str> {
    let allowed = word.len().div_ceil(3).min(3);
    let rated = candidates.clone().map(|candidate| (slips(word.as_bytes(), candidate.as_bytes()), candidate));
    let near = rated.filter(|(slips, _)| *slips <= allowed).min_by_key(|(slips, _)| *slips);
    let begun = |candidate: &&str| word.len() > 1 && candidate.starts_with(word);
    near.map(|(_, found)| found).or_else(|| candidates.clone().find(begun))
}

/// How many letters were missed, added, mistaken or exchanged with their neighbour (the optimal string alignment
/// distance).
fn slips(typed: &[u8], meant: &[u8]) -> usize {
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=meant.len()).collect();
    for (row, letter) in typed.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, other) in meant.iter().enumerate() {
            let mistaken = above[column] + usize::from(letter != other);
            let mut least = mistaken.min(above[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && *letter == meant[column - 1] && typed[row - 1] == *other {
                least = least.min(before.get(column - 1).map_or(least, |slips: &usize| slips + 1));
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[meant.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_a_letter_missed_added_mistaken_or_exchanged() {
        for (typed, meant, expected) in [
            ("list", "list", 0),
            ("lst", "list", 1),
            ("lisst", "list", 1),
            ("lost", "list", 1),
            ("lsit", "list", 1),
            ("forec", "force", 1),
            ("", "list", 4),
            ("list", "", 4),
        ] {
            assert_eq!(slips(typed.as_bytes(), meant.as_bytes()), expected, "{typed} {meant}");
        }
    }

    #[test]
    fn what_is_far_off_is_not_suggested() {
        let commands = || ["create", "delete", "list", "run"].into_iter();
        for (typed, meant) in [
            ("rnu", Some("run")),
            ("crate", Some("create")),
            ("detele", Some("delete")),
            ("List", Some("list")),
            ("del", Some("delete")),
            ("frobnicate", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(typed, commands()), meant, "{typed}");
        }
    }
}
