//! HOME for the container's process, from the container's own `/etc/passwd`.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, read};
use sys::exec::StringArray;

use crate::init::inner;
use crate::plan::ProcessPlan;

/// A passwd file larger than this is not searched further.
const LARGEST: usize = 1 << 20;

/// The environment of the process; HOME is added when it is missing, `/` when the user has no entry.
pub(crate) fn environment(
    process: &ProcessPlan,
    root: BorrowedFd<'_>,
) -> core::result::Result<StringArray, Errno> {
    if process.has_home() {
        return StringArray::new(&process.env);
    }
    let passwd = read_passwd(root).unwrap_or_default();
    let home = [b"HOME=", home_of(&passwd, process.uid.as_raw()).unwrap_or(b"/")].concat();
    StringArray::new(process.env.iter().map(Vec::as_slice).chain([home.as_slice()]))
}

fn read_passwd(root: BorrowedFd<'_>) -> core::result::Result<Vec<u8>, Errno> {
    let file = inner::open_to_read(root, c"etc/passwd")?;
    let mut text = Vec::new();
    let mut buffer = [0_u8; 4096];
    while text.len() < LARGEST {
        match read(&file, &mut buffer)? {
            0 => break,
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(text)
}

/// The sixth field of the first line whose third is `uid` (`passwd(5)`).
fn home_of(passwd: &[u8], uid: u32) -> Option<&[u8]> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let id = std::str::from_utf8(fields.nth(2)?).ok()?.parse::<u32>().ok()?;
        let home = fields.nth(2)?;
        (id == uid && !home.is_empty()).then_some(home)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_directory_is_found_by_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\nweb:x:33:33::/srv/www:\n";
        assert_eq!(home_of(passwd, 0), Some(&b"/root"[..]));
        assert_eq!(home_of(passwd, 33), Some(&b"/srv/www"[..]));
        assert_eq!(home_of(passwd, 5), None);
        assert_eq!(home_of(b"", 0), None);
    }
}
