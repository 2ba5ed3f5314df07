//! Which of the known names somebody may have meant.

/// As many are named.
const MOST: usize = 3;

/// Those of `known` that `name` may have been meant for, the likeliest first: one that takes a letter or a third of them to get
/// to, or that has it in it.
#[must_use]
pub fn similar<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    let rank = |other: &str| match distance(name, other) {
        distance if distance <= allowed && distance < name.chars().count() => Some(distance),
        _ if name.len() >= 3 && (other.contains(name) || name.contains(other) && other.len() >= 3) => {
            Some(allowed + 1)
        }
        _ => None,
    };
    let mut found: Vec<(usize, &str)> = Vec::with_capacity(MOST + 1);
    for other in known {
        let Some(rank) = rank(other) else { continue };
        let place = found.partition_point(|there| *there < (rank, other));
        found.insert(place, (rank, other));
        found.truncate(MOST);
    }
    found.into_iter().map(|(_, other)| other).collect()
}

/// How many letters are to be changed, put in or taken out.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..other.len() {
            let change = diagonal + usize::from(letter != other[column]);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// Names in a sentence: `` `a`, `b` ``.
pub(super) fn quoted<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    let all: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letters_between_two_names_are_counted() {
        for (one, other, letters) in [("", "", 0), ("abc", "abc", 0), ("kitten", "sitting", 3), ("", "ab", 2)]
        {
            assert_eq!((distance(one, other), distance(other, one)), (letters, letters), "{one} {other}");
        }
    }

    #[test]
    fn what_may_have_been_meant_comes_first() {
        let known = ["web-1", "web-2", "database", "db", "we"];
        assert_eq!(similar("web1", known), ["web-1"]);
        assert_eq!(similar("data", known), ["database"]);
        assert_eq!(similar("web-1-extra", known), ["web-1"]);
        assert_eq!(similar("proxy", known), [""; 0]);
        assert_eq!(similar("x", ["y"]), [""; 0]);
    }
}
