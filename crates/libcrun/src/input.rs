//! Reading what somebody hands in, to its end, but no more than anybody can have meant: a configuration of gigabytes, or a
//! device in its place, costs the runtime no more than a large one.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read};

use crate::error::{Code, Error, Result, doing};

/// The largest input there may be. Engines write kilobytes.
const LARGEST: usize = 16 << 20;

/// What is read at once to begin with: one call for most configurations.
const AT_ONCE: usize = 16 << 10;

/// Reads a file to its end.
///
/// # Errors
/// Names the file when it cannot be read, or when it is larger than what anybody can have meant.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    file.and_then(read_to_end).map_err(|errno| failed(&path.to_string_lossy(), errno))
}

/// Reads the standard input to its end.
///
/// # Errors
/// As [`read_file`].
pub fn read_stdin() -> Result<Vec<u8>> {
    read_to_end(rustix::stdio::stdin()).map_err(|errno| failed("-", errno))
}

fn failed(name: &str, errno: Errno) -> Error {
    match errno {
        Errno::FBIG => {
            Error::new(Code::InvalidConfig, format!("read `{name}`: it is larger than {} MiB", LARGEST >> 20))
        }
        errno => Error::of(Code::InvalidConfig, doing("open", name), Some(errno)),
    }
}

/// Reads to the end; `EFBIG` when that is too far away.
pub(crate) fn read_to_end(file: impl AsFd) -> core::result::Result<Vec<u8>, Errno> {
    let mut content = Vec::with_capacity(AT_ONCE);
    loop {
        match read(&file, spare_capacity(&mut content)) {
            Ok(0) => return Ok(content),
            Ok(_) if content.len() > LARGEST => return Err(Errno::FBIG),
            Ok(_) if content.len() == content.capacity() => content.reserve(AT_ONCE),
            Ok(_) => {}
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_whatever_its_size() {
        let path = std::env::temp_dir().join(format!("crun-input-{}", std::process::id()));
        for size in [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 100 * AT_ONCE + 7, LARGEST] {
            let content: Vec<u8> = (0..=250).cycle().take(size).collect();
            std::fs::write(&path, &content).unwrap();
            assert!(read_file(&path).unwrap() == content, "{size}");
        }
        std::fs::write(&path, vec![b' '; LARGEST + 1]).unwrap();
        let message = format!("read `{}`: it is larger than 16 MiB", path.display());
        assert_eq!(read_file(&path).unwrap_err().to_string(), message);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_device_without_an_end_is_given_up_on() {
        let message = read_file(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(message, "read `/dev/zero`: it is larger than 16 MiB");
    }
}
