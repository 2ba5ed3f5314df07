//! The linker's map: which section of which object file lies where, and how it is called in a linker script.

/// The sections with code, by address.
#[derive(Debug)]
pub(super) struct Map(Vec<Section>);

#[derive(Debug)]
struct Section {
    start: u64,
    end: u64,
    pattern: String,
}

impl Map {
    /// Reads what `lld -Map` writes: a line with two addresses, size, alignment and `FILE:(SECTION)` for each section.
    pub(super) fn read(text: &str) -> Self {
        let mut sections: Vec<_> = text.lines().filter_map(section).collect();
        sections.sort_by_key(|section| section.start);
        Self(sections)
    }

    /// How the section with the code at `address` is called.
    pub(super) fn pattern_at(&self, address: u64) -> Option<String> {
        let after = self.0.partition_point(|section| section.start <= address);
        let section = self.0.get(after.checked_sub(1)?)?;
        (address < section.end).then(|| section.pattern.clone())
    }
}

fn section(line: &str) -> Option<Section> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_start();
        let (word, after) = rest.split_once(' ')?;
        rest = after;
        Some(word)
    };
    let start = u64::from_str_radix(word()?, 16).ok()?;
    word()?;
    let size = u64::from_str_radix(word()?, 16).ok()?;
    word()?;
    let (file, name) = rest.trim().strip_suffix(')')?.split_once(":(")?;
    let pattern = name.starts_with(".text").then(|| pattern(file, name))??;
    Some(Section { start, end: start + size, pattern })
}

/// A section of the C library is known by the member of the archive, one of Rust's by its function.
fn pattern(file: &str, name: &str) -> Option<String> {
    let archive = file.rsplit('/').next()?;
    if archive.starts_with("lib") && archive.contains(".a(") {
        let (archive, member) = archive.strip_suffix(')')?.split_once('(')?;
        return Some(format!("*{archive}:{member}({name})"));
    }
    (name != ".text").then(|| format!("*({})", without_hashes(name)))
}

/// Replaces what changes with every compiler and version: the letters of `Cs…_` before the name of a crate.
fn without_hashes(name: &str) -> String {
    let mut parts = name.split("Cs");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('_') {
            Some((hash, rest)) if hash.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                text.extend(["Cs*_", rest]);
            }
            _ => text.extend(["Cs", part]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "
             VMA              LMA     Size Align Out     In      Symbol
          2a1980           2a1980   1dfa08    64 .text
          2a1990           2a1990       30    16         /tmp/a/crun-1c.cgu.0.rcgu.o:(.text._RNvNtCs1x_7libcrun6create5begin)
          2a19c0           2a19c0       e5    16         /usr/lib/x/libc.a(memcmp.o):(.text.sse2)
          2a1ab0           2a1ab0       10    16         /tmp/a/crun-1c.cgu.0.rcgu.o:(.text._RNvMsk_NtCsjrHSEGnQ3l9_3std7process)
          2a1ac0           2a1ac0       10    16         /usr/lib/x/crt1.o:(.text)
          2a1ac0           2a1ac0        0     1                 _start
";

    #[test]
    fn a_function_is_found_by_any_address_in_it() {
        let map = Map::read(MAP);
        for (address, pattern) in [
            (0x2a_1990, Some("*(.text._RNvNtCs*_7libcrun6create5begin)")),
            (0x2a_19bf, Some("*(.text._RNvNtCs*_7libcrun6create5begin)")),
            (0x2a_19c0, Some("*libc.a:memcmp.o(.text.sse2)")),
            (0x2a_1ab8, Some("*(.text._RNvMsk_NtCs*_3std7process)")),
            (0x2a_1aa8, None),
            (0x2a_1ac8, None),
            (0x10, None),
        ] {
            assert_eq!(map.pattern_at(address).as_deref(), pattern, "{address:x}");
        }
    }
}
