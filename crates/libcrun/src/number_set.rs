//! Sets of CPUs and of memory nodes: from the lists in which people and the kernel write them (`0-3,7`; `cpuset(7)`, "List
//! format") to the masks that system calls take. As large as its largest number asks for.

use std::fmt;

/// A set of small numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NumberSet {
    words: Vec<usize>,
}

/// More than any kernel has CPUs or nodes for, so that a slip of the pen does not take all memory for its mask.
const LARGEST: usize = 65_535;

impl NumberSet {
    /// Reads a list. The error says what in it is no number.
    ///
    /// # Errors
    /// In words that go behind the list: "`x` is not a number".
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        let mut set = Self::default();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("the range `{item}` ends before it begins"));
            }
            (first..=last).for_each(|number| set.insert(number));
        }
        Ok(set)
    }

    fn insert(&mut self, number: usize) {
        let (word, bit) = (number / usize::BITS as usize, number % usize::BITS as usize);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// A bit for each number, in words as the kernel's.
    pub(crate) fn mask(&self) -> &[usize] {
        &self.words
    }

    fn contains(&self, number: usize) -> bool {
        let word = self.words.get(number / usize::BITS as usize).copied().unwrap_or(0);
        word >> (number % usize::BITS as usize) & 1 == 1
    }
}

fn number(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(format!("`{text}` is not a number (a list is written as `0-3,7`)"));
    }
    match text.parse() {
        Ok(number) if number <= LARGEST => Ok(number),
        _ => Err(format!("`{text}` is larger than {LARGEST}")),
    }
}

/// As a list.
impl fmt::Display for NumberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut next, end) = (0, self.words.len() * usize::BITS as usize);
        let mut separator = "";
        while let Some(first) = (next..end).find(|number| self.contains(*number)) {
            let behind = (first..end).find(|number| !self.contains(*number)).unwrap_or(end);
            write!(f, "{separator}{first}")?;
            if behind > first + 1 {
                write!(f, "-{}", behind - 1)?;
            }
            (next, separator) = (behind, ",");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_bits_of_a_mask() {
        assert_eq!(NumberSet::parse("0-3,7").unwrap().mask(), [0b1000_1111]);
        assert_eq!(NumberSet::parse("7,1-1").unwrap().mask(), [0b1000_0010]);
    }

    #[test]
    fn the_mask_is_as_long_as_its_largest_number_asks_for() {
        let set = NumberSet::parse("0,1024,8191").unwrap();
        assert_eq!(set.mask().len(), 8192 / usize::BITS as usize);
        assert_eq!(set.mask().iter().map(|word| word.count_ones()).sum::<u32>(), 3);
        assert_eq!(NumberSet::parse("64").unwrap().mask().len(), 1 + 64 / usize::BITS as usize);
    }

    #[test]
    fn spaces_and_missing_items_do_not_matter() {
        assert_eq!(NumberSet::parse(" 0 - 2 ,, 5,").unwrap(), NumberSet::parse("0-2,5").unwrap());
        assert!(NumberSet::parse("").unwrap().is_empty() && NumberSet::parse(" , ").unwrap().is_empty());
    }

    #[test]
    fn a_set_is_written_as_the_shortest_list() {
        for (list, shown) in [("3,2,1,0,7", "0-3,7"), ("0-63,64,66-67", "0-64,66-67"), ("5", "5"), ("", "")] {
            assert_eq!(NumberSet::parse(list).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_list_is_refused_in_words() {
        let error = |list| NumberSet::parse(list).unwrap_err();
        assert_eq!(error("0,x"), "`x` is not a number (a list is written as `0-3,7`)");
        assert_eq!(error("3-1"), "the range `3-1` ends before it begins");
        for list in ["-1", "1-", "1-2-3", "+1", "0x1", "1 2", "٣"] {
            assert!(error(list).contains("is not a number"), "{list}");
        }
        assert_eq!(error("0-65536"), "`65536` is larger than 65535");
        assert_eq!(error("99999999999999999999"), "`99999999999999999999` is larger than 65535");
    }
}
